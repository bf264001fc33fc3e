"""The one order of labels: by probability, of equals by similarity, of equals in the order of the labels. NumPy only.

Saturated probabilities are equal: those of all labels that an independent model is sure of are 1, and next to a temperature
of 0 those of all losers are 0.
"""

from __future__ import annotations

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
