"""What open_clip knows, read from its files without importing it (which takes seconds, for torch comes along).

Its model configurations are JSON files. Its templates, ImageNet names and pretrained tags sit in modules that need nothing
of the package, so they are loaded as modules of an empty package that only shares open_clip's folder.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from zsclip.errors import ModelError
from zsclip.models.lean_imports import import_without

_ALIAS = "_zsclip_open_clip"


@cache
def folder() -> Path:
    """Where open_clip is installed; raises `ModelError` if it is not."""
    spec = find_spec("open_clip")
    if spec is None or spec.origin is None:
        raise ModelError("open_clip is not installed. Install it with: pip install open_clip_torch")
    return Path(spec.origin).parent


@cache
def model_config(architecture: str) -> Mapping[str, Any] | None:
    """open_clip's configuration of an architecture (`embed_dim`, `vision_cfg`, `text_cfg`, …), None if it has none."""
    path = folder() / "model_configs" / f"{architecture}.json"
    if architecture not in architectures():
        return None
    return cast("Mapping[str, Any]", json.loads(path.read_text(encoding="utf-8")))


@cache
def architectures() -> tuple[str, ...]:
    """The names of all architectures, sorted."""
    return tuple(sorted(path.stem for path in (folder() / "model_configs").glob("*.json")))


def pretrained_tags(architecture: str) -> Mapping[str, Mapping[str, Any]]:
    """The pretrained tags of an architecture, each with where its weights are and its preprocessing."""
    return cast("Mapping[str, Mapping[str, Any]]", _module("pretrained")._PRETRAINED.get(architecture, {}))


def clean_tag(tag: str) -> str:
    """A tag as open_clip spells it: `laion2b-s34b-b79k` is `laion2b_s34b_b79k`."""
    return cast("str", _module("pretrained")._clean_tag(tag))


def templates(name: str) -> tuple[str, ...]:
    """`openai-imagenet` (80 templates) or `openai-simple` (7), with `<label>` where the class name goes."""
    attribute = {"openai-imagenet": "OPENAI_IMAGENET_TEMPLATES", "openai-simple": "SIMPLE_IMAGENET_TEMPLATES"}[name]
    return tuple(template("<label>") for template in getattr(_module("zero_shot_metadata"), attribute))


def imagenet_classes() -> tuple[str, ...]:
    """The 1,000 ImageNet class names in the order of their indices. Two of them stand for two classes each."""
    return tuple(_module("zero_shot_metadata").IMAGENET_CLASSNAMES)


@cache
def _module(name: str) -> ModuleType:
    if _ALIAS not in sys.modules:
        package = ModuleType(_ALIAS)
        package.__path__ = [str(folder())]
        sys.modules[_ALIAS] = package
    # `pretrained` looks whether they are there. The first brings PyTorch along, which takes seconds, the second takes 0.1 s.
    return import_without(f"{_ALIAS}.{name}", "safetensors.torch", "huggingface_hub")
