"""Scores from unit vectors: class vectors, similarities, probabilities, rankings. NumPy only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float32]


def normalise(vectors: Floats) -> Floats:
    """Rows divided by their length: float32 (n, d)."""
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True), np.float32)


def unit_mean(vectors: Floats) -> Floats:
    """The mean of unit vectors (n, d), scaled to length 1: float32 (d,)."""
    return normalise(vectors.mean(axis=0, dtype=np.float64))


def class_vectors(prompts: Floats, groups: Sequence[Sequence[Sequence[int]]]) -> Floats:
    """One unit vector per label: float32 (labels, d).

    `prompts` are the unit vectors of all texts, (n, d). `groups[label][member]` lists the rows of one name's texts. A
    name's vector is the unit mean of its prompts' (as in CLIP, Radford et al., 2021), a label's the unit mean of its
    names'.
    """
    return np.stack([unit_mean(np.stack([unit_mean(prompts[list(rows)]) for rows in members])) for members in groups])


def similarities(images: Floats, classes: Floats) -> NDArray[np.float64]:
    """Cosines between unit vectors (n, d) and (labels, d): float64 (n, labels).

    In float64, so that what is printed does not depend on how many images are scored at once.
    """
    return images.astype(np.float64) @ classes.astype(np.float64).T


def probabilities(
    similarity: NDArray[np.floating], logit_scale: float, logit_bias: float = 0.0, temperature: float = 1.0
) -> NDArray[np.float64]:
    """Softmax over the labels of `(logit_scale * similarity + logit_bias) / temperature`: float64 (n, labels)."""
    logits = (logit_scale * similarity.astype(np.float64) + logit_bias) / temperature
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True))


def ranking(probability: NDArray[np.float64], top_k: int) -> NDArray[np.intp]:
    """The `top_k` best labels of each row, best first, equals in the order of the labels: (n, top_k)."""
    return np.argsort(-probability, axis=-1, kind="stable")[:, :top_k]
