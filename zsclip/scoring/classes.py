"""Labels as class vectors, and images scored against them. NumPy only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from zsclip.errors import LabelError
from zsclip.scoring.probability import independent_probabilities, probabilities, ranking, similarities
from zsclip.scoring.results import Prediction
from zsclip.scoring.rules import Rules
from zsclip.unit_vectors import Doubles, Floats, unit_mean


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
