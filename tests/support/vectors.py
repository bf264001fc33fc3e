"""Unit vectors to fill a store with."""

from __future__ import annotations

import numpy as np

from zsclip.store.records import text_digest
from zsclip.unit_vectors import Embedding, Quality


def vector(seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).standard_normal(32).astype(np.float32)
    return values / np.linalg.norm(values)


def some(count: int, quality: Quality = Quality.EXACT) -> dict[bytes, Embedding]:
    return {text_digest(f"text {n}"): Embedding(vector(n), quality) for n in range(count)}
