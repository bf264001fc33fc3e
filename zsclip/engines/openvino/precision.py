"""Whether a model tolerates bf16: measured with its own weights, once for each kind of processor."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zsclip import atomic
from zsclip.engines import probes
from zsclip.engines.openvino import runtime
from zsclip.engines.openvino.engine import OpenVinoEngine
from zsclip.images.preprocessing import Preprocessing

logger = logging.getLogger("zsclip")

BF16_FACTS = "bf16.json"
LEAST_COSINE = 0.9995  # between bf16 and fp32, for `auto` to take bf16


def choose(folder: Path, preprocessing: Preprocessing, threads: int | None = None) -> tuple[str, str]:
    """The precision for the export in `folder`, and why: bf16 where the processor computes in it and the weights tolerate it."""
    if not runtime.computes_in_bf16():
        return "fp32", "this processor does not compute in bf16"
    measured = Bf16.of(folder, preprocessing, threads)
    text = f"bf16 gives cosines of {measured.images:.6f} (images) and {measured.texts:.6f} (texts) or more to fp32"
    if measured.worst >= LEAST_COSINE:
        return "bf16", text
    return "fp32", f"{text}, under {LEAST_COSINE}"


@dataclass(frozen=True)
class Bf16:
    """The smallest cosines between bf16 and fp32 over the probes."""

    images: float
    texts: float

    @property
    def worst(self) -> float:
        """The smaller of the two; what is no number counts as 0."""
        return min(value if np.isfinite(value) else 0.0 for value in (self.images, self.texts))

    @classmethod
    def of(cls, folder: Path, preprocessing: Preprocessing, threads: int | None = None) -> Bf16:
        """What was measured on this kind of processor, measured now if it was not, and kept with the export."""
        path, processor = folder / BF16_FACTS, runtime.processor()
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            if kept.pop("processor") == processor:
                return cls(**kept)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            pass
        measured = cls.measure(folder, preprocessing, threads)
        try:
            with atomic.new_file(path) as file:
                file.write(json.dumps({**vars(measured), "processor": processor}).encode())
        except OSError as error:
            logger.debug("%s cannot be written (%s); it is measured again next time.", path, error)
        return measured

    @classmethod
    def measure(cls, folder: Path, preprocessing: Preprocessing, threads: int | None = None) -> Bf16:
        """Computing the probes both ways."""
        pixels = probes.pixels(preprocessing)
        images, texts = [], []
        for precision in ("fp32", "bf16"):
            engine = OpenVinoEngine(folder, precision, threads=threads)
            images.append(engine.encode_images(pixels))
            texts.append(np.stack([one.vector for one in engine.encode_texts(probes.TEXTS)]))
        return cls(_least_cosine(*images), _least_cosine(*texts))


def _least_cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    return float(np.einsum("nd,nd->n", a, b, dtype=np.float64).min())
