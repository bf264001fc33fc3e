"""Read and decode: pictures that the store does not know by their stamp, on threads, ahead of the model."""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, Future, wait

import numpy as np
from numpy.typing import NDArray

from zsclip.closing import Closing
from zsclip.embedding.model import Model
from zsclip.embedding.records import Entry, Known, Loaded
from zsclip.embedding.threads import decoders
from zsclip.embedding.timings import Timings
from zsclip.errors import ImageError
from zsclip.images import decoding, preprocessing
from zsclip.images.item import Contents, Item, Revalidated
from zsclip.images.reading import Reading
from zsclip.images.worker_pool import IsolatedDecoder
from zsclip.store.database import Store

# As many are begun at once; how many are held in all is the batching's affair.
_CHUNK = 8
# Pictures that came with their bytes, and are not decoded yet, take no more than this and one.
_MOST_BYTES = 64_000_000


def load(
    windows: Iterable[list[Known | Entry]], loader: Loader, threads: Executor, readers: Executor
) -> Iterator[list[Known | Entry]]:
    """The same in smaller pieces; what the store did not know is being loaded, on `readers` if it is to be waited for."""
    undecoded: deque[tuple[int, Future[Loaded]]] = deque()
    held = 0
    for window in windows:
        piece: list[Known | Entry] = []
        begun = 0
        for part in window:
            piece.append(part)
            if isinstance(part, Entry):
                while undecoded and (held > _MOST_BYTES or undecoded[0][1].done()):
                    size, oldest = undecoded.popleft()
                    wait([oldest])
                    held -= size
                part.item.prepare()
                size = part.item.held
                part.loading = (readers if part.item.remote else threads).submit(loader, part.item)
                if size:
                    undecoded.append((size, part.loading))
                    held += size
                begun += 1
            if begun == _CHUNK:
                yield piece
                piece, begun = [], 0
        if piece or not window:
            yield piece


class Loader(Closing):
    """Called with an item, reads it, looks it up by its bytes, decodes and resizes it. Threads may share it.

    Any number of threads may read, but only as many decode at once as there are workers: what the others have read waits for its
    turn. So the network is read ahead of the decoders, and each thread holds one picture.

    For an exact model pictures are decoded in full and only exact vectors are taken from the store.
    """

    def __init__(self, model: Model, store: Store, reading: Reading, timings: Timings, *, rehash: bool = False) -> None:
        self._rehash = rehash
        self._decoders = threading.BoundedSemaphore(decoders(reading.workers))
        self._model = model
        self._store = store
        self.reading = reading
        self._timings = timings
        self._isolated = (
            IsolatedDecoder(
                model.spec.preprocessing,
                full=model.exact,
                max_pixels=reading.max_pixels,
                seconds=reading.decode_timeout,
            )
            if reading.isolate
            else None
        )

    def close(self) -> None:
        """End the worker processes, if there are any."""
        if self._isolated:
            self._isolated.close()

    def __call__(self, item: Item) -> Loaded:
        """Whatever is wrong with a picture comes out as its `error`."""
        try:
            return self._load(item)
        except ImageError as error:
            return Loaded(error=str(error), error_kind=error.kind)
        except MemoryError:
            return Loaded(error="too large for the memory there is", error_kind="too_large")

    def _load(self, item: Item) -> Loaded:
        measure, wanted = self._timings.measure, self._model.spec.preprocessing
        origin = item.origin
        if isinstance(origin, Revalidated) and origin.stamp() is None and not self._rehash:
            known = self._kept(origin.key)
            with measure("read"):
                contents = origin.read_unless(known.stamp, self.reading.max_pixels)
            if contents is None:
                return known
        else:
            with measure("read"):
                contents = item.read(self.reading.max_pixels)
        if contents.image is not None:
            loaded = self._looked_up(contents, contents.digest)
            if loaded.embedding is None:
                with self._decoders, measure("decode"):
                    upright = decoding.upright_rgb(contents.image.copy(), contents.depth)
                with self._decoders, measure("resize"):
                    loaded.pixels = preprocessing.fit(upright, wanted)
            return loaded
        digest = None
        if self._store.usable:
            with measure("digest"):
                digest = hashlib.sha256(contents.data).digest()
        loaded = self._looked_up(contents, digest)
        if loaded.embedding is None:
            with self._decoders:
                loaded.pixels, loaded.reduced = self._decode(contents.data)
        return loaded

    def _kept(self, key: bytes) -> Loaded:
        """What was last read at an address, if the store has its vector."""
        model = self._model
        with self._timings.measure("store"):
            found = self._store.last_read(model.identity, key, model.spec.embed_dim, least=model.least)
        return Loaded(digest=found.digest, stamp=found.stamp, embedding=found.embedding) if found else Loaded()

    def _looked_up(self, contents: Contents, digest: bytes | None) -> Loaded:
        """What the store has for the digest of a picture's contents, if they have one."""
        if digest is None or not self._store.usable:
            return Loaded()
        model = self._model
        with self._timings.measure("store"):
            known = self._store.get(model.identity, [digest], model.spec.embed_dim, least=model.least)
        return Loaded(digest=digest, stamp=contents.stamp, embedding=known.get(digest))

    def _decode(self, data: bytes) -> tuple[NDArray[np.uint8], bool]:
        if self._isolated:
            with self._timings.measure("decode"):  # and resize, in another process
                return self._isolated(data)
        engine = self._model.engine  # None for the first pictures, which are decoded while it is loaded
        return decoding.pixels(
            data,
            self._model.spec.preprocessing,
            full=self._model.exact,
            half=engine is not None and engine.precision != "fp32",
            max_pixels=self.reading.max_pixels,
            measure=self._timings.measure,
        )
