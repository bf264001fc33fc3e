"""Where pictures may be: a table of kinds of input, each with the paths that it claims and the items they lead to."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from zsclip.errors import InputError
from zsclip.images.container import Container
from zsclip.images.files import File
from zsclip.images.folders import PassedOver, Search, Walk
from zsclip.images.item import Item
from zsclip.images.listing import Piece
from zsclip.images.opening import Opening
from zsclip.images.siblings import Siblings
from zsclip.images.tables.kinds import is_table, open_table, parts_among, parts_in
from zsclip.images.tables.table import split_row


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
    before, is_empty = parts_among(finder.passed_over), True
    for piece in Walk(path, finder.search, finder.passed_over).pieces():
        is_empty = False
        yield File(piece) if isinstance(piece, str) else piece
    if is_empty and parts_among(finder.passed_over) > before:
        yield from parts_in(path, finder.search, finder.opening)
        finder.passed_over.files[".parquet"] = before


def _is_folder(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


# The first that claims a path has it.
SOURCES = (
    Source(_is_folder, _in_folder),
    Source(is_table, lambda path, finder: iter((open_table(path, finder.opening),))),
    Source(lambda path: True, lambda path, finder: iter((File(path),))),
)


def require_paths(paths: Iterable[str]) -> None:
    """Raise `InputError` for the first path that is not there."""
    for path in paths:
        if "\0" in path or not (os.path.lexists(path) or (is_table(path) and os.path.lexists(split_row(path)[0]))):
            raise InputError(f"{path or repr(path)}: there is no such file or folder.")
