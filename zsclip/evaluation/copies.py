"""Images that are copies of one another, or nearly so, by their vectors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from zsclip.unit_vectors import Floats

SAME = 0.99999  # the cosine from which on two images are one: the same file's vectors differ by less, however they were computed
NEAR = 0.99  # and from which on they are told as nearly the same


def alike(vectors: Floats, others: Floats, least: float, block: int = 2048) -> NDArray[np.bool_]:
    """Which unit vectors (n, d) have a cosine of `least` or more to one of the others (m, d): bool (n,)."""
    parts = [vectors[start : start + block] for start in range(0, len(vectors), block)]
    found = [(part @ others.T >= least).any(axis=1) for part in parts]
    return np.concatenate(found) if found else np.zeros(0, bool)


def copies(vectors: Floats, least: float, block: int = 2048) -> list[tuple[int, int]]:
    """Pairs of unit vectors (n, d) whose cosine is `least` at least: the first one, and each later one that is like it."""
    pairs = list[tuple[int, int]]()
    for start in range(0, len(vectors), block):
        part = vectors[start : start + block]
        like = np.tril(part @ vectors[: start + len(part)].T >= least, start - 1)
        rows = np.flatnonzero(like.any(axis=1))
        pairs += [(int(like[row].argmax()), start + int(row)) for row in rows]
    return pairs
