"""Images found in folders."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec

from zsclip.errors import InputError

HEIF = frozenset({".heic", ".heif", ".hif"})


EXTENSIONS = frozenset({
    ".apng", ".avif", ".avifs", ".bmp", ".dib", ".gif", ".icns", ".ico", ".j2c", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg",
    ".jpf", ".jpg", ".jpx", ".mpo", ".pbm", ".pcx", ".pfm", ".pgm", ".png", ".pnm", ".ppm", ".qoi", ".sgi", ".tga", ".tif",
    ".tiff", ".webp",
})  # fmt: skip


@dataclass
class Walk:
    """Paths of images, found lazily: folders (recursive, sorted) and files as given.

    A file inside a folder counts if its extension is an image's; a file that was named always counts, even if it is not
    there (its row will say so), and so does a folder that cannot be looked into. None among the paths stands for one that is
    not known yet, and is handed on. Iterating again walks again. `passed_over` counts the other files by extension, but
    for those in the folder `exclude`.
    """

    paths: Iterable[str | None]
    recursive: bool = True
    exclude: str | os.PathLike[str] | None = None
    passed_over: Counter[str] = field(default_factory=Counter)

    def __iter__(self) -> Iterator[str | None]:
        self.passed_over.clear()
        extensions = EXTENSIONS | HEIF if heif_supported() else EXTENSIONS
        excluded = os.path.realpath(self.exclude) if self.exclude is not None else None
        for path in self.paths:
            if path is not None and _is_folder(path):
                yield from self._folder(path, extensions, excluded)
            else:
                yield path

    def _folder(self, top: str, extensions: frozenset[str], excluded: str | None) -> Iterator[str]:
        waiting = [(top, True)]  # the next is last; not a recursion, for folders may be nested a thousand deep
        while waiting:
            path, is_folder = waiting.pop()
            if not is_folder:
                extension = os.path.splitext(path)[1].lower()
                if extension in extensions:
                    yield path
                else:
                    self.passed_over[extension] += 1
            elif excluded is None or os.path.realpath(path) != excluded:
                try:
                    waiting += reversed(_entries(path, self.recursive))
                except OSError:
                    yield path  # a folder that cannot be looked into gets a row that says so


def _entries(folder: str, recursive: bool) -> list[tuple[str, bool]]:
    """What is in a folder, sorted by the bytes of its names, and whether it is a folder.

    Links to folders are not followed (they may lead in circles), nor taken for files.
    """
    with os.scandir(folder) as entries:
        found = [
            (os.fsencode(entry.name), _is(entry.is_dir, follow_symlinks=False))
            for entry in entries
            if not (entry.is_symlink() and _is(entry.is_dir))
        ]
    return [
        (os.path.join(folder, os.fsdecode(name)), is_folder)
        for name, is_folder in sorted(found)
        if recursive or not is_folder
    ]


def _is(asked: Callable[..., bool], **options: bool) -> bool:
    """The answer; no where there is none, as for a link that leads to itself. That link's row will say so."""
    try:
        return asked(**options)
    except OSError:
        return False


def require_paths(paths: Iterable[str]) -> None:
    """Raise `InputError` for the first path that is not there."""
    for path in paths:
        if "\0" in path or not os.path.lexists(path):
            raise InputError(f"{path or repr(path)}: there is no such file or folder.")


def _is_folder(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


def heif_supported() -> bool:
    """Whether `.heic` can be read: with the extra `heic` (pillow-heif) installed."""
    return find_spec("pillow_heif") is not None
