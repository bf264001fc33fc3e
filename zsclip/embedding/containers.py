"""Look up what is in archives, tables and videos: by the list that the store has of one, or by opening it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from itertools import groupby

import numpy as np

from zsclip.embedding.model import Model
from zsclip.embedding.records import Entry, Known
from zsclip.errors import ImageError
from zsclip.images.container import Container
from zsclip.images.item import Member, Unreadable
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
    first = number
    with closing(BackgroundListing(container.members())) as listing:
        while not listing.ended:
            try:
                items = [one for one in listing.take(_WINDOW) if isinstance(one, Member) and one.position > after]
            except ImageError as error:
                yield [Entry(number, Unreadable(container.name, error))]
                return
            if any(item.elsewhere for item in items):
                listed = None  # a list would say of them what they were
            yield [Entry(number + place, item, listed=listed) for place, item in enumerate(items)]
            number += len(items)
    if listed is not None:
        listed.end(number - first)


def _kept(container: Container, number: int, model: Model, store: Store, kept: int) -> Iterator[list[Known | Entry]]:
    """The members as the store has them; the container is opened only if some have no vector, and for these only."""
    total, missing = list_length(store, kept), missing_positions(store, kept, model.identity, least=model.least)
    seen, last = 0, -1
    with closing(BackgroundListing(container.members(missing) if missing else ())) as listing:
        for part in read_list(store, kept, model.identity, model.spec.embed_dim, least=model.least):
            for is_known, together in groupby(part, lambda member: member.embedding is not None):
                members = list(together)
                if is_known:
                    yield [_known(container, number + seen, members)]
                else:
                    yield from _missing(container, number + seen, members, listing)
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


def _missing(
    container: Container, number: int, members: list[KeptMember], listing: BackgroundListing
) -> Iterator[list[Known | Entry]]:
    """Members that are read again, of a listing that has exactly those."""
    at = 0
    error = ImageError("it is not where it was in its container", kind="not_found")
    while at < len(members) and not listing.ended:
        try:
            items = [one for one in listing.take(min(_WINDOW, len(members) - at)) if isinstance(one, Member)]
        except ImageError as broken:
            error = broken
            break
        yield [Entry(number + at + place, item) for place, item in enumerate(items)]
        at += len(items)
    names = [container.row_name(member.position, member.inner) for member in members]
    if at < len(members):
        yield [Entry(number + place, Unreadable(names[place], error)) for place in range(at, len(members))]
