"""Images found in folders."""

from __future__ import annotations

import os
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from itertools import groupby

from zsclip.images.formats import (
    DEVELOPED,
    HEIF,
    HEIF_HINT,
    JXL,
    JXL_HINT,
    RAW,
    RAW_HINT,
    VIDEO,
    VIDEO_HINT,
    heif_supported,
    image_extensions,
    video_supported,
)
from zsclip.images.siblings import Siblings

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
    DEVELOPED = ("RAW file beside its JPEG", "RAW files beside their JPEGs")
    VIDEO = ("video", "videos")


_MOST_TOGETHER = 1024  # files; a folder may hold millions
_HINTS = ((HEIF, HEIF_HINT), (JXL, JXL_HINT), (RAW, RAW_HINT), (VIDEO, VIDEO_HINT))
_INCLUDED_IF_HIDDEN = {Place.HIDDEN_FILE, Place.HIDDEN_FOLDER, Place.SYSTEM, Place.LIBRARY}


@dataclass(frozen=True)
class Search:
    """How folders are searched: in folders inside them too if `recursive`, but never in those of `exclude`.

    Files and folders whose name begins with a dot, what systems keep for themselves (`$RECYCLE.BIN`, `@eaDir`) and the
    libraries of photo programs are passed over; with `hidden` they are taken, but libraries not without `libraries`. Videos are
    taken with `videos`. A folder without images, but with the parts of a table, is this table, unless `files_only`.
    """

    recursive: bool = True
    hidden: bool = False
    libraries: bool = True
    exclude: Iterable[str | os.PathLike[str]] = ()
    files_only: bool = False
    videos: bool = False

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

    def takes(self, name: str, extensions: frozenset[str], passed_over: PassedOver | None = None) -> bool:
        """Whether a file of that name is a picture to be taken; one that is not is counted."""
        if (extension := os.path.splitext(name)[1].lower()) not in extensions:
            if passed_over is not None:
                passed_over.files[extension] += 1
            return False
        if not self.hidden and name.startswith("."):
            if passed_over is not None:
                passed_over.places[Place.HIDDEN_FILE] += 1
            return False
        return True


@dataclass
class PassedOver:
    """How many files and folders were not taken: other files by extension, and places. `offers_frames` says whether those of
    videos could be."""

    files: Counter[str] = field(default_factory=Counter)
    places: Counter[Place] = field(default_factory=Counter)
    offers_frames: bool = True

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
        if self.places[Place.VIDEO] and self.offers_frames:
            text += "; add `every` to take frames of videos"
        hints = [hint for extensions, hint in _HINTS if not extensions.isdisjoint(self.files)]
        return "; ".join([text, *hints])


