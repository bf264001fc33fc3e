"""The database of the store: its tables, and how it is opened, made and brought to this version.

    folders(id, path)                          what comes before the last separator of a name, with it
    items(folder, name, stamp -> content)      what a path, an address or a member of an archive held when last read
    containers(name, reading, stamp)           an archive, table or video that was read to its end, and how it was read
    members(container, position -> name, content)
    contents(id, kind, digest)                 bytes of a file, or a text, by SHA-256; `phash` looks alike where images do
    thumbnails(content -> size, jpeg)          small JPEG of an image; `size` is its longer side in pixels
    weights(path, stamp -> header, digest)     weights by path, and by address what was last there: `header` is the digest of a
                                               sample of the bytes, `digest` of all
    models(id, identity, facts)                what a model is, and its scale, bias and dimension
    vectors(id, model, content -> quality, cut, vector)
    packs(id, model, folder, first -> ...)     what `items` and `vectors` say of the files of a folder from name `first` to `last`,
                                               as arrays; repeated only, so that all may be dropped at any time (`zsclip.store.packs`)

The id of a vector or pack is never given to another (AUTOINCREMENT), so it may be noted elsewhere.

A stamp is `size`, `mtime_ns`, `ctime_ns`, `inode` and `version` (see `Stamp`; 0 and "" where not known). A table or column
more needs no new version as long as this one can leave it alone.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zsclip.store import migration
from zsclip.store.file_system import shared_file_system

logger = logging.getLogger("zsclip")

VERSION = 3
BUSY_SECONDS = 60.0
_STAMP = """size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL DEFAULT 0,
    inode INTEGER NOT NULL DEFAULT 0, version TEXT NOT NULL DEFAULT ''"""
_SCHEMA = f"""
CREATE TABLE folders (id INTEGER PRIMARY KEY, path BLOB NOT NULL UNIQUE);
CREATE TABLE items (
    folder INTEGER NOT NULL, name BLOB NOT NULL, {_STAMP}, content INTEGER NOT NULL, PRIMARY KEY (folder, name)
) WITHOUT ROWID;
CREATE TABLE containers (
    id INTEGER PRIMARY KEY, name BLOB NOT NULL, reading TEXT NOT NULL DEFAULT '', {_STAMP}, UNIQUE (name, reading)
);
CREATE TABLE members (
    container INTEGER NOT NULL, position INTEGER NOT NULL, name BLOB NOT NULL, content INTEGER,
    PRIMARY KEY (container, position)
) WITHOUT ROWID;
CREATE TABLE contents (
    id INTEGER PRIMARY KEY, kind INTEGER NOT NULL, digest BLOB NOT NULL, phash INTEGER, UNIQUE (kind, digest)
);
CREATE TABLE thumbnails (content INTEGER PRIMARY KEY, size INTEGER NOT NULL, jpeg BLOB NOT NULL);
CREATE TABLE weights (path BLOB PRIMARY KEY, {_STAMP}, header BLOB, digest BLOB) WITHOUT ROWID;
CREATE TABLE models (
    id INTEGER PRIMARY KEY, identity TEXT NOT NULL UNIQUE, facts TEXT, weights BLOB, revision TEXT
);
CREATE TABLE vectors (
    id INTEGER PRIMARY KEY AUTOINCREMENT, model INTEGER NOT NULL, content INTEGER NOT NULL, quality INTEGER NOT NULL,
    cut TEXT NOT NULL DEFAULT '', vector BLOB NOT NULL, UNIQUE (model, content)
)
"""
# New in version 3. The triggers drop a pack when a file that it knows is known otherwise, and when a vector in it may be
# another. A file that is new is no reason: what a pack does not know is asked elsewhere.
_PACKS = (
    """CREATE TABLE packs (
    id INTEGER PRIMARY KEY AUTOINCREMENT, model INTEGER NOT NULL, folder INTEGER NOT NULL, first BLOB NOT NULL,
    last BLOB NOT NULL, count INTEGER NOT NULL, first_content INTEGER NOT NULL, last_content INTEGER NOT NULL,
    names BLOB NOT NULL, stamps BLOB NOT NULL, qualities BLOB NOT NULL, vectors BLOB NOT NULL
)""",
    "CREATE INDEX packs_by_name ON packs (folder, model, first, last, count)",
    "CREATE INDEX packs_by_content ON packs (model, first_content, last_content)",
    """CREATE TRIGGER items_replaced BEFORE INSERT ON items
WHEN EXISTS (SELECT 1 FROM items WHERE folder = NEW.folder AND name = NEW.name) BEGIN
    DELETE FROM packs WHERE folder = NEW.folder AND first <= NEW.name AND last >= NEW.name;
END""",
    *(
        f"""CREATE TRIGGER {table}_{event}d AFTER {event} ON {table} BEGIN
    DELETE FROM packs WHERE {dropped};
END"""
        for table, dropped in (
            ("items", "folder = OLD.folder AND first <= OLD.name AND last >= OLD.name"),
            ("vectors", "model = OLD.model AND first_content <= OLD.content AND last_content >= OLD.content"),
        )
        for event in ("update", "delete")
    ),
)


def journal_mode(folder: Path) -> str:
    """How SQLite may keep its journal in that folder."""
    return "TRUNCATE" if shared_file_system(folder) else "WAL"


def connect(path: Path, journal: str | None = None) -> sqlite3.Connection:
    """The database at `path`, made if there is none, and brought to this version; raises `sqlite3.Error`.

    `journal` is the mode that suits its folder; a database in the other mode is brought to it, once nobody else uses it.
    """
    journal = journal or journal_mode(path.parent)
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA page_size = 32768")
        _retry_while_locked(connection, f"PRAGMA journal_mode = {journal}")
        connection.execute(f"PRAGMA synchronous = {'NORMAL' if journal == 'WAL' else 'FULL'}")
        with transaction(connection):  # another process that comes at the same time waits here
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version not in range(VERSION + 1):
                raise sqlite3.NotSupportedError(
                    f"it was made by another version of zsclip: format {version}, not {VERSION}. Use another "
                    f"`cache_dir`, or update zsclip"
                )
            if version == 1:
                logger.info("Bringing the store %s to the format of this version.", path)
                migration.put_version_1_aside(connection)
            if version < 2:
                for statement in _SCHEMA.split(";"):
                    connection.execute(statement)
            if version == 1:
                migration.take_over_version_1(connection)
            if version < VERSION:
                for statement in _PACKS:
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {VERSION}")
        return connection
    except BaseException:
        connection.close()
        raise


def _retry_while_locked(connection: sqlite3.Connection, statement: str) -> None:
    # Going over to another mode does not wait for the lock by itself.
    deadline = time.monotonic() + BUSY_SECONDS
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
        if connection.in_transaction:  # a full disk has ended it already
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def is_damage(error: Exception) -> bool:
    """Whether the error says that the file is no sound database."""
    text = str(error)
    return "malformed" in text or "not a database" in text
