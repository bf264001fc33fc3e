"""Every architecture and tag that open_clip knows, with what can be told of them without building or fetching any."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import cast

from zsclip.models import open_clip_data
from zsclip.models.files import is_complete
from zsclip.models.resolution import default_tag, from_tag


@dataclass(frozen=True)
class Entry:
    """An architecture with one of its tags (None if it has no published weights). Size in pixels (height, width).

    `on_disk`: weights, tokenizer and all are on this machine. `parameters` None: an architecture that is newer than the table.
    """

    architecture: str
    tag: str | None
    is_default: bool
    on_disk: bool
    size: tuple[int, int]
    parameters: int | None


def catalogue(wanted: str = "") -> Iterator[Entry]:
    """All of them, sorted by architecture; with `wanted` those in whose names all of its words occur."""
    words = wanted.lower().split()
    for architecture in open_clip_data.architectures():
        config = open_clip_data.model_config(architecture) or {}
        size = config["vision_cfg"].get("image_size", 224)
        sides = (size, size) if isinstance(size, int) else (size[0], size[-1])
        for tag in open_clip_data.pretrained_tags(architecture) or (None,):
            if not all(word in f"{architecture} {tag or ''}".lower() for word in words):
                continue
            yield Entry(
                architecture,
                tag,
                tag is not None and tag == default_tag(architecture),
                tag is not None and is_complete(from_tag(architecture, tag)),
                sides,
                parameter_counts().get(architecture),
            )


@cache
def parameter_counts() -> Mapping[str, int]:
    """How many parameters each architecture has, both towers and the rest, as counted by `scripts/count_parameters.py`."""
    document = json.loads((Path(__file__).parent / "parameters.json").read_text(encoding="utf-8"))
    return cast("Mapping[str, int]", document["parameters"])
