"""The one order of labels: by probability, of equals by similarity, of equals in the order of the labels; and the images that
are most similar to something. NumPy only.

Saturated probabilities are equal: those of all labels that an independent model is sure of are 1, and next to a temperature
of 0 those of all losers are 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from zsclip.unit_vectors import Doubles


def ranking(probability: Doubles, similarity: Doubles, top_k: int) -> NDArray[np.intp]:
    """The `top_k` best labels of each image, best first, of arrays (n, labels): (n, top_k)."""
    return np.lexsort((-similarity, -probability), axis=-1)[:, :top_k]


def best(probability: Doubles, similarity: Doubles) -> NDArray[np.intp]:
    """The first of each image's ranking: (n,)."""
    is_most_probable = probability == probability.max(axis=1, keepdims=True)
    return np.asarray(np.where(is_most_probable, similarity, -np.inf).argmax(axis=1))


def rank_of(label: NDArray[np.integer], probability: Doubles, similarity: Doubles) -> NDArray[np.int64]:
    """The place of one label (n,) in each image's ranking, from 0: (n,)."""
    rows = np.arange(len(label))
    ahead = np.arange(probability.shape[1]) < label[:, None]
    for values in (similarity, probability):
        own = values[rows, label][:, None]
        ahead = (values > own) | ((values == own) & ahead)
    return np.asarray(ahead.sum(axis=1))


class Best:
    """The `top_k` most similar of all that is added (None: all), of those at least `least` similar; only these are sorted."""

    def __init__(self, top_k: int | None, least: float = -1.0) -> None:
        self._top_k = top_k
        self._least = least
        self._worst = -np.inf  # of `top_k` that are known
        self._paths: list[str] = []
        self._values: list[float] = []

    def add(self, paths: Sequence[str], similarity: Doubles) -> None:
        """Take more images, with their similarities (n,)."""
        places = np.flatnonzero((similarity >= self._least) & (similarity > self._worst)).tolist()
        self._paths += [paths[place] for place in places]
        self._values += similarity[places].tolist()
        if self._top_k is not None and len(self._paths) > 2 * self._top_k + 1000:  # not with each image
            self._sort()

    def ranked(self) -> Iterator[tuple[str, float]]:
        """The best with their similarities, the most similar first; equals in the order in which they came."""
        self._sort()
        return zip(self._paths, self._values, strict=True)

    def _sort(self) -> None:
        order = np.argsort(-np.array(self._values), kind="stable").tolist()[: self._top_k]
        self._paths = [self._paths[place] for place in order]
        self._values = [self._values[place] for place in order]
        if len(order) == self._top_k:
            self._worst = self._values[-1]
