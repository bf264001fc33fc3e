"""Where pictures may be: a table of kinds of input, each with the paths that it claims and the items they lead to."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from zsclip.errors import InputError
from zsclip.images.archives.named import archive, is_archive, split
from zsclip.images.container import Container
from zsclip.images.files import File
from zsclip.images.folders import PassedOver, Search, Walk
from zsclip.images.item import Item
from zsclip.images.listing import Piece
from zsclip.images.opening import Opening
from zsclip.images.siblings import Siblings
from zsclip.images.tables.kinds import PARTS, is_row, is_table, open_table, parts_in
from zsclip.images.tables.table import Table


@dataclass
class Finder:
    """The items that `paths` lead to, found lazily, in order; iterating again finds them again.

    Folders are searched as `search` says, what holds pictures is opened as `opening` says. What was named itself counts whatever
    it is called, a file even if it is not there (its row will say so). `passed_over` counts what is not taken, `tables` those found.
    """

    paths: Iterable[str]
    search: Search = field(default_factory=Search)
    opening: Opening = field(default_factory=Opening)
    passed_over: PassedOver = field(default_factory=PassedOver)
    tables: int = 0

    def __iter__(self) -> Iterator[Item | Container]:
        for piece in self.pieces():
            yield from map(File, piece.paths) if isinstance(piece, Siblings) else (piece,)

    def pieces(self) -> Iterator[Piece]:
        """The same, where files of one folder that follow each other are one piece."""
        self.passed_over.clear()
        for path in self.paths:
            for piece in source_of(path).items(path, self):
                self.tables += isinstance(piece, Table)
                yield piece


@dataclass(frozen=True)
class Source:
    """One kind of input. `of_files` says that its pictures are files of this machine, `is_one` that it is one picture,
    `may_be_table` that it is a table or may have some in it."""

    claims: Callable[[str], bool]
    items: Callable[[str, Finder], Iterator[Piece]]
    of_files: bool = False
    is_one: bool = False
    may_be_table: bool = False


def _in_folder(path: str, finder: Finder) -> Iterator[Piece]:
    before, is_empty = finder.passed_over.files.copy(), True
    for piece in Walk(path, finder.search, finder.passed_over).pieces():
        is_empty = False
        yield File(piece) if isinstance(piece, str) else piece
    parts = {kind: count for kind, count in (finder.passed_over.files - before).items() if kind in PARTS}
    if is_empty and parts and not finder.search.files_only:
        finder.passed_over.files -= Counter(parts)
        yield from parts_in(path, finder.search, finder.opening)


def _is_folder(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


def _is_archive(path: str) -> bool:
    return is_archive(path) and os.path.isfile(path)


def _archive(path: str, finder: Finder) -> Iterator[Piece]:
    yield archive(path, finder.search, finder.passed_over, finder.opening.sidecar)


def _is_in_archive(path: str) -> bool:
    return split(path) is not None and not os.path.lexists(path)


def _in_archive(path: str, finder: Finder) -> Iterator[Piece]:
    if inside := split(path):
        yield archive(inside[0], finder.search, finder.passed_over, only=inside[1])


def _table(path: str, finder: Finder) -> Iterator[Piece]:
    yield open_table(path, finder.opening)


# The first that claims a path has it.
SOURCES = (
    Source(_is_folder, _in_folder, of_files=True, may_be_table=True),
    Source(_is_archive, _archive),
    Source(_is_in_archive, _in_archive, is_one=True),
    Source(is_table, _table, may_be_table=True),
    Source(is_row, _table, is_one=True, may_be_table=True),
    Source(lambda path: True, lambda path, finder: iter((File(path),)), of_files=True, is_one=True),
)


def source_of(path: str) -> Source:
    """The kind of input that a path is."""
    return next(source for source in SOURCES if source.claims(path))


def require_paths(paths: Iterable[str]) -> None:
    """Raise `InputError` for the first path that is not there."""
    for path in paths:
        if "\0" in path or not (os.path.lexists(path) or _is_in_archive(path) or is_row(path)):
            raise InputError(f"{path or repr(path)}: there is no such file or folder.")


def require_files(path: str) -> None:
    """Raise `InputError` for a path to pictures that are no files of their own."""
    if not source_of(path).of_files:
        raise InputError(
            "the pictures in it are no files of their own, to be linked, copied or moved.",
            where=path,
            remedy="Unpack it first.",
        )
