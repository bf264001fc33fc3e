"""From probabilities and similarities to decisions, whatever they were computed with. NumPy only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
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
    """What was decided of one image: the best predictions, all labels that hold, and whether it was an abstention.

    Where labels stand in levels, `decided` is the one decided on, if that is not the best one, `level` its level from 1, and
    `level_probability` its probability.
    """

    predictions: tuple[Prediction, ...]
    labels: tuple[str, ...]
    abstained: bool = False
    decided: str | None = None
    level: int | None = None
    level_probability: float | None = None


@dataclass(frozen=True, slots=True)
class LevelDecisions:
    """Which of labels in levels are decided on, for n images: the number of a name, its level from 1 (0 for an abstention), and its
    probability (n,).
    """

    names: Sequence[str]
    node: NDArray[np.intp]
    level: NDArray[np.intp]
    probability: Doubles

    def take(self, rows: Sequence[int]) -> LevelDecisions:
        """Those of some of the images."""
        return LevelDecisions(self.names, self.node[rows], self.level[rows], self.probability[rows])


@dataclass(frozen=True, slots=True)
class Decisions:
    """What was decided of n images, as arrays; iterated over, one by one as `Decision`.

    `ranked` are each image's labels, best first, by number (n, k), `probability` and `similarity` those of these (n, k), and
    `abstained` (n,) says which are abstentions. Of independent labels, `holds` (n, labels) says which hold; an image's
    predictions are then as many as it takes to have all of these, and `top_k` at least. `levels` is there where labels nest.
    """

    names: Sequence[str]
    top_k: int
    ranked: NDArray[np.intp]
    probability: Doubles
    similarity: Doubles
    abstained: NDArray[np.bool_]
    holds: NDArray[np.bool_] | None = None
    levels: LevelDecisions | None = None

    def __len__(self) -> int:
        return len(self.ranked)

    def __getitem__(self, row: int) -> Decision:
        return next(iter(self.take([row])))

    def __iter__(self) -> Iterator[Decision]:
        labels, told = self.labels, None if self.holds is None else self.told.tolist()
        p, s, abstained = self.probability.tolist(), self.similarity.tolist(), self.abstained.tolist()
        for row, order in enumerate(self.ranked.tolist()):
            numbers = zip(order if told is None else order[: told[row]], p[row], s[row], strict=False)
            predictions = tuple(Prediction(self.names[n], chance, cosine) for n, chance, cosine in numbers)
            if self.levels is None or abstained[row]:
                yield Decision(predictions, labels[row], abstained[row])
                continue
            name = self.levels.names[self.levels.node[row]]
            decided = None if name == predictions[0].label else name
            level, chance = int(self.levels.level[row]), float(self.levels.probability[row])
            yield Decision(predictions, labels[row], False, decided, level, chance)

    @property
    def decided(self) -> list[str]:
        """The label decided on for each image: the best one, or where labels nest that of its level; for abstentions it says nothing."""
        if self.levels is None:
            return [self.names[n] for n in self.ranked[:, 0].tolist()]
        return [self.levels.names[n] for n in self.levels.node.tolist()]

    @property
    def labels(self) -> list[tuple[str, ...]]:
        """The labels of each image: the best one, or all that hold."""
        if self.holds is not None:
            return [tuple(self.names[n] for n in np.flatnonzero(row).tolist()) for row in self.holds]
        single = [(name,) for name in (self.names if self.levels is None else self.levels.names)]
        decided = self.ranked[:, 0] if self.levels is None else self.levels.node
        return [
            () if abstained else single[n]
            for n, abstained in zip(decided.tolist(), self.abstained.tolist(), strict=True)
        ]

    def take(self, rows: Sequence[int]) -> Decisions:
        """Those of some of the images."""
        return replace(
            self,
            ranked=self.ranked[rows],
            probability=self.probability[rows],
            similarity=self.similarity[rows],
            abstained=self.abstained[rows],
            holds=None if self.holds is None else self.holds[rows],
            levels=None if self.levels is None else self.levels.take(rows),
        )

    @property
    def told(self) -> NDArray[np.intp]:
        """How many predictions each image has (n,)."""
        if self.holds is None:
            return np.full(len(self), self.ranked.shape[1])
        places = np.take_along_axis(self.holds, self.ranked, -1) * np.arange(1, len(self.names) + 1)
        return np.asarray(np.maximum(self.top_k, places.max(axis=1)), np.intp)


class Scorer(Protocol):
    """What decides by unit vectors: class vectors made of texts, or anything learned."""

    @property
    def names(self) -> tuple[str, ...]:
        """The labels."""

    def arrays(self, embeddings: Floats, rules: Rules | None = None, starts: Sequence[int] | None = None) -> Scores:
        """Score unit vectors (n, d) against all labels; with `starts`, each image is several vectors, which begin there."""

    def score(
        self, embeddings: Floats, top_k: int, rules: Rules | None = None, starts: Sequence[int] | None = None
    ) -> Decisions:
        """Decide for each of the unit vectors (n, d), with its best `top_k` labels, best first; `starts` as above."""

    def best_frame(self, frames: Floats, label: int) -> int:
        """Which of several vectors (n, d) is most like a label."""


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


def decide(names: Sequence[str], scores: Scores, top_k: int, rules: Rules) -> Decisions:
    """The decision for each image, with its best `top_k` labels, best first.

    Independent labels that hold are all among them, however many.
    """
    holds = holding(scores.probability, scores.similarity, rules) if rules.multi_label else None
    if top_k == 1 and holds is None:
        ranked = best(scores.probability, scores.similarity)[:, None]  # nothing has to be sorted
    else:
        ranked = ranking(scores.probability, scores.similarity, top_k if holds is None else len(names))
    return Decisions(
        names,
        top_k,
        ranked,
        np.take_along_axis(scores.probability, ranked, -1),
        np.take_along_axis(scores.similarity, ranked, -1),
        scores.withheld,
        holds,
    )
