"""Prompt sets judged on images whose label is known: the verb behind `zsclip evaluate`."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from zsclip.classifier import Classifier
from zsclip.errors import InputError, PromptSetError
from zsclip.evaluation import comparison, metrics
from zsclip.evaluation import template_weights as ensembling
from zsclip.evaluation.comparison import Comparison
from zsclip.evaluation.embedded import EmbeddedImages
from zsclip.evaluation.learning import Curve
from zsclip.evaluation.levels import LevelFigures, level_figures
from zsclip.evaluation.metrics import Booleans, Interval, Predictions, Summary
from zsclip.evaluation.speed import ComparedModel
from zsclip.scoring.classes import ClassVectors, alike_in_words
from zsclip.scoring.levels import LevelScorer, in_levels
from zsclip.scoring.prompt_vectors import PromptVectors
from zsclip.scoring.rules import Rules, require_choice
from zsclip.scoring.teaching import teach
from zsclip.text.labels import LabelSet
from zsclip.text.prompts import PromptSet
from zsclip.text.wording import counted, listed

logger = logging.getLogger("zsclip")

_FEW = 30
TAUGHT = "+examples"  # what a set's name ends in that was taught
_STANDINGS = {
    "below chance": "worse than guessing: all of the interval of top-1 is below chance ({chance}).",
    "not above chance": "no better than guessing, as far as these images show: chance ({chance}) is within the interval of top-1.",
}


@dataclass(frozen=True)
class TemplateScore:
    """One template by itself."""

    template: str
    top1: float
    interval: Interval
    nll: float


@dataclass(frozen=True)
class SetResult:
    """One prompt set: its predictions and their metrics. `kind` is where it comes from: `given`, `zpe` or `selected`; one that was
    `taught` is a given one with what examples say beside it.

    `alike` are pairs of labels that it does not tell apart, whatever the picture. `model` is named where several are compared; `levels`
    are there where labels nest.
    """

    prompts: PromptSet
    kind: str
    predictions: Predictions
    summary: Summary
    templates: tuple[TemplateScore, ...] = ()  # each by itself, best first
    alike: tuple[tuple[str, str], ...] = ()
    model: str = ""
    levels: LevelFigures | None = None

    @property
    def name(self) -> str:
        """What the set is called: with its model, as `MODEL/SET`, where several are compared."""
        return f"{self.model}/{self.prompts.name}" if self.model else self.prompts.name


@dataclass(frozen=True)
class Evaluation:
    """Prompt sets on the same images, `paths`. `comparisons` are those of the other sets, in order, with the baseline.

    `chosen_on` images were set apart to choose templates or weights by; nothing reported was measured on them.
    `predicted` of the labels are predictions that nobody checked. Where several models are compared (`zsclip.evaluation.grid`),
    `models` are these, `model` is empty, and `left_out` images could be read by some of them only. So many `examples` taught the sets
    that were; `curves` are there where they are asked for.
    """

    paths: tuple[str, ...]
    labels: LabelSet
    sets: tuple[SetResult, ...]
    baseline: SetResult
    comparisons: tuple[Comparison, ...]
    unreadable: tuple[tuple[str, str], ...]
    rules: Rules
    abstains: bool
    chosen_on: int = 0
    model: str = ""
    predicted: int = 0
    models: tuple[ComparedModel, ...] = ()
    left_out: int = 0
    examples: int = 0
    curves: tuple[Curve, ...] = ()

    @property
    def others(self) -> tuple[SetResult, ...]:
        """The sets that are compared with the baseline."""
        return tuple(one for one in self.sets if one is not self.baseline)

    @property
    def chance(self) -> float:
        """The share of images that guessing gets right: one of the labels."""
        return 1 / len(self.labels)

    @cached_property
    def commonest(self) -> tuple[str, float]:
        """The label of most images, and the share that always answering it gets right."""
        counts = np.bincount(self.baseline.predictions.truth, minlength=len(self.labels))
        return self.labels.names[int(counts.argmax())], float(counts.max() / counts.sum())

    def standing(self, one: SetResult) -> str:
        """How a set's top-1 stands to chance, by its 95 % interval: `above chance`, `not above chance` or `below chance`."""
        low, high = one.summary.top1_interval
        return "above chance" if low > self.chance else "below chance" if high < self.chance else "not above chance"

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        """Why the figures may not mean what they seem to."""
        sets_of: dict[tuple[tuple[str, str], ...], list[str]] = {}
        for one in self.sets:
            if one.alike:
                sets_of.setdefault(one.alike, []).append(one.name)
        warnings = []
        if self.predicted:
            warnings.append(
                f"{counted(self.predicted, 'label')} {'is a prediction' if self.predicted == 1 else 'are predictions'} that "
                f"nobody checked: figures say how far the prompts agree with that, not how right they are."
            )
        warnings += [
            f"{'' if len(names) == len(self.sets) else f'{listed(names)}: '}{alike_in_words(pairs)}"
            for pairs, names in sets_of.items()
        ]
        for standing, words in _STANDINGS.items():
            if names := [one.name for one in self.sets if self.standing(one) == standing]:
                warnings.append(
                    f"{listed(names)} {'is' if len(names) == 1 else 'are'} {words.format(chance=f'{100 * self.chance:.1f} %')}"
                )
        return tuple(warnings)

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What to bear in mind when reading the figures."""
        notes = []
        images = self.baseline.summary.images
        if self.left_out:
            alone = "; each template by itself is judged on all that its model read" if self.baseline.templates else ""
            notes.append(
                f"Left out, for only some of the models can read them: {counted(self.left_out, 'image')}{alone}."
            )
        if self.examples:
            notes.append(
                f"{counted(self.examples, 'example')} taught the sets whose names end in {TAUGHT}; none of them is among the images judged."
            )
        if self.chosen_on:
            notes.append(
                f"{counted(self.chosen_on, 'image')} chose templates and weights; all figures are of the other {images}."
            )
        chosen = dict.fromkeys(one.prompts.origin for one in self.sets if one.kind == "given" and one.prompts.chosen)
        notes += [f"{origin}: if they are among these, its figures are too good." for origin in chosen]
        label, share = self.commonest
        beaten = [
            one.name
            for one in self.sets
            if self.standing(one) == "above chance" and one.summary.top1_interval.low <= share
        ]
        if beaten:
            notes.append(
                f"{listed(beaten)}: not shown to be right more often than always answering {label!r} "
                f"({100 * share:.1f} %); look at mean recall."
            )
        sizes = {len(one.prompts.templates) for one in self.sets}
        if len(sizes) > 1:
            notes.append(
                "The sets have different numbers of templates: a difference may come from how many there are, "
                "not only from how they are worded."
            )
        if images < _FEW:
            notes.append(f"{counted(images, 'image')} {'is' if images == 1 else 'are'} few: look at the intervals.")
        return tuple(notes)


def evaluate(
    classifier: Classifier,
    images: EmbeddedImages,
    sets: Sequence[PromptSet],
    *,
    rules: Rules | None = None,
    background: Sequence[str] | None = None,
    baseline: str | None = None,
    per_template: bool = False,
    weigh: bool = False,
    select: bool = False,
    seed: int = 0,
    half: Booleans | None = None,
    examples: EmbeddedImages | None = None,
) -> Evaluation:
    """Judge each prompt set by itself on the images, and against the baseline (default: the first set).

    With `weigh` and `select` each set also comes with templates weighed by zpe, and with a greedy selection of them
    (see `zsclip.evaluation.template_weights`); these are made on one half of the images, and all figures are of the other half.
    Which images are in the first is drawn with `seed`, unless `half` (n,) says it.
    With `examples`, of which none should be among the images, each set is also judged with what they teach beside it.
    Raises `InputError`, `LabelError`, `PromptSetError` and `ModelError`.
    """
    rules = rules or Rules()
    require_choice(images.labels.names, rules, background, remedy="`background`")
    sets = named_apart(sets)
    require_baseline(variant_names(sets, weigh=weigh, select=select, taught=examples is not None), baseline)
    half = metrics.halves(images.truth, seed) if half is None else half
    first = half if weigh or select else np.zeros(len(images), bool)
    choosing, reported = images[first], images[~first]
    if (weigh or select) and not (len(choosing) and len(reported)):
        raise InputError(
            "There must be at least two images that can be read: one half chooses, the other half is for the figures."
        )
    results = []
    for one in sets:
        texts = classifier.prompt_vectors(images.labels, [one], background)
        for kind, variant in _variants(texts, one, choosing, rules, weigh=weigh, select=select, seed=seed):
            classes = texts.class_vectors(images.labels, [variant], rules.combine)
            alone = (
                _alone(texts, variant, reported, rules) if per_template and kind == "given" and one.templates else ()
            )
            results.append(_result(kind, variant, classes, reported, rules, alone))
            if examples is not None:
                taught = replace(
                    classes, taught=teach(classes, examples.vectors, examples.truth, combine=rules.combine).taught
                )
                results.append(_result("taught", replace(one, name=one.name + TAUGHT), taught, reported, rules))
    start = results[0] if baseline is None else next(one for one in results if one.name == baseline)
    others = [one.predictions for one in results if one is not start]
    return Evaluation(
        reported.paths, images.labels, tuple(results), start, tuple(comparison.compare(start.predictions, others)),
        images.unreadable, rules, rules.abstains or background is not None, len(choosing), classifier.model.spec.title,
        images.predicted, examples=0 if examples is None else len(examples),
    )  # fmt: skip


def _variants(
    texts: PromptVectors,
    one: PromptSet,
    choosing: EmbeddedImages,
    rules: Rules,
    *,
    weigh: bool,
    select: bool,
    seed: int,
) -> Iterator[tuple[str, PromptSet]]:
    """A set as it is given, and what is made of it, each with its kind."""
    yield "given", one

    def judge(classes: ClassVectors) -> Predictions:
        return predict(classes, choosing, rules)

    made = []
    if weigh:
        made.append(("zpe", ensembling.weigh_by_zpe(texts, one, choosing.labels, choosing.vectors, rules)))
    if select:
        made.append(("selected", ensembling.select(texts, one, choosing.labels, judge, rules.combine)))
    for kind, variant in made:
        yield kind, replace(variant, chosen={**variant.chosen, "seed": str(seed)})


def _result(
    kind: str,
    variant: PromptSet,
    classes: ClassVectors,
    images: EmbeddedImages,
    rules: Rules,
    alone: tuple[TemplateScore, ...] = (),
) -> SetResult:
    found = predict(classes, images, rules)
    summary, alike = metrics.summary(found, len(images.labels)), tuple(classes.alike())
    return SetResult(variant, kind, found, summary, alone, alike, levels=_levels(classes, images, rules))


def require_baseline(names: Sequence[str], baseline: str | None) -> None:
    """Raise `PromptSetError` for a baseline that is none of the sets' names, or the only one."""
    if baseline is None:
        return
    where = f"`baseline={baseline}`"
    if baseline not in names:
        raise PromptSetError(f"there is no such set among those compared: {', '.join(names)}.", where=where)
    if len(names) < 2:
        raise PromptSetError("there is no other set to compare with it.", where=where, remedy="Give one more.")


