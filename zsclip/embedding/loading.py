"""One image on its way to the model, on a thread: read, looked up by its bytes, decoded and resized."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from zsclip.embedding.timings import Timings
from zsclip.errors import ImageError
from zsclip.images import decoding
from zsclip.images import preprocessing as images
from zsclip.images.item import Stamp
from zsclip.images.preprocessing import Preprocessing
from zsclip.images.worker_pool import IsolatedDecoder
from zsclip.store.database import Store
from zsclip.unit_vectors import Embedding, Quality

if TYPE_CHECKING:
    from PIL.Image import Image

ImageSource: TypeAlias = "str | os.PathLike[str] | Image"


@dataclass
class Prepared:
    """What came of a source: uint8 pixels (height, width, 3), or the embedding the store had for its bytes, or an error.

    `reduced` says that the pixels were decoded at a reduced scale. `digest` and `stamp` are a file's, where there is a store.
    """

    pixels: NDArray[np.uint8] | None = None
    reduced: bool = False
    digest: bytes | None = None
    stamp: Stamp | None = None
    embedding: Embedding | None = None
    error: str | None = None


class Preparation:
    """Called with an image, reads it, looks it up by its bytes, decodes and resizes it. Threads may share it.

    With `exact`, images are decoded in full and only exact vectors are taken from the store. `isolate` decodes in worker
    processes, each image within `decode_timeout` seconds.
    """

    def __init__(
        self,
        preprocessing: Preprocessing,
        dimension: int,
        store: Store,
        timings: Timings,
        *,
        exact: bool,
        max_pixels: int,
        isolate: bool,
        decode_timeout: float,
    ) -> None:
        self._preprocessing = preprocessing
        self._dimension = dimension
        self._store = store
        self._timings = timings
        self._exact = exact
        self._least = Quality.EXACT if exact else Quality.HALF
        self._max_pixels = max_pixels
        self._isolated = (
            IsolatedDecoder(preprocessing, full=exact, max_pixels=max_pixels, seconds=decode_timeout)
            if isolate
            else None
        )

    def close(self) -> None:
        """End the worker processes, if there are any."""
        if self._isolated:
            self._isolated.close()

    def __call__(self, source: ImageSource, identity: str) -> Prepared:
        """Whatever is wrong with an image comes out as its `error`; `identity` is the model's key in the store."""
        try:
            if isinstance(source, (str, os.PathLike)):
                return self._file(os.fspath(source), identity)
            return self._image(source)
        except ImageError as error:
            return Prepared(error=str(error))
        except MemoryError:
            return Prepared(error="too large for the memory there is")

    def _image(self, source: Image) -> Prepared:
        with self._timings.measure("decode"):
            upright = decoding.upright_rgb(source.copy())
        with self._timings.measure("resize"):
            return Prepared(images.fit(upright, self._preprocessing))

    def _file(self, path: str, identity: str) -> Prepared:
        measure = self._timings.measure
        with measure("read"):
            data, status = decoding.read(path, max_pixels=self._max_pixels)
        prepared = Prepared()
        if self._store.usable:
            with measure("digest"):
                prepared.digest = digest = hashlib.sha256(data).digest()
            with measure("store"):
                known = self._store.get(identity, [digest], self._dimension, least=self._least)
            prepared.embedding = known.get(digest)
            prepared.stamp = Stamp.of_file(path, status)
        if prepared.embedding is None:
            prepared.pixels, prepared.reduced = self._decode(data)
        return prepared

    def _decode(self, data: bytes) -> tuple[NDArray[np.uint8], bool]:
        if self._isolated:
            with self._timings.measure("decode"):  # and resize, in another process
                return self._isolated(data)
        return decoding.pixels(
            data,
            self._preprocessing,
            full=self._exact,
            max_pixels=self._max_pixels,
            measure=self._timings.measure,
        )
