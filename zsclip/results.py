"""What zsclip yields: plain, frozen data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Prediction:
    """One label for one image.

    `probability` is the softmax over all labels of `(logit_scale * similarity + logit_bias) / temperature`;
    `similarity` the cosine between the image's embedding and the label's class vector.
    """

    label: str
    probability: float
    similarity: float


@dataclass(frozen=True, slots=True)
class ImageResult:
    """All that is said about one image: its best predictions, best first, or the error that kept it from being read."""

    path: str
    predictions: tuple[Prediction, ...] = ()
    error: str | None = None

    @property
    def label(self) -> str | None:
        """The best label; None where the image could not be read."""
        return self.predictions[0].label if self.predictions else None
