"""Weights named as in transformers' `CLIPModel` and `SiglipModel`, for the modules of open_clip that they fit."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import open_clip
import torch
from timm.models.vision_transformer import VisionTransformer

from zsclip.models import transformers_names
from zsclip.models.spec import Layout
from zsclip.models.transformers_names import Making

_MAKING = Making[torch.Tensor](
    transposed=lambda one: one.T,
    joined=lambda some: torch.cat(list(some)),
    rows=lambda one, begin, end: one[begin:end],
    reshaped=lambda one, shape: one.reshape(shape),
)


def renamed(state: Mapping[str, torch.Tensor], layout: Layout) -> dict[str, torch.Tensor]:
    """The same weights under open_clip's names. A name that is not known stays, so that strict loading complains of it."""
    return transformers_names.renamed(state, layout, _MAKING)


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
