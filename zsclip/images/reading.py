"""How pictures are read: limits, worker processes, threads."""

from __future__ import annotations

from dataclasses import dataclass

from zsclip.errors import ModelError
from zsclip.images.decoding import DEFAULT_MAX_PIXELS
from zsclip.images.worker_pool import DEFAULT_SECONDS, MOST_SECONDS

DEFAULT_READERS = 32  # a thousand pictures a second from 30 ms away, which is more than most engines take


@dataclass(frozen=True)
class Reading:
    """Pictures of more than `max_pixels` are not decoded. `isolate` decodes in worker processes, within `decode_timeout`
    seconds each. `workers` threads read and decode (None: one a core, up to 16); what is not on this machine is read by `readers`
    threads, which mostly wait. Raises `ModelError`.
    """

    max_pixels: int = DEFAULT_MAX_PIXELS
    isolate: bool = False
    decode_timeout: float = DEFAULT_SECONDS
    workers: int | None = None
    readers: int = DEFAULT_READERS

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise ModelError(f"There must be at least one worker, not {self.workers}.")
        if self.readers < 1:
            raise ModelError(f"There must be at least one reader, not {self.readers}.")
        if not 0 < self.decode_timeout <= MOST_SECONDS:  # also false for what is no number
            raise ModelError(
                f"`decode_timeout` must be above 0 and at most a day ({MOST_SECONDS:.0f} s), not {self.decode_timeout:g}."
            )
