"""A model whose two towers are built from its weights' file."""

from __future__ import annotations

import math
from pathlib import Path

from zsclip.engines.openvino.graphs import architecture, text_transformer
from zsclip.engines.openvino.graphs.names import as_open_clip
from zsclip.engines.openvino.graphs.weights import MismatchError, Weights, mapped
from zsclip.models import weights as files
from zsclip.models.spec import ModelFacts, ModelSpec


class BuiltModel:
    """The towers' graphs, their constants in the mapped file, and what else is to be known of a model.

    It must live as long as its graphs and what is compiled of them, for it holds the file's memory.
    Raises `MismatchError` where the model is none of the architectures that are read here, or its file is not what they are made of.
    """

    def __init__(self, spec: ModelSpec, checkpoint: Path) -> None:
        shape = architecture.read(spec)
        if shape is None:
            raise MismatchError("its architecture is none that is built from its file")
        weights = Weights(as_open_clip(mapped(files.parts(checkpoint)), spec, shape.text_prefix))
        self.image = shape.image(weights.within("visual."), spec.preprocessing)
        self.text = text_transformer.graph(shape.text, weights.within(shape.text_prefix))
        bias = weights.number("logit_bias") if shape.has_bias and "logit_bias" in weights else 0.0
        scale = math.exp(weights.number("logit_scale"))
        for prefix in shape.unused:
            weights.leave(prefix)
        weights.require_all_taken()
        self.facts = ModelFacts(scale, bias, spec.embed_dim, spec.title)
        self.parameters = weights.count
        self.vocabulary = shape.text.vocabulary
        self._weights = weights
