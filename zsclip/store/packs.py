"""Packs: what is known of a folder's files side by side, in one row of the database instead of one a file.

A pack says again what `items` and `vectors` say, as arrays. Triggers (`zsclip.store.schema`) drop it when they say otherwise,
so it may be taken as it is; what is not in one is looked up row by row.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zsclip.images.item import Stamp
from zsclip.images.siblings import SiblingStamps
from zsclip.store.records import FULL, HALF, Found, decode, decode_rows, split_name
from zsclip.store.schema import transaction
from zsclip.unit_vectors import Floats, Quality

_MOST = 1024  # files a pack: a megabyte of 512 numbers in half precision
_FEWEST = 32  # fewer are not worth it
_SHARE = 8  # a folder is packed (again) when so large a part of it is in no pack, and a pack read when so large a part is asked for


@dataclass(frozen=True, slots=True)
class _Pack:
    """`names` are joined by NUL; numbers int64 (n, 4) as in `SiblingStamps`; `sound` (n,) is false for damaged vectors."""

    names: bytes
    numbers: NDArray[np.int64]
    qualities: NDArray[np.uint8]
    vectors: Floats
    sound: NDArray[np.bool_]

    @classmethod
    def read(cls, connection: sqlite3.Connection, number: int, dimension: int) -> _Pack | None:
        """The pack with that number; None if it cannot be right, or another process has just dropped it."""
        row = connection.execute(
            "SELECT names, stamps, qualities, vectors FROM packs WHERE id = ?", (number,)
        ).fetchone()
        if row is None:
            return None
        names, stamps, qualities, vectors = row
        count = names.count(b"\0") + 1
        dtype = {2 * dimension * count: HALF, 4 * dimension * count: FULL}.get(len(vectors))
        if dtype is None or len(stamps) != 32 * count or len(qualities) != count:
            return None
        numbers = np.frombuffer(stamps, "<i8").reshape(-1, 4)
        return cls(names, numbers, np.frombuffer(qualities, np.uint8), *decode_rows(vectors, dtype, dimension))

    def find(self, stamps: SiblingStamps, least: Quality) -> Found:
        """Which of the files are in it, as they are now, with a vector of that quality at least."""
        if self.names == b"\0".join(stamps.names):
            places = rows = np.arange(len(stamps.names))
            kept, now = self.numbers, stamps.numbers
        else:
            place_of = {name: place for place, name in enumerate(stamps.names)}
            pairs = [(place_of[name], row) for row, name in enumerate(self.names.split(b"\0")) if name in place_of]
            places, rows = np.array(pairs, np.intp).reshape(-1, 2).T
            kept, now = self.numbers[rows], stamps.numbers[places]
        same = kept == now
        # zsclip 0.1 kept neither change time nor inode: what it knew is trusted as it was.
        same[:, 2:] |= ~kept[:, 2:].any(axis=1, keepdims=True)
        taken = same.all(axis=1) & (self.qualities[rows] >= least) & self.sound[rows]
        if taken.all() and len(rows) == len(self.vectors):
            return Found(places, self.vectors, self.qualities)
        return Found(places[taken], self.vectors[rows[taken]], self.qualities[rows[taken]])


class Packs:
    """The packs of a store. Knows how many files it has met, by model and folder, that are in no pack."""

    def __init__(self) -> None:
        self._unpacked: Counter[tuple[str, bytes]] = Counter()
        self._latest: tuple[int, _Pack | None] = (0, None)  # a folder may be asked about in parts that are no packs

    def find(
        self, connection: sqlite3.Connection, identity: str, stamps: SiblingStamps, dimension: int, least: Quality
    ) -> tuple[list[Found], bool]:
        """What packs know of the files, and whether none was left alone because too little of it was asked for."""
        rows = connection.execute(
            "SELECT id, count FROM packs WHERE model = (SELECT id FROM models WHERE identity = ?) "
            "AND folder = (SELECT id FROM folders WHERE path = ?) AND first <= ? AND last >= ? ORDER BY first",
            (identity, stamps.folder, max(stamps.names), min(stamps.names)),
        ).fetchall()
        found, read_all = [], True
        for number, count in rows:
            if count > _SHARE * len(stamps.names) and number != self._latest[0]:
                read_all = False
                continue
            if number != self._latest[0]:
                self._latest = number, _Pack.read(connection, number, dimension)
            if pack := self._latest[1]:
                found.append(pack.find(stamps, least))
        return found, read_all

    def note(self, identity: str, folder: bytes, count: int) -> None:
        """So many files of that folder are in no pack."""
        if count:
            self._unpacked[identity, folder] += count

    def note_new(self, identity: str, stamps: list[Stamp]) -> None:
        """These files are in no pack. What has no inode is not a local file, and nobody asks for it by the folder."""
        self._unpacked.update((identity, split_name(stamp.name)[0]) for stamp in stamps if stamp.inode)

    def write(self, connection: sqlite3.Connection, dimension: int) -> None:
        """Pack the folders of which much is in no pack."""
        while self._unpacked:
            (identity, path), count = self._unpacked.popitem()
            if count < _FEWEST:
                continue
            for model, folder, packed in connection.execute(
                "SELECT models.id, folders.id, (SELECT total(count) FROM packs WHERE model = models.id "
                "AND folder = folders.id) FROM models, folders WHERE identity = ? AND path = ?",
                (identity, path),
            ).fetchall():
                if _SHARE * count >= packed:
                    _pack(connection, model, folder, dimension)


def _pack(connection: sqlite3.Connection, model: int, folder: int, dimension: int) -> None:
    """Pack a folder, in the order of names. Each pack is a transaction of its own, for others may be waiting to write."""
    last: bytes | None = b""
    while last is not None:
        with transaction(connection):
            last = _pack_following(connection, model, folder, dimension, last)


def _pack_following(
    connection: sqlite3.Connection, model: int, folder: int, dimension: int, after: bytes
) -> bytes | None:
    """Pack the files after that name, as many as are in a pack; the last of them, None at the end of the folder."""
    # CROSS JOIN keeps SQLite from starting with all vectors of the model.
    rows = connection.execute(
        "SELECT name, size, mtime_ns, ctime_ns, inode, quality, items.content, vector FROM items "
        "CROSS JOIN vectors ON vectors.content = items.content WHERE model = ? AND folder = ? AND name > ? "
        "AND version = '' ORDER BY name LIMIT ?",
        (model, folder, after, _MOST),
    ).fetchall()
    last = rows[-1][0] if len(rows) == _MOST else None
    outdated = "DELETE FROM packs WHERE model = ? AND folder = ? AND first > ?"
    if last is None:
        connection.execute(outdated, (model, folder, after))
    else:
        connection.execute(f"{outdated} AND first <= ?", (model, folder, after, last))
    vectors = decode([row[7] for row in rows], dimension)
    sound = [
        (row, vector) for row, vector in zip(rows, vectors, strict=True) if vector is not None and b"\0" not in row[0]
    ]
    if sound:
        contents = [row[6] for row, _ in sound]
        # In half precision as they are kept, unless some are exact: then as they come out.
        is_half = all(len(row[7]) == 2 * dimension for row, _ in sound)
        data = b"".join(row[7] if is_half else vector.astype(FULL).tobytes() for row, vector in sound)
        connection.execute(
            "INSERT INTO packs (model, folder, first, last, count, first_content, last_content, names, stamps, qualities, "
            "vectors) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(model, folder, sound[0][0][0], sound[-1][0][0], len(sound), min(contents), max(contents)),
                b"\0".join(row[0] for row, _ in sound),
                np.array([row[1:5] for row, _ in sound], "<i8").tobytes(),
                bytes(row[5] for row, _ in sound),
                data,
            ),
        )
    return last
