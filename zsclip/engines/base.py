"""What engines have in common: the protocol, the settings, and errors of both."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from zsclip.engines.names import ENGINES, PRECISIONS
from zsclip.errors import ModelError
from zsclip.models.spec import ModelFacts
from zsclip.unit_vectors import Embedding, Floats


class ExportError(ModelError):
    """A model that cannot be made ready for the engine asked for, though another engine may run it."""


@dataclass(frozen=True)
class Computing:
    """Where and how to compute. Raises `ModelError` for settings that are unknown or contradict each other.

    `batch_size` None lets the engine choose. `exact` implies fp32. `threads` is how many cores an engine may use, None for
    all that this process may use.
    """

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
        if self.threads is not None and self.threads < 1:
            raise ModelError(f"An engine must have at least one thread, not {self.threads}.")
        if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", self.device):
            raise ModelError(f"There is no device {self.device!r}. There are: auto, cpu, cuda, cuda:N, mps.")
        if self.exact and self.precision not in ("auto", "fp32"):
            remedy = f"Leave out `precision={self.precision}`, or `exact`."
            raise ModelError("`exact` computes in fp32.", remedy=remedy)

    @property
    def effective_precision(self) -> str:
        """The precision asked for: auto, fp32, bf16, fp16 or int8."""
        return "fp32" if self.exact else self.precision


class Engine(Protocol):
    """What runs a model. Threads may share it."""

    facts: ModelFacts
    description: str  # "torch on cpu, fp32"
    parameters: int
    precision: str  # in which it computes images: fp32, bf16, fp16 or int8
    batch_size: int

    @property
    def streams(self) -> int:
        """How many batches of images it computes at once when that many threads give it some."""

    def encode_images(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Unit vectors (n, d) of preprocessed images (n, height, width, 3)."""

    def encode_texts(self, texts: Sequence[str]) -> list[Embedding]:
        """An embedding per text; each says what of the text the context did not hold."""

    def settled(self, labels: Floats | None = None) -> Engine:
        """The engine for what comes next: this one, or the one that a measurement meanwhile speaks for. Raises `ModelError`.

        `labels` are the class vectors (labels, d) that images are compared with, if there are any: what another precision
        costs is measured with them.
        """


def require_known(title: str, token: int, vocabulary: int) -> None:
    """Raise `ModelError` for a token beyond a text tower's vocabulary (0: it did not say how large that is)."""
    if vocabulary and token >= vocabulary:
        raise ModelError(
            f"its tokenizer has more words than its text tower ({vocabulary}); they do not belong together.",
            where=title,
        )
