"""Unit vectors as they are kept: how they were made, what they belong to, and their bytes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from zsclip.scoring.vectors import Floats, normalise

FAST, EXACT = 0, 1


@dataclass(frozen=True)
class Embedding:
    """One unit vector, float32 (d,), as it was made: `exact`, or fast (half precision or reduced decoding).

    `cut` is, of a text, the end that the model's context did not hold ("" for a whole text); None for an image.
    """

    vector: Floats
    exact: bool = True
    cut: str | None = None

    def as_stored(self) -> Embedding:
        """What the store gives back for it. Results come from that also where nothing is stored, so that a first and a
        second run print the same."""
        return (
            self
            if self.exact
            else Embedding(normalise(self.vector.astype(np.float16).astype(np.float32)), False, self.cut)
        )


class FileStamp(NamedTuple):
    """What tells, without reading it, that a file is the one it was: absolute path, size, time of change."""

    path: bytes
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, path: str | os.PathLike[str], status: os.stat_result) -> FileStamp:
        """The stamp of a file with that status."""
        # SQLite's integers end in the year 2262; what is beyond goes round to a time of its own.
        mtime_ns = (status.st_mtime_ns + (1 << 63)) % (1 << 64) - (1 << 63)
        return cls(os.fsencode(os.path.abspath(path)), status.st_size, mtime_ns)


@dataclass(frozen=True)
class ModelFacts:
    """What scoring needs to know of a model when nothing has to be computed."""

    logit_scale: float
    logit_bias: float
    dimension: int
    title: str = ""


def text_digest(text: str) -> bytes:
    """The key of a text."""
    return hashlib.sha256(b"text\0" + text.encode("utf-8", "surrogatepass")).digest()


def file_digest(path: Path) -> bytes:
    """The SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.digest()


def encode(embedding: Embedding) -> bytes:
    """float32 where exact, float16 where fast."""
    return embedding.vector.astype("<f4" if embedding.exact else "<f2").tobytes()


def decode(blobs: Sequence[bytes], how: Sequence[int]) -> list[Floats | None]:
    """Unit vectors as they were encoded; many at once, for a row by itself costs more than its numbers.

    None for what cannot be what was stored: damage that SQLite does not see makes other numbers.
    """
    vectors: dict[int, Iterator[Floats | None]] = {}
    for kind, dtype in ((EXACT, "<f4"), (FAST, "<f2")):
        of_kind = [blob for blob, one in zip(blobs, how, strict=True) if one == kind]
        if of_kind:
            rows = np.frombuffer(b"".join(of_kind), dtype).reshape(len(of_kind), -1).astype(np.float32)
            sound = np.abs(np.einsum("nd,nd->n", rows, rows) - 1) < 1e-2
            with np.errstate(invalid="ignore"):
                units = normalise(rows) if kind == FAST else rows
            vectors[kind] = iter(
                [row if is_sound else None for row, is_sound in zip(units, sound.tolist(), strict=True)]
            )
    return [next(vectors[kind]) for kind in how]
