"""Images that are copies of one another, or nearly so, by their vectors."""

from __future__ import annotations

import numpy as np

from zsclip.unit_vectors import Floats


def copies(vectors: Floats, least: float, block: int = 2048) -> list[tuple[int, int]]:
    """Pairs of unit vectors (n, d) whose cosine is `least` at least: the first one, and each later one that is like it."""
    pairs = list[tuple[int, int]]()
    for start in range(0, len(vectors), block):
        part = vectors[start : start + block]
        like = np.tril(part @ vectors[: start + len(part)].T >= least, start - 1)
        rows = np.flatnonzero(like.any(axis=1))
        pairs += [(int(like[row].argmax()), start + int(row)) for row in rows]
    return pairs
