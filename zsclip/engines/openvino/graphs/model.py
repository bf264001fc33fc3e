"""A model whose two towers are built from its weights' file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from zsclip.engines.base import ExportError
from zsclip.engines.openvino import tokenizer_files
from zsclip.engines.openvino.graphs import architecture, text_transformer
from zsclip.engines.openvino.graphs.names import as_open_clip
from zsclip.engines.openvino.graphs.weights import MismatchError, Weights, mapped
from zsclip.engines.openvino.source import ALL, LARGEST
from zsclip.engines.openvino.tokenizer import Tokenizer
from zsclip.errors import ModelError
from zsclip.models.spec import ModelFacts, ModelSpec
from zsclip.models.weights import parts

if TYPE_CHECKING:
    from zsclip.store.exports import Use


class BuiltModel:
    """A model whose constants are its mapped files, as a `source.Source`.

    `checkpoint` is a file of safetensors, or the index of several; `use` keeps it from being removed. It must live as long as its
    graphs and what is compiled of them, for it holds the file's memory. Raises `MismatchError` if the architecture is none that is
    built here, or the files are not what it is made of.
    """

    remedy = "Try `engine=torch`."

    def __init__(self, spec: ModelSpec, checkpoint: Path, use: Use | None = None) -> None:
        shape = architecture.read(spec)
        if shape is None:
            raise MismatchError("its architecture is none that is built from its file")
        self.use = use
        self._spec, self._checkpoint = spec, checkpoint
        tensors = as_open_clip(mapped(parts(checkpoint)), spec, shape.text_prefix)
        weights = self._weights = Weights(tensors)
        self.image = shape.image(weights.within("visual."), spec.preprocessing)
        self.text = text_transformer.graph(shape.text, weights.within(shape.text_prefix))
        bias = weights.number("logit_bias") if shape.has_bias and "logit_bias" in weights else 0.0
        scale = float(np.float32(math.exp(weights.number("logit_scale"))))  # as PyTorch has it, which keeps float32
        for prefix in shape.unused:
            weights.leave(prefix)
        weights.require_all_taken()
        self.facts = ModelFacts(scale, bias, spec.embed_dim, spec.title)
        self.parameters = weights.count()
        image = weights.count("visual.")
        self.tower_parameters: Mapping[str, int] = {
            "image": image,
            "text": self.parameters - image - sum(map(weights.count, shape.unused)),
        }
        self.vocabulary = shape.text.vocabulary
        self.pooled_at: str | int = ALL
        if shape.text.shares_prefixes:
            self.pooled_at = LARGEST if shape.text.pool == "argmax" else shape.text.end

    def tokenizer(self) -> Tokenizer:
        """See `Source`."""
        if found := tokenizer_files.read(self._spec):
            return found
        from zsclip.engines.openvino import converted_tokenizer
        from zsclip.engines.torch.tokenizers import load_tokenizer

        try:
            return converted_tokenizer.convert(self._spec, load_tokenizer(self._spec))
        except ExportError as error:
            raise ModelError(f"{error}.", where=self._spec.title, remedy=self.remedy) from None

    def require_numbers(self) -> None:
        """See `Source`. Reads all of the weights."""
        if name := self._weights.without_numbers():
            raise ModelError(
                f"the weights in {self._checkpoint} are broken: {name} holds NaN or infinite numbers.",
                where=self._spec.title,
                remedy="Get them again.",
            )
