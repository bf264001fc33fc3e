"""Weights named as in transformers' `CLIPModel` and `SiglipModel`, for the modules of open_clip that they fit."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Any

import open_clip
import torch
from timm.models.vision_transformer import VisionTransformer

_Weights = dict[str, torch.Tensor]
# Not weights: numbers that older versions kept with them.
_IGNORED = re.compile(r".*\.position_ids$")
# A block of either tower, but for its attention's inputs.
_BLOCK = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}
_TIMM_BLOCK = {"layer_norm1": "norm1", "layer_norm2": "norm2", "self_attn.out_proj": "attn.proj"}


def renamed(state: Mapping[str, torch.Tensor], layout: str) -> _Weights:
    """The same weights under open_clip's names. A name that is not known stays, so that strict loading complains of it."""
    weights = {name: tensor for name, tensor in state.items() if not _IGNORED.match(name)}
    return _clip(weights) if layout == "clip" else _siglip(weights)


def _clip(weights: _Weights) -> _Weights:
    names = {
        "vision_model.embeddings.class_embedding": "visual.class_embedding",
        "vision_model.embeddings.patch_embedding.weight": "visual.conv1.weight",
        "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
        "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
        "text_model.embeddings.position_embedding.weight": "positional_embedding",
    }
    for ending in ("weight", "bias"):
        names[f"vision_model.pre_layrnorm.{ending}"] = f"visual.ln_pre.{ending}"
        names[f"vision_model.post_layernorm.{ending}"] = f"visual.ln_post.{ending}"
        names[f"text_model.final_layer_norm.{ending}"] = f"ln_final.{ending}"
    found = {names.get(name, name): tensor for name, tensor in weights.items()}
    for theirs, ours in (("visual_projection.weight", "visual.proj"), ("text_projection.weight", "text_projection")):
        if theirs in found:
            found[ours] = found.pop(theirs).T
    found = _blocks(found, "vision_model.encoder.layers.", "visual.transformer.resblocks.", _BLOCK, "attn.in_proj_{}")
    return _blocks(found, "text_model.encoder.layers.", "transformer.resblocks.", _BLOCK, "attn.in_proj_{}")


def _siglip(weights: _Weights) -> _Weights:
    head = "vision_model.head."
    names = {
        "vision_model.embeddings.position_embedding.weight": "visual.pos_embed",
        "text_model.embeddings.token_embedding.weight": "text.token_embedding.weight",
        "text_model.embeddings.position_embedding.weight": "text.positional_embedding",
        f"{head}probe": "visual.attn_pool.latent",
    }
    for ending in ("weight", "bias"):
        names |= {
            f"vision_model.embeddings.patch_embedding.{ending}": f"visual.patch_embed.proj.{ending}",
            f"vision_model.post_layernorm.{ending}": f"visual.norm.{ending}",
            f"{head}attention.out_proj.{ending}": f"visual.attn_pool.proj.{ending}",
            f"{head}layernorm.{ending}": f"visual.attn_pool.norm.{ending}",
            f"{head}mlp.fc1.{ending}": f"visual.attn_pool.mlp.fc1.{ending}",
            f"{head}mlp.fc2.{ending}": f"visual.attn_pool.mlp.fc2.{ending}",
            f"text_model.final_layer_norm.{ending}": f"text.ln_final.{ending}",
            f"text_model.head.{ending}": f"text.text_projection.{ending}",
        }
    found = {names.get(name, name): tensor for name, tensor in weights.items()}
    if (positions := found.get("visual.pos_embed")) is not None:
        found["visual.pos_embed"] = positions[None]
    for ending in ("weight", "bias"):
        if (joined := found.pop(f"{head}attention.in_proj_{ending}", None)) is not None:
            width = len(joined) // 3
            found[f"visual.attn_pool.q.{ending}"] = joined[:width]
            found[f"visual.attn_pool.kv.{ending}"] = joined[width:]
    for name in ("logit_scale", "logit_bias"):
        if name in found:
            found[name] = found[name].reshape(())
    found = _blocks(found, "vision_model.encoder.layers.", "visual.blocks.", _TIMM_BLOCK, "attn.qkv.{}")
    return _blocks(found, "text_model.encoder.layers.", "text.transformer.resblocks.", _BLOCK, "attn.in_proj_{}")


def _blocks(weights: _Weights, theirs: str, ours: str, names: Mapping[str, str], joined: str) -> _Weights:
    """A tower's blocks; the projections to queries, keys and values become one (`joined`)."""
    found: _Weights = {}
    parts: dict[str, _Weights] = {}
    for name, tensor in weights.items():
        if not name.startswith(theirs):
            found[name] = tensor
            continue
        number, _, rest = name.removeprefix(theirs).partition(".")
        module, _, ending = rest.rpartition(".")
        if module in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"):
            parts.setdefault(f"{ours}{number}.{joined.format(ending)}", {})[module] = tensor
        else:
            found[f"{ours}{number}.{names.get(module, module)}.{ending}"] = tensor
    for name, three in parts.items():
        found[name] = torch.cat([three[f"self_attn.{letter}_proj"] for letter in "qkv"])
    return found


def siglip_module(config: Mapping[str, Any], cast_dtype: torch.dtype | None) -> Any:
    """SigLIP of any size: open_clip's text tower, and timm's vision transformer, which open_clip itself can only build by
    the names of published sizes."""
    vision = config["vision_cfg"]
    smallest = {"layers": 1, "width": 64, "image_size": 16, "patch_size": 16}  # is replaced at once
    model = open_clip.CustomTextCLIP(
        config["embed_dim"], smallest, dict(config["text_cfg"]), config["quick_gelu"],
        init_logit_bias=config["init_logit_bias"], cast_dtype=cast_dtype,
    )  # fmt: skip
    activation = open_clip.transformer.QuickGELU if config["quick_gelu"] else torch.nn.GELU
    model.visual = VisionTransformer(
        img_size=vision["image_size"],
        patch_size=vision["patch_size"],
        embed_dim=vision["width"],
        depth=vision["layers"],
        num_heads=vision["heads"],
        mlp_ratio=vision["mlp_ratio"],
        num_classes=0,
        class_token=False,
        global_pool="map",
        act_layer=partial(activation, **(vision["act_kwargs"] or {})),
        norm_layer=partial(torch.nn.LayerNorm, **vision["norm_kwargs"]),
    )
    return model
