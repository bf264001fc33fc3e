"""The store: unit vectors kept in one SQLite database, so that nothing is computed twice.

Many processes may share it. It is a cache: whatever goes wrong with it is a warning, and the work goes on without.
`zsclip.store.schema` has its tables.
"""

from __future__ import annotations

import itertools
import json
import logging
import sqlite3
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias, TypeVar

import numpy as np
from filelock import FileLock, Timeout

from zsclip.closing import Closing
from zsclip.images.item import Stamp
from zsclip.images.siblings import SiblingStamps
from zsclip.models.spec import ModelFacts
from zsclip.models.weights import Fingerprint
from zsclip.store.packs import Packs
from zsclip.store.records import Found, Kind, LastRead, chunks, decode, encode, marks, split_name, weights_digest
from zsclip.store.schema import BUSY_SECONDS, connect, is_damage, transaction
from zsclip.unit_vectors import Embedding, Quality

logger = logging.getLogger("zsclip")

T = TypeVar("T")
# What was asked for, the quality of its vector, what is cut off of its text, and the vector as it is kept.
_Found: TypeAlias = "tuple[T, int, str, bytes]"

FILENAME = "vectors.sqlite3"
_ITEM = "(folder, name, size, mtime_ns, ctime_ns, inode, version, content)"
_FOLDER_ID = "(SELECT id FROM folders WHERE path = ?)"
_QUALITIES = tuple(Quality)  # looked up ten times as fast as made from their numbers


