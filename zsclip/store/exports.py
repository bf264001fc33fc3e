"""Models made ready for an engine, kept beside the database: a folder each, which is not removed while a process uses it."""

from __future__ import annotations

import contextlib
import os
import shutil
import weakref
from dataclasses import dataclass
from pathlib import Path

from zsclip.store.database import Store
from zsclip.store.keeping import EXPORTS

try:
    import fcntl
except ImportError:  # Windows, which removes no file that is open
    fcntl = None  # type: ignore[assignment]


@dataclass(frozen=True)
class Export:
    """A model made ready for an engine: its folder, `size` in bytes, and when it was `used`, a time in seconds."""

    path: Path
    size: int
    used: float


def exports(store: Store) -> tuple[Export, ...]:
    """The exported models, the least recently used first."""
    folder = store.path.parent / EXPORTS if store.path else None
    if folder is None or not folder.is_dir():
        return ()
    found = []
    for path in folder.iterdir():
        if path.name.startswith(".") or not path.is_dir():
            continue  # one that is being made, or a note
        with contextlib.suppress(FileNotFoundError):  # another process removed it
            files = [file.stat() for file in path.rglob("*") if file.is_file()]
            used = max((max(status.st_atime, status.st_mtime) for status in files), default=0.0)
            found.append(Export(path, sum(status.st_size for status in files), used))
    return tuple(sorted(found, key=lambda export: export.used))


class Use:
    """Keeps an export from being removed for as long as this object lives: a shared lock on its folder.

    Nothing is held where there is no such folder, or its file system knows no locks.
    """

    def __init__(self, folder: Path) -> None:
        with contextlib.suppress(OSError):
            descriptor = _lock(folder, shared=True)
            if descriptor is not None:
                weakref.finalize(self, os.close, descriptor)


def remove(folder: Path) -> bool:
    """Remove an export; False if a process uses it, which then goes on."""
    try:
        descriptor = _lock(folder, shared=False)
    except BlockingIOError:
        return False
    except OSError:
        descriptor = None  # no locks there, or no such folder
    try:
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        if descriptor is not None:
            os.close(descriptor)
    return not folder.exists()


def _lock(folder: Path, *, shared: bool) -> int | None:
    """A descriptor that holds the lock; None where there are none. One that is shared waits while the folder is removed."""
    if fcntl is None:
        return None
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
