"""The straight path of a picture: find, look up, read, decode, batch, encode, keep, put in order."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing

from zsclip.embedding.batching import batched
from zsclip.embedding.encoding import encode
from zsclip.embedding.keeping import keep
from zsclip.embedding.loading import Loader, load
from zsclip.embedding.lookup import first, look_up
from zsclip.embedding.model import Model
from zsclip.embedding.ordering import in_order
from zsclip.embedding.records import Counts, ImageEmbeddings
from zsclip.embedding.threads import abandoned_threads, decoders, threads
from zsclip.embedding.timings import Timings
from zsclip.images.listing import Listing
from zsclip.images.reading import Reading
from zsclip.store.database import Store


def embed_images(
    listing: Listing,
    model: Model,
    store: Store,
    loader: Loader,
    *,
    reading: Reading,
    counts: Counts,
    timings: Timings,
    rehash: bool = False,
) -> Iterator[ImageEmbeddings]:
    """Embeddings of the listing's pictures, in order, some at a time; one that cannot be read has an error.

    Each stage pulls from the one before it, and holds what is its own: threads that read and decode, the engine's streams,
    what has come early. `reading` says how many threads read and decode. Closing the generator ends them all.
    """
    with ExitStack() as stack:
        stack.callback(listing.close)
        workers = stack.enter_context(threads(decoders(reading.workers), "decode"))
        readers = stack.enter_context(abandoned_threads(reading.readers, "read"))
        windows = look_up(listing, model, store, timings, reading=reading, rehash=rehash)
        if listing.limit is not None:
            windows = first(windows, listing.limit)
        batches = batched(load(windows, loader, workers, readers), model)
        encoded = stack.enter_context(closing(encode(batches, model, timings)))
        yield from in_order(keep(encoded, model, store, counts, timings), model.spec.embed_dim)
        store.pack(model.spec.embed_dim)
