"""What tensors are called in transformers' `CLIPModel` and `SiglipModel`, and in the modules of open_clip that they fit."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from zsclip.models.spec import Layout


class _Shaped(Protocol):
    @property
    def shape(self) -> Any: ...


Tensor = TypeVar("Tensor", bound=_Shaped)


@dataclass(frozen=True)
class Making(Generic[Tensor]):
    """What makes tensors of tensors: a matrix with its axes exchanged; some as one, and some rows of one, along the first
    axis; the same numbers in another shape."""

    transposed: Callable[[Tensor], Tensor]
    joined: Callable[[Sequence[Tensor]], Tensor]
    rows: Callable[[Tensor, int, int], Tensor]
    reshaped: Callable[[Tensor, tuple[int, ...]], Tensor]


# Not weights: numbers that older versions kept with them.
_IGNORED = re.compile(r".*\.position_ids$")
_CLIP = {
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.patch_embedding.weight": "visual.conv1.weight",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
}
_CLIP_MODULES = {  # of which each has a weight and a bias
    "vision_model.pre_layrnorm": "visual.ln_pre",
    "vision_model.post_layernorm": "visual.ln_post",
    "text_model.final_layer_norm": "ln_final",
}
_CLIP_TRANSPOSED = {"visual_projection.weight": "visual.proj", "text_projection.weight": "text_projection"}
_HEAD = "vision_model.head."  # SigLIP's pool of attention
_SIGLIP = {
    "vision_model.embeddings.position_embedding.weight": "visual.pos_embed",
    "text_model.embeddings.token_embedding.weight": "text.token_embedding.weight",
    "text_model.embeddings.position_embedding.weight": "text.positional_embedding",
    f"{_HEAD}probe": "visual.attn_pool.latent",
}
_SIGLIP_MODULES = {
    "vision_model.embeddings.patch_embedding": "visual.patch_embed.proj",
    "vision_model.post_layernorm": "visual.norm",
    f"{_HEAD}attention.out_proj": "visual.attn_pool.proj",
    f"{_HEAD}layernorm": "visual.attn_pool.norm",
    f"{_HEAD}mlp.fc1": "visual.attn_pool.mlp.fc1",
    f"{_HEAD}mlp.fc2": "visual.attn_pool.mlp.fc2",
    "text_model.final_layer_norm": "text.ln_final",
    "text_model.head": "text.text_projection",
}
# A block of either tower, but for its attention's inputs; of SigLIP's image tower, which has the names of timm.
_BLOCK = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}
_TIMM_BLOCK = {"layer_norm1": "norm1", "layer_norm2": "norm2", "self_attn.out_proj": "attn.proj"}
_INPUTS = tuple(f"self_attn.{letter}_proj" for letter in "qkv")


def renamed(tensors: Mapping[str, Tensor], layout: Layout, making: Making[Tensor]) -> dict[str, Tensor]:
    """The same weights under open_clip's names (`layout` is `clip` or `siglip`). A name that is not known stays, so that whoever
    knows what must be there complains of it."""
    own = {name: tensor for name, tensor in tensors.items() if not _IGNORED.match(name)}
    return _clip(own, making) if layout == "clip" else _siglip(own, making)


def _clip(tensors: dict[str, Tensor], making: Making[Tensor]) -> dict[str, Tensor]:
    found = _named(tensors, _CLIP, _CLIP_MODULES)
    for theirs, ours in _CLIP_TRANSPOSED.items():
        if theirs in found:
            found[ours] = making.transposed(found.pop(theirs))
    found = _blocks(
        found, "vision_model.encoder.layers.", "visual.transformer.resblocks.", _BLOCK, "attn.in_proj_{}", making
    )
    return _blocks(found, "text_model.encoder.layers.", "transformer.resblocks.", _BLOCK, "attn.in_proj_{}", making)


def _siglip(tensors: dict[str, Tensor], making: Making[Tensor]) -> dict[str, Tensor]:
    found = _named(tensors, _SIGLIP, _SIGLIP_MODULES)
    if (positions := found.get("visual.pos_embed")) is not None:
        found["visual.pos_embed"] = making.reshaped(positions, (1, *positions.shape))
    for ending in ("weight", "bias"):
        name = f"{_HEAD}attention.in_proj_{ending}"
        if name in found and found[name].shape:
            both = found.pop(name)
            width, rest = divmod(both.shape[0], 3)
            found[f"visual.attn_pool.q.{ending}"] = making.rows(both, 0, width)
            found[f"visual.attn_pool.kv.{ending}"] = making.rows(both, width, 3 * width + rest)
    for name in ("logit_scale", "logit_bias"):
        if name in found:
            found[name] = making.reshaped(found[name], ())
    found = _blocks(found, "vision_model.encoder.layers.", "visual.blocks.", _TIMM_BLOCK, "attn.qkv.{}", making)
    return _blocks(
        found, "text_model.encoder.layers.", "text.transformer.resblocks.", _BLOCK, "attn.in_proj_{}", making
    )


def _named(tensors: Mapping[str, Tensor], names: Mapping[str, str], modules: Mapping[str, str]) -> dict[str, Tensor]:
    found = {}
    for name, tensor in tensors.items():
        module, _, ending = name.rpartition(".")
        found[f"{modules[module]}.{ending}" if module in modules else names.get(name, name)] = tensor
    return found


def _blocks(
    tensors: Mapping[str, Tensor],
    theirs: str,
    ours: str,
    names: Mapping[str, str],
    joined: str,
    making: Making[Tensor],
) -> dict[str, Tensor]:
    """A tower's blocks; the projections to queries, keys and values become one (`joined`)."""
    found: dict[str, Tensor] = {}
    parts: dict[tuple[str, str], dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if not name.startswith(theirs):
            found[name] = tensor
            continue
        number, _, rest = name.removeprefix(theirs).partition(".")
        module, _, ending = rest.rpartition(".")
        if module in _INPUTS:
            parts.setdefault((number, ending), {})[module] = tensor
        else:
            found[f"{ours}{number}.{names.get(module, module)}.{ending}"] = tensor
    for (number, ending), three in parts.items():
        if three.keys() == set(_INPUTS):
            found[f"{ours}{number}.{joined.format(ending)}"] = making.joined([three[name] for name in _INPUTS])
        else:
            found |= {f"{theirs}{number}.{module}.{ending}": tensor for module, tensor in three.items()}
    return found
