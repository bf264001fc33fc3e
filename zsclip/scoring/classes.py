"""Labels as class vectors, and images scored against them. NumPy only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from zsclip.errors import LabelError
from zsclip.scoring.decisions import Decisions, Scores, decide, withhold
from zsclip.scoring.probability import independent_probabilities, probabilities, similarities
from zsclip.scoring.rules import Rules
from zsclip.scoring.taught import Taught
from zsclip.text.wording import listed
from zsclip.unit_vectors import Doubles, Floats, unit_mean

_SCORES_AT_ONCE = 1 << 20
_ALIKE = 1.0  # logits that can differ by less are alike
_MOST_COMPARED = 5000


def class_vectors(
    prompts: Floats,
    groups: Sequence[Sequence[Sequence[int]]],
    combine: str = "mean",
    weights: Sequence[Sequence[Sequence[float]]] | None = None,
) -> list[Floats]:
    """The unit vectors of each label: float32 (1, d), or (names, d) where `combine` keeps the names apart.

    `prompts` are the unit vectors of all texts, (n, d). `groups[label][name]` lists the rows of one name's texts, and
    `weights[label][name]` how much each counts. A name's vector is the unit mean of its prompts' (as in CLIP, Radford et
    al., 2021); for `mean` a label's is the unit mean of its names'.
    """
    names = [
        np.stack(
            [
                unit_mean(prompts[list(rows)], None if weights is None else weights[label][name])
                for name, rows in enumerate(members)
            ]
        )
        for label, members in enumerate(groups)
    ]
    return [unit_mean(vectors)[None] for vectors in names] if combine == "mean" else names


@dataclass(frozen=True)
class ClassVectors:
    """Labels made ready for scoring: per label the unit vectors float32 (1 or names, d), and the background's (texts, d).

    Where they were `taught` by examples, these count beside the vectors for labels that compete. Similarities stay cosines.
    """

    names: tuple[str, ...]
    vectors: tuple[Floats, ...]
    logit_scale: float
    logit_bias: float = 0.0
    background: Floats | None = None
    taught: Taught | None = None

    @cached_property
    def _all(self) -> Floats:
        return np.concatenate(self.vectors)

    @cached_property
    def _starts(self) -> NDArray[np.intp]:
        return np.cumsum([0, *(len(vectors) for vectors in self.vectors[:-1])])

    def alike(self) -> list[tuple[str, str]]:
        """Labels that no picture can tell apart: pairs of a label and the first one before it that is like it.

        Whatever the picture, two labels' logits differ by the model's scale times the distance of their class vectors at
        most. Where that is under 1, neither is ever e times as probable as the other, and mostly they are equal. At a scale
        of 100 that is a distance of 0.01 (a cosine of 0.99995): well above what rounding does to one text's vector, far
        below what lies between synonyms. Labels whose names are kept apart are compared by the mean of their names.
        Of more than 5,000 labels none is compared: that would take seconds.
        """
        if len(self.names) > _MOST_COMPARED:
            return []
        vectors = np.stack([of_label[0] if len(of_label) == 1 else unit_mean(of_label) for of_label in self.vectors])
        least = 1 - (_ALIKE / self.logit_scale) ** 2 / 2
        labels = np.arange(len(vectors))
        step = max(1, _SCORES_AT_ONCE // len(vectors))
        pairs = []
        for start in range(0, len(vectors), step):
            rows = labels[start : start + step]
            is_alike = (vectors[rows] @ vectors[: rows[-1]].T >= least) & (labels[: rows[-1]] < rows[:, None])
            for row in np.flatnonzero(is_alike.any(axis=1)).tolist():
                pairs.append((self.names[int(is_alike[row].argmax())], self.names[start + row]))
        return pairs

    def score(
        self, embeddings: Floats, top_k: int, rules: Rules | None = None, starts: Sequence[int] | None = None
    ) -> Decisions:
        """Decide for each of the unit vectors (n, d), with its best `top_k` labels, best first."""
        rules = rules or Rules()
        return decide(self.names, self.arrays(embeddings, rules, starts), top_k, rules)

    def arrays(self, embeddings: Floats, rules: Rules | None = None, starts: Sequence[int] | None = None) -> Scores:
        """Score unit vectors (n, d) against all labels, and say for which images no label is decided on.

        With `starts`, each image is several vectors, which begin there: for every text its best one counts.
        """
        rules = rules or Rules()
        doubles = embeddings.astype(np.float64)
        of_names = similarities(doubles, self._all)
        if rules.multi_label:
            logits = self._independent(embeddings, of_names, starts) - np.array(rules.logit_thresholds or 0.0)
            probability = independent_probabilities(logits, rules.temperature)
            of_labels = self._of_labels(_best(of_names, starts))
            withheld = np.zeros(len(of_labels), bool)
        else:
            of_best = _best(of_names, starts)
            of_labels = self._of_labels(of_best)
            probability, withheld = self._softmax(*self._competing(doubles, of_names, of_best, starts), rules)
        return Scores(probability, of_labels, withheld | withhold(probability, of_labels, rules))

    def independent_logits(self, embeddings: Floats) -> Doubles:
        """Of unit vectors (n, d), the logits (n, labels) whose sigmoids are the probabilities of labels on their own."""
        return self._independent(embeddings, similarities(embeddings, self._all), None)

    def parts(self, embeddings: Floats, rules: Rules | None = None) -> Iterator[tuple[slice, Scores]]:
        """The scores of some vectors at a time, with their place: n times labels numbers are never held at once."""
        step = max(1, _SCORES_AT_ONCE // len(self.names))
        for start in range(0, len(embeddings), step):
            part = slice(start, start + step)
            yield part, self.arrays(embeddings[part], rules)

    def best_frame(self, frames: Floats, label: int) -> int:
        """Which of several vectors (n, d) is most like a label."""
        return int(similarities(frames, self.vectors[label]).max(axis=1).argmax())

    def _of_labels(self, of_names: Doubles) -> Doubles:
        return np.asarray(np.maximum.reduceat(of_names, self._starts, axis=1))

    def _competing(
        self, embeddings: Doubles, of_names: Doubles, of_best: Doubles, starts: Sequence[int] | None
    ) -> tuple[Doubles, Doubles | None]:
        """What competes: a score for each name of each label, on the scale of cosines, and for each text of the background."""
        against = None if self.background is None else _best(similarities(embeddings, self.background), starts)
        if self.taught is None:
            return of_best, against
        by_examples = self.taught(embeddings)
        if of_names.shape[1] > by_examples.shape[1]:
            by_examples = np.repeat(by_examples, [len(names) for names in self.vectors], axis=1)
        scores = _best(self.taught.texts * of_names + by_examples, starts)
        return scores, None if against is None else self.taught.texts * against

    def _softmax(self, of_names: Doubles, against: Doubles | None, rules: Rules) -> tuple[Doubles, NDArray[np.bool_]]:
        competing = of_names if rules.combine == "sum" else self._of_labels(of_names)
        count = competing.shape[1]
        if against is not None:
            competing = np.concatenate([competing, against], axis=1)
        all_of_them = probabilities(competing, self.logit_scale, self.logit_bias, rules.temperature)
        labels = all_of_them[:, :count]
        if rules.combine == "sum":
            labels = np.add.reduceat(labels, self._starts, axis=1)
        if against is None:
            return labels, np.zeros(len(labels), bool)
        return labels, all_of_them[:, count:].max(axis=1) > labels.max(axis=1)

    def _independent(self, embeddings: Floats, of_names: Doubles, starts: Sequence[int] | None) -> Doubles:
        of_labels = self._of_labels(of_names)
        if self.background is not None:
            reference = similarities(embeddings, unit_mean(self.background)[None])
            ahead = _best(of_labels - reference, starts)  # within one frame
            return self.logit_scale * ahead
        if not self.logit_bias:
            raise LabelError("Labels on their own need background texts to be compared with.")
        # SigLIP: trained to judge each pair by itself.
        return self.logit_scale * _best(of_labels, starts) + self.logit_bias


def _best(values: Doubles, starts: Sequence[int] | None) -> Doubles:
    """Of rows that belong together the largest of each column."""
    return values if starts is None else np.asarray(np.maximum.reduceat(values, starts, axis=0))


def alike_in_words(pairs: Sequence[tuple[str, str]]) -> str:
    """What to say about labels that are alike."""
    named = listed([f"{one!r} from {other!r}" for one, other in pairs])
    return (
        f"No picture can tell {named}: their class vectors are (nearly) the same, so they share one probability. Leave "
        f"one of them out, or use other words for it."
    )
