"""Unit vectors, which everything here is made of: normalised, averaged, and with how one was made. NumPy only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float32]
Doubles: TypeAlias = NDArray[np.float64]


def normalise(vectors: Floats) -> Floats:
    """Rows divided by their length: float32 (n, d)."""
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True), np.float32)


def are_units(vectors: Floats) -> NDArray[np.bool_]:
    """Which rows (n, d) are of length 1, as far as half precision tells; one with NaN or infinity is not: bool (n,)."""
    with np.errstate(all="ignore"):
        return np.asarray(np.abs(np.einsum("nd,nd->n", vectors, vectors) - 1) < 1e-2)


def unit_mean(vectors: Floats, weights: Sequence[float] | None = None) -> Floats:
    """The mean of unit vectors (n, d), weighted if there are weights (n,), scaled to length 1: float32 (d,)."""
    if weights is None or len(set(weights)) == 1:  # equal weights give the same bits as none
        return normalise(vectors.mean(axis=0, dtype=np.float64))
    return normalise(np.average(vectors.astype(np.float64), axis=0, weights=weights))


class Quality(IntEnum):
    """How good a vector is, the lowest first. The store keeps these numbers."""

    INT8 = 0  # computed in int8 where that is most of the work
    HALF = 1  # computed in half precision
    REDUCED = 2  # computed in fp32, of an image decoded at a reduced scale
    EXACT = 3  # computed in fp32, of a text or of an image decoded in full

    @classmethod
    def of(cls, precision: str, *, reduced: bool = False) -> Quality:
        """What a model gives that computes in fp32, bf16, fp16 or int8, of an image decoded in full or `reduced`."""
        if precision == "fp32":
            return cls.REDUCED if reduced else cls.EXACT
        return cls.INT8 if precision == "int8" else cls.HALF


@dataclass(frozen=True)
class Embedding:
    """One unit vector, float32 (d,), and how good it is. `cut` is, of a text, the end that the model does not read."""

    vector: Floats
    quality: Quality = Quality.EXACT
    cut: str = ""

    @property
    def exact(self) -> bool:
        """Whether it is what open_clip computes: in fp32, of a text or of an image decoded in full."""
        return self.quality is Quality.EXACT

    def as_stored(self) -> Embedding:
        """What the store gives back for it. Results come from that also where nothing is stored, so that a first and a
        second run print the same."""
        if self.exact:
            return self
        return replace(self, vector=normalise(self.vector.astype(np.float16).astype(np.float32)))
