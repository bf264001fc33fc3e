"""What is kept, as bytes: digests of contents, names cut into folder and name, and unit vectors."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from zsclip.images.item import Stamp
from zsclip.unit_vectors import Embedding, Floats, are_units, normalise

T = TypeVar("T")

_IS_WINDOWS = os.sep == "\\"
_CHUNK = 1000  # well under SQLite's limit of variables in one statement
_WEIGHTS = re.compile(r'"weights":"(?:sample|sha256):([0-9a-f]{64})"')


# What the numbers of a vector may be, by their size in bytes. Half precision is normalised again when read.
HALF, FULL = "<f2", "<f4"
_DTYPES = {2: HALF, 4: FULL}


class Kind(IntEnum):
    """What a content is. Part of its key, so that no file can be taken for a text, whatever its bytes."""

    IMAGE = 0
    TEXT = 1


@dataclass(frozen=True, slots=True)
class Found:
    """Which of the pictures that were asked for are known, by their places (n,) in ascending order: their unit vectors float32
    (n, d), and how good these are (n,)."""

    places: NDArray[np.intp]
    vectors: Floats
    qualities: NDArray[np.uint8]

    @classmethod
    def of(cls, known: Sequence[tuple[int, Embedding]], dimension: int) -> Found:
        """Embeddings by place."""
        places = np.array([place for place, _ in known], np.intp)
        vectors = np.empty((len(known), dimension), np.float32)
        for row, (_, one) in enumerate(known):
            vectors[row] = one.vector
        return cls(places, vectors, np.array([one.quality for _, one in known], np.uint8))

    @classmethod
    def joined(cls, parts: Sequence[Found], dimension: int) -> Found:
        """What was found in several places, none of it twice."""
        parts = [part for part in parts if len(part.places)] or [cls.of((), dimension)]
        if len(parts) == 1:
            return parts[0]
        places = np.concatenate([part.places for part in parts])
        order = np.argsort(places)
        return cls(
            places[order],
            np.concatenate([part.vectors for part in parts])[order],
            np.concatenate([part.qualities for part in parts])[order],
        )


@dataclass(frozen=True, slots=True)
class LastRead:
    """What was last read under a name: the stamp it had, its digest and its vector."""

    stamp: Stamp
    digest: bytes
    embedding: Embedding


def text_digest(text: str) -> bytes:
    """The digest of a text."""
    return hashlib.sha256(b"text\0" + text.encode("utf-8", "surrogatepass")).digest()


def weights_digest(identity: str) -> bytes | None:
    """The digest of the weights in a model's identity; None if zsclip 0.1 knew them by a tag."""
    found = _WEIGHTS.search(identity)
    return bytes.fromhex(found[1]) if found else None


def split_name(name: bytes) -> tuple[bytes, bytes]:
    """A path or address as the folder, with its separator, and the name in it. Joined they are the whole."""
    cut = name.rfind(b"/") + 1
    if _IS_WINDOWS:
        cut = max(cut, name.rfind(b"\\") + 1)
    return name[:cut], name[cut:]


def chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Parts of a sequence that are short enough for one statement."""
    return (items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK))


def marks(items: Sequence[object]) -> str:
    """As many placeholders as there are items."""
    return ",".join("?" * len(items))


def encode(embedding: Embedding) -> bytes:
    """float32 where exact, else float16."""
    return embedding.vector.astype(FULL if embedding.exact else HALF).tobytes()


def decode(blobs: Sequence[bytes], dimension: int) -> list[Floats | None]:
    """Unit vectors as they were encoded; many at once, for a row by itself costs more than its numbers.

    None for what cannot be what was stored: damage that SQLite does not see makes other numbers.
    """
    vectors: dict[int, Iterator[Floats | None]] = {}
    for size, dtype in _DTYPES.items():
        of_size = [blob for blob in blobs if len(blob) == size * dimension]
        if of_size:
            units, sound = decode_rows(b"".join(of_size), dtype, dimension)
            vectors[size * dimension] = iter(
                [row if is_sound else None for row, is_sound in zip(units, sound.tolist(), strict=True)]
            )
    return [next(vectors[len(blob)]) if len(blob) in vectors else None for blob in blobs]


def decode_rows(data: bytes, dtype: str, dimension: int) -> tuple[Floats, NDArray[np.bool_]]:
    """Unit vectors float32 (n, d) as they were encoded one after the other, and which of them can be what was stored (n,)."""
    rows = np.frombuffer(data, dtype).reshape(-1, dimension).astype(np.float32)
    sound = are_units(rows)
    with np.errstate(all="ignore"):
        return normalise(rows) if dtype == HALF else rows, sound
