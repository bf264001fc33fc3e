"""Lists of the members of archives, tables and videos, so that one that is as it was need not be opened again.

A list is begun under a number of its own and becomes the container's once it is complete: until then nobody finds it, and
what an interrupted run leaves of it goes with `prune`.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from zsclip.images.item import Stamp
from zsclip.store.database import Store
from zsclip.store.records import Kind, decode
from zsclip.unit_vectors import Embedding, Quality

_AT_ONCE = 1000
_WITH_VECTORS = """FROM members
LEFT JOIN vectors ON vectors.content = members.content AND quality >= ? AND model = (SELECT id FROM models WHERE identity = ?)
WHERE container = ?"""


@dataclass(frozen=True, slots=True)
class KeptMember:
    """A member of a list that is complete; without an embedding, it is to be read."""

    position: int
    inner: str
    embedding: Embedding | None


class MemberList:
    """The list of a container's members while it is being made."""

    def __init__(self, store: Store, stamp: Stamp, reading: str) -> None:
        self._store = store
        self._reading = reading
        self._stamp = stamp
        self._number = secrets.randbits(62)
        self._kept = 0
        self._length: int | None = None
        self._discarded = False

    def discard(self) -> None:
        """The container was not read to its end: keep nothing of the list, now and of what is still to come."""
        self._discarded = True
        with self._store.writing() as connection:
            if connection:
                connection.execute("DELETE FROM members WHERE container = ?", (self._number,))

    def keep(self, members: Sequence[tuple[int, str, bytes | None]]) -> None:
        """Take members, by position, name and the digest of what they hold; without one they are read again each time."""
        if self._discarded:
            return
        with self._store.writing() as connection:
            if connection:
                connection.executemany(
                    "INSERT OR REPLACE INTO members (container, position, name, content) "
                    "VALUES (?, ?, ?, (SELECT id FROM contents WHERE kind = ? AND digest = ?))",
                    [
                        (self._number, position, os.fsencode(inner), Kind.IMAGE, digest)
                        for position, inner, digest in members
                    ],
                )
        self._kept += len(members)
        self._complete()

    def end(self, length: int) -> None:
        """The container was read to its end, and has that many members."""
        self._length = length
        self._complete()

    def _complete(self) -> None:
        if self._length != self._kept:
            return
        with self._store.writing() as connection:
            if connection is None:
                return
            # Another process may have pruned what belongs to no container yet.
            count = connection.execute("SELECT count(*) FROM members WHERE container = ?", (self._number,)).fetchone()[
                0
            ]
            if count != self._length:
                return
            key = (self._stamp.name, self._reading)
            connection.execute(
                "DELETE FROM members WHERE container IN (SELECT id FROM containers WHERE name = ? AND reading = ?)", key
            )
            connection.execute(
                "INSERT OR REPLACE INTO containers (id, name, reading, size, mtime_ns, ctime_ns, inode, version) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (self._number, *key, *self._stamp[1:]),
            )


def find_list(store: Store, stamp: Stamp, reading: str) -> int | None:
    """The number of the list of the container with that stamp, read that way, if there is one."""
    with store.guard() as connection:
        row = (
            connection
            and connection.execute(
                "SELECT id FROM containers WHERE name = ? AND reading = ? AND size = ? AND mtime_ns = ? AND ctime_ns = ? "
                "AND inode = ? AND version = ?",
                (stamp.name, reading, *stamp[1:]),
            ).fetchone()
        )
        return int(row[0]) if row else None
    return None


def list_length(store: Store, number: int) -> int:
    """How many members a list has."""
    with store.guard() as connection:
        if connection:
            return int(connection.execute("SELECT count(*) FROM members WHERE container = ?", (number,)).fetchone()[0])
    return 0


def missing_positions(store: Store, number: int, identity: str, *, least: Quality) -> set[int]:
    """The positions in a list that have no vector of at least that quality."""
    with store.guard() as connection:
        if connection:
            rows = connection.execute(f"SELECT position {_WITH_VECTORS} AND vector IS NULL", (least, identity, number))
            return {position for (position,) in rows}
    return set()


def read_list(
    store: Store, number: int, identity: str, dimension: int, *, least: Quality
) -> Iterator[list[KeptMember]]:
    """The members of a list in order, a thousand at a time, with the vectors that are of at least that quality.

    Where the store fails meanwhile, it ends early (`list_length`).
    """
    last = -1
    while True:
        rows = []
        with store.guard() as connection:
            if connection:
                rows = connection.execute(
                    f"SELECT position, name, quality, vector {_WITH_VECTORS} AND position > ? ORDER BY position LIMIT ?",
                    (least, identity, number, last, _AT_ONCE),
                ).fetchall()
        if not rows:
            return
        known = iter(decode([vector for *_, vector in rows if vector is not None], dimension))
        part = []
        for position, name, quality, vector in rows:
            found = None if vector is None else next(known)
            part.append(
                KeptMember(position, os.fsdecode(name), None if found is None else Embedding(found, Quality(quality)))
            )
        yield part
        last = rows[-1][0]
