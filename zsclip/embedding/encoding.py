"""Encode: batches of pixels to unit vectors, on as many threads as the engine has streams."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack

import numpy as np

from zsclip.embedding.model import Model
from zsclip.embedding.records import MOST_KNOWN_AHEAD, Batch, Encoded, Entry, Known, Loaded
from zsclip.embedding.threads import threads
from zsclip.embedding.timings import Timings
from zsclip.unit_vectors import Embedding


def encode(
    batches: Iterable[Batch], model: Model, timings: Timings
) -> Generator[Sequence[Known | Encoded], None, None]:
    """Batches as they are done, in their order; what is known at once.

    One batch more than there are streams is handed over, so that an engine finds the next one ready.
    """
    running: deque[tuple[int, Future[list[Encoded]]]] = deque()  # with the number of its first picture
    with ExitStack() as stack:
        pool: ThreadPoolExecutor | None = None
        for batch in batches:
            while running and batch.known and batch.known[-1].number - running[0][0] > MOST_KNOWN_AHEAD:
                yield running.popleft()[1].result()
            if batch.known:
                yield batch.known
            if batch.unknown and model.engine is None:
                yield _encode(batch.unknown, model, timings)  # all of them are known by their bytes, or unreadable
            elif batch.unknown and model.engine:
                pool = pool or stack.enter_context(threads(model.engine.streams, "model"))
                running.append((batch.unknown[0].number, pool.submit(_encode, batch.unknown, model, timings)))
            while running and (running[0][1].done() or len(running) > model.streams):
                yield running.popleft()[1].result()
        while running:
            yield running.popleft()[1].result()


def _encode(entries: list[Entry], model: Model, timings: Timings) -> list[Encoded]:
    """Wait for what is being loaded of a batch, and compute what is not known of it."""
    with timings.measure("wait"):
        loaded = [entry.loading.result() for entry in entries if entry.loading]
    # Copies of one file within a batch are computed once; what has no digest is its own.
    keys = [this.digest or number.to_bytes(4, "big") for number, this in enumerate(loaded)]
    new: dict[bytes, Loaded] = {}
    known: dict[bytes, Embedding] = {}
    for key, this in zip(keys, loaded, strict=True):
        if this.embedding is not None:
            known[key] = this.embedding
        elif this.pixels is not None:
            new.setdefault(key, this)
    made = _vectors(new, model, timings)
    for entry, key, this in zip(entries, keys, loaded, strict=True):
        entry.loading = this.pixels = None  # batches that wait to be kept hold no pixels
        if key in new and key not in made:
            this.error, this.error_kind = "the model gives no finite embedding for it", "other"
    return [
        Encoded.of(entry, made.get(key) or known.get(key), this, computed=key in made)
        for entry, key, this in zip(entries, keys, loaded, strict=True)
    ]


def _vectors(new: dict[bytes, Loaded], model: Model, timings: Timings) -> dict[bytes, Embedding]:
    """What could be computed; the rest has an error then."""
    if not new:
        return {}
    model.load()
    with timings.measure("model"):
        pixels = np.stack([this.pixels for this in new.values() if this.pixels is not None])
        embeddings = model.encode_images(pixels, [this.reduced for this in new.values()])
    return {key: one.as_stored() for key, one in zip(new, embeddings, strict=True) if one is not None}
