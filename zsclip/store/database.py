"""The store: unit vectors kept in one SQLite database, so that nothing is computed twice.

    files(path, size, mtime_ns -> content)     what a path held when it was last read
    contents(id, digest)                       bytes of a file or of a text, by SHA-256
    models(id, identity, facts)                what a model is, and its scale, bias and dimension
    vectors(model, content -> vector, how)     float32 where exact, float16 where fast

Many processes may share it (WAL). It is a cache: whatever goes wrong with it is a warning, and the work goes on without.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from filelock import FileLock, Timeout

from zsclip.images.item import Stamp
from zsclip.models.spec import ModelFacts
from zsclip.store.records import EXACT, FAST, decode, encode, file_digest
from zsclip.unit_vectors import Embedding

logger = logging.getLogger("zsclip")

T = TypeVar("T")

FILENAME = "vectors.sqlite3"
EXPORTS = "exports"  # a folder beside the database, for what engines make of a model once
SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE files (path BLOB PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, content INTEGER NOT NULL);
CREATE TABLE contents (id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE);
CREATE TABLE models (id INTEGER PRIMARY KEY, identity TEXT NOT NULL UNIQUE, facts TEXT);
CREATE TABLE vectors (
    model INTEGER NOT NULL, content INTEGER NOT NULL, how INTEGER NOT NULL, vector BLOB NOT NULL, cut TEXT,
    PRIMARY KEY (model, content)
);
CREATE INDEX files_by_content ON files (content);
"""
# Of a model, made as wanted, and as long as float32 or float16 numbers of its dimension.
_SOUND = "model = (SELECT id FROM models WHERE identity = ?) AND how >= ? AND length(vector) = ? * (2 + 2 * how)"
_BUSY_SECONDS = 60.0
_CHUNK = 1000  # well under SQLite's limit of variables in one statement


def default_folder() -> Path:
    """The store's folder where none is given: `ZSCLIP_CACHE_DIR`, else the user's cache folder of the platform."""
    import platformdirs

    if chosen := os.environ.get("ZSCLIP_CACHE_DIR"):
        return Path(chosen)
    return Path(platformdirs.user_cache_dir("zsclip", appauthor=False))


