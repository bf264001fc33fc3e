"""Pool: the frames of a video as one row."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from zsclip.embedding.records import Clip, ImageEmbeddings
from zsclip.unit_vectors import Floats, unit_mean

if TYPE_CHECKING:
    from zsclip.errors import ErrorKind

_FRAME = re.compile(r"(?P<video>.+)#t=(?P<time>\d+\.\d{3})", re.DOTALL)


@dataclass
class _Frames:
    """The frames of one video, as far as they are known."""

    name: str
    vectors: list[Floats] = field(default_factory=list)
    qualities: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)


@dataclass
class _Rows:
    """Rows in the making."""

    paths: list[str] = field(default_factory=list)
    vectors: list[Floats] = field(default_factory=list)
    qualities: list[int] = field(default_factory=list)
    errors: dict[int, tuple[str, ErrorKind | None]] = field(default_factory=dict)
    clips: dict[int, Clip] = field(default_factory=dict)

    def add(self, path: str, vector: Floats, quality: int) -> None:
        self.paths.append(path)
        self.vectors.append(vector)
        self.qualities.append(quality)

    def add_error(self, path: str, error: tuple[str, ErrorKind | None]) -> None:
        self.errors[len(self.paths)] = error
        self.paths.append(path)

    def add_video(self, frames: _Frames) -> None:
        vectors = np.stack(frames.vectors)
        self.clips[len(self.vectors)] = Clip(vectors, tuple(frames.times))
        self.add(frames.name, unit_mean(vectors), min(frames.qualities))

    def made(self, dimension: int) -> ImageEmbeddings:
        vectors = np.stack(self.vectors) if self.vectors else np.empty((0, dimension), np.float32)
        return ImageEmbeddings(self.paths, vectors, np.array(self.qualities, np.uint8), self.errors, self.clips)


def pooled(parts: Iterable[ImageEmbeddings]) -> Iterator[ImageEmbeddings]:
    """The same rows, those of a video's frames as one: its vector is the unit mean of theirs, which are in `clips`.

    The row comes after the last frame. Frames that could not be read, and the error of a video that breaks off, remain rows.
    """
    frames: _Frames | None = None
    dimension = 0
    for part in parts:
        rows, dimension = _Rows(), part.vectors.shape[1]
        read = zip(part.vectors, part.qualities.tolist(), strict=True)
        for place, path in enumerate(part.paths):
            found = _FRAME.fullmatch(path)
            if frames and (found is None or found["video"] != frames.name or float(found["time"]) <= frames.times[-1]):
                rows.add_video(frames)
                frames = None
            if place in part.errors:
                rows.add_error(path, part.errors[place])
            elif found is None:
                rows.add(path, *next(read))
            else:
                frames = frames or _Frames(found["video"])
                vector, quality = next(read)
                frames.vectors.append(vector)
                frames.qualities.append(quality)
                frames.times.append(float(found["time"]))
        if rows.paths:
            yield rows.made(dimension)
    if frames:
        rows = _Rows()
        rows.add_video(frames)
        yield rows.made(dimension)


def stacked(embeddings: ImageEmbeddings) -> tuple[Floats, list[int]]:
    """The vectors of all rows, of a video those of its frames: float32 (m, d), and where each row's begin (n,)."""
    parts = [
        embeddings.clips[row].vectors if row in embeddings.clips else vector[None]
        for row, vector in enumerate(embeddings.vectors)
    ]
    starts = list(chain([0], np.cumsum([len(part) for part in parts[:-1]]).tolist()))
    return np.concatenate(parts), starts
