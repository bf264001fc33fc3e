"""Whether one set of predictions is better than another on the same images, by how much, and how sure that is.

SciPy is imported where it is used: only `evaluate` pays for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zsclip.evaluation.metrics import CONFIDENCE, Interval, Predictions


@dataclass(frozen=True)
class Comparison:
    """Predictions against a baseline on the same images.

    `gained` images are right only with the new one, `lost` only with the baseline. `difference` is that of top-1, with
    Tango's score interval; `p_value` is the exact McNemar test's, `p_adjusted` Holm's over all comparisons made.
    """

    gained: int
    lost: int
    difference: float
    interval: Interval
    p_value: float
    p_adjusted: float

    @property
    def verdict(self) -> str:
        """`better` or `worse` where the adjusted p-value is under 0.05, else `unclear`: no difference is shown."""
        if self.p_adjusted >= 0.05:
            return "unclear"
        return "better" if self.gained > self.lost else "worse"


def compare(baseline: Predictions, others: Sequence[Predictions]) -> list[Comparison]:
    """Each of the others against the baseline, over the same images in the same order."""
    counts = [
        (int((other.correct & ~baseline.correct).sum()), int((baseline.correct & ~other.correct).sum()))
        for other in others
    ]
    p_values = [mcnemar(gained, lost) for gained, lost in counts]
    return [
        Comparison(
            gained,
            lost,
            (gained - lost) / len(baseline),
            paired_difference(gained, lost, len(baseline)),
            p_value,
            adjusted,
        )
        for (gained, lost), p_value, adjusted in zip(counts, p_values, holm(p_values), strict=True)
    ]


def mcnemar(gained: int, lost: int) -> float:
    """The exact two-sided McNemar test: are images gained and lost equally likely? 1 if there are none."""
    from scipy.stats import binomtest

    return float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for the number of tests (Holm, 1979)."""
    order = sorted(range(len(p_values)), key=lambda n: p_values[n])
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, n in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[n]))
        adjusted[n] = highest
    return adjusted


def paired_difference(gained: int, lost: int, count: int) -> Interval:
    """Tango's score interval for a difference of paired proportions (Tango, Statistics in Medicine, 1998).

    Of `count` images `gained` are right only with the new predictions, `lost` only with the old ones.
    """
    from scipy.optimize import brentq
    from scipy.stats import norm

    z = float(norm.ppf(0.5 + CONFIDENCE / 2))
    estimate = (gained - lost) / count

    def distance(delta: float, side: float) -> float:
        return _tango(gained, lost, count, delta) - side * z

    edge = 1e-12
    low = -1.0 if distance(-1 + edge, 1) <= 0 else float(brentq(distance, -1 + edge, max(estimate, -1 + edge), (1,)))
    high = 1.0 if distance(1 - edge, -1) >= 0 else float(brentq(distance, min(estimate, 1 - edge), 1 - edge, (-1,)))
    return Interval(low, high)


def _tango(gained: int, lost: int, count: int, delta: float) -> float:
    """The score statistic of the hypothesis that the difference is `delta`."""
    # The likelihood's maximum under the hypothesis: the root of a quadratic in the share of lost images.
    a = 2.0 * count
    b = -gained - lost + (2.0 * count - gained + lost) * delta
    c = -lost * delta * (1.0 - delta)
    share = (np.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
    variance = count * (2 * share + delta * (1.0 - delta))
    lead = gained - lost - count * delta
    if variance <= 0:
        return 0.0 if lead == 0 else float(np.sign(lead) * np.inf)
    return float(lead / np.sqrt(variance))
