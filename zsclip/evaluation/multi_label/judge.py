"""Prompt sets judged on images that may have several labels: the verb behind `zsclip evaluate --multi-label`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from zsclip.classifier import Classifier
from zsclip.errors import InputError
from zsclip.evaluation.comparison import holm
from zsclip.evaluation.evaluate import named_apart, require_baseline, variant_names
from zsclip.evaluation.metrics import Doubles, Interval
from zsclip.evaluation.multi_label.data import MultiLabelImages
from zsclip.evaluation.multi_label.figures import Figures, Said, bias, bootstrap, bootstrap_p, figures, interval
from zsclip.scoring.classes import ClassVectors, alike_in_words
from zsclip.scoring.decisions import holding
from zsclip.scoring.rules import Rules, require_choice
from zsclip.text.labels import LabelSet
from zsclip.text.prompts import PromptSet
from zsclip.text.wording import counted, listed

COMPARED = ("map", "micro_f1", "macro_f1")
_FEW = 30
_RARE = 5
_BIASED = 0.01


@dataclass(frozen=True)
class Figure:
    """A figure with its 95 % interval; None where there is nothing to divide by."""

    value: float | None
    interval: Interval | None


@dataclass(frozen=True)
class Difference:
    """By how much a figure is above the baseline's, with its 95 % interval over the same resamples."""

    value: float
    interval: Interval | None
    p_value: float


@dataclass(frozen=True)
class MultiLabelResult:
    """One prompt set: the figures of each label, those over all labels by name, and what resamples of the images give."""

    prompts: PromptSet
    figures: Figures
    means: Mapping[str, Figure]
    resampled: Figures
    alike: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """What the set is called in tables."""
        return self.prompts.name


@dataclass(frozen=True)
class MultiLabelComparison:
    """A set against the baseline, by name of a figure. `p_adjusted` is Holm's, of the difference of mean average precision."""

    differences: Mapping[str, Difference]
    p_adjusted: float

    @property
    def verdict(self) -> str:
        """`better` or `worse` where the adjusted p-value is under 0.05, else `unclear`: no difference is shown."""
        if self.p_adjusted >= 0.05:
            return "unclear"
        return "better" if self.differences["map"].value > 0 else "worse"


