"""Labelled images as unit vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

import numpy as np

from zsclip.classifier import Classifier
from zsclip.embedding.records import ImageEmbedding, ImageEmbeddings
from zsclip.errors import InputError
from zsclip.evaluation.dataset import LabelledImages
from zsclip.evaluation.metrics import Booleans, Integers
from zsclip.text.labels import LabelSet
from zsclip.unit_vectors import Floats


@dataclass(frozen=True)
class EmbeddedImages:
    """Labelled images as unit vectors float32 (n, d), with the number of each one's label; and those that are not.

    `places` (n,) are their numbers among all labelled images, readable or not. `predicted` of the labels are predictions that
    nobody checked.
    """

    paths: tuple[str, ...]
    vectors: Floats
    truth: Integers
    places: Integers
    labels: LabelSet
    unreadable: tuple[tuple[str, str], ...] = ()
    predicted: int = 0

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, chosen: Booleans) -> EmbeddedImages:
        paths = tuple(path for path, is_chosen in zip(self.paths, chosen.tolist(), strict=True) if is_chosen)
        of_images = {name: getattr(self, name)[chosen] for name in ("vectors", "truth", "places")}
        return replace(self, paths=paths, **of_images)


def embed(
    classifier: Classifier,
    data: LabelledImages,
    advance: Callable[[], None] = lambda: None,
    known: ImageEmbeddings | None = None,
) -> EmbeddedImages:
    """The labelled images' unit vectors, or those that are `known`, in the same order; raises `InputError` if none can be read."""
    number = {name: n for n, name in enumerate(data.labels.names)}
    paths: list[str] = []
    truth: list[int] = []
    places: list[int] = []
    place = 0
    unreadable: list[tuple[str, str]] = []
    vectors = np.empty((len(data.paths), classifier.model.spec.embed_dim), np.float32)
    labelled = _labelled(classifier, data) if known is None else zip(known, data.truth, strict=True)
    for image, label in labelled:
        if image.embedding is None:
            unreadable.append((image.path, image.error or ""))
        elif label is not None:
            vectors[len(paths)] = image.embedding.vector
            paths.append(image.path)
            truth.append(number[label])
            places.append(place)
        place += label is not None
        advance()
    require_some(paths, unreadable)
    return EmbeddedImages(
        tuple(paths), vectors[: len(paths)], np.array(truth, np.int64), np.array(places, np.int64), data.labels,
        tuple(unreadable), data.predicted,
    )  # fmt: skip


def require_some(read: Sequence[str], unreadable: Sequence[tuple[str, str]]) -> None:
    """Raise `InputError` if none can be read."""
    if not read:
        path, error = unreadable[0]
        raise InputError(f"None of the {len(unreadable)} images can be read. The first, {path}: {error}.")


def _labelled(classifier: Classifier, data: LabelledImages) -> Iterator[tuple[ImageEmbedding, str | None]]:
    """The pictures as they are embedded, with their labels; of those in containers, some may have none."""
    every = (image for batch in classifier.embed_images(data.containers or data.paths) for image in batch)
    if not data.containers:
        yield from zip(every, data.truth, strict=True)
        return
    labelled = zip(data.paths, data.truth, strict=True)
    for image, has_label in zip_longest(every, data.has_label):
        name, label = next(labelled) if has_label else (None, None)
        if image is None or has_label is None or name not in (None, image.path):
            raise InputError(
                "what is in it changed while it was read.", where=name or data.containers[-1].name, remedy="Try again."
            )
        yield image, label
