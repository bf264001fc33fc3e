"""What a calibration is: a temperature that makes probabilities mean what they say, for one model, labels and prompts; and of
labels on their own, from where on each holds.

`zsclip.evaluation.calibration` makes them.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from zsclip.errors import CalibrationError
from zsclip.text import prompts as prompt_sets
from zsclip.text.labels import LabelSet
from zsclip.text.prompts import PromptSet
from zsclip.text.text_file import Text
from zsclip.text.wording import listed
from zsclip.text.yaml_reader import YamlFile

if TYPE_CHECKING:
    import yaml

_COMMAND = "zsclip evaluate … `calibrate=FILE`"


@dataclass(frozen=True)
class Binding:
    """What a calibration is for: digests of the model's identity, of the labels and of the prompts."""

    model: str
    labels: str
    prompts: str

    @staticmethod
    def of_model(identity: str) -> str:
        """The digest of a model's identity."""
        return _digest(identity)

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
class IndependentQuality(Quality):
    """The same of labels on their own, over all pairs of an image and a label; and F1 of the labels that hold.

    `micro_f1` is over all pairs, `macro_f1` the mean over the labels that some image has.
    """

    micro_f1: float
    macro_f1: float


@dataclass(frozen=True)
class LabelThreshold:
    """From which logit on a label of its own holds.

    `positives` images of the fitting half have it; if none does, it is what suits all labels together. `f1` is what it gave on the
    other half; None if no image has the label there.
    """

    label: str
    logit: float
    positives: int
    f1: float | None


@dataclass(frozen=True)
class Calibration:
    """A temperature, what it is for, and how good it is on images that it was not fitted on.

    `model` and `prompts` are names to be shown; what binds are the digests of `binding`. One with `label_thresholds` is for labels
    on their own.
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
    label_thresholds: tuple[LabelThreshold, ...] = ()

    def logit_thresholds(self, labels: Sequence[str]) -> tuple[float, ...]:
        """Those of the labels, in their order; none if it is for labels that compete. Raises `CalibrationError`."""
        of = {one.label: one.logit for one in self.label_thresholds}
        if of and (missing := [label for label in labels if label not in of]):
            raise CalibrationError(
                f"it has no threshold of {listed(missing)}.", remedy=f"Make another with: {_COMMAND}"
            )
        return tuple(of[label] for label in labels) if of else ()

    def require_kind(self, *, multi_label: bool, source: str | Path = "") -> None:
        """Raise `CalibrationError` if it is for labels that compete and these are on their own, or the other way round."""
        if multi_label == bool(self.label_thresholds):
            return
        kinds = ("labels on their own (`multi_label`)", "labels that compete")
        made_for, asked = kinds if self.label_thresholds else reversed(kinds)
        raise CalibrationError(
            f"it was made for {made_for}, and these are {asked}.",
            where=_where(source),
            remedy=f"Make another with: {_COMMAND}, with or without `multi_label` there as here.",
        )

    def require(self, found: Binding, source: str | Path = "") -> None:
        """Raise `CalibrationError` if it was made for another model, other labels or other prompts than `found`.

        `source` is the file it was read from, for the message.
        """
        made_for = {
            "model": f"another model ({self.model})",
            "labels": f"other labels, names, background or `combine` ({self.labels} labels)",
            "prompts": f"other prompts ({self.prompts})",
        }
        wrong = [what for name, what in made_for.items() if getattr(found, name) != getattr(self.binding, name)]
        if wrong:
            raise CalibrationError(
                f"it was made for {' and '.join(wrong)}, and says nothing about these.",
                where=_where(source),
                remedy=f"Use the same ones, or make another with: {_COMMAND}",
            )


def to_yaml(calibration: Calibration) -> str:
    """A calibration as the text that `read_file` reads."""
    import yaml

    document = json.loads(json.dumps(asdict(calibration)))  # tuples as lists
    return "# before, after, thresholds and F1 are measured on images that nothing was fitted on.\n" + yaml.safe_dump(
        document, sort_keys=False, allow_unicode=True, width=1000
    )


def read_file(path: Path) -> Calibration:
    """Read a calibration, but for its thresholds, which are for people; raises `CalibrationError` with file and line."""
    file = YamlFile(path, "calibration", CalibrationError)
    parts = {key.value: value for key, value in file.items(file.root(), "what zsclip evaluate `calibrate` writes")}

    def part(name: str) -> yaml.Node:
        if name not in parts:
            raise file.fail(None, f"{name} is missing. Make it again with: {_COMMAND}")
        return parts[name]

    def inner(name: str, *keys: str) -> list[Text]:
        found = {key.value: file.text(value, "a text") for key, value in file.items(part(name), "a mapping")}
        if missing := [key for key in keys if key not in found]:
            raise file.fail(part(name).start_mark.line + 1, f"{name} has no {missing[0]}.")
        return [found[key] for key in keys]

    def number(name: str, text: Text | None = None) -> float:
        text = text or file.text(part(name), "a number")
        if not math.isfinite(text.number):
            raise file.fail(text.line, f"{name} must be a number, not {text.value!r}.")
        return text.number

    temperature = number("temperature")
    if temperature <= 0:
        raise file.fail(part("temperature").start_mark.line + 1, f"a temperature must be above 0, not {temperature}.")
    labels, fitted_on, measured_on, seed = map(int, map(number, ("labels", "fitted_on", "measured_on", "seed")))
    before, after = (
        Quality(*(number(name, text) for text in inner(name, "ece", "nll"))) for name in ("before", "after")
    )
    binding = Binding(*(text.value for text in inner("binding", "model", "labels", "prompts")))
    model, prompts = (file.text(part(name), "a text").value for name in ("model", "prompts"))
    return Calibration(
        temperature, binding, model, prompts, labels, fitted_on, measured_on, seed, before, after,
        label_thresholds=_label_thresholds(file, parts.get("label_thresholds")),
    )  # fmt: skip


def _label_thresholds(file: YamlFile, node: yaml.Node | None) -> tuple[LabelThreshold, ...]:
    """A list of mappings with a label and a logit; what it also says is for people, and not read."""
    if node is None:
        return ()
    thresholds = []
    labels = []
    for one in file.nodes(node, "a list of labels with their thresholds"):
        of = {key.value: value for key, value in file.items(one, "a label and its threshold")}
        if missing := [key for key in ("label", "logit") if key not in of]:
            raise file.fail(one.start_mark.line + 1, f"a threshold has no {missing[0]}.")
        label, logit = file.text(of["label"], "a label"), file.text(of["logit"], "a number")
        if not math.isfinite(logit.number):
            raise file.fail(logit.line, f"logit must be a number, not {logit.value!r}.")
        labels.append(label)
        thresholds.append(LabelThreshold(label.value, logit.number, 0, None))
    file.require_distinct(labels, "a label")
    return tuple(thresholds)


def _where(source: str | Path) -> str:
    return f"`calibration={source}`" if source else "`calibration`"


def _digest(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
