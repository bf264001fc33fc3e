"""What others published of a model, each with its source (`published.json`): accuracy on ImageNet, licence of the weights."""

from __future__ import annotations

import json
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any, cast

from zsclip.models import hub
from zsclip.models.resolution import DEMO
from zsclip.models.spec import ModelSpec

# Licences that allow any use, for pay too.
PERMISSIVE = frozenset({"MIT", "Apache-2.0"})


@dataclass(frozen=True)
class Accuracy:
    """Zero-shot top-1 on ImageNet-1k in `percent`, as the table called `source` has it."""

    percent: float
    source: str


def accuracy(spec: ModelSpec) -> Accuracy | None:
    """The figure of an architecture with one of its tags, None where open_clip publishes none.

    open_clip lists many weights twice, with the activation they were trained with (`-quickgelu`) and without; zsclip runs
    them with it under both names, so it is that row's figure.
    """
    plain = spec.name.removesuffix("-quickgelu")
    names = (f"{plain}-quickgelu", plain) if spec.quick_gelu else (spec.name,)
    for source in _document()["accuracy"]["sources"]:
        for name in names:
            percent = source["figures"].get(name, {}).get(spec.pretrained)
            if percent is not None:
                return Accuracy(percent, source["name"])
    return None


def licence(spec: ModelSpec) -> str | None:
    """The licence of a tag's weights and of the demo model's, None where it is not known, as of other models on the hub."""
    if spec.name == DEMO:
        return "MIT"  # they were made here, and are under this repository's
    if not spec.pretrained:
        return None
    repository = "/".join(hub.split(spec.remote.get("hf_hub", ""))[0].split("/")[:2])
    for entry in _document()["licences"]:
        if any(fnmatchcase(repository, pattern) for pattern in entry["repositories"]):
            return cast("str", entry["licence"])
    return None


@cache
def _document() -> dict[str, Any]:
    return cast("dict[str, Any]", json.loads((Path(__file__).parent / "published.json").read_text(encoding="utf-8")))
