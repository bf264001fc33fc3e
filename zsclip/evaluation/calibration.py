"""Fitting a temperature on one half of the labelled images, and measuring it on the other."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from zsclip.classifier import Classifier
from zsclip.errors import CalibrationError
from zsclip.evaluation import metrics
from zsclip.evaluation.embedded import EmbeddedImages
from zsclip.evaluation.evaluate import predict
from zsclip.evaluation.metrics import Predictions
from zsclip.scoring.calibration import Binding, Calibration, Quality, Threshold
from zsclip.scoring.rules import Rules
from zsclip.text.prompts import PromptSet

logger = logging.getLogger("zsclip")

TARGETS = (0.8, 0.9, 0.95, 0.98, 0.99)  # accuracies on the covered that thresholds are looked for
_BOUNDS = (0.01, 100.0)
_FEW = 30


def calibrate(
    classifier: Classifier,
    images: EmbeddedImages,
    one: PromptSet,
    *,
    rules: Rules,
    background: Sequence[str] | None = None,
    seed: int = 0,
) -> Calibration:
    """Fit a temperature by NLL on one half of the images (Guo et al., 2017), and measure it on the other.

    Thresholds of probability are given for `rules` without theirs: with the same background, margin and similarity.
    Raises `CalibrationError` if there are too few images.
    """
    first = metrics.halves(images.truth, seed)
    fitting, measuring = images[first], images[~first]
    if not (len(fitting) and len(measuring)):
        raise CalibrationError("A calibration needs at least two images that can be read: it is fitted on one half.")
    if len(fitting) < _FEW:
        logger.warning("Few images to fit a temperature on: %d.", len(fitting))
    if one.chosen:
        logger.warning("%s: if they are among these, its calibration is too good. Fit it on others.", one.origin)
    classes = classifier.class_vectors(images.labels, [one], combine=rules.combine, background=background)
    # A least probability is what the thresholds are for; the other reasons to abstain stay.
    rules = replace(rules, temperature=1.0, min_probability=None)
    temperature = fitted_temperature(
        lambda t: metrics.negative_log_likelihood(predict(classes, fitting, replace(rules, temperature=t)))
    )
    right = predict(classes, fitting, rules).correct
    if right.all() or not right.any():
        logger.warning(
            "There are %s on the %d images that the temperature is fitted on. Do not trust it.",
            "no mistakes" if right.all() else "only mistakes", len(fitting),
        )  # fmt: skip
    before = predict(classes, measuring, rules)
    warm = replace(rules, temperature=temperature)
    fitted, after = predict(classes, fitting, warm), predict(classes, measuring, warm)
    return Calibration(
        temperature=temperature,
        binding=Binding.of(classifier.model.identity, images.labels, [one], rules.combine, background),
        model=classifier.model.spec.title,
        prompts=one.name,
        labels=len(images.labels),
        fitted_on=len(fitting),
        measured_on=len(measuring),
        seed=seed,
        before=_quality(before),
        after=_quality(after),
        thresholds=_thresholds(fitted, after),
    )


def _quality(found: Predictions) -> Quality:
    return Quality(
        metrics.expected_calibration_error(found.confidence, found.correct), metrics.negative_log_likelihood(found)
    )


def _thresholds(fitted: Predictions, measured: Predictions) -> tuple[Threshold, ...]:
    """The least probabilities that reach each of `TARGETS` on the fitting half, with what they give on the other."""
    curve = metrics.coverage_curve(fitted)
    thresholds = []
    for target in TARGETS:
        reached = [point.threshold for point in curve if point.accuracy >= target]
        if reached:
            least = math.floor(min(reached) * 1e6) / 1e6  # as it is written, and no image falls out by rounding
            thresholds.append(Threshold(target, least, *metrics.coverage_at(measured, least)))
    return tuple(thresholds)


def fitted_temperature(loss: Callable[[float], float]) -> float:
    """The temperature with the least loss, to six digits."""
    from scipy.optimize import minimize_scalar

    low, high = (math.log(bound) for bound in _BOUNDS)
    found = minimize_scalar(lambda x: loss(math.exp(x)), bounds=(low, high), method="bounded", options={"xatol": 1e-5})
    temperature = math.exp(found.x)
    if temperature < _BOUNDS[0] * 1.01 or temperature > _BOUNDS[1] / 1.01:
        logger.warning(
            "The temperature, %.4g, is at the edge of what is searched, %g to %g. Do not trust it.",
            temperature,
            *_BOUNDS,
        )
    return float(f"{temperature:.6g}")
