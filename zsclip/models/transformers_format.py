"""Models in transformers' own format (`CLIPModel`, `SiglipModel`), as the architecture of open_clip that they are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast

from zsclip.errors import ModelError
from zsclip.images.preprocessing import Preprocessing
from zsclip.models.configuration import read_json

CONFIG_NAME = "config.json"
IMAGE_CONFIG_NAMES = ("preprocessor_config.json", "processor_config.json")
# Large models are in several files, which an index names.
WEIGHT_NAMES = (
    "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json",
)  # fmt: skip

# What a configuration leaves out is the default of transformers' class.
_DEFAULTS: dict[str, dict[str, dict[str, Any]]] = {
    "clip": {
        "text_config": {
            "vocab_size": 49408, "hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 12,
            "num_attention_heads": 8, "max_position_embeddings": 77, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5,
            "eos_token_id": 49407,
        },
        "vision_config": {
            "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
            "image_size": 224, "patch_size": 32, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5, "num_channels": 3,
        },
    },
    "siglip": {
        "text_config": {
            "vocab_size": 32000, "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12,
            "num_attention_heads": 12, "max_position_embeddings": 64, "hidden_act": "gelu_pytorch_tanh",
            "layer_norm_eps": 1e-6,
        },
        "vision_config": {
            "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
            "image_size": 224, "patch_size": 16, "hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-6,
            "num_channels": 3,
        },
    },
}  # fmt: skip
_ACTIVATIONS: dict[str, dict[str, Any] | None] = {
    "quick_gelu": None,
    "gelu": None,
    "gelu_new": {"approximate": "tanh"},
    "gelu_pytorch_tanh": {"approximate": "tanh"},
}


def read_model(name: str, path: Path) -> tuple[Literal["clip", "siglip"], dict[str, Any]]:
    """The layout of the weights, and the configuration in open_clip's terms, out of a `config.json`; raises `ModelError`."""
    document = read_json(name, path)
    kind = document.get("model_type")
    if kind not in _DEFAULTS:
        raise ModelError(
            f"describes a model of the type {kind!r:.40}. Of transformers' own format zsclip reads clip (CLIPModel) and "
            f"siglip (SiglipModel); else a folder needs open_clip's open_clip_config.json.",
            where=str(path),
        )
    towers = {}
    for key, defaults in _DEFAULTS[kind].items():
        given = {**_mapping(path, document, key), **_mapping(path, document, f"{key}_dict")}
        towers[key] = defaults | {one: value for one, value in given.items() if value is not None}
        for one, default in defaults.items():
            value = towers[key][one]
            if isinstance(value, bool) or not isinstance(
                value, (int, float) if isinstance(default, float) else type(default)
            ):
                raise ModelError(
                    f"`{one}` of `{key}` must be a {type(default).__name__}, not {value!r:.80}.", where=str(path)
                )
            if not isinstance(value, str) and value <= 0:
                raise ModelError(f"`{one}` of `{key}` must be above 0, not {value!r:.80}.", where=str(path))
        if towers[key]["hidden_size"] % towers[key]["num_attention_heads"]:
            raise ModelError(f"`hidden_size` of `{key}` is no multiple of `num_attention_heads`.", where=str(path))
    text, vision = towers["text_config"], towers["vision_config"]
    for activation in (text["hidden_act"], vision["hidden_act"]):
        if activation not in _ACTIVATIONS:
            raise ModelError(
                f"the activation {activation!r:.40} is none of {', '.join(_ACTIVATIONS)}.", where=str(path)
            )
    if vision["num_channels"] != 3:
        raise ModelError(f"the model wants images of {vision['num_channels']} channels, not 3.", where=str(path))
    quick = {tower["hidden_act"] == "quick_gelu" for tower in (text, vision)}
    if len(quick) == 2:
        raise ModelError(
            "one tower has QuickGELU and the other has not, which open_clip's architectures cannot.",
            where=str(path),
        )
    if kind == "clip":
        config = _clip(path, document.get("projection_dim") or 512, text, vision)
    else:
        config = _siglip(path, text, vision)
    return cast("Literal['clip', 'siglip']", kind), {**config, "quick_gelu": quick.pop()}


