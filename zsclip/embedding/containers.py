"""Look up what is in archives, tables and videos: by the list that the store has of one, or by opening it."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator
from contextlib import closing
from itertools import groupby

import numpy as np

from zsclip.embedding.model import Model
from zsclip.embedding.records import Entry, Known
from zsclip.errors import ImageError
from zsclip.images.container import Container
from zsclip.images.item import Item, Member, Unreadable
from zsclip.images.listing import BackgroundListing
from zsclip.store.database import Store
from zsclip.store.members import KeptMember, MemberList, find_list, list_length, missing_positions, read_list

_WINDOW = 32  # members, which have their bytes with them


def look_up_members(
    container: Container, number: int, model: Model, store: Store, *, rehash: bool
) -> Iterator[list[Known | Entry]]:
    """The members of a container, the first with that number, some at a time; an empty list where the next is not known yet.

    What the store knows of one that is as it was comes without opening it, and only what has no vector is read.
    """
    stamp = container.stamp() if store.usable else None
    kept = None if stamp is None or rehash else find_list(store, stamp, container.reading)
    if kept is not None:
        yield from _kept(container, number, model, store, kept)
    elif stamp is not None:
        yield from _opened(container, number, MemberList(store, stamp, container.reading))
    else:
        yield from _opened(container, number)


def _opened(
    container: Container, number: int, listed: MemberList | None = None, after: int = -1
) -> Iterator[list[Known | Entry]]:
    """The members after a position as entries; where the container breaks, an entry that says so is the last."""
    first, open_list = number, listed
    with closing(BackgroundListing(container.members())) as listing:
        try:
            while not listing.ended:
                items = [one for one in listing.take(_WINDOW) if isinstance(one, Member) and one.position > after]
                if any(item.elsewhere for item in items):
                    listed = None  # a list would say of them what they were
                yield [Entry(number + place, item, listed=listed) for place, item in enumerate(items)]
                number += len(items)
            if listed is not None:
                listed.end(number - first)
                open_list = None
        except ImageError as error:
            yield [Entry(number, Unreadable(container.name, error))]
        finally:
            if open_list is not None:
                open_list.discard()


def _kept(container: Container, number: int, model: Model, store: Store, kept: int) -> Iterator[list[Known | Entry]]:
    """The members as the store has them; the container is opened only if some have no vector, and for these only."""
    total, missing = list_length(store, kept), missing_positions(store, kept, model.identity, least=model.least)
    seen, last = 0, -1
    with closing(_Again(container, missing)) as again:
        for part in read_list(store, kept, model.identity, model.spec.embed_dim, least=model.least):
            # Told by the set and not by the vector: one may have come meanwhile, or gone.
            for is_missing, together in groupby(
                part, lambda member: member.position in missing or member.embedding is None
            ):
                members = list(together)
                if is_missing:
                    yield from again.read(number + seen, members)
                else:
                    yield [_known(container, number + seen, members)]
                seen, last = seen + len(members), members[-1].position
    if seen < total:  # the store failed meanwhile
        yield from _opened(container, number + seen, after=last)


def _known(container: Container, number: int, members: list[KeptMember]) -> Known:
    embeddings = [member.embedding for member in members if member.embedding is not None]
    return Known(
        number,
        [container.row_name(member.position, member.inner) for member in members],
        np.stack([embedding.vector for embedding in embeddings]),
        np.array([embedding.quality for embedding in embeddings], np.uint8),
    )


class _Again:
    """The members of a container at some positions, which are read again."""

    def __init__(self, container: Container, wanted: Collection[int]) -> None:
        self._container = container
        self._listing = BackgroundListing(container.members(wanted) if wanted else ())
        self._ahead: deque[Member] = deque()
        self._broken = False
        self._error = ImageError("it is not where it was in its container", kind="not_found")

    def close(self) -> None:
        """Look for no more."""
        self._listing.close()

    def read(self, number: int, members: list[KeptMember]) -> Iterator[list[Known | Entry]]:
        """Entries of members, the first with that number; each is paired by its position, so that none takes another's place."""
        for place, member in enumerate(members):
            while not (self._ahead and self._ahead[-1].position >= member.position):
                if self._broken or self._listing.ended:
                    break
                if not self._take():
                    yield []
            while self._ahead and self._ahead[0].position < member.position:
                self._ahead.popleft()
            item: Item
            if self._ahead and self._ahead[0].position == member.position:
                item = self._ahead.popleft()
            else:
                item = Unreadable(self._container.row_name(member.position, member.inner), self._error)
            yield [Entry(number + place, item)]

    def _take(self) -> bool:
        try:
            taken = [one for one in self._listing.take(_WINDOW) if isinstance(one, Member)]
        except ImageError as broken:
            self._error, self._broken = broken, True
            return True
        self._ahead += taken
        return bool(taken)
