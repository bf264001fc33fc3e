"""Engines: `uint8 (n, height, width, 3)` pixels or a list of texts in, `float32 (n, d)` unit vectors out.

An engine is the only place where torch or open_clip is imported, and it is loaded only when something must be computed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from zsclip.errors import ModelError
from zsclip.models import ModelSpec
from zsclip.vectors import Embedding, ModelFacts

PRECISIONS = ("auto", "fp32", "bf16", "fp16")
_MODULES = {"torch": "zsclip.engines.torch"}
ENGINES = ("auto", *_MODULES)


@dataclass(frozen=True)
class Compute:
    """Where and how to compute. `batch_size` None lets the engine choose. Raises `ModelError` for unknown names."""

    device: str = "auto"
    engine: str = "auto"
    precision: str = "auto"
    batch_size: int | None = None

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise ModelError(f"There is no engine {self.engine!r}. There are: {', '.join(ENGINES)}.")
        if self.precision not in PRECISIONS:
            raise ModelError(f"There is no precision {self.precision!r}. There are: {', '.join(PRECISIONS)}.")
        if self.batch_size is not None and self.batch_size < 1:
            raise ModelError(f"A batch must have at least one image, not {self.batch_size}.")
        if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", self.device):
            raise ModelError(f"There is no device {self.device!r}. There are: auto, cpu, cuda, cuda:N, mps.")


class Engine(Protocol):
    """What runs a model."""

    facts: ModelFacts
    description: str  # "torch on cpu, fp32"
    parameters: int
    exact: bool  # whether it computes in fp32
    batch_size: int

    def encode_images(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Unit vectors (n, d) of preprocessed images (n, height, width, 3)."""

    def encode_texts(self, texts: Sequence[str]) -> list[Embedding]:
        """An embedding per text; each says what of the text the context did not hold."""


def load(spec: ModelSpec, checkpoint: Path, compute: Compute) -> Engine:
    """Load a model into the engine asked for; raises `ModelError`."""
    name = "torch" if compute.engine == "auto" else compute.engine
    return cast("Engine", import_module(_MODULES[name]).load(spec, checkpoint, compute))
