"""What zsclip yields: plain, frozen data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from zsclip.errors import ErrorKind


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
    """One image and how similar it is to what was looked for, or the error that kept it from being read.

    `time` is that of a pooled video's most similar frame, in seconds.
    """

    path: str
    similarity: float | None = None
    error: str | None = None
    error_kind: ErrorKind | None = None
    time: float | None = None


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What a search found, most similar first, and the images that could not be read."""

    matches: tuple[Match, ...]
    unreadable: tuple[Match, ...] = ()


@dataclass(frozen=True, slots=True)
class ImageResult:
    """Everything known about one image: its best predictions, best first, or the error that kept it from being read.

    `labels` are all labels that hold: the best one, or with independent labels every one that is likely enough; each is
    among the predictions.
    `abstained` says that the image got no label; what to call that is up to whoever writes the result. `error_kind`
    is the kind of the error where it is known, `time` that of the frame of a pooled video that is most like its best label, in
    seconds. Where labels stand in levels, `level` is the one decided on, from 1 at the top, `level_probability` the probability of the
    label there, and `decided` its name if it is not the best label's.
    """

    path: str
    predictions: tuple[Prediction, ...] = ()
    error: str | None = None
    error_kind: ErrorKind | None = None
    labels: tuple[str, ...] = ()
    abstained: bool = False
    level: int | None = None
    time: float | None = None
    decided: str | None = None
    level_probability: float | None = None

    @property
    def label(self) -> str | None:
        """The best label, or the one above it that was decided on; None for an abstention and for an image that could not be read."""
        return None if self.abstained else self.decided or self.best_label

    @property
    def best_label(self) -> str | None:
        """The best label, abstention or not; None for an image that could not be read."""
        return self.predictions[0].label if self.predictions else None
