"""What to search for: texts and pictures, with weights."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zsclip.errors import InputError

if TYPE_CHECKING:
    from zsclip.images.files import ImageSource


@dataclass(frozen=True)
class Query:
    """What to search for: texts and images, each with a weight; a negative one keeps away."""

    texts: tuple[tuple[str, float], ...] = ()
    images: tuple[tuple[ImageSource, float], ...] = ()

    def __post_init__(self) -> None:
        if not self.texts and not self.images:
            raise InputError("Nothing to search for.", remedy="Give `text='a sunset over mountains'` or `image=FILE`.")

    @classmethod
    def parse(cls, texts: Iterable[str], images: Iterable[str] = (), minus: Iterable[str] = ()) -> Query:
        """From texts and paths as on the command line, where `2:` in front is a weight. Raises `InputError`."""
        away = [(text, -weight) for text, weight in map(_weighted, minus)]
        return cls((*map(_weighted, texts), *away), tuple(map(_weighted, images)))


def _weighted(text: str) -> tuple[str, float]:
    match = re.fullmatch(r"(-?(?:\d+(?:\.\d*)?|\.\d+)):(.+)", text, re.DOTALL)
    value, weight = (match[2].strip(), float(match[1])) if match else (text.strip(), 1.0)
    if weight < 0:
        raise InputError(f"{text!r}: a weight must be above 0.", remedy="What to keep away from is given with `minus`.")
    if not value or not 1e-6 < weight < 1e6:
        raise InputError(f"{text!r} is no text or file to search for, with a weight between 0.000001 and 1000000.")
    return value, weight
