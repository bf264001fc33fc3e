"""From where on labels on their own hold, and a temperature: fitted on one half of the images, measured on the other."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from zsclip.classifier import Classifier
from zsclip.errors import CalibrationError
from zsclip.evaluation.calibration import fitted_temperature
from zsclip.evaluation.metrics import Booleans, Doubles, Integers, expected_calibration_error, halves
from zsclip.evaluation.multi_label.data import MultiLabelImages
from zsclip.evaluation.multi_label.figures import Figures, Said, figures
from zsclip.evaluation.multi_label.judge import say
from zsclip.scoring.calibration import Binding, Calibration, IndependentQuality, LabelThreshold
from zsclip.scoring.classes import ClassVectors
from zsclip.scoring.rules import Rules
from zsclip.text.prompts import PromptSet
from zsclip.text.wording import counted, listed

logger = logging.getLogger("zsclip")

_FEW = 5
_AT_ONCE = 4096  # images


def calibrate(
    classifier: Classifier,
    images: MultiLabelImages,
    one: PromptSet,
    *,
    rules: Rules,
    background: Sequence[str] | None = None,
    seed: int = 0,
) -> Calibration:
    """Choose for each label the threshold with the largest F1 on one half of the images, and measure it on the other.

    A label that none of that half has gets what is best for all labels together. The thresholds are put where probabilities are
    one half; a temperature is then fitted by NLL, over all pairs of an image and a label. Raises `CalibrationError` if there are
    too few images, or none with a label.
    """
    first = halves(_rarest(images.truth), seed)
    fitting, measuring = images[first], images[~first]
    if not (fitting.truth.any() and measuring.truth.any()):
        raise CalibrationError("A calibration needs labels in both halves of the images: there are too few.")
    if one.chosen:
        logger.warning("%s: if they are among these, its calibration is too good. Fit it on others.", one.origin)
    effective = classifier.effective_background(rules, background)
    classes = classifier.class_vectors(images.labels, [one], combine=rules.combine, background=effective)
    rules = replace(rules, temperature=1.0, min_probability=None)
    logits, may_hold = _logits(classes, fitting), say(classes, fitting, replace(rules, min_probability=0.0)).holds
    thresholds = _thresholds(logits, may_hold, fitting.truth)
    moved = replace(rules, logit_thresholds=tuple(thresholds))
    margins = np.where(fitting.truth, 1, -1) * (logits - np.array(thresholds))
    temperature = fitted_temperature(lambda t: float(np.logaddexp(0, -margins / t).mean()))
    before, after = (say(classes, measuring, how) for how in (rules, replace(moved, temperature=temperature)))
    found = figures(after)
    positives = fitting.truth.sum(axis=0).tolist()
    names = images.labels.names
    _warn(names, fitting.truth.sum(axis=0), found, len(measuring))
    of_labels = zip(names, thresholds, positives, found.f1.tolist(), strict=True)
    return Calibration(
        temperature=temperature,
        binding=Binding.of(classifier.model.identity, images.labels, [one], rules.combine, effective),
        model=classifier.model.spec.title,
        prompts=one.name,
        labels=len(names),
        fitted_on=len(fitting),
        measured_on=len(measuring),
        seed=seed,
        before=_quality(before, figures(before)),
        after=_quality(after, found),
        label_thresholds=tuple(
            LabelThreshold(name, logit, count, None if math.isnan(f1) else f1) for name, logit, count, f1 in of_labels
        ),
    )


def _warn(names: Sequence[str], positives: Integers, found: Figures, images: int) -> None:
    """Of thresholds not to be trusted.

    Of a label whose probabilities say next to nothing F1 is largest where (nearly) all images are said to have it.
    """
    for least, most, why in (
        (0, 0, "no image to choose a threshold by, and what is best for all labels together"),
        (1, _FEW - 1, f"fewer than {_FEW} images to choose a threshold by: do not trust it"),
    ):
        if named := [name for name, count in zip(names, positives, strict=True) if least <= count <= most]:
            logger.warning("%s with %s: %s.", counted(len(named), "label"), why, listed(named))
    always: Doubles = np.where(found.positive < _FEW, -1, 2 * found.positive / (images + found.positive))
    if hopeless := [name for name, f1, all_of_them in zip(names, found.f1, always, strict=True) if f1 <= all_of_them]:
        logger.warning(
            "On the other half F1 is no better than saying that every image has it for: %s. Try other words for %s, or do without.",
            listed(hopeless), "it" if len(hopeless) == 1 else "them",
        )  # fmt: skip


def best_threshold(scores: Doubles, truth: Booleans) -> float:
    """The threshold with the largest F1, to six digits after the point: in the middle between two scores, the higher of equals.

    `scores` and `truth` have shape (n,); some of them must be true. Scores of -inf are never above it.
    """
    order = np.argsort(-scores, kind="stable")
    ranked, right = scores[order], np.cumsum(truth[order])
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True) & np.isfinite(ranked))
    if not len(ends):
        return 0.0
    f1 = 2 * right[ends] / (ends + 1 + right[-1])
    last = int(ends[f1.argmax()])
    below = ranked[last + 1] if last + 1 < len(ranked) and np.isfinite(ranked[last + 1]) else ranked[last]
    return math.floor(float(ranked[last] + below) / 2 * 1e6) / 1e6


def _thresholds(logits: Doubles, may_hold: Booleans, truth: Booleans) -> list[float]:
    """Each label's; of labels that no image has the one that is best for all together, counted from a label's mean in its deviations.

    As logits they would not do: labels' logits lie units apart.
    """
    scores = np.where(may_hold, logits, -np.inf)
    mean, deviation = logits.mean(axis=0), np.maximum(logits.std(axis=0), 1e-9)
    common = best_threshold(((scores - mean) / deviation).ravel(), truth.ravel())
    of_all = np.round(mean + common * deviation, 6).tolist()
    counts = truth.sum(axis=0).tolist()
    return [best_threshold(scores[:, n], truth[:, n]) if count else of_all[n] for n, count in enumerate(counts)]


def _logits(classes: ClassVectors, images: MultiLabelImages) -> Doubles:
    """Of images and labels (n, labels)."""
    logits = np.empty(images.truth.shape)
    for start in range(0, len(images), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        logits[part] = classes.independent_logits(images.vectors[part])
    return logits


def _quality(said: Said, found: Figures) -> IndependentQuality:
    probability, truth = said.score.ravel(), said.truth.ravel()
    right = np.where(truth, probability, 1 - probability)
    nll = float(-np.log(np.clip(right, np.finfo(np.float64).eps, 1)).mean())
    means = found.means
    return IndependentQuality(
        expected_calibration_error(probability, truth), nll, float(means["micro_f1"]), float(means["macro_f1"])
    )


def _rarest(truth: Booleans) -> Integers:
    """The number of each image's rarest label, by which halves are drawn; -1 for those without any."""
    counts = np.where(truth, truth.sum(axis=0), len(truth) + 1)
    return np.where(truth.any(axis=1), counts.argmin(axis=1), -1)