def _clip(path: Path, dimension: Any, text: dict[str, Any], vision: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(dimension, int):
        raise ModelError(f"`projection_dim` must be a number, not {dimension!r:.80}.", where=str(path))
    # transformers takes an end token of 2, which older configurations have, for "the highest token there is".
    end = text["eos_token_id"]
    pool = {"pool_type": "argmax"} if end == 2 else {"pool_type": "eos", "eos_id": end}
    return {
        "embed_dim": dimension,
        "vision_cfg": {
            **_tower(vision),
            "head_width": vision["hidden_size"] // vision["num_attention_heads"],
            "patch_size": vision["patch_size"],
            "image_size": vision["image_size"],
        },
        "text_cfg": {**_text(text), **pool},
    }


def _siglip(path: Path, text: dict[str, Any], vision: dict[str, Any]) -> dict[str, Any]:
    dimension = text.get("projection_size") or text["hidden_size"]
    if vision.get("vision_use_head") is False or dimension != vision["hidden_size"]:
        raise ModelError(
            "its images and texts have no vectors of the same size; this is no model for comparing them.",
            where=str(path),
        )
    return {
        "embed_dim": dimension,
        "init_logit_bias": 0.0,
        "custom_text": True,
        "vision_cfg": {
            **_tower(vision),
            "heads": vision["num_attention_heads"],
            "patch_size": vision["patch_size"],
            "image_size": vision["image_size"],
        },
        "text_cfg": {**_text(text), "no_causal_mask": True, "proj_bias": True, "pool_type": "last"},
    }


def _text(text: dict[str, Any]) -> dict[str, Any]:
    return {
        **_tower(text),
        "heads": text["num_attention_heads"],
        "vocab_size": text["vocab_size"],
        "context_length": text["max_position_embeddings"],
    }


def _tower(tower: dict[str, Any]) -> dict[str, Any]:
    width, hidden = tower["hidden_size"], tower["intermediate_size"]
    # open_clip multiplies and cuts off what is behind the point: half a unit more keeps the number.
    ratio = hidden / width if hidden % width == 0 else (hidden + 0.5) / width
    return {
        "layers": tower["num_hidden_layers"],
        "width": width,
        "mlp_ratio": ratio,
        "norm_kwargs": {"eps": tower["layer_norm_eps"]},
        "act_kwargs": _ACTIVATIONS[tower["hidden_act"]],
    }


def _mapping(path: Path, document: dict[str, Any], key: str) -> dict[str, Any]:
    value = document.get(key)
    if value is not None and not isinstance(value, dict):
        raise ModelError(f"`{key}` must be a mapping, not {value!r:.80}.", where=str(path))
    return value or {}


def read_preprocessing(name: str, path: Path, config: Mapping[str, Any]) -> Preprocessing:
    """What an image processor's configuration says, in open_clip's terms; raises `ModelError` where they lack a word for it."""
    document = read_json(name, path)
    details = document.get("image_processor") if path.name == "processor_config.json" else document
    if not isinstance(details, dict):
        raise ModelError("says nothing of images.", where=str(path))
    size = (config["vision_cfg"]["image_size"],) * 2
    for key in ("do_resize", "do_rescale", "do_normalize"):
        if details.get(key) is False:
            raise ModelError(
                f"`{key}` is false, but zsclip's images are resized, in 0 to 1 and normalised.", where=str(path)
            )
    if abs(float(details.get("rescale_factor", 1 / 255)) - 1 / 255) > 1e-6:
        raise ModelError(f"`rescale_factor` must be 1/255, not {details['rescale_factor']!r:.40}.", where=str(path))
    mode = _resize_mode(path, details, size)
    resample = details.get("resample", 3)
    if resample not in (2, 3):
        raise ModelError(f"`resample` must be 2 (bilinear) or 3 (bicubic), not {resample!r:.40}.", where=str(path))
    return Preprocessing(
        size=size,
        mean=_colour(path, details, "image_mean"),
        std=_colour(path, details, "image_std"),
        resize_mode=mode,
        interpolation="bilinear" if resample == 2 else "bicubic",
        crop="floor" if mode == "shortest" else "even",
    )


def _resize_mode(path: Path, details: dict[str, Any], size: tuple[int, int]) -> Literal["shortest", "squash"]:
    def sides(value: Any) -> Any:
        if isinstance(value, dict) and set(value) >= {"height", "width"}:
            return (value["height"], value["width"])
        return value.get("shortest_edge") if isinstance(value, dict) else value

    resize, crop = sides(details.get("size")), sides(details.get("crop_size", details.get("size")))
    crops = details.get("do_center_crop")
    if crops is None:
        crops = str(details.get("image_processor_type") or details.get("feature_extractor_type")).startswith("CLIP")
    if not crops and resize == size:
        return "squash"
    # A bare number is the shortest side where there is a crop.
    if crops and resize == size[0] and crop in (size, size[0]):
        return "shortest"
    raise ModelError(
        f"images of {size[1]} x {size[0]} pixels are wanted, but `size` {details.get('size')!r:.60}, `crop_size` "
        f"{details.get('crop_size')!r:.60} and `do_center_crop` {details.get('do_center_crop')!r:.20} do not lead there in a "
        f"way that zsclip knows (the shortest side and a crop, or both sides at once).",
        where=str(path),
    )


def _colour(path: Path, details: dict[str, Any], key: str) -> tuple[float, float, float]:
    value = details.get(key)
    if not (isinstance(value, list) and len(value) == 3 and all(isinstance(one, (int, float)) for one in value)):
        raise ModelError(f"`{key}` must be three numbers, not {value!r:.80}.", where=str(path))
    return float(value[0]), float(value[1]), float(value[2])