class Store:
    """The store in `folder`; with None it keeps nothing. Threads may share it.

    No method raises for trouble with the database: it warns once and from then on behaves as if it were empty.
    """

    def __init__(self, folder: Path | None) -> None:
        self._connection: sqlite3.Connection | None = None
        self._lock = threading.RLock()
        self._inode = 0
        self.path = folder / FILENAME if folder else None
        if folder is None or self.path is None:
            return
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                self._connection = _open(self.path)
            except sqlite3.DatabaseError as error:
                if not _damaged(error):
                    raise
                self._connection = self._replace_damaged()
            self._inode = self.path.stat().st_ino
        except (OSError, Timeout, sqlite3.Error) as error:
            logger.warning("The store %s cannot be used (%s); going on without it.", self.path, error)

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

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

    def digest(self, path: Path, *, rehash: bool = False) -> bytes:
        """The SHA-256 of a file, remembered by path, size and time of change unless `rehash`.

        Raises `OSError` if the file cannot be read.
        """
        stamp = Stamp.of_file(path, path.stat())
        if not rehash:
            with self.guard() as connection:
                if connection:
                    row = connection.execute(
                        "SELECT digest FROM files JOIN contents ON id = content WHERE path = ? AND size = ? AND mtime_ns = ?",
                        (stamp.name, stamp.size, stamp.mtime_ns),
                    ).fetchone()
                    if row:
                        return bytes(row[0])
        digest = file_digest(path)
        with self.guard() as connection:
            if connection:
                with transaction(connection):
                    _put_files(connection, [(stamp, digest)])
        return digest

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
        with self.guard() as connection:
            if connection:
                with transaction(connection):
                    connection.execute(
                        "INSERT INTO models (identity, facts) VALUES (?, ?) "
                        "ON CONFLICT (identity) DO UPDATE SET facts = excluded.facts",
                        (identity, json.dumps(vars(facts))),
                    )

    def get(self, identity: str, digests: Sequence[bytes], dimension: int, *, exact: bool) -> dict[bytes, Embedding]:
        """The vectors of that dimension that are known, by digest; with `exact` only exact ones."""
        found: dict[bytes, Embedding] = {}
        with self.guard() as connection:
            if connection is None:
                return found
            for chunk in _chunks(digests):
                rows = connection.execute(
                    "SELECT digest, how, vector, cut FROM contents CROSS JOIN vectors ON content = contents.id "
                    f"WHERE {_SOUND} AND digest IN ({','.join('?' * len(chunk))})",
                    (identity, EXACT if exact else FAST, dimension, *chunk),
                ).fetchall()
                vectors = decode([row[2] for row in rows], [row[1] for row in rows])
                for (digest, how, _, cut), vector in zip(rows, vectors, strict=True):
                    if vector is not None:
                        found[digest] = Embedding(vector, how == EXACT, cut)
        return found

    def get_files(
        self, identity: str, stamps: Sequence[Stamp], dimension: int, *, exact: bool
    ) -> dict[Stamp, Embedding]:
        """The vectors of that dimension of files that are as they were when last read; with `exact` only exact ones."""
        found: dict[Stamp, Embedding] = {}
        with self.guard() as connection:
            if connection is None:
                return found
            for chunk in _chunks(stamps):
                # CROSS JOIN keeps SQLite from starting with all vectors of the model.
                asked = {stamp.name: stamp for stamp in chunk}
                rows = connection.execute(
                    "SELECT path, size, mtime_ns, how, vector FROM files CROSS JOIN vectors ON vectors.content = files.content "
                    f"WHERE {_SOUND} AND path IN ({','.join('?' * len(chunk))})",
                    (identity, EXACT if exact else FAST, dimension, *(stamp.name for stamp in chunk)),
                ).fetchall()
                vectors = decode([row[4] for row in rows], [row[3] for row in rows])
                for (path, size, mtime_ns, how, _), vector in zip(rows, vectors, strict=True):
                    stamp = asked[path]
                    if vector is not None and (size, mtime_ns) == (stamp.size, stamp.mtime_ns):
                        found[stamp] = Embedding(vector, how == EXACT)
        return found

    def put(
        self, identity: str, embeddings: Mapping[bytes, Embedding], files: Sequence[tuple[Stamp, bytes]] = ()
    ) -> None:
        """Keep vectors by digest, and what files hold which content, in one transaction.

        A fast vector never takes the place of an exact one.
        """
        with self.guard() as connection:
            if connection is None:
                return
            with transaction(connection):
                connection.execute("INSERT OR IGNORE INTO models (identity) VALUES (?)", (identity,))
                connection.executemany(
                    "INSERT OR IGNORE INTO contents (digest) VALUES (?)", ((digest,) for digest in embeddings)
                )
                connection.executemany(
                    "INSERT INTO vectors (model, content, how, vector, cut) "
                    "SELECT models.id, contents.id, ?, ?, ? FROM models, contents WHERE identity = ? AND digest = ? "
                    "ON CONFLICT (model, content) DO UPDATE SET how = excluded.how, vector = excluded.vector, "
                    "cut = excluded.cut WHERE excluded.how >= vectors.how",
                    (
                        (EXACT if one.exact else FAST, encode(one), one.cut, identity, digest)
                        for digest, one in embeddings.items()
                    ),
                )
                _put_files(connection, files)

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
                if _damaged(error):
                    self._put_aside_as_opened(error)

    def _replace_damaged(self) -> sqlite3.Connection:
        """A fresh database in the place of one that is none, unless another process was faster."""
        assert self.path is not None
        with FileLock(f"{self.path}.lock", timeout=_BUSY_SECONDS):
            try:
                return _open(self.path)
            except sqlite3.DatabaseError as error:
                if not _damaged(error):
                    raise
                self._put_aside(error)
            return _open(self.path)

    def _put_aside_as_opened(self, error: Exception) -> None:
        """Put the database aside, unless another process did, so that the one that lies there is another."""
        assert self.path is not None
        try:
            with FileLock(f"{self.path}.lock", timeout=_BUSY_SECONDS):
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
        for suffix in ("", "-wal", "-shm"):
            part = Path(f"{self.path}{suffix}")
            if part.exists():
                part.rename(f"{aside}{suffix}")


def _put_files(connection: sqlite3.Connection, files: Sequence[tuple[Stamp, bytes]]) -> None:
    connection.executemany("INSERT OR IGNORE INTO contents (digest) VALUES (?)", ((digest,) for _, digest in files))
    connection.executemany(
        "INSERT OR REPLACE INTO files SELECT ?, ?, ?, id FROM contents WHERE digest = ?",
        ((stamp.name, stamp.size, stamp.mtime_ns, digest) for stamp, digest in files),
    )


def _chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    return (items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK))


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA page_size = 32768")
        _retry_while_locked(connection, "PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        with transaction(connection):
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                for statement in _SCHEMA.split(";"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            elif version != SCHEMA_VERSION:
                raise sqlite3.NotSupportedError(
                    f"it was made by another version of zsclip: format {version}, not {SCHEMA_VERSION}. Use another "
                    f"--cache-dir, or update zsclip"
                )
        return connection
    except BaseException:
        connection.close()
        raise


def _retry_while_locked(connection: sqlite3.Connection, statement: str) -> None:
    # Going over to WAL does not wait for the lock by itself.
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute(statement)
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing of what is written inside."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _damaged(error: Exception) -> bool:
    text = str(error)
    return "malformed" in text or "not a database" in text
