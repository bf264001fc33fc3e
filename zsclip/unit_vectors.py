"""Unit vectors, which everything here is made of: normalised, averaged, and with how one was made. NumPy only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float32]
Doubles: TypeAlias = NDArray[np.float64]


def normalise(vectors: Floats) -> Floats:
    """Rows divided by their length: float32 (n, d)."""
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True), np.float32)


def unit_mean(vectors: Floats, weights: Sequence[float] | None = None) -> Floats:
    """The mean of unit vectors (n, d), weighted if there are weights (n,), scaled to length 1: float32 (d,)."""
    if weights is None or len(set(weights)) == 1:  # equal weights give the same bits as none
        return normalise(vectors.mean(axis=0, dtype=np.float64))
    return normalise(np.average(vectors.astype(np.float64), axis=0, weights=weights))


@dataclass(frozen=True)
class Embedding:
    """One unit vector, float32 (d,), as it was made: `exact`, or fast (half precision or reduced decoding).

    `cut` is, of a text, the end that the model's context did not hold ("" for a whole text); None for an image.
    """

    vector: Floats
    exact: bool = True
    cut: str | None = None

    def as_stored(self) -> Embedding:
        """What the store gives back for it. Results come from that also where nothing is stored, so that a first and a
        second run print the same."""
        return (
            self
            if self.exact
            else Embedding(normalise(self.vector.astype(np.float16).astype(np.float32)), False, self.cut)
        )
