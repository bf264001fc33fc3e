"""The straight path of a picture: find, look up, read, decode, batch, encode, keep, put in order."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing

from zsclip.embedding.batching import batched
from zsclip.embedding.encoding import encode
from zsclip.embedding.keeping import keep
from zsclip.embedding.loading import Loader, load
from zsclip.embedding.lookup import look_up
from zsclip.embedding.model import Model
from zsclip.embedding.ordering import in_order
from zsclip.embedding.records import Counts, ImageEmbeddings
from zsclip.embedding.threads import threads
from zsclip.embedding.timings import Timings
from zsclip.engines.hardware import available_cores
from zsclip.images.listing import Listing
from zsclip.store.database import Store


def embed_images(
    listing: Listing,
    model: Model,
    store: Store,
    loader: Loader,
    *,
    workers: int | None = None,
    counts: Counts,
    timings: Timings,
    rehash: bool = False,
) -> Iterator[ImageEmbeddings]:
    """Embeddings of the listing's pictures, in order, some at a time; one that cannot be read has an error.

    Each stage pulls from the one before it, and holds what is its own: threads that read and decode, the engine's streams,
    what has come early. `workers` threads read and decode (None: one a core, up to 16). Closing the generator ends them all.
    """
    with ExitStack() as stack:
        stack.callback(listing.close)
        readers = stack.enter_context(threads(workers or min(16, available_cores()), "decode"))
        windows = look_up(listing, model, store, timings, reading=loader.reading, rehash=rehash)
        batches = batched(load(windows, loader, readers), model)
        encoded = stack.enter_context(closing(encode(batches, model, timings)))
        yield from in_order(keep(encoded, model, store, counts, timings), model.spec.embed_dim)
        store.pack(model.spec.embed_dim)
