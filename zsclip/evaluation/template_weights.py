"""Better than equal averaging, perhaps: weights for a set's templates without labels (zpe), and a selection with them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from zsclip.errors import PromptSetError
from zsclip.evaluation import metrics
from zsclip.evaluation.metrics import Predictions
from zsclip.scoring.classes import ClassVectors
from zsclip.scoring.prompt_vectors import PromptVectors
from zsclip.scoring.rules import Rules
from zsclip.text.labels import LabelSet
from zsclip.text.prompts import PromptSet
from zsclip.unit_vectors import Floats

logger = logging.getLogger("zsclip")

WEIGHED, SELECTED = " + zpe", " + selected"  # behind the name of a set
_LEAST_WEIGHT = 1e-9  # a weight must not be 0


def singles(one: PromptSet) -> list[PromptSet]:
    """Each template of a set as a set by itself; labels keep the prompts of their own. Raises `PromptSetError`."""
    if not one.templates:
        raise PromptSetError(
            f"Prompt set {one.name!r} has prompts for labels and no templates: there is nothing to weigh or to select."
        )
    return [replace(one, templates=(template,), weights=()) for template in one.templates]


def weigh_by_zpe(texts: PromptVectors, one: PromptSet, labels: LabelSet, vectors: Floats, rules: Rules) -> PromptSet:
    """The set with its templates weighed by zero-shot prompt ensembling (Allingham et al., ICML 2023), without labels.

    With logits l(n, c) of image n and label c by one template (the model's scale times the cosine), the template's score
    is the mean over images of max over c of l(n, c) - mean over images of l(., c); weights are the softmax of the scores.
    The paper subtracts half of that mean and half of the mean over images from pre-training, to be rid of templates that
    are near to all images; here it is the images at hand alone, which need no labels. The weights are for the
    mean of the prompts' unit vectors, where the paper has them on the logits. `vectors` are float32 (n, d).
    """
    scores = []
    for single in singles(one):
        classes = texts.class_vectors(labels, [single], rules.combine)
        mean = sum(found.similarity.sum(axis=0) for _, found in classes.parts(vectors, rules)) / len(vectors)
        best = sum(float((found.similarity - mean).max(axis=1).sum()) for _, found in classes.parts(vectors, rules))
        scores.append(texts.logit_scale * best / len(vectors))
    weights = np.exp(np.array(scores) - max(scores))
    weights = weights / weights.sum() * len(weights)  # 1 on average, as templates without a weight have
    chosen = {
        "method": "zpe, zero-shot prompt ensembling (Allingham et al., 2023), normalised with these images alone",
        "from": f"{one.name} ({len(one.templates)} templates)",
        "images": f"{len(vectors)} images, without their labels",
        "labels": str(len(labels)),
    }
    return replace(
        one,
        name=one.name + WEIGHED,
        description=f"The templates of {one.name}, weighed.",
        weights=tuple(np.maximum(weights, _LEAST_WEIGHT).tolist()),
        chosen=chosen,
    )


def select(
    texts: PromptVectors, one: PromptSet, labels: LabelSet, judge: Callable[[ClassVectors], Predictions], combine: str
) -> PromptSet:
    """The templates that greedy forward selection takes: at each step the one that makes the mean of all taken best.

    Best is the highest top-1 of what `judge` says, and of equals the lowest NLL. It ends when no template betters that.
    """
    left = singles(one)
    logger.info("%s: selecting among %d templates.", one.name, len(left))
    taken: list[str] = []
    reached = (-1.0, -np.inf)
    images = 0
    while left:
        tried = []
        for single in left:
            together = replace(one, templates=(*taken, *single.templates), weights=())
            found = judge(texts.class_vectors(labels, [together], combine))
            images = len(found)
            tried.append((float(found.correct.mean()), -metrics.negative_log_likelihood(found)))
        best = max(range(len(tried)), key=lambda n: tried[n])
        if tried[best] <= reached:
            break
        reached = tried[best]
        taken += left.pop(best).templates
        logger.debug("%s: took %r, top-1 %.4f", one.name, taken[-1], reached[0])
    chosen = {
        "method": "greedy forward selection by top-1, of equals by NLL",
        "from": f"{one.name} ({len(one.templates)} templates)",
        "images": f"{images} images, with their labels",
        "labels": str(len(labels)),
        "top-1 on these images": f"{reached[0]:.4f}",
    }
    return replace(
        one,
        name=one.name + SELECTED,
        description=f"{len(taken)} of the {len(one.templates)} templates of {one.name}.",
        templates=tuple(taken),
        weights=(),
        chosen=chosen,
    )
