"""Learning curves: how much examples bring by how many there are of each label, on labelled images of which some are set apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from zsclip.errors import InputError
from zsclip.evaluation.copies import NEAR, SAME, copies
from zsclip.evaluation.metrics import CONFIDENCE, Integers, Interval
from zsclip.scoring.classes import ClassVectors
from zsclip.scoring.rules import Rules
from zsclip.scoring.teaching import teach
from zsclip.unit_vectors import Doubles, Floats

_MOST_OF_A_LABEL = 0.5  # of a label's images, at most these teach


@dataclass(frozen=True)
class Point:
    """With so many examples of each label: means over the seeds, and intervals (95 %, Student's t; None of one seed).

    `examples` is how many there were in all, on average, `judged` how many images were judged; `texts` and `taught` are shares that are
    right of the same images, `gain` is the difference of the two.
    """

    shots: int
    examples: float
    judged: float
    texts: float
    taught: float
    taught_interval: Interval | None
    gain: float
    gain_interval: Interval | None


@dataclass(frozen=True)
class Curve:
    """A prompt set's points. `copies` images were left out, for they are another one; `near` of the others are nearly another one.

    `scarce` labels had fewer images than asked for.
    """

    prompts: str
    seeds: int
    points: tuple[Point, ...]
    copies: int
    near: int
    scarce: tuple[str, ...]


def curve(
    prompts: str,
    classes: ClassVectors,
    vectors: Floats,
    truth: Integers,
    shots: Sequence[int],
    seeds: int,
    rules: Rules | None = None,
) -> Curve:
    """Draw examples of each label from images with these vectors (n, d) and labels (n,), and judge the others.

    Each seed sets as many images of each label apart as the most shots need, at most half of the label's; the first of them teach, and what
    is not set apart is judged, the same for all numbers of shots. Copies are left out before, so that none is on both sides. Raises
    `InputError` if too few images are left.
    """
    rules = replace(rules or Rules(), min_probability=None, min_margin=None, min_similarity=None)
    others = {later for _, later in copies(vectors, SAME)}
    kept = np.array([n not in others for n in range(len(truth))])
    vectors, truth = vectors[kept], truth[kept]
    counts = np.bincount(truth, minlength=len(classes.names))
    if np.count_nonzero(counts > 1) < 2:
        raise InputError(
            "A learning curve needs two labels at least that have two images each.", remedy="Leave out `shots`."
        )
    shares = np.array(
        [list(_shares(classes, vectors, truth, shots, seed, rules)) for seed in range(seeds)]
    )  # seeds, shots, 4
    points = []
    for n, count in enumerate(shots):
        examples, judged, texts, taught = shares[:, n].T
        points.append(
            Point(
                count, float(examples.mean()), float(judged.mean()), float(texts.mean()), float(taught.mean()), _interval(taught, 0.0),
                float((taught - texts).mean()), _interval(taught - texts, -1.0),
            )
        )  # fmt: skip
    scarce = tuple(classes.names[n] for n in np.flatnonzero((counts > 0) & (counts * _MOST_OF_A_LABEL < max(shots))))
    return Curve(prompts, seeds, tuple(points), len(others), len(copies(vectors, NEAR)), scarce)


def _shares(
    classes: ClassVectors, vectors: Floats, truth: Integers, shots: Sequence[int], seed: int, rules: Rules
) -> Iterator[tuple[float, float, float, float]]:
    """For each number of shots: examples, images judged, and the shares that are right by the texts and taught."""
    place = np.zeros(len(truth), np.intp)  # of each image among those of its label, in the order of this seed
    order = np.random.default_rng(seed).permutation(len(truth))
    for label in range(len(classes.names)):
        mine = order[truth[order] == label]
        place[mine] = np.arange(len(mine))
    most = np.minimum(max(shots), (np.bincount(truth, minlength=len(classes.names)) * _MOST_OF_A_LABEL).astype(int))
    apart = place < most[truth]
    judged, right = vectors[~apart], truth[~apart]
    texts = _right(classes, judged, right, rules)
    for count in shots:
        chosen = apart & (place < count)
        taught = replace(classes, taught=teach(classes, vectors[chosen], truth[chosen], combine=rules.combine).taught)
        yield float(chosen.sum()), float(len(right)), texts, _right(taught, judged, right, rules)


def _right(classes: ClassVectors, vectors: Floats, truth: Integers, rules: Rules) -> float:
    count = sum(
        int((scores.probability.argmax(axis=1) == truth[part]).sum()) for part, scores in classes.parts(vectors, rules)
    )
    return count / len(truth)


def _interval(values: Doubles, least: float) -> Interval | None:
    """Of a mean over seeds, within what is possible; None where the seeds do not differ, which says nothing of other draws."""
    from scipy.stats import t as student

    if len(values) < 2 or not values.std():
        return None
    half = float(student.ppf(0.5 + CONFIDENCE / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    return Interval(max(float(values.mean()) - half, least), min(float(values.mean()) + half, 1.0))
