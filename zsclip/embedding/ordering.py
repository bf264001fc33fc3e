"""Put in order: results as the input had them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from zsclip.embedding.records import Encoded, ImageEmbedding


def in_order(parts: Iterable[list[Encoded]]) -> Iterator[list[ImageEmbedding]]:
    """Results by their numbers, from 0 and without a gap, as soon as all before them are there."""
    early: dict[int, Encoded] = {}
    following = 0
    for part in parts:
        if not early and [one.number for one in part] == list(range(following, following + len(part))):
            ready = part  # as it is where nothing is new
        else:
            early.update((one.number, one) for one in part)
            ready = []
            while one := early.pop(following + len(ready), None):
                ready.append(one)
        following += len(ready)
        if ready:
            yield [_result(one) for one in ready]


def _result(one: Encoded) -> ImageEmbedding:
    if one.loaded is None:
        return ImageEmbedding(one.name, one.embedding)
    return ImageEmbedding(one.name, one.embedding, one.loaded.error, one.loaded.error_kind)
