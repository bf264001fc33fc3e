"""Labels in levels: probabilities that add up, and decisions that stop at the level that is sure. NumPy only.

Only the leaves are scored, by whatever scores labels; what stands above them follows from that: a level's probability is the sum of
those of what is below it, its similarity the largest. So a parent is never less probable than a child, and a least probability can be
met higher up where it is not below (hedging, as in Deng et al., "Hedging Your Bets", CVPR 2012; theirs chooses among all levels by
information gained, with a multiplier that is fitted on labelled pictures; here the threshold is the user's).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from zsclip.scoring.decisions import Decisions, LevelDecisions, Scorer, Scores, decide
from zsclip.scoring.ranking import best
from zsclip.scoring.rules import Rules
from zsclip.text.label_files import SEPARATOR
from zsclip.text.labels import LabelSet
from zsclip.unit_vectors import Doubles, Floats

Numbers = NDArray[np.intp]


@dataclass(frozen=True)
class Level:
    """One level, as groups of leaves; a leaf that stands higher is a group of its own here, too.

    `nodes` are the numbers of the groups' nodes (groups,), `parents` those of their groups one level up, `is_leaf` says which
    are leaves. `of_leaves` is the group of each leaf (leaves,), `starts` where a group's groups begin one level down.
    """

    nodes: Numbers
    parents: Numbers
    is_leaf: NDArray[np.bool_]
    of_leaves: Numbers
    starts: Numbers


@dataclass(frozen=True)
class Levels:
    """How n leaves stand below others. Nodes are numbered: first the leaves as they are given, then what is above them.

    `names` are the nodes' names, `depth` their levels (nodes,), from 1. `order` are the leaves (n,) such that what belongs together
    stands together; all of `levels` are in that order, the top one first.
    """

    names: tuple[str, ...]
    depth: Numbers
    order: Numbers
    levels: tuple[Level, ...]

    @classmethod
    def of(cls, labels: LabelSet) -> Levels:
        """The levels of labels; one, if they do not nest."""
        paths = [label.path for label in labels.labels]
        count, deepest = len(paths), max(map(len, paths))
        groups = np.zeros((deepest, count), np.intp)  # of each leaf at each level, numbered as they come
        for level in range(deepest):
            known: dict[tuple[str, ...], int] = {}
            groups[level] = [known.setdefault(path[: level + 1], len(known)) for path in paths]
        order = np.lexsort(groups[::-1])
        above = {name: count + number for number, name in enumerate(labels.above)}
        own = np.zeros(count, np.intp)  # the group of each leaf, in their order here
        firsts, levels = [], []
        for level, of_leaves in enumerate(groups[:, order], 1):
            begins = np.r_[True, of_leaves[1:] != of_leaves[:-1]]
            first = np.flatnonzero(begins)  # leaf of each group
            found = [(leaf, paths[leaf][:level]) for leaf in order[first].tolist()]
            is_leaf = np.array([path == paths[leaf] for leaf, path in found])
            nodes = np.array([leaf if path == paths[leaf] else above[SEPARATOR.join(path)] for leaf, path in found])
            parents, own = own[first], np.cumsum(begins) - 1
            levels.append((nodes, parents, is_leaf, own[np.argsort(order)]))
            firsts.append(first)
        starts = [
            np.searchsorted(below, first) for first, below in zip(firsts, [*firsts[1:], np.arange(count)], strict=True)
        ]
        depth = [*map(len, paths), *(name.count(SEPARATOR) + 1 for name in labels.above)]
        return cls(
            (*labels.names, *labels.above), np.array(depth), order,
            tuple(Level(*level, begin) for level, begin in zip(levels, starts, strict=True)),
        )  # fmt: skip

    def roll_up(self, probability: Doubles, similarity: Doubles) -> list[tuple[Doubles, Doubles]]:
        """Probability and similarity of each level's groups (n, groups), the top level first, of those of the leaves (n, leaves).

        They are added from the bottom up, so that rounding cannot make a child more probable than its parent.
        """
        found = [(probability[:, self.order], similarity[:, self.order])]
        for level in reversed(self.levels[:-1]):
            chance, cosine = found[-1]
            summed = np.minimum(np.add.reduceat(chance, level.starts, axis=1), 1.0)
            found.append((summed, np.maximum.reduceat(cosine, level.starts, axis=1)))
        return found[::-1]

    def descend(self, probability: Doubles, similarity: Doubles, rules: Rules) -> LevelDecisions:
        """Decide from the top: go down to the most probable child for as long as it passes the thresholds of the rules.

        It passes with `min_probability` and `min_similarity`, and if it is ahead of the next among its siblings by `min_margin`.
        Whatever the thresholds, the way is the same, so a higher one never leads further down. Where nothing on the top level passes,
        the picture is of no level.
        """
        rows = np.arange(len(probability))
        node, depth = np.zeros(len(rows), np.intp), np.zeros(len(rows), np.intp)
        chance, group = np.zeros(len(rows)), np.zeros(len(rows), np.intp)
        going = np.ones(len(rows), bool)
        for level, (chances, cosines) in zip(self.levels, self.roll_up(probability, similarity), strict=True):
            siblings = np.where(level.parents == group[:, None], chances, -1.0)
            chosen = best(siblings, cosines)
            own = siblings[rows, chosen]
            passes = (own >= rules.least_probability) & going
            if rules.min_similarity is not None:
                passes &= cosines[rows, chosen] >= rules.min_similarity
            if rules.min_margin is not None:
                siblings[rows, chosen] = -1.0
                passes &= own - np.maximum(siblings.max(axis=1), 0.0) >= rules.min_margin
            node = np.where(passes, level.nodes[chosen], node)
            depth = np.where(passes, self.depth[node], depth)
            chance = np.where(passes, own, chance)
            going, group = passes & ~level.is_leaf[chosen], chosen
        return LevelDecisions(self.names, node, depth, chance)


@dataclass(frozen=True)
class LevelScorer:
    """Scores and decides as `scorer` does, whose labels are leaves; where it is not sure of one, it decides for what is above.

    Without thresholds the decision is the best leaf of all, as with labels without levels. With `multi_label` leaves hold or not, each
    by itself, and nothing adds up. A picture that loses to a background is of no level.
    """

    scorer: Scorer
    levels: Levels

    @property
    def names(self) -> tuple[str, ...]:
        """The leaves."""
        return self.scorer.names

    def arrays(self, embeddings: Floats, rules: Rules | None = None, starts: Sequence[int] | None = None) -> Scores:
        """The leaves' scores, as the scorer has them."""
        return self.scorer.arrays(embeddings, rules, starts)

    def best_frame(self, frames: Floats, label: int) -> int:
        """As the scorer has it."""
        return self.scorer.best_frame(frames, label)

    def score(
        self, embeddings: Floats, top_k: int, rules: Rules | None = None, starts: Sequence[int] | None = None
    ) -> Decisions:
        """Decide for each of the unit vectors (n, d), with its best `top_k` leaves, best first."""
        rules = rules or Rules()
        if rules.multi_label:
            found = self.scorer.score(embeddings, top_k, rules, starts)
            return replace(found, levels=self._of_leaves(found.ranked[:, 0], found.probability[:, 0], found.abstained))
        scores, levels = self.hedged(embeddings, rules, starts)
        return replace(decide(self.names, scores, top_k, rules), levels=levels)

    def hedged(
        self, embeddings: Floats, rules: Rules, starts: Sequence[int] | None = None
    ) -> tuple[Scores, LevelDecisions]:
        """The leaves' scores, with the pictures of no level withheld, and the levels' decisions; of labels that compete."""
        plain = replace(rules, min_probability=None, min_margin=None, min_similarity=None)
        scores = self.scorer.arrays(embeddings, plain, starts)
        if not rules.abstains:
            leaves = best(scores.probability, scores.similarity)
            return scores, self._of_leaves(leaves, scores.probability[np.arange(len(leaves)), leaves], scores.withheld)
        levels = self.levels.descend(scores.probability, scores.similarity, rules)
        withheld = scores.withheld | (levels.level == 0)
        return replace(scores, withheld=withheld), replace(levels, level=np.where(withheld, 0, levels.level))

    def _of_leaves(self, leaves: Numbers, probability: Doubles, withheld: NDArray[np.bool_]) -> LevelDecisions:
        return LevelDecisions(self.levels.names, leaves, np.where(withheld, 0, self.levels.depth[leaves]), probability)


def in_levels(scorer: Scorer, labels: LabelSet) -> Scorer:
    """What decides in levels where the scorer's labels nest, else the scorer itself."""
    return LevelScorer(scorer, Levels.of(labels)) if labels.nests else scorer
