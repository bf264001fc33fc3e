"""How right labels on their own are, for pictures that may have several, and how sure that is.

SciPy is imported where it is used: only `evaluate` pays for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from zsclip.evaluation.metrics import CONFIDENCE, Booleans, Doubles, Interval

Weights: TypeAlias = NDArray[np.float32]

RESAMPLES = 1000
_AT_ONCE = 20_000_000  # weights of resampled images
_LABELS_AT_ONCE = 64


@dataclass(frozen=True)
class Said:
    """What was said of n images: a score of each label, by which images are ranked, and whether the label holds; and the truth.

    Arrays of shape (n, labels).
    """

    score: Doubles
    holds: Booleans
    truth: Booleans

    def __len__(self) -> int:
        return len(self.truth)


@dataclass(frozen=True)
class Figures:
    """Figures of each label, float64 (labels,); or of each label in each of some resamples, (resamples, labels).

    `average_precision` is NaN for a label that no image has. Counts of images: `right` are those that have a label which is said
    to hold, `said` those of which it is said, `positive` those that have it.
    """

    average_precision: Doubles
    right: Doubles
    said: Doubles
    positive: Doubles

    @property
    def precision(self) -> Doubles:
        """Of the images said to have a label, the share that do; NaN where none is said to."""
        return _share(self.right, self.said, np.nan)

    @property
    def recall(self) -> Doubles:
        """Of the images that have a label, the share said to; NaN where none has it."""
        return _share(self.right, self.positive, np.nan)

    @property
    def f1(self) -> Doubles:
        """The harmonic mean of precision and recall; NaN for a label that no image has."""
        return np.where(self.positive > 0, _share(2 * self.right, self.said + self.positive), np.nan)

    @property
    def means(self) -> dict[str, Doubles]:
        """Figures over the labels, each of shape () or (resamples,).

        `map` and `macro_…` are means over the labels that some image has, with a precision of 0 where nothing is said; `micro_…`
        are of all pairs of an image and a label, as one.
        """
        right, said, positive = (count.sum(axis=-1) for count in (self.right, self.said, self.positive))
        has_images = self.positive > 0
        labels = has_images.sum(axis=-1)

        def mean(values: Doubles) -> Doubles:
            return _share(np.where(has_images, np.nan_to_num(values), 0).sum(axis=-1), labels, np.nan)

        return {
            "map": mean(self.average_precision),
            "micro_precision": _share(right, said), "micro_recall": _share(right, positive),
            "micro_f1": _share(2 * right, said + positive),
            "macro_precision": mean(self.precision), "macro_recall": mean(self.recall), "macro_f1": mean(self.f1),
        }  # fmt: skip


def _share(part: Doubles, whole: Doubles, otherwise: float = 0.0) -> Doubles:
    """Their quotient, where there is something to divide by."""
    return np.asarray(np.divide(part, whole, out=np.full(np.shape(part), otherwise), where=np.asarray(whole) > 0))


def figures(said: Said) -> Figures:
    """Of the images as they are."""
    found = Ranked(said).figures(np.ones((len(said), 1), np.float32))
    return Figures(*(getattr(found, name)[0] for name in Figures.__dataclass_fields__))


class Ranked:
    """Images ranked by each label's score, once for any number of resamples.

    Average precision is that of scikit-learn: the sum over the images that have the label, best first, of the precision there,
    divided by how many they are; images of equal scores count as one step.
    """

    def __init__(self, said: Said) -> None:
        self._said = said
        self._steps = [_steps(said.score[:, n], said.truth[:, n]) for n in range(said.truth.shape[1])]

    def figures(self, weights: Weights) -> Figures:
        """With images counted as often as `weights` (n, resamples) say."""
        return Figures(
            np.stack([_average_precision(steps, weights) for steps in self._steps], axis=1),
            self._counts(weights, self._said.holds, self._said.truth),
            self._counts(weights, self._said.holds),
            self._counts(weights, self._said.truth),
        )

    @staticmethod
    def _counts(weights: Weights, *chosen: Booleans) -> Doubles:
        """How many images are chosen by all of these, of each label; some labels at a time, for numbers take four times the room."""
        parts = (slice(start, start + _LABELS_AT_ONCE) for start in range(0, chosen[0].shape[1], _LABELS_AT_ONCE))
        counts = [
            weights.T @ np.logical_and.reduce([one[:, part] for one in chosen]).astype(np.float32) for part in parts
        ]
        return np.concatenate(counts, axis=1).astype(np.float64)


_Places: TypeAlias = NDArray[np.int32]
# Which images, in CSR, each step of the ranking adds: all of them, and those of them that have the label.
_Steps: TypeAlias = tuple[tuple[_Places, _Places], tuple[_Places, _Places]]


def _steps(score: Doubles, truth: Booleans) -> _Steps:
    """The steps, best first, that end with the images of an equal score of which some has the label."""
    order = np.argsort(-score, kind="stable").astype(np.int32)
    ranked, found = score[order], np.cumsum(truth[order])
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    new = np.diff(found[ends], prepend=0) > 0
    ends = ends[new]
    positives = order[truth[order]]
    return (
        (order[: ends[-1] + 1] if len(ends) else order[:0], np.append(0, ends + 1).astype(np.int32)),
        (positives, np.append(0, found[ends]).astype(np.int32)),
    )


def _average_precision(steps: _Steps, weights: Weights) -> Doubles:
    """Of each resample (resamples,); NaN where no image has the label."""
    from scipy.sparse import csr_array

    count = len(steps[0][1]) - 1
    if not count:
        return np.full(weights.shape[1], np.nan)

    def added(images: _Places, starts: _Places) -> Doubles:
        ones = np.ones(len(images), np.float32)
        return np.asarray(csr_array((ones, images, starts), shape=(count, len(weights))) @ weights, np.float64)

    (every, having) = (added(*one) for one in steps)
    so_far = np.cumsum(having, axis=0)
    precision = _share(so_far, np.cumsum(every, axis=0))
    return _share((having * precision).sum(axis=0), so_far[-1], np.nan)


def resampled(images: int, seed: int, resamples: int = RESAMPLES) -> Iterator[Weights]:
    """How often each image is drawn in each resample, some resamples at a time: float32 (images, some)."""
    rng = np.random.default_rng(seed)
    step = max(1, _AT_ONCE // images)
    for start in range(0, resamples, step):
        weights = np.empty((images, min(step, resamples - start)), np.float32)
        for n in range(weights.shape[1]):
            weights[:, n] = np.bincount(rng.integers(0, images, images), minlength=images)
        yield weights


def bootstrap(said: Said, seed: int = 0, resamples: int = RESAMPLES) -> Figures:
    """The figures in resamples of the images, drawn with replacement (Efron, 1979); the same ones for the same seed.

    10,000 images with 100 labels take seconds; time and memory grow with images times labels.
    """
    ranked = Ranked(said)
    parts = [ranked.figures(weights) for weights in resampled(len(said), seed, resamples)]
    return Figures(*(np.concatenate([getattr(part, name) for part in parts]) for name in Figures.__dataclass_fields__))


def interval(value: float, resampled: Doubles, lowest: float = 0.0) -> Interval | None:
    """A 95 % interval of what other images, as many and from the same source, would give, from `lowest` to 1.

    It lies around the figure's `value` as the resamples (resamples,) lie around their mean. Around themselves they would not do: average
    precision of few images that have a label is too high, and that of resamples, in which some of these are there twice,
    higher still. None where there is no number.
    """
    moved = _moved(value, resampled)
    if not len(moved):
        return None
    low, high = np.clip(np.quantile(moved, ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)), lowest, 1)
    return Interval(float(low), float(high))


def bootstrap_p(value: float, resampled: Doubles) -> float:
    """Two-sided: how often, twice, a difference in resamples is on the other side of 0 than it is; never 0 itself."""
    moved = _moved(value, resampled)
    other_side = min((moved <= 0).sum(), (moved >= 0).sum())
    return min(1.0, 2 * (int(other_side) + 1) / (len(moved) + 1))


def bias(value: float, resampled: Doubles) -> float:
    """By how much a figure of so few images is too high at least: by as much as its resamples, as they have fewer distinct ones."""
    return float(np.nanmean(resampled)) - value


def _moved(value: float, resampled: Doubles) -> Doubles:
    """The resamples that are numbers, moved so that their mean is the figure's value."""
    numbers = resampled[~np.isnan(resampled)]
    return numbers[:0] if np.isnan(value) else numbers - numbers.mean() + value if len(numbers) else numbers
