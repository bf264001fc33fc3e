"""Where pictures may be: a table of kinds of input, each with the paths that it claims and the items they lead to."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field

from zsclip.errors import InputError
from zsclip.images.container import Container
from zsclip.images.files import File
from zsclip.images.folders import PassedOver, Search, Walk
from zsclip.images.item import Item
from zsclip.images.listing import Piece
from zsclip.images.opening import Opening
from zsclip.images.remote.addresses import SCHEMES, is_address, shown
from zsclip.images.remote.settings import Network
from zsclip.images.siblings import Siblings


@dataclass
class Finder:
    """The items that `paths` lead to, found lazily, in order; iterating again finds them again.

    Folders are searched as `search` says, what holds pictures is opened as `opening` says. What was named itself counts whatever
    it is called, a file even if it is not there (its row will say so). `passed_over` counts what is not taken. Addresses that are not
    among `typed` (None: all are) stand in data, and may not lead into private networks.
    """

    paths: Iterable[str]
    search: Search = field(default_factory=Search)
    opening: Opening = field(default_factory=Opening)
    passed_over: PassedOver = field(default_factory=PassedOver)
    typed: Collection[str] | None = None

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
    for piece in Walk(path, finder.search, finder.passed_over).pieces():
        yield File(piece) if isinstance(piece, str) else piece


def _is_folder(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


def _at_address(address: str, finder: Finder) -> Iterator[Piece]:
    from zsclip.images.remote.finding import pictures

    is_typed = finder.typed is None or address in finder.typed
    yield from pictures(address, finder.opening.network, finder.search, finder.passed_over, typed=is_typed)


# The first that claims a path has it.
SOURCES = (
    Source(is_address, _at_address),
    Source(_is_folder, _in_folder),
    Source(lambda path: True, lambda path, finder: iter((File(path),))),
)


def require_paths(paths: Iterable[str], network: Network | None = None) -> None:
    """Raise `InputError` for the first path that is not there, and for an address where no network may be used."""
    for path in paths:
        if is_address(path):
            (network or Network()).require_online(shown(path))
        elif "\0" in path or not os.path.lexists(path):
            remedy = f" Addresses begin with {':// '.join(SCHEMES[:-1])}://." if "://" in path else ""
            raise InputError(f"{path or repr(path)}: there is no such file or folder.{remedy}")
