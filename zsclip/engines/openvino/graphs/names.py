"""What a file calls its tensors, and what open_clip's modules call them."""

from __future__ import annotations

from collections.abc import Mapping

from zsclip.engines.openvino.graphs import weights
from zsclip.engines.openvino.graphs.weights import Tensor
from zsclip.models import transformers_names
from zsclip.models.spec import ModelSpec

_MAKING = transformers_names.Making(weights.transposed, weights.joined, weights.rows, weights.reshaped)
_PARALLEL = "module."  # what PyTorch puts in front of all names where several devices trained a model
# The text tower of a model that was saved before its text tower was a module of its own.
_TEXT = ("text_projection", "positional_embedding", "token_embedding", "transformer", "ln_final")


def as_open_clip(tensors: Mapping[str, Tensor], spec: ModelSpec, text_prefix: str) -> dict[str, Tensor]:
    """The tensors of a model's file by the names of open_clip's modules; `text_prefix` is what its text tower's begin with.

    Raises `MismatchError` where tensors cannot be made of those that the file has.
    """
    if spec.layout != "open_clip":
        return transformers_names.renamed(tensors, spec.layout, _MAKING)
    if all(name.startswith(_PARALLEL) for name in tensors):
        tensors = {name.removeprefix(_PARALLEL): tensor for name, tensor in tensors.items()}
    if text_prefix and "text_projection" in tensors and "positional_embedding" in tensors:
        return {text_prefix + name if name.startswith(_TEXT) else name: one for name, one in tensors.items()}
    return dict(tensors)
