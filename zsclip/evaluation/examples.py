"""Examples with known labels, what they teach, and whether they help: what is behind `--examples`."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from zsclip.classifier import Classifier, Images
from zsclip.embedding.records import Embedded, ImageEmbeddings
from zsclip.errors import InputError
from zsclip.evaluation import dataset
from zsclip.evaluation.comparison import paired_difference
from zsclip.evaluation.copies import NEAR, SAME, alike, copies
from zsclip.evaluation.dataset import LabelledImages
from zsclip.evaluation.embedded import EmbeddedImages, embed
from zsclip.evaluation.metrics import Booleans, Interval
from zsclip.scoring.batches import ImageResults
from zsclip.scoring.classes import ClassVectors
from zsclip.scoring.taught import Taught
from zsclip.scoring.teaching import Lesson, mislabelled, teach
from zsclip.text.labels import LabelSet
from zsclip.text.wording import counted, listed

logger = logging.getLogger("zsclip")


def read(source: Path, labels: LabelSet, unknown: str = "unknown") -> LabelledImages:
    """Examples of some of the labels: a folder with a folder for each label, or a manifest such as a gallery's labels.csv.

    Those of other labels are left out, which the notes say. Raises `InputError` and `LabelError`, also where none is left.
    """
    found = (
        dataset.from_folder(source, unknown=unknown, levels=labels)
        if source.is_dir()
        else dataset.from_manifest(source, unknown=unknown)
    )
    called = {label: names[0] for label in set(found.truth) if len(names := _called(label, labels)) == 1}
    rows = [(path, called[label]) for path, label in zip(found.paths, found.truth, strict=True) if label in called]
    strange = Counter(label for label in found.truth if label not in called)
    if not rows:
        raise InputError(
            f"its labels are {listed(sorted(strange))}, and none of these is asked for.", where=f"`examples={source}`"
        )
    notes = list(found.notes)
    if strange:
        named = [f"{label!r} ({count})" for label, count in strange.most_common()]
        notes.append(
            f"Left out, for their labels are not asked for: {counted(strange.total(), 'example')}: {listed(named)}."
        )
    return LabelledImages(tuple(path for path, _ in rows), tuple(label for _, label in rows), labels, tuple(notes))


def _called(name: str, labels: LabelSet) -> list[str]:
    """The labels that an example's label may mean: by name, or by one of the names they are prompted by."""
    return labels.called(name) or [label.name for label in labels.labels if name in label.members]


@dataclass(frozen=True)
class Gain:
    """What examples bring, measured on those of them that were held out: shares that are right, and the difference's interval."""

    examples: int
    texts: float
    taught: float
    interval: Interval

    @classmethod
    def of(cls, texts: Booleans, taught: Booleans) -> Gain:
        """Of which examples (n,) were right by the texts, and by what was taught without them."""
        gained, lost = int((taught & ~texts).sum()), int((texts & ~taught).sum())
        interval = paired_difference(gained, lost, len(texts))
        return cls(len(texts), float(texts.mean()), float(taught.mean()), interval)

    @property
    def difference(self) -> float:
        """How much more is right, of 1."""
        return self.taught - self.texts


