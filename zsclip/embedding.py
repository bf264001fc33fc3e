"""Images and texts to unit vectors, in order and streaming: asks the store, computes the misses."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from zsclip import images, models
from zsclip.engines import Compute, Engine
from zsclip.engines import load as load_engine
from zsclip.errors import ImageError, ModelError
from zsclip.models import ModelSpec
from zsclip.store import Embedding, ModelFacts, Store, text_digest

if TYPE_CHECKING:
    from PIL.Image import Image

logger = logging.getLogger("zsclip")

ImageSource: TypeAlias = "str | os.PathLike[str] | Image"

_TEXTS_PER_COMMIT = 1024
_BATCHES_AHEAD = 3
_FIRST_BATCH = 32  # assumed until the engine is loaded


@dataclass(frozen=True)
class ImageEmbedding:
    """One image and its unit vector, or the error that kept it from being read."""

    path: str
    embedding: Embedding | None = None
    error: str | None = None


class Timings:
    """Seconds by stage. Reading, decoding and resizing are summed over the threads; `wait` is the model waiting for them."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._lock = threading.Lock()

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Add the time spent inside to `stage`."""
        started = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                self.seconds[stage] += time.perf_counter() - started


class Embedder:
    """One model as a source of unit vectors.

    The engine is loaded when the first vector must be computed. With `exact`, images are decoded in full, the model
    runs in fp32 and only such vectors are taken from the store.
    """

    def __init__(
        self,
        spec: ModelSpec,
        store: Store,
        compute: Compute | None = None,
        *,
        exact: bool = False,
        rehash: bool = False,
        workers: int | None = None,
    ) -> None:
        compute = compute or Compute()
        if exact and compute.precision not in ("auto", "fp32"):
            raise ModelError(f"--exact computes in fp32. Leave out --precision {compute.precision}, or --exact.")
        self.spec = spec
        self.timings = Timings()
        self._store = store
        self._compute = Compute(compute.device, compute.engine, "fp32", compute.batch_size) if exact else compute
        self._exact = exact
        self._rehash = rehash
        self._workers = workers or min(16, available_cores())

    @cached_property
    def checkpoint(self) -> Path:
        """The weights' file, downloaded if it is not on this machine; raises `ModelError`."""
        return models.fetch(self.spec)

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
        checkpoint = self.checkpoint
        with self.timings.measure("load"):
            engine = load_engine(self.spec, checkpoint, self._compute)
        self._store.put_facts(self.identity, engine.facts)
        logger.debug("%s: %s, %.1f million parameters", self.spec.title, engine.description, engine.parameters / 1e6)
        return engine

    @cached_property
    def facts(self) -> ModelFacts:
        """Scale, bias and dimension: from the store if the model was loaded before."""
        return self._store.facts(self.identity) or self.engine.facts

    def texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors of texts: float32 (n, d). Repeated texts are computed once. Warns of texts that are cut."""
        digests = {text: text_digest(text) for text in dict.fromkeys(texts)}
        with self.timings.measure("store"):
            known = self._store.get(self.identity, list(digests.values()), exact=self._exact)
        missing = (text for text, digest in digests.items() if digest not in known)
        while batch := list(islice(missing, _TEXTS_PER_COMMIT)):
            engine = self.engine
            with self.timings.measure("texts"):
                made = {
                    digests[text]: one.as_stored() for text, one in zip(batch, engine.encode_texts(batch), strict=True)
                }
            with self.timings.measure("store"):
                self._store.put(self.identity, made)
            known.update(made)
        self._warn_of_cuts({text: cut for text, digest in digests.items() if (cut := known[digest].cut) is not None})
        return np.stack([known[digests[text]].vector for text in texts])

    def _warn_of_cuts(self, cuts: dict[str, str]) -> None:
        shown = 3
        for text, cut in list(cuts.items())[:shown]:
            logger.warning(
                "%s reads %d tokens of a text; of %r it does not see the end: %r. Shorten it.",
                self.spec.title, self.spec.context_length, text, cut,
            )  # fmt: skip
        if len(cuts) > shown:
            logger.warning("The ends of %d more texts are cut in the same way.", len(cuts) - shown)

    def images(self, sources: Iterable[ImageSource]) -> Iterator[ImageEmbedding]:
        """Embeddings of image files or Pillow images, in order; one that cannot be read has an error instead.

        Files are read, decoded and resized on threads while the model runs; a few batches are under way at a time.
        """
        waiting: deque[tuple[str, Future[tuple[NDArray[np.uint8], bool]]]] = deque()
        todo = enumerate(sources)
        pool = ThreadPoolExecutor(self._workers, thread_name_prefix="decode")

        def fill(count: int) -> None:
            for number, source in islice(todo, max(0, count - len(waiting))):
                waiting.append((_path(source, number), pool.submit(self._pixels, source)))

        try:
            fill(_FIRST_BATCH * _BATCHES_AHEAD)
            while waiting:
                # Decoding has begun; now the model may be loaded.
                size = self.engine.batch_size
                batch = [waiting.popleft() for _ in range(min(size, len(waiting)))]
                fill(size * _BATCHES_AHEAD)
                yield from self._embed(batch)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _pixels(self, source: ImageSource) -> tuple[NDArray[np.uint8], bool]:
        measure, wanted = self.timings.measure, self.spec.preprocessing
        if isinstance(source, (str, os.PathLike)):
            with measure("read"):
                data = images.read(os.fspath(source))
            with measure("decode"):
                image, reduced = images.decode(data, wanted, full=self._exact)
        else:
            with measure("decode"):
                image, reduced = images.upright_rgb(source.copy()), False
        with measure("resize"):
            return images.fit(image, wanted), reduced

    def _embed(self, batch: list[tuple[str, Future[tuple[NDArray[np.uint8], bool]]]]) -> Iterator[ImageEmbedding]:
        pixels: list[NDArray[np.uint8]] = []
        exact: list[bool] = []
        errors: dict[int, str] = {}
        with self.timings.measure("wait"):
            for number, (_, future) in enumerate(batch):
                try:
                    one, reduced = future.result()
                    pixels.append(one)
                    exact.append(self.engine.exact and not reduced)
                except ImageError as error:
                    errors[number] = str(error)
        with self.timings.measure("model"):
            vectors = iter(self.engine.encode_images(np.stack(pixels)) if pixels else ())
        are_exact = iter(exact)
        for number, (path, _) in enumerate(batch):
            if number in errors:
                yield ImageEmbedding(path, error=errors[number])
            else:
                yield ImageEmbedding(path, Embedding(next(vectors), next(are_exact)).as_stored())


def available_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _path(source: ImageSource, number: int) -> str:
    if isinstance(source, (str, os.PathLike)):
        return os.fspath(source)
    return str(getattr(source, "filename", "") or f"image {number}")
