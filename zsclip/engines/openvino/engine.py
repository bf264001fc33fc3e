"""An exported model on the CPU. Imports neither torch nor open_clip.

The towers are compiled when they are first needed, for most runs need one of the two.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zsclip.engines.base import require_known
from zsclip.engines.openvino.export_files import ALL, LARGEST, ExportFacts
from zsclip.engines.openvino.prefixes import forests
from zsclip.engines.openvino.tokenizer import Tokenizer
from zsclip.engines.openvino.tower import Tower
from zsclip.errors import ModelError
from zsclip.store.exports import Use
from zsclip.unit_vectors import Embedding, Quality

_BATCH = 16  # as fast as 32, and less to wait for
_TOKENS = 256  # of one forward pass over texts that share their beginnings: its mask grows with their square
_WHOLE_TEXTS = 32  # of one forward pass


class OpenVinoEngine:
    """An exported model on the CPU. See `zsclip.engines.base.Engine`.

    `folder` is the export, `precision` fp32 or bf16, `reason` why it is that one. Batch size and threads as in `Computing`.
    """

    def __init__(
        self,
        folder: Path,
        precision: str,
        reason: str = "",
        batch_size: int | None = None,
        threads: int | None = None,
    ) -> None:
        self._folder, self._precision, self._threads = folder, precision, threads
        self.use: Use | None = None  # what keeps the export from being removed
        self._export = ExportFacts.read(folder)
        self.facts = self._export.facts
        self.parameters = self._export.parameters
        self.exact = precision == "fp32"
        self.batch_size = batch_size or _BATCH
        self.description = f"openvino on the CPU, {precision}" + (f": {reason}" if reason else "")

    @cached_property
    def _images(self) -> Tower:
        return Tower(self._folder / "image.xml", self._precision, self._threads)

    @cached_property
    def _texts(self) -> Tower:
        return Tower(self._folder / "text.xml", self._precision, self._threads)

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        try:
            return Tokenizer.load(self._folder)
        except Exception as error:  # the library raises nothing narrower
            remedy = "Remove it; it is made again."
            raise ModelError(f"{self._folder} cannot be read ({error}).", remedy=remedy) from None

    @property
    def streams(self) -> int:
        """See `Engine`."""
        return self._images.streams

    def encode_images(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `Engine`."""
        return _unit(self._images(pixels))

    def encode_texts(self, texts: Sequence[str]) -> list[Embedding]:
        """See `Engine`. Where padding is inert, texts run at their own length, and what they begin with in common once."""
        tokens = self._tokenizer(texts)
        require_known(self.facts.title, int(tokens.max()), self._export.vocabulary)
        vectors = np.empty((len(texts), self.facts.dimension), np.float32)

        def run(batch: tuple[NDArray[np.intp], tuple[NDArray[Any], ...]]) -> None:
            rows, inputs = batch
            vectors[rows] = _unit(self._texts(*inputs)[: len(rows)])

        with ThreadPoolExecutor(self._texts.streams) as pool:
            list(pool.map(run, self._batches(tokens)))
        return [
            Embedding(vector, Quality.of(fp32=self.exact), cut)
            for vector, cut in zip(vectors, self._tokenizer.cuts(texts, tokens), strict=True)
        ]

    def _batches(self, tokens: NDArray[np.int32]) -> Iterator[tuple[NDArray[np.intp], tuple[NDArray[Any], ...]]]:
        """Rows of texts, and what the tower is given for them."""
        pooled_at = self._export.pooled_at
        if pooled_at == ALL:
            for start in range(0, len(tokens), _WHOLE_TEXTS):
                rows = np.arange(start, min(start + _WHOLE_TEXTS, len(tokens)))
                yield rows, (tokens[rows],)
            return
        marks = tokens if pooled_at == LARGEST else tokens == pooled_at
        for forest in forests(tokens, np.argmax(marks, axis=1) + 1, _TOKENS, self._texts.streams):
            yield forest.rows, forest.inputs


def _unit(features: NDArray[np.float32]) -> NDArray[np.float32]:
    # A length of nothing, which broken weights may give, is reported by the caller.
    with np.errstate(invalid="ignore", divide="ignore"):
        unit: NDArray[np.float32] = features / np.linalg.norm(features, axis=-1, keepdims=True)
    return unit
