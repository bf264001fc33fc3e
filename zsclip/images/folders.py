"""Images found in folders."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from importlib.util import find_spec

HEIF = frozenset({".heic", ".heif", ".hif"})
EXTENSIONS = frozenset({
    ".apng", ".avif", ".avifs", ".bmp", ".dib", ".gif", ".icns", ".ico", ".j2c", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg",
    ".jpf", ".jpg", ".jpx", ".mpo", ".pbm", ".pcx", ".pfm", ".pgm", ".png", ".pnm", ".ppm", ".qoi", ".sgi", ".tga", ".tif",
    ".tiff", ".webp",
})  # fmt: skip


_SYSTEM = frozenset({
    "#recycle", "#snapshot", "$recycle.bin", "@eadir", "@recently-snapshot", "@recycle", "__macosx", "lost+found",
    "system volume information",
})  # fmt: skip
_LIBRARIES = (
    ".aplibrary", ".cocatalog", ".lrcat-data", ".lrdata", ".lrlibrary", ".migratedaplibrary", ".migratedphotolibrary",
    ".photolibrary", ".photoslibrary",
)  # fmt: skip


class Place(Enum):
    """What a search does not go into or take, in the singular and the plural."""

    HIDDEN_FILE = ("hidden file", "hidden files")
    HIDDEN_FOLDER = ("hidden folder", "hidden folders")
    SYSTEM = ("system folder", "system folders")
    LIBRARY = ("photo library", "photo libraries")
    CLOSED_LIBRARY = ("photo library that nothing is moved out of", "photo libraries that nothing is moved out of")
    LINK = ("linked folder", "linked folders")
    RESULTS = ("folder of results", "folders of results")


_INCLUDED_IF_HIDDEN = {Place.HIDDEN_FILE, Place.HIDDEN_FOLDER, Place.SYSTEM, Place.LIBRARY}


@dataclass(frozen=True)
class Search:
    """How folders are searched: in folders inside them too if `recursive`, but never in those of `exclude`.

    Files and folders whose name begins with a dot, what systems keep for themselves (`$RECYCLE.BIN`, `@eaDir`) and the
    libraries of photo programs are passed over; with `hidden` they are taken, but libraries not without `libraries`.
    """

    recursive: bool = True
    hidden: bool = False
    libraries: bool = True
    exclude: Iterable[str | os.PathLike[str]] = ()

    def place(self, name: str) -> Place | None:
        """What kind of folder that name makes it, if it is one to be passed over."""
        folded = name.casefold()
        if folded.endswith(_LIBRARIES):
            return Place.CLOSED_LIBRARY if not self.libraries else None if self.hidden else Place.LIBRARY
        if self.hidden:
            return None
        if folded.startswith("."):
            return Place.HIDDEN_FOLDER
        return Place.SYSTEM if folded in _SYSTEM else None


@dataclass
class PassedOver:
    """How many files and folders were not taken: other files by extension, and places."""

    files: Counter[str] = field(default_factory=Counter)
    places: Counter[Place] = field(default_factory=Counter)

    def clear(self) -> None:
        """Count anew."""
        self.files.clear()
        self.places.clear()

    def __str__(self) -> str:
        """Such as "passed over 3 other files (2 .txt, 1 .pdf), 1 hidden folder; ..."; nothing if there are none."""
        parts = []
        if total := self.files.total():
            kinds = [f"{count} {extension or 'without extension'}" for extension, count in self.files.most_common(4)]
            more = ", …" if len(self.files) > 4 else ""
            parts.append(f"{total:,} other file{'' if total == 1 else 's'} ({', '.join(kinds)}{more})")
        found = [place for place in Place if self.places[place]]
        parts += [f"{self.places[place]:,} {place.value[self.places[place] > 1]}" for place in found]
        if not parts:
            return ""
        text = f"passed over {', '.join(parts)}"
        if _INCLUDED_IF_HIDDEN.intersection(found):
            text += "; add `hidden` to include hidden files, system folders and photo libraries"
        if any(extension in HEIF for extension in self.files):
            text += "; HEIC is read with: pip install pillow-heif"
        return text


@dataclass
class Walk:
    """Paths of the images in a folder, sorted, found lazily. The folder itself is searched whatever it is called.

    A file counts if its extension is an image's, and so does a folder that cannot be looked into: its row will say so.
    What is not taken is counted in `passed_over`.
    """

    folder: str | os.PathLike[str]
    search: Search = field(default_factory=Search)
    passed_over: PassedOver = field(default_factory=PassedOver)

    def __iter__(self) -> Iterator[str]:
        extensions = EXTENSIONS | HEIF if heif_supported() else EXTENSIONS
        excluded = {os.path.realpath(path) for path in self.search.exclude}
        # The next is last; not a recursion, for folders may be nested a thousand deep.
        waiting = [(os.fspath(self.folder), True)]
        while waiting:
            path, is_folder = waiting.pop()
            if is_folder:
                try:
                    waiting += reversed(self._entries(path, excluded))
                except OSError:
                    yield path
            elif (extension := os.path.splitext(path)[1].lower()) not in extensions:
                self.passed_over.files[extension] += 1
            elif not self.search.hidden and os.sep + "." in path and os.path.basename(path).startswith("."):
                self.passed_over.places[Place.HIDDEN_FILE] += 1
            else:
                yield path

    def _entries(self, folder: str, excluded: set[str]) -> list[tuple[str, bool]]:
        """What is to be looked at in a folder, sorted by the bytes of its names, and whether it is a folder.

        Links to folders are not followed (they may lead in circles), nor taken for files.
        """
        found = []
        with os.scandir(folder) as entries:
            for entry in entries:
                is_folder = _is(entry.is_dir, follow_symlinks=False)
                if is_folder or (entry.is_symlink() and _is(entry.is_dir)):
                    if not self.search.recursive:
                        continue
                    place = Place.LINK if not is_folder else self.search.place(entry.name)
                    if place is None and excluded and os.path.realpath(entry.path) in excluded:
                        place = Place.RESULTS
                    if place is not None:
                        self.passed_over.places[place] += 1
                        continue
                found.append((os.fsencode(entry.name), is_folder))
        return [(os.path.join(folder, os.fsdecode(name)), is_folder) for name, is_folder in sorted(found)]


def is_in_library(path: str | os.PathLike[str]) -> bool:
    """Whether a path leads into the library of a photo program, which keeps track of its files itself."""
    folder = os.path.realpath(os.path.dirname(os.path.abspath(path)))
    return any(part.casefold().endswith(_LIBRARIES) for part in folder.split(os.sep))


def _is(asked: Callable[..., bool], **options: bool) -> bool:
    """The answer; no where there is none, as for a link that leads to itself. That link's row will say so."""
    try:
        return asked(**options)
    except OSError:
        return False


def heif_supported() -> bool:
    """Whether `.heic` can be read: with the extra `heic` (pillow-heif) installed."""
    return find_spec("pillow_heif") is not None
