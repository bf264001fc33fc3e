"""Labels taught by examples: a discriminant or a probe beside the texts, blended as examples that were held out say. NumPy and SciPy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zsclip.errors import InputError
from zsclip.scoring.classes import ClassVectors
from zsclip.scoring.discriminant import Linear, balanced, gaussian
from zsclip.scoring.probability import probabilities
from zsclip.scoring.probe import probes
from zsclip.scoring.rules import Rules
from zsclip.scoring.taught import Taught
from zsclip.unit_vectors import Doubles, Floats, unit_mean

Integers = NDArray[np.intp]

METHODS = ("gda", "probe")
_ONE_BY_ONE = 50  # as many examples are held out one by one; of more, a tenth or a fifth at a time
_TENTHS = 500
# What the texts alone, as they are, count as when the blend is chosen, in nats: a few examples cannot move it far. Chosen among 1, 4, 10,
# 16, 20 and 30 on draws as those of benchmarks/teaching.py, of other seeds.
_CAUTION = 10.0
_BOUNDS = ((0.02, 3.0), (0.0, 5.0))


@dataclass(frozen=True)
class HeldOut:
    """What is said of each example (n,) by labels that were taught without it: probabilities float64 (n, labels), before and after."""

    texts: Doubles
    taught: Doubles


@dataclass(frozen=True)
class Lesson:
    """What examples teach, with how it does on examples that were held out."""

    taught: Taught
    held_out: HeldOut


def teach(
    classes: ClassVectors,
    vectors: Floats,
    labels: Integers,
    method: str = "gda",
    seed: int = 0,
    *,
    combine: str = "mean",
) -> Lesson:
    """Teach labels by examples: unit vectors float32 (n, d) with the numbers of their labels (n,).

    `gda` is a Gaussian discriminant (see `zsclip.scoring.discriminant`), `probe` a linear probe (`zsclip.scoring.probe`). How much it
    counts beside the texts, and how far it is pulled towards them, is chosen by the likelihood of examples that were held out, each
    label weighing the same. Nothing else is looked at, and nothing is to be set. Raises `InputError` for fewer than two labels with
    examples.
    """
    if len(np.unique(labels)) < 2:
        raise InputError("Examples must be of two labels at least: one label has nothing to be told apart from.")
    if method not in METHODS:
        raise InputError(f"There is no way of teaching called {method!r}. There are: {', '.join(METHODS)}.")
    fit = _METHODS[method](classes.logit_scale)
    texts = np.stack([one[0] if len(one) == 1 else unit_mean(one) for one in classes.vectors]).astype(np.float64)
    points = vectors.astype(np.float64)
    by_texts = _by_texts(classes, vectors, combine)
    folds = _folds(labels, np.random.default_rng(seed))
    held_out: list[Doubles] = []
    for rest in _rest(folds):
        if len(np.unique(labels[rest])) < 2:  # nothing can be learned of one label: its examples say nothing
            continue
        candidates = fit(points[rest], labels[rest], texts)
        held_out = held_out or [np.zeros_like(by_texts) for _ in candidates]
        for scores, candidate in zip(held_out, candidates, strict=True):
            scores[~rest] = candidate(points[~rest])
    held_out = held_out or [np.zeros_like(by_texts) for _ in fit(points, labels, texts)]
    weights = balanced(labels)
    blends = [_blend(by_texts, scores, labels, weights) for scores in held_out]
    best = min(range(len(blends)), key=lambda n: blends[n].loss)
    after = np.empty_like(by_texts)
    for rest in _rest(folds):
        blend = _blend(by_texts[rest], held_out[best][rest], labels[rest], balanced(labels[rest]), blends[best])
        after[~rest] = blend(by_texts[~rest], held_out[best][~rest])
    blend, linear = blends[best], fit(points, labels, texts)[best]
    share = blend.examples / classes.logit_scale
    taught = Taught(
        blend.texts, (share * linear.weights).astype(np.float32), (share * linear.biases).astype(np.float32)
    )
    return Lesson(taught, HeldOut(probabilities(by_texts, 1.0), probabilities(after, 1.0)))


_Fit = Callable[[Doubles, Integers, Doubles], list[Linear]]
_METHODS: dict[str, Callable[[float], _Fit]] = {
    "gda": lambda scale: gaussian,
    "probe": lambda scale: lambda vectors, labels, texts: probes(vectors, labels, texts, scale),
}


@dataclass(frozen=True)
class _Blend:
    """Logits of the texts and scores of the examples, added up."""

    texts: float
    examples: float
    loss: float = 0.0

    def __call__(self, by_texts: Doubles, scores: Doubles) -> Doubles:
        return self.texts * by_texts + self.examples * scores


def _blend(
    by_texts: Doubles, scores: Doubles, labels: Integers, weights: Doubles, start: _Blend | None = None
) -> _Blend:
    """The blend with the least negative log-likelihood of the labels (n,), which is convex in the two numbers."""
    from scipy.optimize import minimize

    rows = np.arange(len(labels))
    nats = weights * len(labels)
    said = float(scores.std(axis=1).mean())
    spread = by_texts.std(axis=1).mean() / said if said else 0.0  # then 1 is as much as the texts
    parts = np.stack([by_texts, spread * scores])
    right = parts[:, rows, labels]

    def loss(amounts: Doubles) -> tuple[float, Doubles]:
        logits = np.tensordot(amounts, parts, 1)
        logits -= logits.max(axis=1, keepdims=True)
        share = np.exp(logits)
        total = share.sum(axis=1)
        share *= (nats / total)[:, None]
        slope = np.einsum("nk,pnk->p", share, parts) - right @ nats
        apart = amounts - (1.0, 0.0)
        value = nats @ (np.log(total) - logits[rows, labels]) + _CAUTION * apart @ apart
        return float(value), slope + 2 * _CAUTION * apart

    first = (
        [1.0, 0.1] if start is None else [start.texts, min(start.examples / spread, _BOUNDS[1][1]) if spread else 0.0]
    )
    found = minimize(loss, first, jac=True, bounds=_BOUNDS, method="L-BFGS-B", options={"ftol": 1e-7})
    return _Blend(float(found.x[0]), float(found.x[1] * spread), float(found.fun))


def _by_texts(classes: ClassVectors, vectors: Floats, combine: str) -> Doubles:
    """Logits of labels by their texts (n, labels), up to what an image's labels have in common."""
    if combine == "sum":
        return np.asarray(np.log(np.maximum(classes.arrays(vectors, Rules(combine=combine)).probability, 1e-300)))
    return classes.logit_scale * classes.arrays(vectors).similarity


def _folds(labels: Integers, generator: np.random.Generator) -> Integers:
    """Which examples (n,) are held out together: each label's are spread over the folds."""
    count = len(labels)
    folds = count if count <= _ONE_BY_ONE else 10 if count <= _TENTHS else 5
    shuffled = generator.permutation(count)
    order = shuffled[np.argsort(labels[shuffled], kind="stable")]
    found = np.empty(count, np.intp)
    found[order] = np.arange(count) % folds
    return found


def _rest(folds: Integers) -> Iterator[NDArray[np.bool_]]:
    for fold in range(int(folds.max()) + 1):
        yield folds != fold


def mislabelled(held_out: HeldOut, labels: Integers, *, least: float = 0.9) -> list[tuple[int, int]]:
    """Examples that look mislabelled, the surest first: their number, and that of the label that has `least` probability without them."""
    probability = held_out.taught
    other = probability.argmax(axis=1)
    sure = probability.max(axis=1)
    found = np.flatnonzero((other != labels) & (sure >= least))
    return [(int(n), int(other[n])) for n in found[np.argsort(-sure[found], kind="stable")]]
