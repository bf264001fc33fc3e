"""A linear probe that starts from the texts' vectors and is pulled towards them: a convex problem, solved to its optimum.

As LP++ (Huang et al., CVPR 2024, arXiv 2404.02285) it is zero-shot where there is nothing to learn from; as in CLAP
(Silva-Rodriguez et al., CVPR 2024, arXiv 2312.12730) what keeps it near the texts is a quadratic penalty.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from zsclip.scoring.discriminant import Linear, balanced
from zsclip.unit_vectors import Doubles

PENALTIES = (10.0, 1.0, 0.1)


def probe_loss(
    change: Doubles, points: Doubles, labels: NDArray[np.intp], texts: Doubles, scale: float, penalty: float
) -> tuple[float, Doubles]:
    """The loss of a probe whose weights are `texts` plus `change` (labels, d), and its slope.

    The mean cross-entropy of the softmax over `scale` times the products with the points (n, d), each label with examples weighing the
    same, plus `penalty` / 2 times the squared length of `change`.
    """
    logits = scale * points @ (texts + change).T
    logits -= logits.max(axis=1, keepdims=True)
    share = np.exp(logits)
    total = share.sum(axis=1)
    weights, rows = balanced(labels), np.arange(len(labels))
    value = weights @ (np.log(total) - logits[rows, labels]) + penalty / 2 * (change**2).sum()
    share /= total[:, None]
    share[rows, labels] -= 1
    slope = scale * (share * weights[:, None]).T @ points + penalty * change
    return float(value), slope


def probes(
    points: Doubles, labels: NDArray[np.intp], texts: Doubles, scale: float, penalties: Sequence[float] = PENALTIES
) -> list[Linear]:
    """The optimum for each of the penalties, as what it adds to the texts' products; each starts from the last one's."""
    from scipy.optimize import minimize

    # The change lies in the span of the points: with fewer of them than dimensions, that is a smaller problem.
    _, _, basis = (
        np.linalg.svd(points, full_matrices=False) if len(points) < points.shape[1] else (0, 0, np.eye(points.shape[1]))
    )
    inner, shape = points @ basis.T, (len(texts), len(basis))
    rest = texts @ basis.T

    def loss(flat: Doubles, penalty: float) -> tuple[float, Doubles]:
        value, slope = probe_loss(flat.reshape(shape), inner, labels, rest, scale, penalty * scale)
        return value, slope.ravel()

    found, change = [], np.zeros(shape)
    for penalty in penalties:
        change = minimize(
            loss,
            change.ravel(),
            args=(penalty,),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": 500, "ftol": 1e-9, "gtol": 1e-6},
        ).x.reshape(shape)
        found.append(Linear(scale * change @ basis, np.zeros(len(texts))))
    return found
