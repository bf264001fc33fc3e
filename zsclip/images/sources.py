"""Where pictures may be: a table of kinds of input, each with the paths that it claims and the items they lead to."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from zsclip.errors import InputError
from zsclip.images.container import Container
from zsclip.images.files import File
from zsclip.images.folders import PassedOver, Search, Walk
from zsclip.images.item import Item
from zsclip.images.listing import Piece
from zsclip.images.opening import Opening
from zsclip.images.siblings import Siblings
from zsclip.images.videos import Video, file_of, is_frame, is_video


@dataclass
class Finder:
    """The items that `paths` lead to, found lazily, in order; iterating again finds them again.

    Folders are searched as `search` says, what holds pictures is opened as `opening` says. What was named itself counts whatever
    it is called, a file even if it is not there (its row will say so). `passed_over` counts what is not taken.
    """

    paths: Iterable[str]
    search: Search = field(default_factory=Search)
    opening: Opening = field(default_factory=Opening)
    passed_over: PassedOver = field(default_factory=PassedOver)

    def __iter__(self) -> Iterator[Item | Container]:
        for piece in self.pieces():
            yield from map(File, piece.paths) if isinstance(piece, Siblings) else (piece,)

    def pieces(self) -> Iterator[Piece]:
        """The same, where files of one folder that follow each other are one piece."""
        self.passed_over.clear()
        for path in self.paths:
            source = next(source for source in SOURCES if source.claims(path))
            yield from source.items(path, self)


@dataclass(frozen=True)
class Source:
    """One kind of input."""

    claims: Callable[[str], bool]
    items: Callable[[str, Finder], Iterator[Piece]]


def _in_folder(path: str, finder: Finder) -> Iterator[Piece]:
    search = replace(finder.search, videos=finder.opening.video.every is not None)
    for piece in Walk(path, search, finder.passed_over).pieces():
        if not isinstance(piece, str):
            yield piece
        elif is_video(piece):
            yield Video(piece, finder.opening.video)
        else:
            yield File(piece)


def _named_video(path: str, finder: Finder) -> Iterator[Piece]:
    if finder.opening.video.pool and is_frame(path):
        raise InputError("that is one frame of a video, and there is nothing to `pool`.", where=path)
    yield Video(path, finder.opening.video)


def _is_folder(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


# The first that claims a path has it.
SOURCES = (
    Source(_is_folder, _in_folder),
    Source(lambda path: is_video(path) or is_frame(path), _named_video),
    Source(lambda path: True, lambda path, finder: iter((File(path),))),
)


def require_paths(paths: Iterable[str]) -> None:
    """Raise `InputError` for the first path that is not there."""
    for path in paths:
        if "\0" in path or not os.path.lexists(file_of(path)):
            raise InputError(f"{path or repr(path)}: there is no such file or folder.")
