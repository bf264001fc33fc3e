"""Look up: which pictures are as they were when their vector was kept."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from zsclip.embedding.containers import look_up_members
from zsclip.embedding.model import Model
from zsclip.embedding.records import Entry, Known
from zsclip.embedding.timings import Timings
from zsclip.images.container import Container
from zsclip.images.files import File
from zsclip.images.item import Item
from zsclip.images.listing import Listing, Piece
from zsclip.images.reading import Reading
from zsclip.images.siblings import Siblings
from zsclip.store.database import Store
from zsclip.store.records import Found

_FIRST_WINDOW = 96  # the first pictures are not to wait for the look-up of many


def look_up(
    listing: Listing,
    model: Model,
    store: Store,
    timings: Timings,
    *,
    reading: Reading | None = None,
    rehash: bool = False,
) -> Iterator[list[Known | Entry]]:
    """Numbered pictures, a window of the listing at a time: those in a row that the store knows by their stamps together, with
    their vectors, each other one as an entry.

    An empty list says that the next pictures are not known yet. With `rehash` nothing is known by its stamp. `reading` is for
    containers that decode by themselves.
    """
    number, window = 0, min(_FIRST_WINDOW, listing.window)
    while not listing.ended:
        parts: list[Known | Entry] = []
        for together in _together(listing.take(window)):
            if isinstance(together, Container):
                yield parts
                parts = []
                together.prepare(reading or Reading())
                for members in look_up_members(together, number, model, store, rehash=rehash):
                    number += sum(map(len, members))
                    yield members if rehash else list(_with_stamps(members, model, store, timings))
                continue
            found = Found.of((), model.spec.embed_dim)
            if store.usable and not rehash:
                with timings.measure("store"):
                    found = _find(together, model, store)
            parts += _parts(together, found, number)
            number += len(together)
        if sum(map(len, parts)) > window // 2:
            window = min(2 * window, listing.window)
        yield parts
        del parts  # pictures in memory are not to be held while the next are found


def first(windows: Iterator[list[Known | Entry]], most: int) -> Iterator[list[Known | Entry]]:
    """The first `most` pictures of the same; what comes after them is not looked for."""
    left = most
    for window in windows:
        kept: list[Known | Entry] = []
        for part in window:
            if left:
                kept.append(part[:left] if isinstance(part, Known) else part)
                left -= len(kept[-1])
        yield kept
        if not left:
            return


def _together(pieces: list[Piece]) -> Iterator[list[Item] | Siblings | Container]:
    """What is asked for at once: the items that follow each other, the files of each folder, and each container."""
    items: list[Item] = []
    for piece in pieces:
        if isinstance(piece, Item):
            items.append(piece)
            continue
        if items:
            yield items
            items = []
        yield piece
    if items:
        yield items


def _with_stamps(members: list[Known | Entry], model: Model, store: Store, timings: Timings) -> Iterator[Known | Entry]:
    """The same members, where those that are elsewhere have been looked up by their own stamps."""
    elsewhere: list[Entry] = []
    for member in [*members, None]:
        if isinstance(member, Entry) and member.item.elsewhere:
            elsewhere.append(member)
            continue
        if elsewhere and store.usable:
            items = [entry.item for entry in elsewhere]
            with timings.measure("store"):
                found = _find(items, model, store)
            yield from _parts(items, found, elsewhere[0].number)
        else:
            yield from elsewhere
        elsewhere = []
        if member is not None:
            yield member


def _find(pictures: list[Item] | Siblings, model: Model, store: Store) -> Found:
    dimension = model.spec.embed_dim
    if isinstance(pictures, Siblings):
        return store.get_siblings(model.identity, pictures.stamps(), dimension, least=model.least)
    stamps = [item.stamp() for item in pictures]
    known = store.get_files(model.identity, [stamp for stamp in stamps if stamp], dimension, least=model.least)
    found = [(place, known[stamp]) for place, stamp in enumerate(stamps) if stamp is not None and stamp in known]
    return Found.of(found, dimension)


def _parts(pictures: list[Item] | Siblings, found: Found, number: int) -> Iterator[Known | Entry]:
    """The pictures as parts, the first with that number."""
    names = pictures.paths if isinstance(pictures, Siblings) else [item.name for item in pictures]

    def entries(start: int, end: int) -> Iterator[Entry]:
        items = map(File, names[start:end]) if isinstance(pictures, Siblings) else pictures[start:end]
        return (Entry(number + place, item) for place, item in enumerate(items, start))

    end = 0
    for rows in np.split(np.arange(len(found.places)), np.flatnonzero(np.diff(found.places) > 1) + 1):
        if len(rows):
            part, start = slice(rows[0], rows[-1] + 1), int(found.places[rows[0]])
            yield from entries(end, start)
            end = start + len(rows)
            yield Known(number + start, names[start:end], found.vectors[part], found.qualities[part])
    yield from entries(end, len(names))
