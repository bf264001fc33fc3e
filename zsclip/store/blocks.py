"""Unit vectors as SQLite keeps them: up to 256 of one size in a block, each known by its block and its position there.

Reading a block costs little more than reading one vector, and a large collection is read mostly as whole blocks.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from zsclip.store.records import chunks, marks
from zsclip.unit_vectors import Embedding, Floats, normalise

_BLOCK = 256
# What a number of a vector may be, by its size in bytes: half precision, which is normalised again when read, or full.
_DTYPES = {2: "<f2", 4: "<f4"}


def encode(embedding: Embedding) -> bytes:
    """float32 where exact, else float16."""
    return embedding.vector.astype("<f4" if embedding.exact else "<f2").tobytes()


def write(connection: sqlite3.Connection, vectors: Sequence[bytes]) -> list[tuple[int, int]]:
    """Keep encoded vectors in new blocks: the block and position of each."""
    places = [(0, 0)] * len(vectors)
    by_size = sorted(range(len(vectors)), key=lambda number: len(vectors[number]))
    for _, numbers in groupby(by_size, key=lambda number: len(vectors[number])):
        alike = list(numbers)
        for start in range(0, len(alike), _BLOCK):
            part = alike[start : start + _BLOCK]
            data = b"".join([vectors[number] for number in part])
            block = connection.execute("INSERT INTO blocks (count, data) VALUES (?, ?)", (len(part), data)).lastrowid
            assert block is not None
            for position, number in enumerate(part):
                places[number] = block, position
    return places


def read(
    connection: sqlite3.Connection, places: Sequence[tuple[int, int]], dimension: int
) -> tuple[Floats, NDArray[np.bool_]]:
    """The vectors at these blocks and positions, float32 (n, d), and which of them are sound, bool (n,).

    Damage that SQLite does not see, and vectors of another dimension, are not sound.
    """
    vectors = np.zeros((len(places), dimension), np.float32)
    sound = np.zeros(len(places), np.bool_)
    held: dict[int, list[bytes]] = {size: [] for size in _DTYPES}
    rows = dict.fromkeys(_DTYPES, 0)
    found: dict[int, tuple[int, int, int]] = {}  # of a block: size of its numbers, its first row among those, its count
    for chunk in chunks(sorted({block for block, _ in places})):
        query = f"SELECT id, count, data FROM blocks WHERE id IN ({marks(chunk)})"
        for block, count, data in connection.execute(query, chunk):
            size, rest = divmod(len(data), count * dimension)
            if size in _DTYPES and not rest:
                found[block] = size, rows[size], count
                held[size].append(data)
                rows[size] += count
    for size, dtype in _DTYPES.items():
        wanted = [
            (number, first + position)
            for number, (block, position) in enumerate(places)
            for kind, first, count in (found.get(block, (0, 0, 0)),)
            if kind == size and 0 <= position < count
        ]
        if wanted:
            numbers, at = map(list, zip(*wanted, strict=True))
            taken = np.frombuffer(b"".join(held[size]), dtype).reshape(-1, dimension)[at].astype(np.float32)
            with np.errstate(all="ignore"):
                sound[numbers] = np.abs(np.einsum("nd,nd->n", taken, taken) - 1) < 1e-2
                vectors[numbers] = normalise(taken) if dtype == "<f2" else taken
    return vectors, sound


def release(connection: sqlite3.Connection, blocks: Iterable[int]) -> None:
    """Drop those of the blocks that no vector refers to any more."""
    connection.executemany(
        "DELETE FROM blocks WHERE id = ? AND NOT EXISTS (SELECT 1 FROM vectors WHERE block = blocks.id)",
        ((block,) for block in blocks),
    )


def pack(connection: sqlite3.Connection) -> None:
    """Take out of all blocks what no vector refers to any more."""
    connection.execute("DELETE FROM blocks WHERE id NOT IN (SELECT block FROM vectors)")
    with_gaps = connection.execute(
        "SELECT id FROM blocks WHERE count > (SELECT count(*) FROM vectors WHERE block = blocks.id)"
    ).fetchall()
    for (block,) in with_gaps:
        count, data = connection.execute("SELECT count, data FROM blocks WHERE id = ?", (block,)).fetchone()
        kept = connection.execute("SELECT position FROM vectors WHERE block = ? ORDER BY position", (block,)).fetchall()
        size = len(data) // count
        data = b"".join([data[position * size : (position + 1) * size] for (position,) in kept])
        connection.execute("UPDATE blocks SET count = ?, data = ? WHERE id = ?", (len(kept), data, block))
        connection.executemany(
            "UPDATE vectors SET position = ? WHERE block = ? AND position = ?",
            ((new, block, old) for new, (old,) in enumerate(kept)),
        )