@dataclass
class Walk:
    """Paths of the images in a folder, sorted, found lazily. The folder itself is searched whatever it is called.

    A file counts if its extension is an image's, and so does a folder that cannot be looked into: its row will say so. Of a
    RAW file and a JPEG or HEIC of the same name, which a camera writes together, the latter counts.
    What is not taken is counted in `passed_over`. With `extensions`, files of these are taken instead of images.
    """

    folder: str | os.PathLike[str]
    search: Search = field(default_factory=Search)
    passed_over: PassedOver = field(default_factory=PassedOver)
    extensions: frozenset[str] = frozenset()
    _stems: tuple[str, frozenset[str]] = field(default=("", frozenset()), init=False, repr=False)

    def __iter__(self) -> Iterator[str]:
        for found in self.pieces():
            yield from (found,) if isinstance(found, str) else found.paths

    def pieces(self) -> Iterator[Siblings | str]:
        """The images that follow each other in one folder, at most 1,024 at once; by its path a video, or a folder that cannot
        be read."""
        extensions = self.extensions or image_extensions()
        extensions |= VIDEO if video_supported() and self.search.videos else frozenset()
        excluded = {os.path.realpath(path) for path in self.search.exclude}
        # The next is last; not a recursion, for folders may be nested a thousand deep.
        waiting: list[Siblings | str] = [os.fspath(self.folder)]
        while waiting:
            found = waiting.pop()
            if isinstance(found, Siblings):
                names = self._images(found, extensions)
                runs = groupby(names, _is_video) if self.search.videos else [(False, names)] if names else []
                for are_videos, together in runs:
                    if are_videos:
                        yield from (found.prefix + name for name in together)
                    else:
                        yield Siblings(found.prefix, list(together))
                continue
            try:
                waiting += reversed(self._entries(found, excluded))
            except OSError:
                yield found

    def _images(self, found: Siblings, extensions: frozenset[str]) -> list[str]:
        """Those of the names that are an image's."""
        names, plain = found.names, extensions - RAW
        # Mostly there is nothing else; telling that costs a tenth of what follows.
        hidden = bisect_left(names, ".")  # the place of the first one
        if not any(name.startswith(".") for name in names[hidden : hidden + 1]) and (
            _all_in(plain, {name[-4:] for name in names}) or _all_in(plain, {name[name.rfind(".") :] for name in names})
        ):
            return names
        return [name for name in names if self._takes(found.prefix, name, extensions)]

    def _entries(self, folder: str, excluded: set[str]) -> list[Siblings | str]:
        """What is to be looked at in a folder, in the order of the bytes of its names: files side by side, and folders.

        Links to folders are not followed (they may lead in circles), nor taken for files.
        """
        names, folders = [], set()
        with os.scandir(folder) as entries:
            for entry in entries:
                try:
                    is_folder = entry.is_dir()
                except OSError:  # as for a link that leads to itself; its row will say so
                    is_folder = False
                if is_folder:
                    if not self.search.recursive:
                        continue
                    place = Place.LINK if entry.is_symlink() else self.search.place(entry.name)
                    if place is None and excluded and os.path.realpath(entry.path) in excluded:
                        place = Place.RESULTS
                    if place is not None:
                        self.passed_over.places[place] += 1
                        continue
                    folders.add(entry.name)
                names.append(entry.name)
        names.sort(key=None if all(map(str.isascii, names)) else os.fsencode)
        prefix = os.path.join(folder, "")
        found: list[Siblings | str] = []
        for are_folders, together in groupby(names, folders.__contains__):
            side_by_side = list(together)
            if are_folders:
                found += (prefix + name for name in side_by_side)
            else:
                parts = range(0, len(side_by_side), _MOST_TOGETHER)
                found += (Siblings(prefix, side_by_side[start : start + _MOST_TOGETHER]) for start in parts)
        return found

    def _takes(self, folder: str, name: str, extensions: frozenset[str]) -> bool:
        """Whether a file is taken; one that is not is counted."""
        stem, extension = os.path.splitext(name)
        extension = extension.lower()
        if extension in VIDEO and not self.search.videos and not self.extensions:
            self.passed_over.places[Place.VIDEO] += 1
            return False
        if extension in RAW and stem in self._developed(folder):
            self.passed_over.places[Place.DEVELOPED] += 1
            return False
        return self.search.takes(name, extensions, self.passed_over)

    def _developed(self, folder: str) -> frozenset[str]:
        """The names without extensions of a folder's JPEG and HEIC; looked for once there is a RAW file in it."""
        if self._stems[0] != folder:
            kinds = DEVELOPED | HEIF if heif_supported() else DEVELOPED
            try:
                with os.scandir(folder) as entries:
                    parts = [os.path.splitext(one.name) for one in entries if not one.is_dir(follow_symlinks=False)]
            except OSError:  # it is gone by now
                parts = []
            self._stems = folder, frozenset(stem for stem, extension in parts if extension.lower() in kinds)
        return self._stems[1]


def _is_video(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in VIDEO


def _all_in(extensions: frozenset[str], ends: set[str]) -> bool:
    return all(end.lower() in extensions for end in ends)


def is_in_library(path: str | os.PathLike[str]) -> bool:
    """Whether a path leads into the library of a photo program, which keeps track of its files itself."""
    folder = os.path.realpath(os.path.dirname(os.path.abspath(path)))
    return any(part.casefold().endswith(_LIBRARIES) for part in folder.split(os.sep))
