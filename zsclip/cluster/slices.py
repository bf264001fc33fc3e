"""The pictures of a part: what the plan says of them, as items and containers again."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from zsclip.cluster.plan import Slice
from zsclip.errors import ImageError
from zsclip.images.container import Container
from zsclip.images.files import File
from zsclip.images.folders import Search
from zsclip.images.item import Member, Unreadable
from zsclip.images.listing import Piece
from zsclip.images.opening import Opening
from zsclip.images.places import picture_at
from zsclip.images.reading import Reading
from zsclip.images.sources import Finder, source_of
from zsclip.images.tables.rows import Elsewhere


class Some(Container):
    """The members of a container at some positions only."""

    def __init__(self, whole: Container, positions: Collection[int]) -> None:
        super().__init__(whole.name)
        self._whole, self._positions = whole, positions

    def row_name(self, position: int, inner: str) -> str:
        """See `Container`."""
        return self._whole.row_name(position, inner)

    def prepare(self, reading: Reading) -> None:
        """See `Container`."""
        self._whole.prepare(reading)

    def members(self, wanted: Collection[int] | None = None) -> Iterator[Member]:
        """See `Container`."""
        return self._whole.members(self._positions if wanted is None else wanted)


@dataclass(frozen=True)
class Finding:
    """How folders and archives are searched, and what holds pictures is opened: the same in all parts of a run."""

    search: Search = field(default_factory=Search)
    opening: Opening = field(default_factory=Opening)

    def pieces(self, slices: Sequence[Slice]) -> Iterator[Piece]:
        """The pictures of slices, in order."""
        return (self._piece(one) for one in slices)

    def size(self, slices: Sequence[Slice]) -> int | None:
        """How many rows they lead to, unless a table breaks off; None where only opening an archive or a video would tell."""
        sizes = list(map(self._size, slices))
        return sum(one or 0 for one in sizes) if all(sizes) else None

    def chosen(self, slices: Sequence[Slice], places: Collection[int]) -> Iterator[Piece]:
        """Those at some places among the rows of slices whose `size` is known."""
        first = 0
        for one in slices:
            size = self._size(one)
            assert size is not None, one.path
            if one.rows is None:
                if first in places:
                    yield self._piece(one)
            elif rows := [row for row in range(*one.rows) if first + row - one.rows[0] in places]:
                yield Some(self._container(one.path, one.typed), rows)
            first += size

    def _size(self, one: Slice) -> int | None:
        if one.rows is not None:
            return one.rows[1] - one.rows[0]
        return None if isinstance(self._piece(one), Container) else 1

    def _piece(self, one: Slice) -> Piece:
        if one.error is not None:
            return Unreadable(one.name or one.path, ImageError(one.error[0], kind=one.error[1]))
        if one.name is not None:
            return Elsewhere(one.name, 0, "", picture_at(one.path, one.name, self.opening), one.path)
        if one.rows is not None:
            return Some(self._container(one.path, one.typed), range(*one.rows))
        return self._found(one.path, one.typed)

    def _container(self, path: str, typed: bool) -> Container:
        found = self._found(path, typed)
        assert isinstance(found, Container), path
        return found

    def _found(self, path: str, typed: bool) -> Piece:
        source = source_of(path)
        if source.of_files and not source.is_one:  # a folder, which took the place of what was planned
            return File(path)
        return next(source.items(path, Finder([path], self.search, self.opening, typed=(path,) if typed else ())))