class Store(Closing):
    """The store in `folder`; with None it keeps nothing. Threads may share it.

    No method raises for trouble with the database: it warns once and from then on behaves as if it were empty.
    """

    def __init__(self, folder: Path | None) -> None:
        self._connection: sqlite3.Connection | None = None
        self._lock = threading.RLock()
        self._packs = Packs()
        self._inode = 0
        self.path = folder / FILENAME if folder else None
        if folder is None or self.path is None:
            return
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                self._connection = connect(self.path)
            except sqlite3.DatabaseError as error:
                if not is_damage(error):
                    raise
                self._connection = self._replace_damaged()
            self._inode = self.path.stat().st_ino
        except (OSError, Timeout, sqlite3.Error) as error:
            logger.warning("The store %s cannot be used (%s); going on without it.", self.path, error)

    def close(self) -> None:
        """Close the database; what was put is kept."""
        with self._lock:  # not while a thread is asking: SQLite would crash the process
            if self._connection:
                connection, self._connection = self._connection, None
                connection.close()

    @property
    def usable(self) -> bool:
        """Whether anything can be read or kept."""
        return self._connection is not None

    def weights(self, stamp: Stamp) -> Fingerprint | None:
        """What the weights with that stamp are known by.

        zsclip 0.1 kept neither change time nor inode: what it kept counts once by size and time, and is completed.
        """
        with self.guard() as connection:
            row = (
                connection
                and connection.execute(
                    "SELECT ctime_ns, inode, header, digest FROM weights "
                    "WHERE path = ? AND size = ? AND mtime_ns = ? AND version = ? AND coalesce(header, digest) IS NOT NULL",
                    (stamp.name, stamp.size, stamp.mtime_ns, stamp.version),
                ).fetchone()
            )
            if row and row[:2] in ((stamp.ctime_ns, stamp.inode), (0, 0)):
                known = Fingerprint(*row[2:])
                if row[:2] != (stamp.ctime_ns, stamp.inode):
                    self.put_weights(stamp, known)
                return known
        return None

    def put_weights(self, stamp: Stamp, known: Fingerprint) -> None:
        """Keep what the weights with that stamp are known by."""
        with self.writing() as connection:
            if connection:
                connection.execute(
                    "INSERT OR REPLACE INTO weights (path, size, mtime_ns, ctime_ns, inode, version, header, digest) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (*stamp, known.sample, known.whole),
                )

    def adopt(self, identity: str, former: str) -> bool:
        """Give what is kept of the model `former` to `identity`, unless that has something already; whether there was any."""
        asked = "SELECT count(*) FROM models WHERE identity = ?"
        with self.guard() as connection:
            if connection and connection.execute(asked, (former,)).fetchone()[0]:
                with transaction(connection):
                    return bool(
                        connection.execute(
                            "UPDATE OR IGNORE models SET identity = ?, weights = ? WHERE identity = ?",
                            (identity, weights_digest(identity), former),
                        ).rowcount
                    )
        return False

    def facts(self, identity: str) -> ModelFacts | None:
        """What is known of a model."""
        with self.guard() as connection:
            row = (
                connection and connection.execute("SELECT facts FROM models WHERE identity = ?", (identity,)).fetchone()
            )
            if row and row[0]:
                try:
                    return ModelFacts(**json.loads(row[0]))
                except (ValueError, TypeError):
                    logger.warning("What the store %s says of a model cannot be read; it is made again.", self.path)
        return None

    def put_facts(self, identity: str, facts: ModelFacts) -> None:
        """Keep what is known of a model."""
        with self.writing() as connection:
            if connection:
                model = _put_model(connection, identity)
                connection.execute("UPDATE models SET facts = ? WHERE id = ?", (json.dumps(vars(facts)), model))

    def get(
        self, identity: str, digests: Sequence[bytes], dimension: int, *, least: Quality, kind: Kind = Kind.IMAGE
    ) -> dict[bytes, Embedding]:
        """The vectors of that dimension, and of at least that quality, of images or texts with these digests."""
        with self.guard() as connection:
            if connection:
                return _embeddings(_find_contents(connection, identity, digests, least, kind), dimension)
        return {}

    def get_files(
        self, identity: str, stamps: Sequence[Stamp], dimension: int, *, least: Quality
    ) -> dict[Stamp, Embedding]:
        """The vectors of that dimension, and of at least that quality, of files that are as they were when last read."""
        with self.guard() as connection:
            if connection:
                return _embeddings(_find_items(connection, identity, stamps, least), dimension)
        return {}

    def last_read(self, identity: str, name: bytes, dimension: int, *, least: Quality) -> LastRead | None:
        """What was last read under a name, if its vector is there and of at least that quality."""
        folder, inner = split_name(name)
        with self.guard() as connection:
            row = (
                connection
                and connection.execute(
                    "SELECT size, mtime_ns, ctime_ns, inode, version, digest, quality, cut, vector FROM items "
                    "CROSS JOIN vectors ON vectors.content = items.content CROSS JOIN contents ON contents.id = items.content "
                    "WHERE model = (SELECT id FROM models WHERE identity = ?) AND quality >= ? "
                    f"AND folder = {_FOLDER_ID} AND name = ?",
                    (identity, least, folder, inner),
                ).fetchone()
            )
            if row:
                for embedding in _embeddings([(name, *row[6:])], dimension).values():
                    return LastRead(Stamp(name, *row[:5]), row[5], embedding)
        return None

    def get_siblings(self, identity: str, stamps: SiblingStamps, dimension: int, *, least: Quality) -> Found:
        """As `get_files`, of files of one folder: from packs, and one by one what is in none."""
        with self.guard() as connection:
            if connection:
                found, read_all = self._packs.find(connection, identity, stamps, dimension, least)
                missing = stamps.numbers[:, 0] >= 0
                for part in found:
                    missing[part.places] = False
                asked = {stamp: place for place in np.flatnonzero(missing).tolist() if (stamp := stamps.stamp(place))}
                known = _embeddings(_find_items(connection, identity, list(asked), least), dimension)
                if read_all:
                    self._packs.note(identity, stamps.folder, len(known))
                found.append(Found.of([(asked[stamp], one) for stamp, one in known.items()], dimension))
                return Found.joined(found, dimension)
        return Found.of((), dimension)

    def pack(self, dimension: int) -> None:
        """Put what was met of folders, and is not side by side yet, side by side, so that it is found sooner next time."""
        with self.guard() as connection:
            if connection:
                self._packs.write(connection, dimension)

    def put(
        self,
        identity: str,
        embeddings: Mapping[bytes, Embedding],
        files: Sequence[tuple[Stamp, bytes]] = (),
        *,
        kind: Kind = Kind.IMAGE,
    ) -> None:
        """Keep vectors of images or texts by digest, and which files hold which image, in one transaction.

        A vector never replaces one of higher quality.
        """
        with self.writing() as connection:
            if connection:
                _put_vectors(connection, _put_model(connection, identity), embeddings, kind)
                _put_items(connection, files)
                self._packs.note_new(identity, [stamp for stamp, _ in files])

    def restamp(self, changes: Sequence[tuple[Stamp, Stamp]]) -> None:
        """Know under its new stamp what is known under an old one, such as a file's that was linked or moved."""
        with self.writing() as connection:
            if connection:
                folders = {(split_name(new.name)[0],) for _, new in changes}
                connection.executemany("INSERT OR IGNORE INTO folders (path) VALUES (?)", folders)
                connection.executemany(
                    f"INSERT OR REPLACE INTO items {_ITEM} SELECT {_FOLDER_ID}, ?, ?, ?, ?, ?, ?, content FROM items "
                    f"WHERE folder = {_FOLDER_ID} AND name = ? AND size = ? AND mtime_ns = ? "
                    "AND (ctime_ns = ? AND inode = ? OR ctime_ns = 0 AND inode = 0) AND version = ?",
                    ((*split_name(new.name), *new[1:], *split_name(old.name), *old[1:]) for old, new in changes),
                )

    def size(self) -> int:
        """Bytes that the database takes on the disk."""
        parts = [Path(f"{self.path}{suffix}") for suffix in ("", "-wal")] if self.path else []
        return sum(part.stat().st_size for part in parts if part.exists())

    @contextmanager
    def guard(self) -> Iterator[sqlite3.Connection | None]:
        """The connection, or None; trouble with it is reported once, and it is given up."""
        with self._lock:
            try:
                yield self._connection
            except sqlite3.Error as error:
                self.close()
                logger.warning("The store %s failed (%s); going on without it.", self.path, error)
                if is_damage(error):
                    self._put_aside_as_opened(error)

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection | None]:
        """The connection in a transaction, or None."""
        with self.guard() as connection:
            if connection is None:
                yield None
                return
            with transaction(connection):
                yield connection

    def _replace_damaged(self) -> sqlite3.Connection:
        """A fresh database in the place of one that is none, unless another process was faster."""
        assert self.path is not None
        with FileLock(f"{self.path}.lock", timeout=BUSY_SECONDS):
            try:
                return connect(self.path)
            except sqlite3.DatabaseError as error:
                if not is_damage(error):
                    raise
                self._put_aside(error)
            return connect(self.path)

    def _put_aside_as_opened(self, error: Exception) -> None:
        """Put the database aside, unless another process did, so that the one that lies there is another."""
        assert self.path is not None
        try:
            with FileLock(f"{self.path}.lock", timeout=BUSY_SECONDS):
                if self.path.stat().st_ino == self._inode:
                    self._put_aside(error)
        except (OSError, Timeout) as trouble:
            logger.warning("The damaged store %s could not be put aside (%s).", self.path, trouble)

    def _put_aside(self, error: Exception) -> None:
        assert self.path is not None
        stem = f"{FILENAME}.damaged-{time.strftime('%Y%m%d-%H%M%S')}"
        names = (self.path.with_name(f"{stem}-{number}") for number in itertools.count(1))
        aside = next(name for name in names if not name.exists())
        logger.warning("The store %s is damaged (%s); it is put aside as %s.", self.path, error, aside.name)
        for suffix in ("", "-wal", "-shm", "-journal"):
            part = Path(f"{self.path}{suffix}")
            if part.exists():
                part.rename(f"{aside}{suffix}")


