"""What all tables have in common: rows by number, of which some may be wanted, with names, labels and pictures."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Collection, Iterator

from zsclip.errors import ImageError
from zsclip.images.container import Container
from zsclip.images.item import Member
from zsclip.images.opening import Opening
from zsclip.images.place import Place
from zsclip.images.places import picture_at, place
from zsclip.images.tables.rows import Elsewhere, Inside, NoPicture, beside

_ROW = re.compile(r"(.+)#(\d{1,18})\Z", re.DOTALL)


class Table(Container):
    """A table; rows are numbered from 0. With `only`, that row of it."""

    def __init__(self, name: str, opening: Opening, only: int | None = None, at: Place | None = None) -> None:
        self.place = at or place(name, opening)
        super().__init__(self.place.name if only is None else f"{self.place.name}#{only}")
        self.table = self.place.name
        self.opening = opening
        self.columns = opening.tables
        self._only = only
        self.reading = "&".join(filter(None, [str(self.columns), "" if only is None else f"row={only}"]))

    def row_name(self, position: int, inner: str) -> str:
        """See `Container`: the id, if the row has one."""
        return inner or f"{self.table}#{position}"

    def members(self, wanted: Collection[int] | None = None) -> Iterator[Member]:
        """See `Container`. Raises `InputError` where no column of pictures can be told."""
        found = False
        if self._only is None:
            for row in self.rows(wanted):
                found = True
                yield row
            if not found and wanted is None:  # no input goes without a row
                raise ImageError("no rows in it", kind="not_found")
            return
        for row in self.rows({self._only}):
            found = True
            yield row
        if not found:
            raise ImageError(f"it has no row {self._only}", kind="not_found")

    def row_groups(self) -> list[int] | None:
        """How many rows each of its groups has, which can be read without those before; None where rows are read from the first on.

        Raises `ImageError` where it cannot be read.
        """
        return None

    @abstractmethod
    def rows(self, wanted: Collection[int] | None = None) -> Iterator[Member]:
        """The rows, or the `wanted` ones, in order."""

    def row(self, position: int, inner: str, label: str | None, data: bytes | None, where: str | None) -> Member:
        """A row as a picture: by its bytes, else by where these are."""
        name = self.row_name(position, inner)
        made: Member
        if data is not None:
            made = Inside(name, position, inner, data) if data else self.fault(position, inner, "the picture is empty")
        elif where is None or not where.strip():
            made = self.fault(position, inner, "no picture in this row")
        else:
            try:
                where = beside(self.table, where)
                made = Elsewhere(name, position, inner, picture_at(where, name, self.opening), where)
            except ImageError as error:
                made = NoPicture(name, position, inner, error)
        made.label = label
        return made

    def fault(self, position: int, inner: str, why: str) -> Member:
        """A row that has no picture, and why."""
        return NoPicture(self.row_name(position, inner), position, inner, ImageError(why))


def split_row(path: str) -> tuple[str, int | None]:
    """A path as a table's and the number of a row in it, if it ends in one."""
    found = _ROW.match(path) if "#" in path else None
    return (found[1], int(found[2])) if found else (path, None)
