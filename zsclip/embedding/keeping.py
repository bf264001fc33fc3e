"""Keep: each batch in the store as it is made, so that an interrupted run goes on where it stopped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from zsclip.embedding.model import Model
from zsclip.embedding.records import Counts, Encoded
from zsclip.embedding.timings import Timings
from zsclip.store.database import Store


def keep(
    parts: Iterable[list[Encoded]], model: Model, store: Store, counts: Counts, timings: Timings
) -> Iterator[list[Encoded]]:
    """The same parts, kept and counted."""
    for part in parts:
        if any(one.loaded for one in part):
            with timings.measure("store"):
                _put(part, model.identity, store)  # which may have changed when the weights came
        for one in part:
            known = one.loaded is None or one.loaded.embedding is not None
            counts.unread += one.embedding is None
            counts.found += one.embedding is not None and known
            counts.computed += one.embedding is not None and not known
        yield part


def _put(part: list[Encoded], identity: str, store: Store) -> None:
    fresh = [(one, one.loaded, one.loaded.digest) for one in part if one.loaded and one.loaded.digest]
    store.put(
        identity,
        {digest: one.embedding for one, _, digest in fresh if one.computed and one.embedding},
        [(loaded.stamp, digest) for _, loaded, digest in fresh if loaded.stamp],
    )
