"""Images found in folders."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec

HEIF = frozenset({".heic", ".heif", ".hif"})
EXTENSIONS = frozenset({
    ".apng", ".avif", ".avifs", ".bmp", ".dib", ".gif", ".icns", ".ico", ".j2c", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg",
    ".jpf", ".jpg", ".jpx", ".mpo", ".pbm", ".pcx", ".pfm", ".pgm", ".png", ".pnm", ".ppm", ".qoi", ".sgi", ".tga", ".tif",
    ".tiff", ".webp",
})  # fmt: skip


@dataclass
class Walk:
    """Paths of the images in a folder, sorted, found lazily; in folders inside it too if `recursive`, but not in `exclude`.

    A file counts if its extension is an image's, and so does a folder that cannot be looked into: its row will say so.
    `passed_over` counts the other files by extension.
    """

    folder: str | os.PathLike[str]
    recursive: bool = True
    exclude: str | os.PathLike[str] | None = None
    passed_over: Counter[str] = field(default_factory=Counter)

    def __iter__(self) -> Iterator[str]:
        extensions = EXTENSIONS | HEIF if heif_supported() else EXTENSIONS
        excluded = os.path.realpath(self.exclude) if self.exclude is not None else None
        waiting = [
            (os.fspath(self.folder), True)
        ]  # the next is last; not a recursion, for folders may be nested a thousand deep
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
                    yield path


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


def heif_supported() -> bool:
    """Whether `.heic` can be read: with the extra `heic` (pillow-heif) installed."""
    return find_spec("pillow_heif") is not None
