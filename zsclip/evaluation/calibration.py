"""A temperature that makes probabilities mean what they say, for one model, its labels and its prompts."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from zsclip.errors import CalibrationError
from zsclip.text import prompts as prompt_sets
from zsclip.text.labels import LabelSet
from zsclip.text.prompts import PromptSet
from zsclip.text.yaml_reader import YamlFile

if TYPE_CHECKING:
    import yaml

    from zsclip.classifier import Classifier
    from zsclip.evaluation.evaluate import EmbeddedImages
    from zsclip.evaluation.metrics import Predictions
    from zsclip.scoring.rules import Rules

logger = logging.getLogger("zsclip")

TARGETS = (0.8, 0.9, 0.95, 0.98, 0.99)  # accuracies on the covered that thresholds are looked for
_BOUNDS = (0.01, 100.0)
_FEW = 30


@dataclass(frozen=True)
class Binding:
    """What a calibration is for: digests of the model's identity, of the labels and of the prompts."""

    model: str
    labels: str
    prompts: str

    @classmethod
    def of(
        cls,
        identity: str,
        labels: LabelSet,
        sets: Sequence[PromptSet],
        combine: str = "mean",
        background: Sequence[str] | None = None,
    ) -> Binding:
        """Digests that do not depend on the order of labels and prompts, nor on a set's or file's name."""
        groups = sorted((label.name, sorted(label.members)) for label in labels.labels)
        members = sorted({member for label in labels.labels for member in label.members})
        texts = {
            member: sorted((text, f"{weight:.4g}") for text, weight in prompt_sets.expand(sets, member).items())
            for member in members
        }
        return cls(_digest(identity), _digest([groups, combine, sorted(background or ())]), _digest(texts))


@dataclass(frozen=True)
class Quality:
    """Calibration error (15 equal-width bins) and NLL in nats."""

    ece: float
    nll: float


@dataclass(frozen=True)
class Threshold:
    """A least probability at which the fitting half reached the accuracy `target`, and what it gave on the other half."""

    target: float
    min_probability: float
    coverage: float
    accuracy: float | None


@dataclass(frozen=True)
class Calibration:
    """A temperature, what it is for, and how good it is on images that it was not fitted on.

    `model` and `prompts` are names to be shown; what binds are the digests of `binding`.
    """

    temperature: float
    binding: Binding
    model: str
    prompts: str
    labels: int
    fitted_on: int
    measured_on: int
    seed: int
    before: Quality
    after: Quality
    thresholds: tuple[Threshold, ...] = ()

    def require(self, found: Binding, source: str | Path = "x") -> None:
        """Raise `CalibrationError` if it was made for another model, other labels or other prompts."""
        made_for = {
            "model": f"another model ({self.model})",
            "labels": f"other labels, names, background or --combine ({self.labels} labels)",
            "prompts": f"other prompts ({self.prompts})",
        }
        wrong = [what for name, what in made_for.items() if getattr(found, name) != getattr(self.binding, name)]
        if wrong:
            raise CalibrationError(
                f"--calibration {source}: it was made for {' and '.join(wrong)}, and says nothing about these. Use the "
                f"same ones, or make another with: zsclip evaluate … --calibrate FILE"
            )


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

    Thresholds of probability are told for `rules` without theirs: with the same background, margin and similarity.
    Raises `CalibrationError` if there are too few images.
    """
    from zsclip.evaluation import metrics
    from zsclip.evaluation.evaluate import predict

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
    temperature = _fit(
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
    from zsclip.evaluation import metrics

    return Quality(
        metrics.expected_calibration_error(found.confidence, found.correct), metrics.negative_log_likelihood(found)
    )


def _thresholds(fitted: Predictions, measured: Predictions) -> tuple[Threshold, ...]:
    """The least probabilities that reach each of `TARGETS` on the fitting half, with what they give on the other."""
    from zsclip.evaluation import metrics

    curve = metrics.coverage_curve(fitted)
    thresholds = []
    for target in TARGETS:
        reached = [point.threshold for point in curve if point.accuracy >= target]
        if reached:
            least = math.floor(min(reached) * 1e6) / 1e6  # as it is written, and no image falls out by rounding
            thresholds.append(Threshold(target, least, *metrics.coverage_at(measured, least)))
    return tuple(thresholds)


def _fit(loss: Callable[[float], float]) -> float:
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


def to_yaml(calibration: Calibration) -> str:
    """A calibration as the text that `read_file` reads."""
    import yaml

    document = json.loads(json.dumps(asdict(calibration)))  # tuples as lists
    return (
        "# Written by zsclip evaluate --calibrate; used with: zsclip classify ... --calibration FILE\n"
        "# before, after and thresholds are measured on images that the temperature was not fitted on.\n"
        + yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=1000)
    )


def read_file(path: Path) -> Calibration:
    """Read a calibration, but for its thresholds, which are for people; raises `CalibrationError` with file and line."""
    file = YamlFile(path, "calibration", CalibrationError)
    nodes = {key.value: value for key, value in file.items(file.root(), "what zsclip evaluate --calibrate writes")}

    def part(name: str) -> yaml.Node:
        if name not in nodes:
            raise file.fail(None, f"{name} is missing. Make it again with: zsclip evaluate … --calibrate FILE")
        return nodes[name]

    def texts(name: str, keys: Sequence[str]) -> list[str]:
        found = {key.value: file.text(value, "a text").value for key, value in file.items(part(name), "a mapping")}
        if missing := [key for key in keys if key not in found]:
            raise file.fail(part(name).start_mark.line + 1, f"{name} has no {missing[0]}.")
        return [found[key] for key in keys]

    def finite(text: str, name: str, line: int) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise file.fail(line, f"{name} must be a number, not {text!r}.")
        return value

    def number(name: str) -> float:
        text = file.text(part(name), "a number")
        return finite(text.value, name, text.line)

    temperature = number("temperature")
    if temperature <= 0:
        raise file.fail(part("temperature").start_mark.line + 1, f"a temperature must be above 0, not {temperature}.")

    def quality(name: str) -> Quality:
        line = part(name).start_mark.line + 1
        return Quality(*(finite(text, name, line) for text in texts(name, ("ece", "nll"))))

    return Calibration(
        temperature=temperature,
        binding=Binding(*texts("binding", ("model", "labels", "prompts"))),
        model=file.text(part("model"), "a text").value,
        prompts=file.text(part("prompts"), "a text").value,
        labels=int(number("labels")),
        fitted_on=int(number("fitted_on")),
        measured_on=int(number("measured_on")),
        seed=int(number("seed")),
        before=quality("before"),
        after=quality("after"),
    )


def _digest(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
