"""Look up: which pictures are as they were when their vector was kept."""

from __future__ import annotations

from collections.abc import Iterator

from zsclip.embedding.model import Model
from zsclip.embedding.records import Entry
from zsclip.embedding.timings import Timings
from zsclip.images.listing import Listing
from zsclip.store.database import Store

_FIRST_WINDOW = 96  # the first pictures are not to wait for the look-up of many


def look_up(
    listing: Listing, model: Model, store: Store, timings: Timings, *, rehash: bool = False
) -> Iterator[list[Entry]]:
    """Numbered entries, a window of the listing at a time, with the embeddings that the store has by stamp.

    An empty list says that the next pictures are not known yet. With `rehash` nothing is known by its stamp.
    """
    number, window = 0, min(_FIRST_WINDOW, listing.window)
    while not listing.ended:
        items = listing.take(window)
        entries = [Entry(number + place, item) for place, item in enumerate(items)]
        number += len(items)
        if len(items) == window:
            window = min(2 * window, listing.window)
        if store.usable and not rehash:
            with timings.measure("store"):
                _find(entries, model, store)
        yield entries
        del items, entries  # pictures in memory are not to be held while the next are found


def _find(entries: list[Entry], model: Model, store: Store) -> None:
    stamps = [entry.item.stamp() for entry in entries]
    known = store.get_files(
        model.identity, [stamp for stamp in stamps if stamp], model.spec.embed_dim, least=model.least
    )
    for entry, stamp in zip(entries, stamps, strict=True):
        if stamp is not None:
            entry.embedding = known.get(stamp)