@dataclass(frozen=True)
class Taken:
    """A lesson with the examples it was learned from, as unit vectors, and what is to be said of them."""

    images: EmbeddedImages
    lesson: Lesson

    @property
    def taught(self) -> Taught:
        """What class vectors are told."""
        return self.lesson.taught

    @property
    def counts(self) -> dict[str, int]:
        """How many examples each label has."""
        found = np.bincount(self.images.truth, minlength=len(self.images.labels)).tolist()
        return dict(zip(self.images.labels.names, found, strict=True))

    @cached_property
    def gain(self) -> Gain:
        """What they bring."""
        return Gain.of(*self._right)

    @cached_property
    def _right(self) -> tuple[Booleans, Booleans]:
        held_out, truth = self.lesson.held_out, self.images.truth
        return held_out.texts.argmax(axis=1) == truth, held_out.taught.argmax(axis=1) == truth

    def _by_label(self) -> list[str]:
        """How many more of each label's are right, where that differs, the largest difference first."""
        texts, taught = (right.astype(np.intp) for right in self._right)
        more = np.bincount(self.images.truth, taught - texts, len(self.images.labels)).astype(np.intp)
        counts, names = list(self.counts.values()), self.images.labels.names
        order = np.argsort(-np.abs(more), kind="stable")
        return [f"{names[n]} {more[n]:+d} of {counts[n]}" for n in order.tolist() if more[n]]

    def notes(self) -> list[str]:
        """How many there are, and what they bring."""
        without = [name for name, count in self.counts.items() if not count]
        gain = self.gain
        low, high = (100 * end for end in gain.interval)
        notes = [
            f"Taught by {counted(gain.examples, 'example')}. Held out, {100 * gain.taught:.1f} of 100 are right; by the texts alone "
            f"{100 * gain.texts:.1f}: {100 * gain.difference:+.1f} ({low:.1f} to {high:.1f})."
        ]
        if changed := self._by_label():
            notes.append(f"By label, where that differs: {listed(changed)}.")
        if without:
            notes.append(f"Without examples, and known by their texts: {listed(without)}.")
        return notes

    def warnings(self) -> list[str]:
        """Why they may not help."""
        found = []
        gain = self.gain
        if gain.interval.high < 0:
            found.append(
                "The examples do harm: held out, fewer are right than by the texts alone. Look at their labels."
            )
        elif gain.difference <= 0:
            found.append("The examples are not shown to help: held out, no more are right than by the texts alone.")
        names = self.images.labels.names
        if strange := mislabelled(self.lesson.held_out, self.images.truth):
            told = [
                f"{self.images.paths[n]} ({names[self.images.truth[n]]!r}, looks like {names[other]!r})"
                for n, other in strange
            ]
            found.append(f"{counted(len(strange), 'example')} may be mislabelled: {listed(told)}.")
        pairs = copies(self.images.vectors, NEAR)
        if pairs:
            told = [f"{self.images.paths[one]} and {self.images.paths[other]}" for one, other in pairs]
            differ = sum(self.images.truth[one] != self.images.truth[other] for one, other in pairs)
            labelled = f", {differ} of them with another label" if differ else ""
            are = "is a copy" if len(pairs) == 1 else "are copies"
            found.append(
                f"{counted(len(pairs), 'example')} {are} of another, or nearly so{labelled}, which makes the figures held out too good: "
                f"{listed(told)}."
            )
        return found


def embed_examples(classifier: Classifier, data: LabelledImages) -> EmbeddedImages:
    """Their unit vectors. Those that cannot be read are left out with a warning. Raises `ZsclipError`."""
    images = embed(classifier, data)
    if images.unreadable:
        path, error = images.unreadable[0]
        logger.warning("%s cannot be read. The first, %s: %s.", counted(len(images.unreadable), "example"), path, error)
    return images


def take(classifier: Classifier, classes: ClassVectors, data: LabelledImages, combine: str = "mean") -> Taken:
    """Embed the examples, and teach by them. Raises `ZsclipError`."""
    images = embed_examples(classifier, data)
    return Taken(images, teach(classes, images.vectors, images.truth, combine=combine))


def apart(images: EmbeddedImages, examples: EmbeddedImages) -> EmbeddedImages:
    """The images that are no examples, neither by path nor by what they show. Says how many are; raises `InputError` if all are."""
    paths = {os.path.abspath(path) for path in examples.paths}
    are = np.array([os.path.abspath(path) in paths for path in images.paths])
    are |= alike(images.vectors, examples.vectors, SAME)
    if are.all():
        raise InputError("All labelled images are examples, and none is left to be judged.", remedy="Judge others.")
    if are.any():
        logger.info("Left out, for they are examples: %s.", counted(int(are.sum()), "labelled image"))
    close = int(alike(images.vectors[~are], examples.vectors, NEAR).sum())
    if close:
        logger.warning(
            "Nearly the same as an example: %s; the figures are too good for new ones.", counted(close, "image")
        )
    return images[~are]


class Watched(Embedded):
    """Images as they are embedded, of which those are counted that are among the examples, by path or by what they show."""

    def __init__(
        self, classifier: Classifier, images: Images, examples: EmbeddedImages, pool: Literal["mean", "max"] | None
    ) -> None:
        self._classifier, self._images, self._pool = classifier, images, pool
        self._paths = {os.path.abspath(path) for path in examples.paths}
        self._vectors = examples.vectors
        self.count = 0

    def batches(self) -> Iterator[ImageEmbeddings]:
        """See `Embedded`."""
        for batch in self._classifier.embed_images(self._images, pool=self._pool):
            by_path = np.array([os.path.abspath(path) in self._paths for path in batch.read], bool)
            self.count += int((by_path | alike(batch.vectors, self._vectors, SAME)).sum())
            yield batch

    def told(self, results: Generator[ImageResults, None, None]) -> Generator[ImageResults, None, None]:
        """What is said of them; says at the end how many are examples, if some are."""
        with closing(results):
            yield from results
        if self.count:
            is_one = self.count == 1
            logger.warning(
                "%s of those labelled %s: that what is said of %s is right proves nothing.",
                counted(self.count, "image"), "is an example" if is_one else "are examples", "it" if is_one else "them",
            )  # fmt: skip
