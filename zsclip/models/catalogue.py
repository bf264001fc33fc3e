"""Every architecture and tag that open_clip knows, with what can be told of them without building or fetching any."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

from zsclip.models import open_clip_data, published
from zsclip.models.files import is_complete
from zsclip.models.resolution import DEMO, default_tag, from_tag, resolve


@dataclass(frozen=True)
class Entry:
    """An architecture with one of its tags (None if it has no published weights), or the demo model.

    `size` in pixels (height, width). `on_disk`: weights, tokenizer and all are on this machine. `parameters` of both towers,
    `image_flops` floating-point operations for one picture; None: an architecture that is newer than the tables.
    """

    architecture: str
    tag: str | None
    is_default: bool
    on_disk: bool
    size: tuple[int, int]
    parameters: int | None
    image_flops: int | None
    accuracy: published.Accuracy | None = None
    licence: str | None = None
    note: str = ""


# What a catalogue can be sorted by: the best first, the smallest first; what is not known comes last.
ORDERS: Mapping[str, Callable[[Entry], Any]] = {
    "name": lambda entry: entry.architecture,
    "accuracy": lambda entry: -entry.accuracy.percent if entry.accuracy else 0.0,
    "parameters": lambda entry: entry.parameters or float("inf"),
}


def catalogue(wanted: str = "") -> Iterator[Entry]:
    """All of them, sorted by architecture; with `wanted` those in whose names all of its words occur."""
    words = wanted.lower().split()
    for architecture in sorted((*open_clip_data.architectures(), DEMO)):
        for tag in open_clip_data.pretrained_tags(architecture) or (None,):
            if all(word in f"{architecture} {tag or ''}".lower() for word in words):
                yield _demo() if architecture == DEMO else _entry(architecture, tag)


def _entry(architecture: str, tag: str | None) -> Entry:
    config = open_clip_data.model_config(architecture) or {}
    size = config["vision_cfg"].get("image_size", 224)
    spec = from_tag(architecture, tag) if tag else None
    return Entry(
        architecture,
        tag,
        tag is not None and tag == default_tag(architecture),
        spec is not None and is_complete(spec),
        (size, size) if isinstance(size, int) else (size[0], size[-1]),
        parameter_counts().get(architecture),
        operation_counts().get(architecture),
        published.accuracy(spec) if spec else None,
        published.licence(spec) if spec else None,
    )


def _demo() -> Entry:
    spec = resolve(DEMO)
    counts = parameter_counts().get(DEMO), operation_counts().get(DEMO)
    licence = published.licence(spec)
    return Entry(DEMO, None, False, True, spec.preprocessing.size, *counts, None, licence, "knows only coloured shapes")


def parameter_counts() -> Mapping[str, int]:
    """How many parameters each architecture has, both towers and the rest, as counted by `scripts/count_models.py`."""
    return _counts("parameters")


def operation_counts() -> Mapping[str, int]:
    """How many floating-point operations the image tower of each architecture needs for one picture, from the same script."""
    return _counts("image_flops")


@cache
def _counts(what: str) -> Mapping[str, int]:
    document = json.loads((Path(__file__).parent / "counts.json").read_text(encoding="utf-8"))
    return cast("Mapping[str, int]", document[what])
