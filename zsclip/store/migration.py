"""The store of zsclip 0.1 (version 1) brought to version 2, in the transaction of the caller.

Version 1 kept one vector a row, told texts from images by `cut` alone (NULL for an image), and kept digests of weights
among those of images.
"""

from __future__ import annotations

import sqlite3
from itertools import groupby

from zsclip.store import blocks
from zsclip.store.records import Kind, split_name, weights_digest
from zsclip.unit_vectors import Quality

_TABLES = ("files", "contents", "models", "vectors")
_ROWS = 4096  # of vectors, in memory at a time


def put_version_1_aside(connection: sqlite3.Connection) -> None:
    """Give the tables of version 1 other names."""
    for table in _TABLES:
        connection.execute(f"ALTER TABLE {table} RENAME TO {table}_1")


def take_over_version_1(connection: sqlite3.Connection) -> None:
    """Bring all that was put aside into the tables of version 2."""
    connection.create_function("folder_of", 1, lambda name: split_name(name)[0], deterministic=True)
    connection.create_function("name_in", 1, lambda name: split_name(name)[1], deterministic=True)
    connection.create_function("weights_of", 1, weights_digest, deterministic=True)
    connection.execute("INSERT INTO models SELECT id, identity, facts, weights_of(identity), NULL FROM models_1")
    _take_files(connection)
    _take_vectors(connection)
    for table in _TABLES:
        connection.execute(f"DROP TABLE {table}_1")


def _take_files(connection: sqlite3.Connection) -> None:
    connection.execute(
        "INSERT INTO weights (path, size, mtime_ns, digest) SELECT path, size, mtime_ns, digest "
        "FROM files_1 JOIN contents_1 ON id = content WHERE digest IN (SELECT weights FROM models)"
    )
    connection.execute("DELETE FROM files_1 WHERE path IN (SELECT path FROM weights)")
    connection.execute("INSERT INTO folders (path) SELECT DISTINCT folder_of(path) FROM files_1")
    connection.execute(
        "INSERT INTO items (folder, name, size, mtime_ns, content) SELECT folders.id, name_in(files_1.path), size, mtime_ns, "
        "content FROM files_1 JOIN folders ON folders.path = folder_of(files_1.path) "
        "WHERE content IN (SELECT id FROM contents_1)"
    )


def _take_vectors(connection: sqlite3.Connection) -> None:
    # A content may have been a file and a text: images keep their number, texts get another.
    connection.execute(
        f"INSERT INTO contents (id, kind, digest) SELECT id, {Kind.IMAGE}, digest FROM contents_1 "
        "WHERE id IN (SELECT content FROM items) OR id IN (SELECT content FROM vectors_1 WHERE cut IS NULL)"
    )
    connection.execute(
        f"INSERT INTO contents (kind, digest) SELECT {Kind.TEXT}, digest FROM contents_1 "
        "WHERE id IN (SELECT content FROM vectors_1 WHERE cut IS NOT NULL)"
    )
    last = 0
    while rows := connection.execute(
        "SELECT vectors_1.rowid, model, contents.id, how, vector, coalesce(cut, '') FROM vectors_1 "
        "CROSS JOIN contents_1 ON contents_1.id = content "
        "CROSS JOIN contents ON kind = (cut IS NOT NULL) AND contents.digest = contents_1.digest "
        "WHERE typeof(vector) = 'blob' AND vectors_1.rowid > ? ORDER BY vectors_1.rowid LIMIT ?",
        (last, _ROWS),
    ).fetchall():
        # Blocks of one model, so that what is read together lies together; the oldest first, as prune takes them.
        for _, group in groupby(sorted(rows, key=lambda row: row[1]), key=lambda row: row[1]):
            alike = list(group)
            places = blocks.write(connection, [row[4] for row in alike])
            connection.executemany(
                "INSERT INTO vectors (model, content, quality, block, position, cut) VALUES (?, ?, ?, ?, ?, ?)",
                (  # what was not exact may have been fp32 with reduced decoding: version 1 did not tell
                    (model, content, Quality.EXACT if how == 1 else Quality.HALF, *place, cut)
                    for (_, model, content, how, _, cut), place in zip(alike, places, strict=True)
                ),
            )
        first, last = last, rows[-1][0]
        # As we go, so that the file does not become twice as large.
        connection.execute("DELETE FROM vectors_1 WHERE rowid > ? AND rowid <= ?", (first, last))
