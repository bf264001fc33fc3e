"""Gaussian discriminant analysis of few examples, in closed form: means that start from the texts, one shrunk covariance. NumPy only.

Wang et al., "A Hard-to-Beat Baseline for Training-free CLIP-based Adaptation", ICLR 2024 (arXiv 2402.04087), blend such a classifier
with the zero-shot one. Here its means are also pulled towards where the texts expect them, which is what makes one or two examples a
label enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zsclip.unit_vectors import Doubles

# How many examples the expected mean counts as. With fewer than four, one example of each label could move it too far for its own noise,
# which examples held out do not show: the label that is asked for has none then.
STRENGTHS = (4.0, 16.0, np.inf)


@dataclass(frozen=True)
class Linear:
    """Scores of labels that are linear in an image's vector x (d,): `weights` (labels, d) times x plus `biases` (labels,)."""

    weights: Doubles
    biases: Doubles

    def __call__(self, vectors: NDArray[np.floating]) -> Doubles:
        """Scores of vectors (n, d): float64 (n, labels)."""
        return np.asarray(vectors.astype(np.float64) @ self.weights.T + self.biases)


@dataclass(frozen=True)
class SharedCovariance:
    """A covariance S that all labels share, shrunk: (1 - s) S + s tr(S)/d I. S is held as `axes` (rank, d) and `variances` (rank,)."""

    axes: Doubles
    variances: Doubles
    shrinkage: float

    @classmethod
    def of(cls, residuals: Doubles, weights: Doubles, shrinkage: float | None = None) -> SharedCovariance:
        """S is the mean of the outer products of `residuals` (n, d) with `weights` (n,), which sum to 1.

        The default of `shrinkage` is d / (n + d): the empirical Bayes estimate of Kubokawa and Srivastava (2008), as Wang et al. use it.
        """
        count, dimensions = residuals.shape
        weighted = residuals * np.sqrt(weights)[:, None]
        if count < dimensions:
            _, singular, axes = np.linalg.svd(weighted, full_matrices=False)
            variances = singular**2
        else:
            variances, columns = np.linalg.eigh(weighted.T @ weighted)
            axes = columns.T
        return cls(axes, variances, dimensions / (count + dimensions) if shrinkage is None else shrinkage)

    def whiten_twice(self, vectors: Doubles) -> Doubles:
        """The inverse of the shrunk covariance times each of the vectors (n, d)."""
        floor = self.shrinkage * max(float(self.variances.sum()) / self.axes.shape[1], 1e-12)
        along = 1 / ((1 - self.shrinkage) * self.variances + floor) - 1 / floor
        return np.asarray(vectors / floor + ((vectors @ self.axes.T) * along) @ self.axes)

    def discriminant(self, means: Doubles) -> Linear:
        """The log-likelihood of labels with these means (labels, d), all equally likely, up to what labels have in common."""
        weights = self.whiten_twice(means)
        biases = -0.5 * (weights * means).sum(axis=1)
        return Linear(weights - weights.mean(axis=0), biases - biases.mean())


@dataclass(frozen=True)
class Means:
    """Where the pictures of each label are: what the examples say (labels, d), of how many, and what the texts let expect (labels, d)."""

    seen: Doubles
    counts: NDArray[np.intp]
    expected: Doubles

    @classmethod
    def of(cls, vectors: Doubles, labels: NDArray[np.intp], texts: Doubles) -> Means:
        """Of examples (n, d) with the numbers of their labels (n,), and the labels' class vectors `texts` (labels, d).

        Pictures lie in another part of the space than texts do. A label's pictures are expected at the mean picture plus what sets its
        text apart from the mean text, times one gain for all labels, by least squares. Each label weighs the same, for
        examples are often corrections, which are no random sample.
        """
        counts = np.bincount(labels, minlength=len(texts))
        seen = np.zeros_like(texts)
        np.add.at(seen, labels, vectors)
        has = counts > 0
        seen[has] /= counts[has, None]
        centre, apart = seen[has].mean(axis=0), texts - texts[has].mean(axis=0)
        spread = float((apart[has] ** 2).sum())
        gain = max(float(((seen[has] - centre) * apart[has]).sum()) / spread, 0.0) if spread > 0 else 0.0
        return cls(seen, counts, centre + gain * apart)

    def pulled(self, strength: float) -> Doubles:
        """The means, where what is expected counts as `strength` examples: the posterior mean of a Gaussian prior."""
        if np.isinf(strength):
            return self.expected
        counts = self.counts[:, None]
        return np.asarray((counts * self.seen + strength * self.expected) / (counts + strength))

    def residuals(self, vectors: Doubles, labels: NDArray[np.intp]) -> Doubles:
        """How far each example (n, d) is from where its label's other examples and its text let it expect (one example for the text)."""
        counts = self.counts[labels, None]
        return np.asarray(vectors - (counts * self.seen[labels] - vectors + self.expected[labels]) / counts)


def balanced(labels: NDArray[np.intp]) -> Doubles:
    """Weights of examples (n,) that sum to 1 and are the same in total for each label that has some."""
    counts = np.bincount(labels)
    return np.asarray(1 / (counts[labels] * np.count_nonzero(counts)))


def gaussian(
    vectors: Doubles, labels: NDArray[np.intp], texts: Doubles, strengths: Sequence[float] = STRENGTHS
) -> list[Linear]:
    """A discriminant for each of the strengths, of examples (n, d) with the numbers of their labels (n,) and class vectors (labels, d)."""
    means = Means.of(vectors, labels, texts)
    covariance = SharedCovariance.of(means.residuals(vectors, labels), balanced(labels))
    return [covariance.discriminant(means.pulled(strength)) for strength in strengths]
