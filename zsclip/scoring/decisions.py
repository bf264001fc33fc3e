"""From probabilities and similarities to decisions, whatever they were computed with. NumPy only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from zsclip.scoring.ranking import best, ranking
from zsclip.scoring.results import Prediction
from zsclip.scoring.rules import Rules
from zsclip.unit_vectors import Doubles, Floats


@dataclass(frozen=True)
class Scores:
    """Scores of n images as arrays: probability and similarity float64 (n, labels); `withheld` (n,): abstentions."""

    probability: Doubles
    similarity: Doubles
    withheld: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided of one image: the best predictions, all labels that hold, and whether it was an abstention."""

    predictions: tuple[Prediction, ...]
    labels: tuple[str, ...]
    abstained: bool = False


class Scorer(Protocol):
    """What decides by unit vectors: class vectors made of texts, or anything learned."""

    @property
    def names(self) -> tuple[str, ...]:
        """The labels."""

    def arrays(self, embeddings: Floats, rules: Rules | None = None) -> Scores:
        """Score unit vectors (n, d) against all labels."""

    def score(self, embeddings: Floats, top_k: int, rules: Rules | None = None) -> list[Decision]:
        """Decide for each of the unit vectors (n, d), with its best `top_k` labels, best first."""


def holding(probability: Doubles, similarity: Doubles, rules: Rules) -> NDArray[np.bool_]:
    """Which labels pass the rules' thresholds, each by itself: bool (n, labels)."""
    holds = probability >= rules.least_probability
    if rules.min_similarity is not None:
        holds &= similarity >= rules.min_similarity
    return np.asarray(holds)


def withhold(probability: Doubles, similarity: Doubles, rules: Rules) -> NDArray[np.bool_]:
    """Where the rules' thresholds leave no label to decide for: bool (n,)."""
    if not rules.abstains:
        return np.zeros(len(probability), bool)
    holds = holding(probability, similarity, rules)
    if rules.multi_label:
        return np.asarray(~holds.any(axis=1))
    withheld = ~np.take_along_axis(holds, best(probability, similarity)[:, None], -1)[:, 0]
    if rules.min_margin is not None:
        second = np.partition(probability, -2, axis=1)[:, -2] if probability.shape[1] > 1 else 0.0
        withheld |= probability.max(axis=1) - second < rules.min_margin
    return np.asarray(withheld)


def decide(names: Sequence[str], scores: Scores, top_k: int, rules: Rules) -> list[Decision]:
    """The decision for each image, with its best `top_k` labels, best first.

    Independent labels that hold are all among them, however many.
    """
    told: list[int] | None = None
    several: list[tuple[str, ...]] | None = None
    if rules.multi_label:
        holds = holding(scores.probability, scores.similarity, rules)
        several = [tuple(names[n] for n in np.flatnonzero(row).tolist()) for row in holds]
        ranked = ranking(scores.probability, scores.similarity, len(names))
        places = np.take_along_axis(holds, ranked, -1) * np.arange(1, len(names) + 1)
        told = np.maximum(top_k, places.max(axis=1)).tolist()
    else:
        ranked = ranking(scores.probability, scores.similarity, top_k)
    p = np.take_along_axis(scores.probability, ranked, -1).tolist()
    s = np.take_along_axis(scores.similarity, ranked, -1).tolist()
    decisions = []
    for row, (order, abstained) in enumerate(zip(ranked.tolist(), scores.withheld.tolist(), strict=True)):
        numbers = zip(order if told is None else order[: told[row]], p[row], s[row], strict=False)
        predictions = tuple(Prediction(names[n], chance, cosine) for n, chance, cosine in numbers)
        labels = several[row] if several is not None else () if abstained else (predictions[0].label,)
        decisions.append(Decision(predictions, labels, abstained))
    return decisions
