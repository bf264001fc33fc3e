"""What zsclip yields: plain, frozen data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Prediction(NamedTuple):
    """One label for one image.

    `probability` is the softmax over all labels of `(logit_scale * similarity + logit_bias) / temperature`;
    `similarity` the cosine between the image's embedding and the label's class vector.
    """

    label: str
    probability: float
    similarity: float


@dataclass(frozen=True, slots=True)
class Match:
    """One image and how similar it is to what was looked for, or the error that kept it from being read."""

    path: str
    similarity: float | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What a search found, most similar first, and the images that could not be read."""

    matches: tuple[Match, ...]
    unreadable: tuple[Match, ...] = ()


@dataclass(frozen=True, slots=True)
class ImageResult:
    """All that is said about one image: its best predictions, best first, or the error that kept it from being read.

    `accepted` are the labels that hold: the decision, or with independent labels all that are likely enough.
    """

    path: str
    predictions: tuple[Prediction, ...] = ()
    error: str | None = None
    decision: str | None = None
    accepted: tuple[str, ...] = ()

    @property
    def label(self) -> str | None:
        """The decision: the best label, or the unknown label; None where the image could not be read."""
        return self.decision or self.best_label

    @property
    def best_label(self) -> str | None:
        """The best label, whether it was decided for or not; None where the image could not be read."""
        return self.predictions[0].label if self.predictions else None
