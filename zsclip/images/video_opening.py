"""What a user chooses about videos."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from zsclip.errors import InputError
from zsclip.images.video_frames import Sampling

Pool = Literal["mean", "max"]

DEFAULT_EVERY = 1.0
_MOST_SECONDS = 366 * 86_400.0


@dataclass(frozen=True)
class VideoOpening:
    """How videos are read: a frame every so many seconds, the nearest key frame or, if `exact_times`, the one shown then.

    Without `every`, videos in folders are passed over and named ones give a frame a second. With `pool`, each video is one row: by
    the unit `mean` of its frames' vectors, or by its best frame for each label (`max`). Raises `InputError`.
    """

    every: float | None = None
    exact_times: bool = False
    pool: Pool | None = None

    def __post_init__(self) -> None:
        if self.every is not None and not 0 < self.every <= _MOST_SECONDS:  # also false for what is no number
            raise InputError(f"must be above 0 seconds and at most a year, not {self.every:g}.", where="`every`")

    @property
    def sampling(self) -> Sampling:
        """The frames of a whole video."""
        return Sampling(DEFAULT_EVERY if self.every is None else self.every, self.exact_times)
