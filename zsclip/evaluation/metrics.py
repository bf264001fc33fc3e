"""How right predictions are, with intervals.

Everything works on one number an image (`Predictions`), so that memory does not grow with the number of labels.
scikit-learn and SciPy are imported where they are used: only `evaluate` pays for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from zsclip.scoring.ranking import best, rank_of

Doubles: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]
Booleans: TypeAlias = NDArray[np.bool_]

CONFIDENCE = 0.95
BINS = 15
TOP = 5
_LEAST_PROBABILITY = float(np.finfo(np.float64).eps)  # as scikit-learn's log_loss clips


class Interval(NamedTuple):
    """A 95 % confidence interval."""

    low: float
    high: float


@dataclass(frozen=True)
class Predictions:
    """What was said of n images whose label is known; arrays of shape (n,).

    `truth` and `predicted` are numbers of labels, `confidence` is the probability of the predicted label,
    `truth_probability` that of the true one, `truth_rank` its rank from 0; `withheld` is True for abstentions.
    """

    truth: Integers
    predicted: Integers
    confidence: Doubles
    truth_probability: Doubles
    truth_rank: Integers
    withheld: Booleans

    @classmethod
    def of(
        cls, probability: Doubles, truth: Integers, withheld: Booleans | None = None, similarity: Doubles | None = None
    ) -> Predictions:
        """From probabilities (n, labels) and the true labels (n,).

        Labels rank as in `zsclip.scoring.ranking`, equals by their `similarity` (n, labels) if it is given.
        """
        similarity = probability if similarity is None else similarity
        rows, predicted = np.arange(len(truth)), best(probability, similarity)
        return cls(
            truth,
            predicted,
            probability[rows, predicted],
            probability[rows, truth],
            rank_of(truth, probability, similarity),
            np.zeros(len(truth), bool) if withheld is None else withheld,
        )

    @classmethod
    def joined(cls, parts: Sequence[Predictions]) -> Predictions:
        """Parts one after the other."""
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in cls.__dataclass_fields__))

    def __len__(self) -> int:
        return len(self.truth)

    def __getitem__(self, chosen: Booleans) -> Predictions:
        return Predictions(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))

    @property
    def correct(self) -> Booleans:
        """Where the most probable label is the true one, abstention or not."""
        return np.asarray(self.predicted == self.truth)


@dataclass(frozen=True)
class Summary:
    """Metrics over `images` images, as shares from 0 to 1; NLL in nats.

    `top5` is None for five labels or fewer. `mean_recall` and `macro_f1` are means over the labels that have images.
    `coverage` is the share of images with a decision, `covered_accuracy` the accuracy on those (None if there are none).
    """

    images: int
    top1: float
    top1_interval: Interval
    top5: float | None
    mean_recall: float
    macro_f1: float
    ece: float
    nll: float
    coverage: float
    covered_accuracy: float | None
    covered_interval: Interval | None


def summary(predictions: Predictions, labels: int) -> Summary:
    """All metrics of `Summary`; at least one image is needed."""
    from sklearn.metrics import accuracy_score, f1_score, recall_score

    truth, predicted = predictions.truth, predictions.predicted
    present = np.unique(truth)
    covered = predictions[~predictions.withheld]
    right, count = int(covered.correct.sum()), len(covered)
    return Summary(
        images=len(predictions),
        top1=float(accuracy_score(truth, predicted)),
        top1_interval=wilson(int(predictions.correct.sum()), len(predictions)),
        top5=float((predictions.truth_rank < TOP).mean()) if labels > TOP else None,
        mean_recall=float(recall_score(truth, predicted, labels=present, average="macro")),
        macro_f1=float(f1_score(truth, predicted, labels=present, average="macro")),
        ece=expected_calibration_error(predictions.confidence, predictions.correct),
        nll=negative_log_likelihood(predictions),
        coverage=count / len(predictions),
        covered_accuracy=right / count if count else None,
        covered_interval=wilson(right, count) if count else None,
    )


def negative_log_likelihood(predictions: Predictions) -> float:
    """The mean of -log of the true label's probability, clipped as scikit-learn's `log_loss` clips."""
    return max(0.0, float(-np.log(np.clip(predictions.truth_probability, _LEAST_PROBABILITY, 1.0)).mean()))


def wilson(successes: int, count: int) -> Interval:
    """Wilson's score interval of a share (Wilson, 1927), by SciPy."""
    from scipy.stats import binomtest

    found = binomtest(successes, count).proportion_ci(CONFIDENCE, method="wilson")
    return Interval(float(found.low), float(found.high))


@dataclass(frozen=True)
class Bin:
    """Images whose confidence lies in (low, high]: how many, their mean confidence and their accuracy (None for none)."""

    low: float
    high: float
    images: int
    confidence: float | None
    accuracy: float | None


