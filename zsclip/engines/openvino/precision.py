"""Whether a model runs in bf16 on this processor: measured once, in passing, when there is enough to compute to pay for it."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zsclip import atomic
from zsclip.engines import probes
from zsclip.engines.agreement import Agreement
from zsclip.engines.base import Computing, Engine
from zsclip.engines.openvino import runtime
from zsclip.engines.openvino.engine import OpenVinoEngine
from zsclip.engines.openvino.source import Source
from zsclip.images.preprocessing import Preprocessing
from zsclip.unit_vectors import Embedding, Floats

logger = logging.getLogger("zsclip")

# Images computed in fp32 after which it is measured. Measuring takes as long as about a dozen of them, so a job of fewer would
# only wait for it; they are counted over runs, so that many small jobs get to it as well.
ENOUGH = 32
_TEXTS_AN_IMAGE = 16  # that take as long as one


def engine_for(
    source: Source, preprocessing: Preprocessing, computing: Computing, measured_in: Path | None
) -> OpenVinoEngine:
    """The engine that `precision=auto` means: in bf16 where the processor computes in it and the weights tolerate it.

    `measured_in` is the file that a measurement is kept in (None: nowhere).
    """
    if not runtime.computes_in_bf16():
        return OpenVinoEngine(source, "fp32", computing, "this processor does not compute in bf16")
    if measured := Agreement.read(measured_in, bound_to()):
        return OpenVinoEngine(source, _precision(measured), computing, measured.told("bf16"))
    return UnmeasuredEngine(source, preprocessing, computing, measured_in)


def measured_precision(measured_in: Path | None) -> str:
    """bf16 if that was measured and holds, else fp32."""
    measured = Agreement.read(measured_in, bound_to()) if runtime.computes_in_bf16() else None
    return _precision(measured) if measured else "fp32"


def bound_to() -> dict[str, str]:
    """What a measurement depends on, beside the model."""
    return {"processor": runtime.processor(), "openvino": version("openvino"), "probes": str(probes.VERSION)}


def _precision(measured: Agreement) -> str:
    return "bf16" if measured.holds else "fp32"


class UnmeasuredEngine(OpenVinoEngine):
    """In fp32 for as long as nobody knows whether the model tolerates bf16; `settled` measures that once it pays."""

    def __init__(
        self, source: Source, preprocessing: Preprocessing, computing: Computing, measured_in: Path | None
    ) -> None:
        super().__init__(source, "fp32", computing, "bf16 is measured as soon as there is more to compute")
        self._preprocessing, self._computing, self._path = preprocessing, computing, measured_in
        self._computed = _read_count(measured_in)
        self._settled: OpenVinoEngine | None = None
        self._lock_of_count = threading.Lock()

    def encode_images(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `Engine`."""
        vectors = super().encode_images(pixels)
        self._count(len(pixels))
        return vectors

    def encode_texts(self, texts: Sequence[str]) -> list[Embedding]:
        """See `Engine`."""
        embeddings = super().encode_texts(texts)
        self._count(len(texts) // _TEXTS_AN_IMAGE)
        return embeddings

    def settled(self, labels: Floats | None = None) -> Engine:  # noqa: ARG002  (its probes have texts of their own)
        """See `Engine`."""
        if self._computed < ENOUGH:
            return self
        with self._lock_of_count:
            self._settled = self._settled or self._measured()
        return self._settled

    def _count(self, images: int) -> None:
        with self._lock_of_count:
            if images and self._computed < ENOUGH:
                self._computed += images
                _write_count(self._path, self._computed)

    def _measured(self) -> OpenVinoEngine:
        """The engine that the measurement speaks for. One tower at a time is compiled twice, which bounds memory."""
        half = OpenVinoEngine(self.source, "bf16", self._computing)
        pixels = probes.pixels(self._preprocessing, few=True)
        # Not its own methods, which count what they compute.
        images = [OpenVinoEngine.encode_images(engine, pixels) for engine in (self, half)]
        self._towers.release()
        texts = [OpenVinoEngine.encode_texts(engine, probes.TEXTS) for engine in (self, half)]
        in_rows = [np.stack([one.vector for one in embeddings]) for embeddings in texts]
        measured = Agreement.between(self.facts, images, in_rows)
        measured.write(self._path, bound_to())
        if not measured.holds:
            return OpenVinoEngine(self.source, "fp32", self._computing, measured.told("bf16"))
        self._towers.release()
        half.description = f"openvino on the CPU, bf16: {measured.told('bf16')}"
        return half


def _read_count(path: Path | None) -> int:
    try:
        return int(json.loads(path.read_text(encoding="utf-8"))["images"]) if path else 0
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _write_count(path: Path | None, images: int) -> None:
    if path is not None:
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with atomic.new_file(path) as file:
                file.write(json.dumps({"images": images}).encode())
        except OSError as error:
            logger.debug("%s cannot be written (%s).", path, error)
