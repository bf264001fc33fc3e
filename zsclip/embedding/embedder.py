"""Images and texts to unit vectors, in order and streaming: asks the store, computes the misses."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zsclip import models
from zsclip.embedding.loading import ImageSource, Preparation, Prepared
from zsclip.embedding.timings import Timings
from zsclip.engines import EXPORT_VERSION, Computing, Engine, available_cores
from zsclip.engines import load as load_engine
from zsclip.errors import InputError, ModelError
from zsclip.images import decoding
from zsclip.images.item import Stamp
from zsclip.images.worker_pool import DEFAULT_SECONDS
from zsclip.models import ModelSpec
from zsclip.models.spec import ModelFacts
from zsclip.store.database import Store
from zsclip.store.records import Kind, text_digest
from zsclip.unit_vectors import Embedding, Quality

logger = logging.getLogger("zsclip")

_TEXTS_PER_COMMIT = 4096
# How many images are decoded while the model runs: some batches, and no fewer than suits many threads.
_BATCHES_AHEAD = 3
_LEAST_AHEAD = 96
_FIRST_BATCH = 32  # assumed until the engine is loaded
_LOOKED_UP_AHEAD = 4096  # bounds what is held while one image is being computed


@dataclass(frozen=True)
class ImageEmbedding:
    """One image and its unit vector, or the error that kept it from being read."""

    path: str
    embedding: Embedding | None = None
    error: str | None = None


class Embedder:
    """One model as a source of unit vectors. `exports` is the folder of what engines make of a model once.

    The engine is loaded when the first vector must be computed. With `exact`, images are decoded in full, the model
    runs in fp32 and only such vectors are taken from the store.
    """

    def __init__(
        self,
        spec: ModelSpec,
        store: Store,
        compute: Computing | None = None,
        *,
        exact: bool = False,
        rehash: bool = False,
        workers: int | None = None,
        exports: Path | None = None,
        max_pixels: int = decoding.DEFAULT_MAX_PIXELS,
        isolate: bool = False,
        decode_timeout: float = DEFAULT_SECONDS,
    ) -> None:
        compute = compute or Computing()
        if exact and compute.precision not in ("auto", "fp32"):
            raise ModelError(f"--exact computes in fp32. Leave out --precision {compute.precision}, or --exact.")
        self.spec = spec
        self.timings = Timings()
        self._dimension = spec.embed_dim
        self.found = 0  # images whose vector the store had
        self.computed = 0
        self._taken = 0
        self._store = store
        self._compute = Computing(compute.device, compute.engine, "fp32", compute.batch_size) if exact else compute
        self._least = Quality.EXACT if exact else Quality.HALF
        self._rehash = rehash
        self._exports = exports
        if workers is not None and workers < 1:
            raise ModelError(f"There must be at least one worker, not {workers}.")
        self._workers = workers or min(16, available_cores())
        self._preparation = Preparation(
            spec.preprocessing, spec.embed_dim, store, self.timings,
            exact=exact, max_pixels=max_pixels, isolate=isolate, decode_timeout=decode_timeout,
        )  # fmt: skip

    def close(self) -> None:
        """End the worker processes, if there are any."""
        self._preparation.close()

    @cached_property
    def checkpoint(self) -> Path:
        """The weights' file, downloaded if it is not on this machine; raises `ModelError`."""
        return models.fetch(self.spec)

    def fetch_if_new(self) -> None:
        """Download the weights now if this model was never loaded here, so that the engine will be needed for sure."""
        if not self.spec.tag_key or self._store.facts(self.identity) is None:
            _ = self.checkpoint

    @cached_property
    def identity(self) -> str:
        """The model's key in the store. For a checkpoint file this reads the file once."""
        if self.spec.tag_key:
            return self.spec.identity(self.spec.tag_key)
        with self.timings.measure("load"):
            try:
                digest = self._store.digest(self.checkpoint, rehash=self._rehash)
            except OSError as error:
                raise ModelError(f"{self.spec.title}: {self.checkpoint} cannot be read: {error.strerror}.") from None
        return self.spec.identity(f"sha256:{digest.hex()}")

    @cached_property
    def engine(self) -> Engine:
        """The loaded model; raises `ModelError`."""
        with self.timings.measure("load"):
            engine = load_engine(self.spec, lambda: self.checkpoint, self._compute, self._export)
        self._store.put_facts(self.identity, engine.facts)
        logger.debug("%s: %s, %.1f million parameters", self.spec.title, engine.description, engine.parameters / 1e6)
        return engine

    @property
    def _export(self) -> Path | None:
        """The folder of this model's export."""
        if self._exports is None:
            return None
        readable = "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in self.spec.title).strip(
            "-"
        )
        return self._exports / f"{readable[-60:]}-{models.short_identity(self.identity)}-v{EXPORT_VERSION}"

    @cached_property
    def facts(self) -> ModelFacts:
        """Scale, bias and dimension: from the store if the model was loaded before."""
        return self._store.facts(self.identity) or self.engine.facts

    def texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors of texts: float32 (n, d). Repeated texts are computed once. Warns of texts that are cut."""
        digests = {text: text_digest(text) for text in dict.fromkeys(texts)}
        with self.timings.measure("store"):
            known = self._store.get(
                self.identity, list(digests.values()), self._dimension, least=self._least, kind=Kind.TEXT
            )
        # Sorted, for engines compute what texts begin with in common once.
        missing = iter(sorted(text for text, digest in digests.items() if digest not in known))
        while batch := list(islice(missing, _TEXTS_PER_COMMIT)):
            engine = self.engine
            with self.timings.measure("texts"):
                embeddings = engine.encode_texts(batch)
            self._require_finite(np.stack([one.vector for one in embeddings]))
            made = {digests[text]: one.as_stored() for text, one in zip(batch, embeddings, strict=True)}
            with self.timings.measure("store"):
                self._store.put(self.identity, made, kind=Kind.TEXT)
            known.update(made)
        self._warn_of_cuts({text: cut for text, digest in digests.items() if (cut := known[digest].cut)})
        return np.stack([known[digests[text]].vector for text in texts])

    def _require_finite(self, vectors: NDArray[np.float32]) -> None:
        if not np.isfinite(vectors).all():
            raise ModelError(
                f"{self.spec.title} gave vectors with no numbers in them ({self.engine.description}). Try --precision fp32; "
                f"if it is that already, the weights are broken."
            )

    def _warn_of_cuts(self, cuts: dict[str, str]) -> None:
        shown = 3
        for text, cut in list(cuts.items())[:shown]:
            logger.warning(
                "%s reads %d tokens of a text; of %r it does not see the end: %r. Shorten it.",
                self.spec.title, self.spec.context_length, text, cut,
            )  # fmt: skip
        if len(cuts) > shown:
            logger.warning("The ends of %d more texts are cut in the same way.", len(cuts) - shown)

    def images(self, sources: Iterable[ImageSource | None]) -> Iterator[list[ImageEmbedding]]:
        """Embeddings of image files or Pillow images, in order, some at a time; one that cannot be read has an error.

        A None among the sources says that the next is not known yet: what is known so far is worked on meanwhile.

        Files that the store knows come from there. The others are read, decoded and resized on threads while the model
        runs, and kept batch by batch; one whose bytes the store knows under another name is not computed again.
        """
        identity = self.identity
        queue: deque[_Pending] = deque()  # in order: known, computed or to be computed
        ahead: deque[_Pending] = deque()  # those of them that are to be computed
        todo, more = iter(sources), True
        running: deque[tuple[list[_Pending], Future[_Batch]]] = deque()  # in the order of their images
        with ExitStack() as stack:
            pool = stack.enter_context(_threads(self._workers, "decode"))
            model: ThreadPoolExecutor | None = None
            while True:
                # The engine is not loaded to ask for its batch size: the store may know these bytes by another name.
                size = self.engine.batch_size if self._is_loaded else self._compute.batch_size or _FIRST_BATCH
                wanted = max(size * _BATCHES_AHEAD, _LEAST_AHEAD)
                while more and (room := wanted - len(ahead)) > 0 and len(queue) < _LOOKED_UP_AHEAD:
                    taken, more = _take(todo, room)
                    chunk = self._look_up(taken)
                    queue += chunk
                    ahead += (one for one in chunk if one.result is None)
                    if len(taken) < room:
                        break
                for one in ahead:
                    if one.future is None:
                        one.future = pool.submit(self._preparation, one.source, identity)
                if ready := list(_take_ready(queue)):
                    yield ready
                elif ahead and len(running) <= (self.engine.streams if self._is_loaded else 0):
                    if not self._is_loaded and any(one.must_be_computed() for one in islice(ahead, size)):
                        size = self.engine.batch_size  # loaded here, on the main thread, where Ctrl-C ends it
                    if self._is_loaded and not more:
                        size = _last_batch_size(len(ahead), size, self.engine.streams)
                    batch = [ahead.popleft() for _ in range(min(size, len(ahead)))]
                    if self._is_loaded:
                        model = model or stack.enter_context(_threads(self.engine.streams, "model"))
                        running.append((batch, model.submit(self._compute_batch, batch)))
                    else:
                        self._keep(batch, self._compute_batch(batch))
                elif running:
                    batch, future = running.popleft()
                    self._keep(batch, future.result())
                elif not more:
                    return

    @property
    def _is_loaded(self) -> bool:
        return "engine" in vars(self)

    def _look_up(self, sources: list[ImageSource]) -> list[_Pending]:
        """Ask the store for files that are as they were."""
        pending = [self._pending(source) for source in sources]
        if self._rehash or not self._store.usable:
            return pending
        stamps = [_stamp(one.source) for one in pending]
        with self.timings.measure("store"):
            known = self._store.get_files(
                self.identity, [stamp for stamp in stamps if stamp], self._dimension, least=self._least
            )
        for one, stamp in zip(pending, stamps, strict=True):
            if stamp is not None and (embedding := known.get(stamp)):
                one.result = ImageEmbedding(one.path, embedding)
                self.found += 1
        return pending

    def _pending(self, source: ImageSource) -> _Pending:
        number, self._taken = self._taken, self._taken + 1
        if isinstance(source, (str, os.PathLike)):
            return _Pending(os.fspath(source), source)
        if not hasattr(source, "convert"):
            raise InputError(f"Image {number} must be a path or a Pillow image, not {type(source).__name__}.")
        path = str(getattr(source, "filename", "") or f"image {number}")
        try:
            source.load()  # here, for Pillow loads an image that is listed twice on one thread only
        except Exception as error:
            return _Pending(path, source, result=ImageEmbedding(path, error=f"damaged or closed image: {error}"))
        return _Pending(path, source)

    def _compute_batch(self, batch: list[_Pending]) -> _Batch:
        """On a thread: wait for what was prepared of a batch, and compute what is not known of it."""
        with self.timings.measure("wait"):
            prepared = [one.future.result() for one in batch if one.future]
        # Copies of one file within a batch are computed once; what has no digest is its own.
        keys = [this.digest or number.to_bytes(4, "big") for number, this in enumerate(prepared)]
        keyed = list(zip(keys, prepared, strict=True))
        known = {key: this.embedding for key, this in keyed if this.embedding}
        new = {key: this.pixels for key, this in keyed if this.pixels is not None}
        reduced = {key: this.reduced for key, this in keyed}
        for one, this in zip(batch, prepared, strict=True):
            one.future = this.pixels = None  # batches that wait to be kept hold no pixels
        made: dict[bytes, Embedding] = {}
        if new:
            with self.timings.measure("model"):
                vectors = self.engine.encode_images(np.stack(list(new.values())))
            self._require_finite(vectors)
            made = {
                key: Embedding(vector, Quality.of(fp32=self.engine.exact, reduced=reduced[key])).as_stored()
                for key, vector in zip(new, vectors, strict=True)
            }
        return _Batch(prepared, keys, made, known)

    def _keep(self, batch: list[_Pending], done: _Batch) -> None:
        """Give each of a batch its result, and keep it."""
        with self.timings.measure("store"):
            self._store.put(
                self.identity,
                {this.digest: done.made[this.digest] for this in done.prepared if this.digest in done.made},
                [(this.stamp, this.digest) for this in done.prepared if this.stamp and this.digest],
            )
        for one, this, key in zip(batch, done.prepared, done.keys, strict=True):
            one.result = ImageEmbedding(one.path, done.made.get(key) or done.known.get(key), this.error)
            if this.error is None:
                self.found += this.embedding is not None
                self.computed += this.embedding is None


@dataclass
class _Batch:
    """What came of a batch: its images as they were prepared, the key of each, and by key what was computed or known."""

    prepared: list[Prepared]
    keys: list[bytes]
    made: dict[bytes, Embedding]
    known: dict[bytes, Embedding]


@dataclass
class _Pending:
    """One image on its way, from its source to its result."""

    path: str
    source: ImageSource
    future: Future[Prepared] | None = None
    result: ImageEmbedding | None = None

    def must_be_computed(self) -> bool:
        """Waits until it is prepared."""
        return self.future is not None and self.future.result().pixels is not None


def _take_ready(queue: deque[_Pending]) -> Iterator[ImageEmbedding]:
    while queue and (result := queue[0].result):
        queue.popleft()
        yield result


def _last_batch_size(waiting: int, size: int, streams: int) -> int:
    """The size of the next batch once all images are at hand: the fewer are waiting the smaller, so that streams end together.

    Guided self-scheduling (Polychronopoulos and Kuck, 1987) with half a stream's share of what is left at a time. A quarter
    of a full batch still runs at nine tenths of its speed, a smaller one does not.
    """
    guided = -(-waiting // (2 * streams))
    smallest = min(-(-size // 4), -(-waiting // streams))
    return min(size, max(guided, smallest)) if streams > 1 else size


def _stamp(source: ImageSource) -> Stamp | None:
    if not isinstance(source, (str, os.PathLike)):
        return None
    try:
        return Stamp.of_file(source, os.stat(source))
    except (OSError, ValueError):
        return None


@contextmanager
def _threads(count: int, name: str) -> Iterator[ThreadPoolExecutor]:
    """Threads whose waiting work is dropped at the end; what they are at is waited for."""
    pool = ThreadPoolExecutor(count, thread_name_prefix=name)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _take(sources: Iterator[ImageSource | None], room: int) -> tuple[list[ImageSource], bool]:
    """Up to `room` sources, fewer where the next is not known yet; and whether there may be more."""
    taken: list[ImageSource] = []
    for source in sources:
        if source is None:
            return taken, True
        taken.append(source)
        if len(taken) == room:
            return taken, True
    return taken, False