def reliability(confidence: Doubles, correct: Booleans, bins: int = BINS) -> list[Bin]:
    """Confidence against accuracy in bins of equal width."""
    edges = np.linspace(0, 1, bins + 1)
    member = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    counts = np.bincount(member, minlength=bins)
    confidences = np.bincount(member, weights=confidence, minlength=bins)
    rights = np.bincount(member, weights=correct, minlength=bins)
    return [
        Bin(
            float(edges[n]),
            float(edges[n + 1]),
            int(count),
            float(confidences[n] / count) if count else None,
            float(rights[n] / count) if count else None,
        )
        for n, count in enumerate(counts)
    ]


def expected_calibration_error(confidence: Doubles, correct: Booleans, bins: int = BINS) -> float:
    """ECE of the top probability in equal-width bins (Guo et al., 2017): the mean gap, weighted by images."""
    gaps = [
        one.images * abs(one.confidence - one.accuracy)
        for one in reliability(confidence, correct, bins)
        if one.confidence is not None and one.accuracy is not None
    ]
    return float(sum(gaps) / len(confidence))


@dataclass(frozen=True)
class LabelScores:
    """One label: precision, recall and F1 (None where there is nothing to divide by), its images, and what it is most
    often taken for, with how many of its images."""

    label: int
    precision: float | None
    recall: float | None
    f1: float | None
    images: int
    confused_with: int | None
    confused: int


def per_label(predictions: Predictions, labels: int) -> list[LabelScores]:
    """Every label's scores, in the order of the labels."""
    from sklearn.metrics import precision_recall_fscore_support

    every = np.arange(labels)
    precision, recall, f1, support = precision_recall_fscore_support(
        predictions.truth, predictions.predicted, labels=every, zero_division=np.nan
    )
    worst: dict[int, tuple[int | None, int]] = {}
    for true, said, count in confusions(predictions):
        if true != said and count > worst.get(true, (None, 0))[1]:
            worst[true] = (said, count)

    def number(value: float) -> float | None:
        return None if np.isnan(value) else float(value)

    scores = []
    for n in every.tolist():
        confused_with, confused = worst.get(n, (None, 0))
        f1_or_none = number(f1[n]) if support[n] else None
        scores.append(
            LabelScores(
                n, number(precision[n]), number(recall[n]), f1_or_none, int(support[n]), confused_with, confused
            )
        )
    return scores


def confusions(predictions: Predictions) -> list[tuple[int, int, int]]:
    """The confusion matrix's cells that are not 0: (true label, predicted label, images), in order."""
    if not len(predictions):
        return []
    pairs, counts = np.unique(np.stack([predictions.truth, predictions.predicted]), axis=1, return_counts=True)
    return [(int(true), int(said), int(count)) for true, said, count in zip(*pairs, counts, strict=True)]


class Coverage(NamedTuple):
    """Deciding only from a least probability on: the share of images that are decided, and the accuracy on those."""

    threshold: float
    coverage: float
    accuracy: float


def coverage_curve(predictions: Predictions) -> list[Coverage]:
    """One point for each threshold that makes a difference, the highest first; images as confident come together.

    What is withheld already is never covered: with a background the curve ends below a coverage of 1, or has no point.
    """
    decided = predictions[~predictions.withheld]
    order = np.argsort(-decided.confidence, kind="stable")
    ranked, rights = decided.confidence[order], np.cumsum(decided.correct[order])
    last = np.flatnonzero(ranked[1:] != ranked[:-1]).tolist() + ([len(ranked) - 1] if len(ranked) else [])
    count = len(predictions)
    return [Coverage(float(ranked[n]), (n + 1) / count, float(rights[n] / (n + 1))) for n in last]


def coverage_at(predictions: Predictions, threshold: float) -> tuple[float, float | None]:
    """Coverage, and accuracy on the covered (None if there are none), deciding from `threshold` on.

    What is withheld already is not covered.
    """
    covered = (predictions.confidence >= threshold) & ~predictions.withheld
    return float(covered.mean()), float(predictions.correct[covered].mean()) if covered.any() else None


def halves(truth: Integers, seed: int) -> Booleans:
    """Which images are in the first of two halves drawn at random, label by label: (n,).

    A label's odd image goes to one half and the next label's to the other, so that the halves differ by one at most.
    """
    rng = np.random.default_rng(seed)
    first = np.zeros(len(truth), bool)
    spare = 0
    for label in np.unique(truth):
        members = rng.permutation(np.flatnonzero(truth == label))
        first[members[: (len(members) + spare) // 2]] = True
        spare = (len(members) + spare) % 2
    return first
