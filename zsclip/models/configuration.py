"""open_clip's configuration files: read, checked, and freed of all that could run code or be taken for something else."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from zsclip.errors import ModelError
from zsclip.images.preprocessing import Preprocessing
from zsclip.models import hub
from zsclip.models.spec import Clean, TokenizerSpec

logger = logging.getLogger("zsclip")

CONFIG_NAME = "open_clip_config.json"
DEFAULT_CONTEXT_LENGTH = 77  # open_clip's
# Arguments for `AutoTokenizer.from_pretrained` that change tokens and cannot name code, files or addresses.
_HARMLESS = frozenset({
    "add_bos_token", "add_eos_token", "add_prefix_space", "additional_special_tokens", "bos_token", "clean_up_tokenization_spaces",
    "cls_token", "do_basic_tokenize", "do_lower_case", "eos_token", "extra_ids", "keep_accents", "legacy", "mask_token",
    "model_max_length", "pad_token", "padding_side", "remove_space", "sep_token", "split_special_tokens", "src_lang",
    "strip_accents", "tgt_lang", "tokenize_chinese_chars", "truncation_side", "unk_token", "use_fast",
})  # fmt: skip
_CLEANS = ("lower", "whitespace", "canonicalize")


def read_json(name: str, path: Path) -> dict[str, Any]:
    """A JSON file that holds a mapping; raises `ModelError`."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"there is no {path}.", where=name) from None
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"cannot be read as JSON ({error}).", where=str(path)) from None
    if not isinstance(document, dict):
        raise ModelError(f"must hold a mapping, not {type(document).__name__}.", where=str(path))
    return document


