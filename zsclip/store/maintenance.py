"""The store from outside: what it holds, and how to make it smaller."""

from __future__ import annotations

import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from zsclip.models.spec import short_identity
from zsclip.store.database import Store
from zsclip.store.exports import Export, exports, remove
from zsclip.store.file_system import shared_file_system
from zsclip.store.keeping import EXPORTS
from zsclip.store.records import Kind
from zsclip.store.schema import transaction

_IS_IMAGE = f"kind <> {Kind.TEXT:d}"


@dataclass(frozen=True)
class ModelContent:
    """What the store holds of one model."""

    identity: str
    title: str
    images: int
    texts: int


@dataclass(frozen=True)
class StoreInfo:
    """What the store holds. `size` in bytes on the disk, `files` how many paths are remembered, `shared` the type of its file
    system if other machines may see it.
    """

    path: Path | None
    size: int
    files: int
    models: tuple[ModelContent, ...]
    exports: tuple[Export, ...]
    shared: str | None


def info(store: Store) -> StoreInfo:
    """Count what is kept."""
    files, models = 0, []
    with store.guard() as connection:
        if connection:
            files = connection.execute(
                "SELECT (SELECT count(*) FROM items) + (SELECT count(*) FROM weights)"
            ).fetchone()[0]
            for identity, facts, images, texts in connection.execute(
                f"SELECT identity, facts, total(kind <> {Kind.TEXT:d}), total(kind = {Kind.TEXT:d}) FROM models "
                "LEFT JOIN vectors ON model = models.id LEFT JOIN contents ON contents.id = content "
                "GROUP BY models.id ORDER BY models.id"
            ):
                known = store.facts(identity) if facts else None
                title = known.title if known else ""
                models.append(ModelContent(identity, title, int(images), int(texts)))
    return StoreInfo(store.path, store.size(), files, tuple(models), exports(store), _shared(store))


def _shared(store: Store) -> str | None:
    return shared_file_system(store.path.parent) if store.path else None


def clear(store: Store, identity: str | None = None) -> int:
    """Forget all vectors, or one model's, and what was measured of its precision; the number of vectors."""
    of_model = "*" if identity is None else short_identity(identity)
    for note in (store.path.parent / EXPORTS).glob(f"{of_model}.*.json") if store.path else ():
        note.unlink(missing_ok=True)
    with store.guard() as connection:
        if connection is None:
            return 0
        with transaction(connection):
            chosen = "" if identity is None else "WHERE model = (SELECT id FROM models WHERE identity = ?)"
            arguments = () if identity is None else (identity,)
            count = connection.execute(f"DELETE FROM vectors {chosen}", arguments).rowcount
            if identity is None:
                connection.execute("DELETE FROM models")
            else:
                connection.execute("DELETE FROM models WHERE identity = ?", arguments)
            _forget_unused(connection)
        _shrink(connection)
        return int(count)
    return 0


def prune(store: Store, max_size: int | None = None) -> int:
    """Forget files that are gone and the images that only they held; the number of vectors forgotten.

    While all takes more than `max_size` bytes, the packs go, which only repeat what the store holds; then the exports that were
    not used for longest (they are made again in seconds; those that a process uses stay); then the images that were computed
    first.
    """
    for note in (store.path.parent / EXPORTS).glob("*.failed-*") if store.path else ():
        note.unlink(missing_ok=True)  # models that could not be converted may try again
    if max_size is not None:
        if sum(export.size for export in exports(store)) + store.size() > max_size:
            _drop_packs(store)
        spare = sum(export.size for export in exports(store)) + store.size() - max_size
        for export in exports(store):
            if spare > 0 and remove(export.path):
                spare -= export.size
    with store.guard() as connection:
        if connection is None:
            return 0
        before = _count(connection)
        _forget_gone(connection)
        _shrink(connection)
        while max_size is not None and store.size() > max_size and (images := _count(connection, images=True)):
            surplus = max(1, min(images, round(images * (1 - max_size / store.size()))))
            with transaction(connection):
                connection.execute(
                    "DELETE FROM vectors WHERE id IN (SELECT vectors.id FROM vectors "
                    f"JOIN contents ON contents.id = content WHERE {_IS_IMAGE} ORDER BY vectors.id LIMIT ?)",
                    (surplus,),
                )
                _forget_unused(connection)
            _shrink(connection)
        return before - _count(connection)
    return 0


def _drop_packs(store: Store) -> None:
    with store.guard() as connection:
        if connection and connection.execute("DELETE FROM packs").rowcount:
            _shrink(connection)


def _forget_gone(connection: sqlite3.Connection) -> None:
    """Drop the names of what is gone, and images that have no name left."""
    names = connection.execute(
        "SELECT folders.id, path, name FROM items JOIN folders ON folders.id = folder"
    ).fetchall()
    gone = [(folder, name) for folder, path, name in names if _is_gone(path + name)]
    others = {
        table: [(name,) for (name,) in connection.execute(f"SELECT {column} FROM {table}") if _is_gone(name)]
        for table, column in (("containers", "name"), ("weights", "path"))
    }
    with transaction(connection):
        connection.executemany("DELETE FROM items WHERE folder = ? AND name = ?", gone)
        connection.executemany("DELETE FROM containers WHERE name = ?", others["containers"])
        connection.executemany("DELETE FROM weights WHERE path = ?", others["weights"])
        connection.execute("DELETE FROM members WHERE container NOT IN (SELECT id FROM containers)")
        connection.execute(
            f"DELETE FROM vectors WHERE content IN (SELECT id FROM contents WHERE {_IS_IMAGE}) AND content NOT IN "
            "(SELECT content FROM items UNION SELECT content FROM members WHERE content IS NOT NULL)"
        )
        _forget_unused(connection)


def _is_gone(name: bytes) -> bool:
    """Whether there is no longer such a file, nor a file (an archive, a video) that it would be within.

    Whether an address is gone cannot be told from here.
    """
    path = os.fsdecode(name)
    if "://" in path or os.path.lexists(path):
        return False
    return not any(os.path.isfile(part) for part in (path.rpartition("#")[0], *map(str, Path(path).parents)))


def _count(connection: sqlite3.Connection, *, images: bool = False) -> int:
    only = f"JOIN contents ON contents.id = content WHERE {_IS_IMAGE}" if images else ""
    return int(connection.execute(f"SELECT count(*) FROM vectors {only}").fetchone()[0])


def _forget_unused(connection: sqlite3.Connection) -> None:
    """Drop what serves no vector any more, and digests of weights that no model has."""
    for unused in (
        "weights WHERE coalesce(header, digest) NOT IN (SELECT weights FROM models WHERE weights IS NOT NULL)",
        "items WHERE content NOT IN (SELECT content FROM vectors)",
        "folders WHERE id NOT IN (SELECT folder FROM items)",
        "containers WHERE id NOT IN (SELECT container FROM members WHERE content IN (SELECT content FROM vectors))",
        "members WHERE container NOT IN (SELECT id FROM containers)",
        "contents WHERE id NOT IN "
        "(SELECT content FROM vectors UNION SELECT content FROM members WHERE content IS NOT NULL)",
        "thumbnails WHERE content NOT IN (SELECT id FROM contents)",
    ):
        connection.execute(f"DELETE FROM {unused}")


def _shrink(connection: sqlite3.Connection) -> None:
    connection.execute("VACUUM")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
