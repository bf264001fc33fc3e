"""Scores from unit vectors: class vectors, similarities, probabilities, rankings, decisions. NumPy only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from zsclip.errors import LabelError
from zsclip.results import Prediction

Floats: TypeAlias = NDArray[np.float32]
Doubles: TypeAlias = NDArray[np.float64]

COMBINE = ("mean", "max", "sum")
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Rules:
    """How similarities become probabilities, and when there is no decision for a label.

    Probabilities are a softmax over the labels (and the background, if there is one), or with `multi_label` one by one.
    `combine` says what a label of several names is: the unit `mean` of their vectors; its best name (`max`); or the `sum`
    of its names' probabilities. An image is decided for `unknown_label` if its best label has a probability under
    `min_probability`, leads by less than `min_margin`, has a similarity under `min_similarity`, or loses to the
    background. Raises `LabelError` for values that make no sense.
    """

    temperature: float = 1.0
    combine: str = "mean"
    multi_label: bool = False
    min_probability: float | None = None
    min_margin: float | None = None
    min_similarity: float | None = None
    unknown_label: str = UNKNOWN

    def __post_init__(self) -> None:
        if not 0 < self.temperature < np.inf:
            raise LabelError(f"A temperature must be above 0, not {self.temperature}.")
        if self.combine not in COMBINE:
            raise LabelError(f"There is no combine={self.combine!r}. There are: {', '.join(COMBINE)}.")
        if self.multi_label and self.combine == "sum":
            raise LabelError("A sum of names' probabilities needs a softmax: use combine mean or max with multi-label.")
        for name, value in (("probability", self.min_probability), ("margin", self.min_margin)):
            if value is not None and not 0 <= value <= 1:
                raise LabelError(f"A least {name} must be between 0 and 1, not {value}.")
        if self.min_similarity is not None and not -1 <= self.min_similarity <= 1:
            raise LabelError(f"A least similarity must be between -1 and 1, not {self.min_similarity}.")

    @property
    def abstains(self) -> bool:
        """Whether a decision may be withheld without a background."""
        thresholds = (self.min_probability, self.min_margin, self.min_similarity)
        return self.multi_label or any(value is not None for value in thresholds)

    @property
    def least_probability(self) -> float:
        """The probability a label must have: with `multi_label`, where "yes" begins at one half, 0.5 by default."""
        return self.min_probability if self.min_probability is not None else 0.5 if self.multi_label else 0.0


def normalise(vectors: Floats) -> Floats:
    """Rows divided by their length: float32 (n, d)."""
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True), np.float32)


def unit_mean(vectors: Floats, weights: Sequence[float] | None = None) -> Floats:
    """The mean of unit vectors (n, d), weighted if there are weights (n,), scaled to length 1: float32 (d,)."""
    if weights is None or len(set(weights)) == 1:  # equal weights give the same bits as none
        return normalise(vectors.mean(axis=0, dtype=np.float64))
    return normalise(np.average(vectors.astype(np.float64), axis=0, weights=weights))


def class_vectors(
    prompts: Floats,
    groups: Sequence[Sequence[Sequence[int]]],
    combine: str = "mean",
    weights: Sequence[Sequence[Sequence[float]]] | None = None,
) -> list[Floats]:
    """The unit vectors of each label: float32 (1, d), or (names, d) where `combine` keeps the names apart.

    `prompts` are the unit vectors of all texts, (n, d). `groups[label][name]` lists the rows of one name's texts, and
    `weights[label][name]` how much each counts. A name's vector is the unit mean of its prompts' (as in CLIP, Radford et
    al., 2021); for `mean` a label's is the unit mean of its names'.
    """
    names = [
        np.stack(
            [
                unit_mean(prompts[list(rows)], None if weights is None else weights[label][name])
                for name, rows in enumerate(members)
            ]
        )
        for label, members in enumerate(groups)
    ]
    return [unit_mean(vectors)[None] for vectors in names] if combine == "mean" else names


def similarities(images: Floats, classes: Floats) -> Doubles:
    """Cosines between unit vectors (n, d) and (labels, d): float64 (n, labels).

    In float64, so that what is printed does not depend on how many images are scored at once.
    """
    return images.astype(np.float64) @ classes.astype(np.float64).T


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


def ranking(probability: Doubles, top_k: int) -> NDArray[np.intp]:
    """The `top_k` best labels of each row, best first, equals in the order of the labels: (n, top_k)."""
    return np.argsort(-probability, axis=-1, kind="stable")[:, :top_k]


@dataclass(frozen=True)
class Scores:
    """Scores of n images as arrays: probability and similarity float64 (n, labels); `withheld` (n,): no decision."""

    probability: Doubles
    similarity: Doubles
    withheld: NDArray[np.bool_]


@dataclass(frozen=True)
class Scored:
    """One image: the best labels, the decision, and all labels that hold (several only with `multi_label`)."""

    predictions: tuple[Prediction, ...]
    decision: str
    accepted: tuple[str, ...]


@dataclass(frozen=True)
class ClassVectors:
    """Labels made ready for scoring: per label the unit vectors float32 (1 or names, d), and the background's (texts, d)."""

    names: tuple[str, ...]
    vectors: tuple[Floats, ...]
    logit_scale: float
    logit_bias: float = 0.0
    background: Floats | None = None

    @cached_property
    def _all(self) -> Floats:
        return np.concatenate(self.vectors)

    @cached_property
    def _starts(self) -> NDArray[np.intp]:
        return np.cumsum([0, *(len(vectors) for vectors in self.vectors[:-1])])

    def score(self, embeddings: Floats, top_k: int, rules: Rules | None = None) -> list[Scored]:
        """Score unit vectors (n, d): the best `top_k` labels of each, best first, and the decision."""
        rules = rules or Rules()
        scores = self.arrays(embeddings, rules)
        best = ranking(scores.probability, top_k)
        p = np.take_along_axis(scores.probability, best, -1)
        s = np.take_along_axis(scores.similarity, best, -1)
        accepted = self._accepted(scores.probability, scores.similarity, rules) if rules.multi_label else None
        names, scored = self.names, []
        for row, (order, chances, cosines, no) in enumerate(
            zip(best.tolist(), p.tolist(), s.tolist(), scores.withheld.tolist(), strict=True)
        ):
            predictions = tuple(
                Prediction(names[n], chance, cosine) for n, chance, cosine in zip(order, chances, cosines, strict=True)
            )
            decision = rules.unknown_label if no else predictions[0].label
            scored.append(Scored(predictions, decision, accepted[row] if accepted else (decision,)))
        return scored

    def arrays(self, embeddings: Floats, rules: Rules | None = None) -> Scores:
        """Score unit vectors (n, d) against all labels, and tell for which images the decision is withheld."""
        rules = rules or Rules()
        of_names = similarities(embeddings, self._all)
        of_labels = np.maximum.reduceat(of_names, self._starts, axis=1)
        if rules.multi_label:
            probability, withheld = self._independent(embeddings, of_labels, rules), np.zeros(len(embeddings), bool)
        else:
            probability, withheld = self._softmax(embeddings, of_names, of_labels, rules)
        best = probability.argmax(axis=1)  # the first of equals, as in a ranking
        leading = np.take_along_axis(probability, best[:, None], -1)[:, 0]
        withheld = withheld | (leading < rules.least_probability)
        if rules.min_margin is not None:
            second = np.partition(probability, -2, axis=1)[:, -2] if probability.shape[1] > 1 else 0.0
            withheld |= leading - second < rules.min_margin
        if rules.min_similarity is not None:
            withheld |= np.take_along_axis(of_labels, best[:, None], -1)[:, 0] < rules.min_similarity
        return Scores(probability, of_labels, withheld)

    def _softmax(
        self, embeddings: Floats, of_names: Doubles, of_labels: Doubles, rules: Rules
    ) -> tuple[Doubles, NDArray[np.bool_]]:
        competing = of_names if rules.combine == "sum" else of_labels
        count = competing.shape[1]
        if self.background is not None:
            competing = np.concatenate([competing, similarities(embeddings, self.background)], axis=1)
        all_of_them = probabilities(competing, self.logit_scale, self.logit_bias, rules.temperature)
        labels = all_of_them[:, :count]
        if rules.combine == "sum":
            labels = np.add.reduceat(labels, self._starts, axis=1)
        if self.background is None:
            return labels, np.zeros(len(labels), bool)
        return labels, all_of_them[:, count:].max(axis=1) > labels.max(axis=1)

    def _independent(self, embeddings: Floats, of_labels: Doubles, rules: Rules) -> Doubles:
        if self.logit_bias:  # SigLIP: trained to tell each pair by itself
            return independent_probabilities(self.logit_scale * of_labels + self.logit_bias, rules.temperature)
        if self.background is None:
            raise LabelError("Labels on their own need background texts to be compared with.")
        reference = similarities(embeddings, unit_mean(self.background)[None])
        return independent_probabilities(self.logit_scale * (of_labels - reference), rules.temperature)

    def _accepted(self, probability: Doubles, similarity: Doubles, rules: Rules) -> list[tuple[str, ...]]:
        holds = probability >= rules.least_probability
        if rules.min_similarity is not None:
            holds &= similarity >= rules.min_similarity
        return [tuple(self.names[n] for n in np.flatnonzero(row)) for row in holds]
