"""Weights for images of another size, or texts of another length, are told apart before they are loaded.

open_clip would interpolate their positional embeddings without a word, and the vectors would be of no model that anybody trained.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import open_clip
from safetensors import safe_open

from zsclip.errors import ModelError
from zsclip.models import ModelSpec

# What the positional embeddings are called: in open_clip's modules, then in files that open_clip renames when it loads them.
_IMAGE = (
    "visual.positional_embedding", "visual.attnpool.positional_embedding", "visual.pos_embed", "visual.trunk.pos_embed",
)  # fmt: skip
_TEXT = ("positional_embedding", "text.positional_embedding", "text_encoder.positional_embedding.pos_embed.pos_embed")

_Shape = tuple[int, ...]


def shapes(checkpoint: Path) -> dict[str, _Shape]:
    """The shapes of the tensors in a file, without reading their numbers; raises as loading it would."""
    if checkpoint.suffix == ".safetensors":
        with safe_open(checkpoint, "pt") as file:
            names = (name for name in file.keys() if name.endswith(("embedding", "pos_embed")))  # noqa: SIM118  (no mapping)
            found = {name: tuple(file.get_slice(name).get_shape()) for name in names}
    else:
        state = open_clip.factory.load_state_dict(str(checkpoint), device="meta", weights_only=True)
        found = {name: tuple(tensor.shape) for name, tensor in state.items() if hasattr(tensor, "shape")}
    return {name.removeprefix("module."): shape for name, shape in found.items()}


def require_same(spec: ModelSpec, checkpoint: Path, model: Any, found: Mapping[str, _Shape]) -> None:
    """Raise `ModelError` if weights of these shapes are for other images or longer or shorter texts than `model`."""
    own = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    for names, say in ((_IMAGE, _pixels), (_TEXT, _tokens)):
        ours, theirs = _positions(own, names), _positions(found, names)
        if ours and theirs and ours != theirs:
            they, wanted, key = say(spec, ours, theirs)
            raise ModelError(
                f"the weights in {checkpoint} are for {they}, but the configuration says {wanted}.",
                where=spec.title,
                remedy=f"Use the architecture that they were trained as, or write their own `{key}` into the configuration; "
                f"zsclip does not stretch weights.",
            )


def _positions(shapes: Mapping[str, _Shape], names: tuple[str, ...]) -> int | None:
    """How many positions there are."""
    shape = next((shapes[name] for name in names if name in shapes), ())
    return shape[-2] if len(shape) > 1 else None


def _pixels(spec: ModelSpec, ours: int, theirs: int) -> tuple[str, str, str]:
    height, width = spec.preprocessing.size
    wanted = f"{width} x {height} pixels"
    for beside in (0, 1):  # tokens that are no patch of the image
        our_side, their_side = math.isqrt(ours - beside), math.isqrt(theirs - beside)
        if our_side**2 == ours - beside and their_side**2 == theirs - beside:
            side = their_side * (height // our_side)
            return f"images of {side} x {side} pixels", wanted, "image_size"
    return f"images of {theirs:,} patches", f"{wanted} ({ours:,} patches)", "image_size"


def _tokens(spec: ModelSpec, ours: int, theirs: int) -> tuple[str, str, str]:
    return f"texts of {theirs - ours + spec.context_length} tokens", f"{spec.context_length} tokens", "context_length"
