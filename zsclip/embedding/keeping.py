"""Keep: each batch in the store as it is made, so that an interrupted run goes on where it stopped."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from zsclip.embedding.model import Model
from zsclip.embedding.records import Counts, Encoded, Known
from zsclip.embedding.timings import Timings
from zsclip.store.database import Store
from zsclip.store.members import MemberList


def keep(
    parts: Iterable[Sequence[Known | Encoded]], model: Model, store: Store, counts: Counts, timings: Timings
) -> Iterator[Sequence[Known | Encoded]]:
    """The same parts, kept and counted."""
    for part in parts:
        if fresh := [one for one in part if isinstance(one, Encoded)]:
            with timings.measure("store"):
                _put(fresh, model.identity, store)  # which may have changed when the weights came
        for one in part:
            if isinstance(one, Known):
                counts.found += len(one)
            elif one.embedding is None:
                counts.unread += 1
            elif one.loaded.embedding is not None:
                counts.found += 1
            else:
                counts.computed += 1
        yield part


def _put(fresh: list[Encoded], identity: str, store: Store) -> None:
    digests = [(one, one.loaded.digest) for one in fresh if one.loaded.digest]
    store.put(
        identity,
        {digest: one.embedding for one, digest in digests if one.computed and one.embedding},
        [(one.loaded.stamp, digest) for one, digest in digests if one.loaded.stamp],
    )
    lists: defaultdict[MemberList, list[tuple[int, str, bytes | None]]] = defaultdict(list)
    for one in fresh:
        if one.listed is not None:
            lists[one.listed].append((one.position, one.inner, one.loaded.digest if one.embedding else None))
    for members, known in lists.items():
        members.keep(known)
