"""Engines: `uint8 (n, height, width, 3)` pixels or a list of texts in, `float32 (n, d)` unit vectors out.

An engine is the only place where torch, open_clip or OpenVINO is imported, and it is loaded only when something must be
computed. `torch` is the reference and runs everywhere; `openvino` is the fast one on CPUs.
"""

from __future__ import annotations

import logging
import math
import os
import platform
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from zsclip.errors import ModelError
from zsclip.models import ModelSpec
from zsclip.models.spec import ModelFacts
from zsclip.unit_vectors import Embedding

logger = logging.getLogger("zsclip")

PRECISIONS = ("auto", "fp32", "bf16", "fp16")
ENGINES = ("auto", "torch", "openvino")
EXPORT_VERSION = 4  # raise it when an export of the same weights would be another


class ExportError(ModelError):
    """A model that cannot be made ready for the engine asked for, though another engine may run it."""


@dataclass(frozen=True)
class Computing:
    """Where and how to compute. `batch_size` None lets the engine choose. Raises `ModelError` for unknown names."""

    device: str = "auto"
    engine: str = "auto"
    precision: str = "auto"
    batch_size: int | None = None
    exact: bool = False
    threads: int | None = None

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
    """What runs a model. Threads may share it."""

    facts: ModelFacts
    description: str  # "torch on cpu, fp32"
    parameters: int
    exact: bool  # whether it computes in fp32
    batch_size: int

    @property
    def streams(self) -> int:
        """How many batches of images it computes at once when that many threads give it some."""

    def encode_images(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Unit vectors (n, d) of preprocessed images (n, height, width, 3)."""

    def encode_texts(self, texts: Sequence[str]) -> list[Embedding]:
        """An embedding per text; each says what of the text the context did not hold."""


def load(spec: ModelSpec, weights: Callable[[], Path], compute: Computing, export: Path | None) -> Engine:
    """Load a model into the engine asked for; raises `ModelError`.

    `weights` gives the checkpoint's file, and is asked only if the file is needed: `export` is the folder for what is made
    of it once (None: there is nowhere to keep it).
    """
    if _wants_openvino(compute):
        try:
            engine: Engine = _openvino().load(spec, weights, compute, export)
            return engine
        except ExportError as error:
            if compute.engine == "openvino":
                raise ModelError(
                    f"{spec.title} cannot run on OpenVINO: {error}. Leave out --engine openvino."
                ) from error
            logger.warning("%s runs on PyTorch, not on OpenVINO, which would be faster: %s.", spec.title, error)
    from zsclip.engines import torch

    return torch.load(spec, weights(), compute)


def _wants_openvino(compute: Computing) -> bool:
    if compute.engine == "openvino":
        if compute.device not in ("auto", "cpu"):
            raise ModelError(f"The engine openvino runs on the CPU, not on {compute.device}. Leave out --device.")
        if find_spec("openvino") is None:
            raise ModelError("The engine openvino needs OpenVINO: pip install openvino")
        return True
    if compute.engine == "torch" or find_spec("openvino") is None:
        return False
    if compute.precision == "fp16":
        return False
    try:
        if compute.precision == "bf16" and not _openvino().computes_in_bf16():
            return False
    except ExportError:
        return False
    return compute.device == "cpu" or (compute.device == "auto" and not _has_gpu())


def _openvino() -> Any:
    """The module of that engine, once it is known to work; raises `ExportError`."""
    try:
        from zsclip.engines import openvino

        openvino.computes_in_bf16()
    except (ImportError, OSError, RuntimeError) as error:
        raise ExportError(f"OpenVINO does not work here ({error})") from error
    return openvino


def require_known(title: str, token: int, vocabulary: int) -> None:
    """Raise `ModelError` for a token beyond a text tower's vocabulary (0: it did not say how large that is)."""
    if vocabulary and token >= vocabulary:
        raise ModelError(
            f"{title}: its tokenizer has more words than its text tower ({vocabulary}); they do not belong together."
        )


@cache
def _has_gpu() -> bool:
    """Whether there is a GPU that PyTorch can run on. PyTorch, which takes seconds, is asked only if a driver has one."""
    if not _has_driver():
        return False
    import torch

    return torch.cuda.is_available() or torch.backends.mps.is_available()


def _has_driver() -> bool:
    if sys.platform == "darwin":
        return platform.machine() == "arm64"
    if os.path.exists("/dev/kfd"):  # AMD's
        return True
    import ctypes

    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        count = ctypes.c_int()
        return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0
    except (OSError, AttributeError):
        return False


def available_cores() -> int:
    """How many cores this process may use: those it may run on, and no more than its container is given time for."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        return max(1, min(cores, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # no such limit: "max"
        return cores
