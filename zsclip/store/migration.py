"""The store of zsclip 0.1 (version 1) brought to version 2, in the transaction of the caller.

Version 1 told texts from images by `cut` alone (NULL for an image), and kept digests of weights
among those of images.
"""

from __future__ import annotations

import sqlite3

from zsclip.store.records import Kind, split_name, weights_digest
from zsclip.unit_vectors import Quality

_TABLES = ("files", "contents", "models", "vectors")
_ROWS = 4096  # of vectors, at a time


def put_version_1_aside(connection: sqlite3.Connection) -> None:
    """Give the tables of version 1 other names."""
    connection.execute(
        "PRAGMA cache_size = -131072"
    )  # 128 MB: in small ones, indexes of digests are written many times
    for table in _TABLES:
        connection.execute(f"ALTER TABLE {table} RENAME TO {table}_1")


def take_over_version_1(connection: sqlite3.Connection) -> None:
    """Bring all that was put aside into the tables of version 2."""
    models = connection.execute("SELECT id, identity, facts FROM models_1").fetchall()
    # Version 1 may have rounded the scale and bias of towers of timm's to half precision; they are read again.
    models = [(*model[:2], None if _has_timm_tower(model[1]) else model[2]) for model in models]
    connection.executemany(
        "INSERT INTO models (id, identity, facts, weights) VALUES (?, ?, ?, ?)",
        ((*model, weights_digest(model[1])) for model in models),
    )
    _take_files(connection)
    _take_contents_and_vectors(connection)
    for table in _TABLES:
        connection.execute(f"DROP TABLE {table}_1")
    connection.execute("PRAGMA cache_size = -2000")


def _has_timm_tower(identity: str) -> bool:
    return '"timm_model_name"' in identity or '"layout":"siglip"' in identity


def _take_files(connection: sqlite3.Connection) -> None:
    connection.execute(
        "INSERT INTO weights (path, size, mtime_ns, digest) SELECT path, size, mtime_ns, digest "
        "FROM files_1 JOIN contents_1 ON id = content WHERE digest IN (SELECT weights FROM models)"
    )
    connection.execute("DELETE FROM files_1 WHERE path IN (SELECT path FROM weights)")
    folders: dict[bytes, int] = {}
    rows = connection.execute("SELECT path, size, mtime_ns, content FROM files_1")
    connection.executemany(
        "INSERT INTO items (folder, name, size, mtime_ns, content) VALUES (?, ?, ?, ?, ?)",
        (
            (folders.setdefault(folder, len(folders) + 1), name, size, mtime_ns, content)
            for path, size, mtime_ns, content in rows
            for folder, name in (split_name(path),)
        ),
    )
    connection.executemany("INSERT INTO folders (path, id) VALUES (?, ?)", folders.items())


def _take_contents_and_vectors(connection: sqlite3.Connection) -> None:
    # A content may have been a file and a text: images keep their number, texts get another.
    connection.execute(
        f"INSERT INTO contents (id, kind, digest) SELECT id, {Kind.IMAGE:d}, digest FROM contents_1 "
        "WHERE id IN (SELECT content FROM items) OR id IN (SELECT content FROM vectors_1 WHERE cut IS NULL)"
    )
    connection.execute(
        f"INSERT INTO contents (kind, digest) SELECT {Kind.TEXT:d}, digest FROM contents_1 "
        "WHERE id IN (SELECT content FROM vectors_1 WHERE cut IS NOT NULL)"
    )
    last = connection.execute("SELECT coalesce(max(rowid), 0) FROM vectors_1").fetchone()[0]
    for start in range(0, last, _ROWS):
        # What was not exact may have been fp32 with reduced decoding; version 1 did not tell.
        connection.execute(
            "INSERT INTO vectors (model, content, quality, cut, vector) "
            f"SELECT model, contents.id, CASE how WHEN 1 THEN {Quality.EXACT:d} ELSE {Quality.HALF:d} END, coalesce(cut, ''), "
            "vector FROM vectors_1 CROSS JOIN contents_1 ON contents_1.id = content "
            f"CROSS JOIN contents ON kind = CASE WHEN cut IS NULL THEN {Kind.IMAGE:d} ELSE {Kind.TEXT:d} END "
            "AND contents.digest = contents_1.digest "
            "WHERE vectors_1.rowid > ? AND vectors_1.rowid <= ? ORDER BY vectors_1.rowid",
            (start, start + _ROWS),
        )
        # As we go, so that the file does not become twice as large.
        connection.execute("DELETE FROM vectors_1 WHERE rowid <= ?", (start + _ROWS,))