def _find_contents(
    connection: sqlite3.Connection, identity: str, digests: Sequence[bytes], least: Quality, kind: Kind
) -> Iterator[_Found[bytes]]:
    for chunk in chunks(digests):
        # CROSS JOIN keeps SQLite from starting with all vectors of the model.
        yield from connection.execute(
            "SELECT digest, quality, cut, vector FROM contents CROSS JOIN vectors ON content = contents.id "
            "WHERE model = (SELECT id FROM models WHERE identity = ?) AND quality >= ? AND kind = ? "
            f"AND digest IN ({marks(chunk)})",
            (identity, least, kind, *chunk),
        ).fetchall()


def _find_items(
    connection: sqlite3.Connection, identity: str, stamps: Sequence[Stamp], least: Quality
) -> Iterator[_Found[Stamp]]:
    folders: defaultdict[bytes, dict[bytes, Stamp]] = defaultdict(dict)
    for stamp in stamps:
        folder, name = split_name(stamp.name)
        folders[folder][name] = stamp
    for folder, asked in folders.items():
        for chunk in chunks(list(asked)):
            rows = connection.execute(
                "SELECT name, size, mtime_ns, ctime_ns, inode, version, quality, vector FROM items "
                "CROSS JOIN vectors ON vectors.content = items.content "
                "WHERE model = (SELECT id FROM models WHERE identity = ?) AND quality >= ? "
                f"AND folder = (SELECT id FROM folders WHERE path = ?) AND name IN ({marks(chunk)})",
                (identity, least, folder, *chunk),
            ).fetchall()
            for name, size, mtime_ns, ctime_ns, inode, version, quality, vector in rows:
                stamp = asked[name]
                if (
                    mtime_ns == stamp.mtime_ns
                    and size == stamp.size
                    # zsclip 0.1 kept neither of the two: what it knew is trusted as it was.
                    and ((ctime_ns == stamp.ctime_ns and inode == stamp.inode) or ctime_ns == inode == 0)
                    and version == stamp.version
                ):
                    yield stamp, quality, "", vector


