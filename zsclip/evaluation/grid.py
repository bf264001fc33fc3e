"""Models and prompt sets judged on the same images: every pair by itself, and against one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from zsclip.errors import InputError, PromptSetError
from zsclip.evaluation import comparison, metrics
from zsclip.evaluation.dataset import LabelledImages
from zsclip.evaluation.embedded import EmbeddedImages
from zsclip.evaluation.evaluate import Evaluation, SetResult
from zsclip.evaluation.metrics import Booleans, Integers
from zsclip.evaluation.speed import ComparedModel


@dataclass(frozen=True)
class ModelJudged:
    """One model's evaluation, and which of all labelled images (by number) its figures are of."""

    model: ComparedModel
    found: Evaluation
    places: Integers


def baseline_pair(models: Sequence[str], sets: Sequence[str], baseline: str | None) -> tuple[str, str]:
    """The model and the set that `baseline` names: `MODEL/SET`, or one of both, which then is the first of its kind beside it.

    Raises `PromptSetError` for what is none of them, or a model and a set.
    """
    pairs = {f"{model}/{name}": (model, name) for model in models for name in sets}
    if baseline is None:
        return models[0], sets[0]
    where = f"`baseline={baseline}`"
    if baseline in pairs:
        return pairs[baseline]
    if baseline in models and baseline in sets:
        raise PromptSetError("that is a model and a prompt set.", where=where, remedy="Name one as MODEL/SET.")
    if baseline in models:
        return baseline, sets[0]
    if baseline in sets:
        return models[0], baseline
    raise PromptSetError(f"there is no such pair among those compared: {', '.join(pairs)}.", where=where)


def half_of(data: LabelledImages, images: EmbeddedImages, seed: int) -> Booleans:
    """Which of a model's images are in the first of two halves of all labelled images, the same for every model: (n,)."""
    number = {name: n for n, name in enumerate(data.labels.names)}
    return metrics.halves(np.array([number[label] for label in data.truth]), seed)[images.places]


def compared(judged: Sequence[ModelJudged], baseline: tuple[str, str]) -> Evaluation:
    """The models' evaluations as one, over the images that every model could read.

    The baseline, `(model, set)`, is compared with every other pair, image by image; p-values are adjusted for all of these
    comparisons. Raises `InputError` if there is no such image.
    """
    common = judged[0].places
    for one in judged[1:]:
        common = np.intersect1d(common, one.places, assume_unique=True)
    if not len(common):
        raise InputError("There is no image that all of the models can read.")
    results = [
        _restricted(replace(result, model=one.model.name), np.isin(one.places, common), len(one.found.labels))
        for one in judged
        for result in one.found.sets
    ]
    start = next(one for one in results if (one.model, one.prompts.name) == baseline)
    others = [one.predictions for one in results if one is not start]
    first = judged[0].found
    read_by_some = np.unique(np.concatenate([one.places for one in judged]))
    return replace(
        first,
        paths=tuple(path for path, kept in zip(first.paths, np.isin(judged[0].places, common), strict=True) if kept),
        sets=tuple(results),
        baseline=start,
        comparisons=tuple(comparison.compare(start.predictions, others)),
        unreadable=_unreadable(judged),
        model="",
        models=tuple(one.model for one in judged),
        left_out=len(read_by_some) - len(common),
    )


def _restricted(one: SetResult, kept: Booleans, labels: int) -> SetResult:
    """The same of some of the images. Templates by themselves stay figures of all that the model read."""
    if kept.all():
        return one
    predictions = one.predictions[kept]
    return replace(one, predictions=predictions, summary=metrics.summary(predictions, labels))


def _unreadable(judged: Sequence[ModelJudged]) -> tuple[tuple[str, str], ...]:
    """What could not be read, each once; by which models, where others could."""
    first = judged[0].found.unreadable
    if all(one.found.unreadable == first for one in judged):
        return first
    errors: dict[str, dict[str, str]] = {}  # by path, those of each model
    for one in judged:
        for path, error in one.found.unreadable:
            errors.setdefault(path, {})[one.model.name] = error
    return tuple(
        (path, next(iter(by.values())) + ("" if len(by) == len(judged) else f" ({', '.join(by)})"))
        for path, by in errors.items()
    )
