"""Where pictures may be: a table of kinds of input, each with the paths that it claims and the items they lead to."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace

from zsclip.errors import InputError
from zsclip.images.archives.named import archive, is_archive, split
from zsclip.images.container import Container
from zsclip.images.files import File
from zsclip.images.folders import PassedOver, Search, Walk
from zsclip.images.formats import PICTURES
from zsclip.images.item import Item
from zsclip.images.listing import Piece
from zsclip.images.opening import Opening
from zsclip.images.places import place
from zsclip.images.remote.addresses import SCHEMES, extension, is_address, on_the_web, shown
from zsclip.images.remote.settings import Network
from zsclip.images.siblings import Siblings
from zsclip.images.tables.kinds import PARTS, is_row, is_table, open_table, parts_in
from zsclip.images.tables.table import Table
from zsclip.images.videos import Video, file_of, is_frame, is_video


@dataclass
class Finder:
    """The items that `paths` lead to, found lazily, in order; iterating again finds them again.

    Folders are searched as `search` says, what holds pictures is opened as `opening` says. What was named itself counts whatever
    it is called, a file even if it is not there (its row will say so). `passed_over` counts what is not taken, `tables` those found.
    Addresses that are not among `typed` (None: all are) stand in data, and may not lead into private networks.
    """

    paths: Iterable[str]
    search: Search = field(default_factory=Search)
    opening: Opening = field(default_factory=Opening)
    passed_over: PassedOver = field(default_factory=PassedOver)
    typed: Collection[str] | None = None
    tables: int = 0

    def __iter__(self) -> Iterator[Item | Container]:
        for piece in self.pieces():
            yield from map(File, piece.paths) if isinstance(piece, Siblings) else (piece,)

    def is_typed(self, path: str) -> bool:
        """Whether a path comes from the user and not out of data."""
        return self.typed is None or path in self.typed

    def pieces(self) -> Iterator[Piece]:
        """The same, where files of one folder that follow each other are one piece."""
        return (piece for _, _, piece in self.found())

    def found(self) -> Iterator[tuple[str, Source, Piece]]:
        """The pieces, each with the path that led to it and the kind of input that this is."""
        self.passed_over.clear()
        for path in self.paths:
            source = source_of(path)
            for piece in source.items(path, self):
                self.tables += isinstance(piece, Table)
                yield path, source, piece


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
    search = replace(finder.search, videos=finder.opening.video.every is not None and not finder.search.files_only)
    for piece in Walk(path, search, finder.passed_over).pieces():
        is_empty = False
        if not isinstance(piece, str):
            yield piece
        elif is_video(piece):
            yield Video(piece, finder.opening.video)
        else:
            yield File(piece)
    parts = {kind: count for kind, count in (finder.passed_over.files - before).items() if kind in PARTS}
    if is_empty and parts and not finder.search.files_only:
        finder.passed_over.files -= Counter(parts)
        yield from parts_in(path, finder.search, finder.opening)


def _video(path: str, finder: Finder) -> Iterator[Piece]:
    if finder.opening.video.pool and is_frame(path):
        raise InputError("that is one frame of a video, and there is nothing to `pool`.", where=path)
    yield Video(path, finder.opening.video, place(file_of(path), finder.opening, typed=finder.is_typed(path)))


def _is_folder(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


def _is_there(path: str) -> bool:
    # Whether it is at an address is found out when it is opened.
    return is_address(path) or os.path.isfile(path)


def _is_archive(path: str) -> bool:
    return is_archive(path) and _is_there(path)


def _archive(path: str, finder: Finder) -> Iterator[Piece]:
    at = place(path, finder.opening, typed=finder.is_typed(path))
    yield archive(path, finder.search, finder.passed_over, finder.opening.sidecar, at=at)


def _is_in_archive(path: str) -> bool:
    return split(path, _is_there) is not None and not os.path.lexists(path)


def _in_archive(path: str, finder: Finder) -> Iterator[Piece]:
    if inside := split(path, _is_there):
        at = place(inside[0], finder.opening, typed=finder.is_typed(path))
        yield archive(inside[0], finder.search, finder.passed_over, only=inside[1], at=at)


def _table(path: str, finder: Finder) -> Iterator[Piece]:
    yield open_table(path, finder.opening, typed=finder.is_typed(path))


def _is_picture_at_address(path: str) -> bool:
    return is_address(path) and (on_the_web(path) or extension(path) in PICTURES)


def _at_address(address: str, finder: Finder) -> Iterator[Piece]:
    from zsclip.images.remote.finding import pictures

    typed = finder.is_typed(address)
    yield from pictures(address, finder.opening.network, finder.search, finder.passed_over, typed=typed)


# The first that claims a path has it.
SOURCES = (
    Source(_is_folder, _in_folder, of_files=True, may_be_table=True),
    Source(_is_archive, _archive),
    Source(_is_in_archive, _in_archive, is_one=True),
    Source(is_table, _table, may_be_table=True),
    Source(is_row, _table, is_one=True, may_be_table=True),
    Source(is_frame, _video, is_one=True),
    Source(is_video, _video),
    Source(_is_picture_at_address, _at_address, is_one=True),
    Source(is_address, _at_address),
    Source(lambda path: True, lambda path, finder: iter((File(path),)), of_files=True, is_one=True),
)


def source_of(path: str) -> Source:
    """The kind of input that a path is."""
    return next(source for source in SOURCES if source.claims(path))


def require_paths(paths: Iterable[str], network: Network | None = None) -> None:
    """Raise `InputError` for the first path that is not there, and for an address where no network may be used."""
    for path in paths:
        if is_address(path):
            (network or Network()).require_online(shown(path))
        elif "\0" in path or not (
            os.path.lexists(path) or _is_in_archive(path) or is_row(path) or os.path.lexists(file_of(path))
        ):
            remedy = f" Addresses begin with {':// '.join(SCHEMES[:-1])}://." if "://" in path else ""
            raise InputError(f"{path or repr(path)}: there is no such file or folder.{remedy}")


def require_files(path: str) -> None:
    """Raise `InputError` for a path to pictures that are no files of this machine."""
    if is_address(path):
        raise InputError(
            "files of this machine are sorted, and this is an address.",
            where=shown(path),
            remedy="Download them first.",
        )
    if is_table(path) or is_row(path):
        raise InputError("tables are not sorted.", where=path, remedy="Pass the paths of its pictures as a list (-).")
    if not source_of(path).of_files:
        raise InputError(
            "the pictures in it are no files of their own, to be linked, copied or moved.",
            where=path,
            remedy="Unpack it first." if _is_archive(path) or _is_in_archive(path) else "",
        )