def read_configuration(name: str, path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The model's configuration and its preprocessing out of an `open_clip_config.json`; raises `ModelError`."""
    document = read_json(name, path)
    config, details = document.get("model_cfg"), document.get("preprocess_cfg") or {}
    if not isinstance(config, dict):
        raise ModelError("has no mapping `model_cfg`, so this is no configuration of open_clip.", where=str(path))
    if not isinstance(details, dict):
        raise ModelError(f"`preprocess_cfg` must be a mapping, not {details!r:.80}.", where=str(path))
    for key in ("vision_cfg", "text_cfg", "embed_dim"):
        if key not in config:
            raise ModelError(f"`model_cfg` has no `{key}`, so this is no open_clip model.", where=str(path))
    _check_types(path, config, details)
    return config, details


def preprocessing(config: Mapping[str, Any], details: Mapping[str, Any]) -> Preprocessing:
    """How the model wants its images, as its tag or its folder says (`details`)."""
    size = config["vision_cfg"].get("image_size", 224)
    height, width = (size, size) if isinstance(size, int) else (size[0], size[-1])
    default = Preprocessing()

    def triple(key: str, fallback: tuple[float, float, float]) -> tuple[float, float, float]:
        value = details.get(key) or fallback
        values = tuple(value) if isinstance(value, (list, tuple)) and len(value) == 3 else (_only(value),) * 3
        return cast("tuple[float, float, float]", tuple(float(v) for v in values))

    return Preprocessing(
        size=(int(height), int(width)),
        mean=triple("mean", default.mean),
        std=triple("std", default.std),
        resize_mode=details.get("resize_mode") or "shortest",
        # "random" is for training; open_clip's inference takes bicubic for it.
        interpolation="bilinear" if details.get("interpolation") == "bilinear" else "bicubic",
        fill_color=int(details.get("fill_color") or 0),
    )


def tokenizer(name: str, config: Mapping[str, Any], folder: Path | None = None) -> TokenizerSpec:
    """The tokenizer of a configuration. With `folder` its files are there, as open_clip has it for `local-dir:`.

    Arguments for the tokenizer that are not on the list of harmless ones are left out, with a warning. Raises `ModelError`.
    """
    text = config["text_cfg"]
    length = int(text.get("context_length") or DEFAULT_CONTEXT_LENGTH)
    given = dict(text.get("tokenizer_kwargs") or {})
    source = text.get("hf_tokenizer_name")
    if not source:
        if "siglip" in name.lower() and not name.startswith(("local-dir:", "hf-hub:")):
            raise ModelError(
                "its configuration names no tokenizer, and the CLIP tokenizer is not SigLIP's.", where=name
            )
        clean = _clean(name, given.pop("clean", "lower"))
        special = tuple(map(str, given.pop("additional_special_tokens", ()) or ()))
        _warn_of_left_out(name, given)
        return TokenizerSpec("clip", length, clean=clean, special_tokens=special)
    mode = text.get("tokenizer_mode") or ""
    if mode not in ("", "clips"):
        raise ModelError(f"there is no `tokenizer_mode` {mode!r:.80}; open_clip has clips.", where=name)
    clean = _clean(name, given.pop("clean", "whitespace"))
    strip, language = bool(given.pop("strip_sep_token", False)), given.pop("language", None)
    options = {key: value for key, value in given.items() if key in _HARMLESS and _is_plain(value)}
    _warn_of_left_out(name, given.keys() - options.keys())
    return TokenizerSpec(
        "hf", length, folder or str(source), clean, mode, strip, language and str(language), options=options
    )


def require_harmless(name: str, config: Mapping[str, Any]) -> None:
    """Raise `ModelError` for towers that would be fetched from an address or a file of the configuration's choice."""
    timm = config["vision_cfg"].get("timm_model_name")
    if timm and not re.fullmatch(r"[\w.]+", str(timm)):
        raise ModelError(f"`timm_model_name` must be one of timm's own names, not {timm!r:.80}.", where=name)
    for key in ("hf_model_name", "hf_tokenizer_name"):
        value = config["text_cfg"].get(key)
        if value and not hub.is_repository(value):
            raise ModelError(f"`{key}` must be a repository of the hub, not {value!r:.80}.", where=name)


def _clean(name: str, value: Any) -> Clean:
    if value not in _CLEANS:
        raise ModelError(
            f"`clean` of the tokenizer must be one of {', '.join(_CLEANS)}, not {value!r:.80}.", where=name
        )
    return cast("Clean", value)


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(isinstance(one, str) for one in value)
    return value is None or isinstance(value, (str, int, float))


def _warn_of_left_out(name: str, keys: Iterable[str]) -> None:
    if left_out := sorted(map(str, keys)):
        logger.warning(
            "%s: left out of its configuration: tokenizer_kwargs %s. Only what cannot run code or read other files is taken.",
            name,
            ", ".join(left_out),
        )


def _only(value: Any) -> Any:
    return value[0] if isinstance(value, (list, tuple)) else value


def _check_types(path: Path, config: Mapping[str, Any], details: Mapping[str, Any]) -> None:
    """Raise `ModelError` for values of a configuration file that could only fail later, or be taken for others."""

    def is_size(value: Any) -> bool:
        sides = value if isinstance(value, list) else [value]
        return len(sides) in (1, 2) and all(isinstance(side, int) and side > 0 for side in sides)

    def is_colour(value: Any) -> bool:
        parts = value if isinstance(value, list) else [value]
        return len(parts) in (1, 3) and all(isinstance(part, (int, float)) for part in parts)

    vision, text, fill = config["vision_cfg"], config["text_cfg"], details.get("fill_color")
    image_size = vision.get("image_size", 224) if isinstance(vision, dict) else None
    length, extra = (
        (text.get(key) for key in ("context_length", "tokenizer_kwargs")) if isinstance(text, dict) else (None, None)
    )
    checks = [
        ("vision_cfg", vision, isinstance(vision, dict), "a mapping"),
        ("text_cfg", text, isinstance(text, dict), "a mapping"),
        ("embed_dim", config["embed_dim"], isinstance(config["embed_dim"], int), "a number"),
        ("image_size", image_size, is_size(image_size), "one or two numbers"),
        ("context_length", length, length is None or (isinstance(length, int) and length > 2), "a number above 2"),
        ("fill_color", fill, fill is None or isinstance(fill, int), "a number"),
        ("tokenizer_kwargs", extra, extra is None or isinstance(extra, dict), "a mapping"),
    ]
    checks += [
        (key, details[key], is_colour(details[key]), "one or three numbers")
        for key in ("mean", "std")
        if details.get(key)
    ]
    known = {"resize_mode": ("shortest", "longest", "squash"), "interpolation": ("bicubic", "bilinear", "random")}
    checks += [
        (key, details[key], details[key] in values, f"one of {', '.join(values)}")
        for key, values in known.items()
        if details.get(key)
    ]
    for key, value, sound, should in checks:
        if not sound:
            raise ModelError(f"`{key}` must be {should}, not {value!r:.80}.", where=str(path))