@dataclass(frozen=True)
class MultiLabelEvaluation:
    """Prompt sets on the same images. `comparisons` are those of the other sets, in order, with the baseline."""

    images: MultiLabelImages
    sets: tuple[MultiLabelResult, ...]
    baseline: MultiLabelResult
    comparisons: tuple[MultiLabelComparison, ...]
    rules: Rules
    model: str = ""

    @property
    def labels(self) -> LabelSet:
        """The labels asked for."""
        return self.images.labels

    @property
    def others(self) -> tuple[MultiLabelResult, ...]:
        """The sets that are compared with the baseline."""
        return tuple(one for one in self.sets if one is not self.baseline)

    @property
    def without_images(self) -> tuple[str, ...]:
        """The labels that no image has, which means leave out."""
        return tuple(
            name for name, count in zip(self.labels.names, self.baseline.figures.positive, strict=True) if not count
        )

    @cached_property
    def chance(self) -> float:
        """The mean average precision of a random order: the mean share of images that have a label."""
        positive = self.baseline.figures.positive
        return float(positive[positive > 0].mean() / len(self.images))

    def standing(self, one: MultiLabelResult) -> str:
        """How a set's mean average precision stands to chance, by its interval: `above chance`, `not above chance` or `below chance`."""
        found = one.means["map"].interval
        if found is None:
            return "not above chance"
        return (
            "above chance"
            if found.low > self.chance
            else "below chance"
            if found.high < self.chance
            else "not above chance"
        )

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        """Why the figures may not mean what they seem to."""
        warnings = []
        if predicted := self.images.predicted:
            warnings.append(
                f"Labels of {counted(predicted, 'row')} are predictions that nobody checked: figures say how far the prompts "
                f"agree with that, not how right they are."
            )
        if missing := self.without_images:
            warnings.append(
                f"No image has {listed([repr(name) for name in missing])}: means over the labels do without, and micro figures "
                f"count whatever is said to have it as wrong."
            )
        warnings += [f"{one.name}: {alike_in_words(one.alike)}" for one in self.sets if one.alike]
        if names := [one.name for one in self.sets if self.standing(one) != "above chance"]:
            warnings.append(
                f"{listed(names)}: no better than a random order, as far as these images show ({100 * self.chance:.1f} %)."
            )
        return tuple(warnings)

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What to bear in mind when reading the figures."""
        notes = [
            f"{one.prompts.origin}: if they are among these, its figures are too good."
            for one in self.sets
            if one.prompts.chosen
        ]
        if len({len(one.prompts.templates) for one in self.sets}) > 1:
            notes.append(
                "The sets have different numbers of templates: a difference may come from how many there are, "
                "not only from how they are worded."
            )
        start = self.baseline
        too_high = bias(float(start.figures.means["map"]), start.resampled.means["map"])
        if too_high >= _BIASED:
            notes.append(
                f"Labels of so few images have too high an average precision: mAP by {100 * too_high:.0f} points or more. Compare sets "
                f"on these images, not with figures of others."
            )
        positive = self.baseline.figures.positive
        if rare := int(((positive > 0) & (positive < _RARE)).sum()):
            notes.append(f"{counted(rare, 'label')} with fewer than {_RARE} images: look at the intervals.")
        if len(self.images) < _FEW:
            notes.append(
                f"{counted(len(self.images), 'image')} {'is' if len(self.images) == 1 else 'are'} few: look at the intervals."
            )
        return tuple(notes)


def evaluate(
    classifier: Classifier,
    images: MultiLabelImages,
    sets: Sequence[PromptSet],
    *,
    rules: Rules,
    background: Sequence[str] | None = None,
    baseline: str | None = None,
) -> MultiLabelEvaluation:
    """Judge each prompt set by itself on the images, and against the baseline (default: the first set).

    `rules` are those of `multi_label`. Intervals are by bootstrap over the images, with the same resamples for all sets. Raises
    `InputError`, `LabelError`, `PromptSetError` and `ModelError`.
    """
    require_choice(images.labels.names, rules, background)
    sets = named_apart(sets)
    require_baseline(variant_names(sets), baseline)
    if not images.truth.any():
        raise InputError("None of the images that can be read has any of the labels: there is nothing to find.")
    background = classifier.effective_background(rules, background)
    results = []
    for one in sets:
        classes = classifier.prompt_vectors(images.labels, [one], background).class_vectors(
            images.labels, [one], rules.combine
        )
        results.append(_judged(one, classes, images, rules))
    start = results[0] if baseline is None else next(one for one in results if one.name == baseline)
    others = [_differences(one, start) for one in results if one is not start]
    adjusted = holm([one["map"].p_value for one in others])
    comparisons = tuple(MultiLabelComparison(*pair) for pair in zip(others, adjusted, strict=True))
    return MultiLabelEvaluation(images, tuple(results), start, comparisons, rules, classifier.model.spec.title)


def say(classes: ClassVectors, images: MultiLabelImages, rules: Rules) -> Said:
    """What the classes say of the images."""
    shape = images.truth.shape
    score, holds = np.empty(shape), np.empty(shape, bool)
    for part, scores in classes.parts(images.vectors, rules):
        score[part], holds[part] = scores.probability, holding(scores.probability, scores.similarity, rules)
    return Said(score, holds, images.truth)


def _judged(one: PromptSet, classes: ClassVectors, images: MultiLabelImages, rules: Rules) -> MultiLabelResult:
    said = say(classes, images, rules)
    found, resamples = figures(said), bootstrap(said)
    of_resamples = resamples.means
    means = {
        name: Figure(float(value), interval(float(value), of_resamples[name])) for name, value in found.means.items()
    }
    return MultiLabelResult(one, found, means, resamples, tuple(classes.alike()))


def _differences(one: MultiLabelResult, baseline: MultiLabelResult) -> dict[str, Difference]:
    mine, theirs = one.resampled.means, baseline.resampled.means
    differences = {}
    for name in COMPARED:
        resampled: Doubles = mine[name] - theirs[name]
        value = float(one.figures.means[name] - baseline.figures.means[name])
        differences[name] = Difference(value, interval(value, resampled, -1), bootstrap_p(value, resampled))
    return differences
