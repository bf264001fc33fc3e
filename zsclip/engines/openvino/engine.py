"""A model on the CPU, by OpenVINO. Imports neither torch nor open_clip.

The towers are compiled when they are first needed, for most runs need one of the two.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zsclip.engines.base import Computing, Engine, require_known
from zsclip.engines.openvino.prefixes import forests
from zsclip.engines.openvino.source import ALL, LARGEST, Source
from zsclip.engines.openvino.tower import Towers
from zsclip.unit_vectors import Embedding, Floats, Quality

_BATCH = 16  # as fast as 32, and less to wait for
_TOKENS = 256  # of one forward pass over texts that share their beginnings: its mask grows with their square
_WHOLE_TEXTS = 32  # of one forward pass


class OpenVinoEngine:
    """A model on the CPU. See `zsclip.engines.base.Engine`.

    `source` is what it is made of, `precision` fp32 or bf16, `reason` why it is that one. Of `computing` the batch size and
    the threads count.
    """

    def __init__(self, source: Source, precision: str, computing: Computing, reason: str = "") -> None:
        self.source = source
        self.facts = source.facts
        self.parameters = source.parameters
        self.precision = self._text_precision = precision
        self.batch_size = computing.batch_size or _BATCH
        self.description = f"openvino on the CPU, {precision}" + (f": {reason}" if reason else "")
        self._towers = Towers(source, precision, computing.threads)

    @property
    def streams(self) -> int:
        """See `Engine`."""
        return self._towers.image.streams

    def adopt(self, other: OpenVinoEngine) -> None:
        """Go on with what another engine compiled of the same model, in the same precision."""
        self._towers.adopt(other._towers)

    def settled(self, labels: Floats | None = None) -> Engine:  # noqa: ARG002  (there is nothing to measure)
        """See `Engine`."""
        return self

    def encode_images(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `Engine`."""
        return self.as_units(self._towers.image(pixels))

    def encode_texts(self, texts: Sequence[str]) -> list[Embedding]:
        """See `Engine`. Where padding is inert, texts run at their own length, and what they begin with in common once."""
        tokenizer, tower = self._towers.tokenizer, self._towers.text
        tokens = tokenizer(texts)
        require_known(self.facts.title, int(tokens.max()), self.source.vocabulary)
        vectors = np.empty((len(texts), self.facts.dimension), np.float32)

        def run(batch: tuple[NDArray[np.intp], tuple[NDArray[Any], ...]]) -> None:
            rows, inputs = batch
            vectors[rows] = self.as_units(tower(*inputs)[: len(rows)])

        with ThreadPoolExecutor(tower.streams) as pool:
            list(pool.map(run, self._batches(tokens, tower.streams)))
        return [
            Embedding(vector, Quality.of(self._text_precision), cut)
            for vector, cut in zip(vectors, tokenizer.cuts(texts, tokens), strict=True)
        ]

    def as_units(self, features: Floats) -> Floats:
        """Features (n, d) at length 1. If fp32 has no numbers for some, the weights are looked at: they may hold none."""
        # A length of nothing, which broken weights may give, is reported by the caller.
        with np.errstate(invalid="ignore", divide="ignore"):
            unit: Floats = features / np.linalg.norm(features, axis=-1, keepdims=True)
        if self.precision == "fp32" and not np.isfinite(unit).all():
            self.source.require_numbers()
        return unit

    def _batches(
        self, tokens: NDArray[np.int32], streams: int
    ) -> Iterator[tuple[NDArray[np.intp], tuple[NDArray[Any], ...]]]:
        """Rows of texts, and what the tower is given for them."""
        pooled_at = self.source.pooled_at
        if pooled_at == ALL:
            for start in range(0, len(tokens), _WHOLE_TEXTS):
                rows = np.arange(start, min(start + _WHOLE_TEXTS, len(tokens)))
                yield rows, (tokens[rows],)
            return
        marks = tokens if pooled_at == LARGEST else tokens == pooled_at
        for forest in forests(tokens, np.argmax(marks, axis=1) + 1, _TOKENS, streams):
            yield forest.rows, forest.inputs