def _embeddings(found: Iterable[_Found[T]], dimension: int) -> dict[T, Embedding]:
    rows = list(found)
    vectors = decode([row[3] for row in rows], dimension)
    return {
        key: Embedding(vector, _QUALITIES[quality], cut)
        for (key, quality, cut, _), vector in zip(rows, vectors, strict=True)
        if vector is not None
    }


def _put_model(connection: sqlite3.Connection, identity: str) -> int:
    connection.execute(
        "INSERT OR IGNORE INTO models (identity, weights) VALUES (?, ?)", (identity, weights_digest(identity))
    )
    return int(connection.execute("SELECT id FROM models WHERE identity = ?", (identity,)).fetchone()[0])


def _put_contents(connection: sqlite3.Connection, digests: Iterable[bytes], kind: Kind) -> None:
    connection.executemany(
        "INSERT OR IGNORE INTO contents (kind, digest) VALUES (?, ?)", ((kind, digest) for digest in digests)
    )


def _put_vectors(connection: sqlite3.Connection, model: int, embeddings: Mapping[bytes, Embedding], kind: Kind) -> None:
    _put_contents(connection, embeddings, kind)
    connection.executemany(
        "INSERT INTO vectors (model, content, quality, cut, vector) "
        "SELECT ?, id, ?, ?, ? FROM contents WHERE kind = ? AND digest = ? "
        "ON CONFLICT (model, content) DO UPDATE SET quality = excluded.quality, cut = excluded.cut, "
        "vector = excluded.vector WHERE excluded.quality >= vectors.quality",
        ((model, one.quality, one.cut, encode(one), kind, digest) for digest, one in embeddings.items()),
    )


def _put_items(connection: sqlite3.Connection, files: Sequence[tuple[Stamp, bytes]]) -> None:
    _put_contents(connection, (digest for _, digest in files), Kind.IMAGE)
    named = [(*split_name(stamp.name), *stamp[1:], Kind.IMAGE, digest) for stamp, digest in files]
    connection.executemany("INSERT OR IGNORE INTO folders (path) VALUES (?)", {row[:1] for row in named})
    connection.executemany(
        f"INSERT OR REPLACE INTO items {_ITEM} "
        f"SELECT {_FOLDER_ID}, ?, ?, ?, ?, ?, ?, id FROM contents WHERE kind = ? AND digest = ?",
        named,
    )
