"""What is kept, as bytes: digests of contents, and unit vectors."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from zsclip.unit_vectors import Embedding, Floats, normalise

FAST, EXACT = 0, 1


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
