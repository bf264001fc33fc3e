"""Put in order: results as the input had them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from zsclip.embedding.records import Encoded, ImageEmbeddings, Known


def in_order(parts: Iterable[Sequence[Known | Encoded]], dimension: int) -> Iterator[ImageEmbeddings]:
    """Results by their numbers, from 0 and without a gap, as soon as all before them are there."""
    early: dict[int, Known | Encoded] = {}
    following = 0
    for part in parts:
        early.update((one.number, one) for one in part)
        ready = []
        while one := early.pop(following, None):
            ready.append(one)
            following += len(one)
        if ready:
            yield _results(ready, dimension)


def _results(ready: Sequence[Known | Encoded], dimension: int) -> ImageEmbeddings:
    if len(ready) == 1 and isinstance(ready[0], Known):
        return ImageEmbeddings(ready[0].names, ready[0].vectors, ready[0].qualities)
    paths: list[str] = []
    errors = {}
    vectors, qualities = [np.empty((0, dimension), np.float32)], [np.empty(0, np.uint8)]
    for one in ready:
        if isinstance(one, Known):
            vectors.append(one.vectors)
            qualities.append(one.qualities)
            paths += one.names
            continue
        if one.embedding is None:
            errors[len(paths)] = one.loaded.error or "", one.loaded.error_kind
        else:
            vectors.append(one.embedding.vector[None])
            qualities.append(np.array([one.embedding.quality], np.uint8))
        paths.append(one.name)
    return ImageEmbeddings(paths, np.concatenate(vectors), np.concatenate(qualities), errors)