def variant_names(
    sets: Sequence[PromptSet], *, weigh: bool = False, select: bool = False, taught: bool = False
) -> list[str]:
    """What the sets are called, and what `weigh`, `select` and examples make of them."""
    kinds = [
        "",
        *([ensembling.WEIGHED] if weigh else []),
        *([ensembling.SELECTED] if select else []),
        *([TAUGHT] if taught else []),
    ]
    return [one.name + kind for one in sets for kind in kinds]


def predict(classes: ClassVectors, images: EmbeddedImages, rules: Rules) -> Predictions:
    """What the classes say of the images."""
    return Predictions.joined(
        [
            Predictions.of(scores.probability, images.truth[part], scores.withheld, scores.similarity)
            for part, scores in classes.parts(images.vectors, rules)
        ]
    )


def _levels(classes: ClassVectors, images: EmbeddedImages, rules: Rules) -> LevelFigures | None:
    scorer = in_levels(classes, images.labels)
    return level_figures(scorer, images.vectors, images.truth, rules) if isinstance(scorer, LevelScorer) else None


def _alone(texts: PromptVectors, one: PromptSet, images: EmbeddedImages, rules: Rules) -> tuple[TemplateScore, ...]:
    scores = []
    for single in ensembling.singles(one):
        found = predict(texts.class_vectors(images.labels, [single], rules.combine), images, rules)
        right = int(found.correct.sum())
        interval = metrics.wilson(right, len(found))
        nll = metrics.negative_log_likelihood(found)
        scores.append(TemplateScore(single.templates[0], right / len(found), interval, nll))
    return tuple(sorted(scores, key=lambda score: (-score.top1, score.nll)))


def named_apart(sets: Sequence[PromptSet]) -> list[PromptSet]:
    """The sets with names that differ: files of one name get their path; raises `PromptSetError` for one given twice."""
    if not sets:
        raise PromptSetError("No prompt sets given.")
    for n, one in enumerate(sets):
        if (one.name, one.source) in [(other.name, other.source) for other in sets[:n]]:
            raise PromptSetError(f"The prompt set {one.name!r} is given twice. Compare it with another one.")
    names = [one.name for one in sets]
    return [replace(one, name=one.source) if names.count(one.name) > 1 else one for one in sets]
