"""How right labels in levels are: at each level, and where decisions stop at the level that is sure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from zsclip.evaluation.metrics import Integers, Interval, wilson
from zsclip.scoring.levels import LevelScorer
from zsclip.scoring.ranking import best
from zsclip.scoring.rules import Rules
from zsclip.unit_vectors import Floats

_SCORES_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class Share:
    """So many of so many."""

    count: int
    of: int

    @property
    def value(self) -> float | None:
        """The share, from 0 to 1; None of nothing."""
        return self.count / self.of if self.of else None

    @property
    def interval(self) -> Interval | None:
        """Wilson's 95 % interval; None of nothing."""
        return wilson(self.count, self.of) if self.of else None


@dataclass(frozen=True)
class LevelScore:
    """One level, from 1 at the top: how many labels and parents there are to choose from (labels that end higher up count here, too);
    how many images have the true one as the most probable of these; and of those whose decision is on this level, how many are right.
    """

    level: int
    choices: int
    top1: Share
    decided: Share


@dataclass(frozen=True)
class LevelFigures:
    """All levels, the top one first, and the decisions of all: how many are right of those that there are.

    `mean_level` is that of the decisions, None if there are none. `information` is what a decision tells, in bits, in the mean over all
    images: log2 of how many labels there are for each that is left, and 0 for wrong ones and abstentions (the reward of Deng et al., 2012);
    `most_information` is what the right label tells.
    """

    images: int
    levels: tuple[LevelScore, ...]
    decided: Share
    mean_level: float | None
    information: float
    most_information: float


def level_figures(scorer: LevelScorer, vectors: Floats, truth: Integers, rules: Rules) -> LevelFigures:
    """The figures of images with unit vectors float32 (n, d), whose labels have the numbers `truth` (n,)."""
    tree = scorer.levels
    labels, deepest = len(scorer.names), len(tree.levels)
    nodes = np.stack([level.nodes[level.of_leaves] for level in tree.levels])  # of each label at each level
    below = np.bincount(np.concatenate([np.unique(column) for column in nodes.T]), minlength=len(tree.names))
    top1, decided, right = (np.zeros(deepest, np.int64) for _ in range(3))
    bits = 0.0
    step = max(1, _SCORES_AT_ONCE // labels)
    for start in range(0, len(vectors), step):
        true = truth[start : start + step]
        scores, said = scorer.hedged(vectors[start : start + step], rules)
        for number, (chances, cosines) in enumerate(tree.roll_up(scores.probability, scores.similarity)):
            top1[number] += int((best(chances, cosines) == tree.levels[number].of_leaves[true]).sum())
        node, at = said.node[said.level > 0], said.level[said.level > 0] - 1
        is_right = nodes[at, true[said.level > 0]] == node
        decided += np.bincount(at, minlength=deepest)
        right += np.bincount(at[is_right], minlength=deepest)
        bits += float(np.log2(labels / below[node[is_right]]).sum())
    images, count = len(vectors), int(decided.sum())
    return LevelFigures(
        images,
        tuple(
            LevelScore(n + 1, len(level.nodes), Share(int(top1[n]), images), Share(int(right[n]), int(decided[n])))
            for n, level in enumerate(tree.levels)
        ),
        Share(int(right.sum()), count),
        float((decided * np.arange(1, deepest + 1)).sum() / count) if count else None,
        bits / images,
        float(np.log2(labels)),
    )


def level_rows(figures: LevelFigures) -> list[dict[str, Any]]:
    """A row a level, and one, `all`, of the decisions on any; shares from 0 to 1."""
    rows = [
        {
            "level": one.level, "choices": one.choices, "images": figures.images,
            **_columns("top1", one.top1), "coverage": one.decided.of / figures.images, **_columns("covered", one.decided),
            "mean_level": None, "information": None, "most_information": None,
        }
        for one in figures.levels
    ]  # fmt: skip
    covered = {"coverage": figures.decided.of / figures.images, **_columns("covered", figures.decided)}
    means = {name: getattr(figures, name) for name in ("mean_level", "information", "most_information")}
    return [
        *rows,
        {**dict.fromkeys(rows[0]), "level": "all", "images": figures.images, **covered, **means},
    ]


def _columns(name: str, share: Share) -> dict[str, float | None]:
    low, high = share.interval or (None, None)
    return {name if name == "top1" else f"{name}_accuracy": share.value, f"{name}_low": low, f"{name}_high": high}
