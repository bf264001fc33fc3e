"""Similarities and probabilities as arrays. NumPy only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from zsclip.unit_vectors import Doubles, Floats


def similarities(images: Floats | Doubles, classes: Floats) -> Doubles:
    """Cosines between unit vectors (n, d) and (labels, d): float64 (n, labels).

    In float64, so that what is printed does not depend on how many images are scored at once.
    """
    return images.astype(np.float64, copy=False) @ classes.astype(np.float64).T


def probabilities(
    similarity: NDArray[np.floating], logit_scale: float, logit_bias: float = 0.0, temperature: float = 1.0
) -> Doubles:
    """Softmax over the labels of `(logit_scale * similarity + logit_bias) / temperature`: float64 (n, labels)."""
    logits = logit_scale * similarity.astype(np.float64) + logit_bias
    with np.errstate(over="ignore"):  # a temperature next to 0 makes the losers -inf, which is right
        weights = np.exp((logits - logits.max(axis=-1, keepdims=True)) / temperature)
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True))


def independent_probabilities(logits: Doubles, temperature: float = 1.0) -> Doubles:
    """Sigmoid of `logits / temperature`, each label on its own, without overflow: float64, same shape."""
    return np.asarray(np.exp(-np.logaddexp(0.0, -logits / temperature)))
