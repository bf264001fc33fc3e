"""Rows of tables as pictures: with their bytes, with the place where these are, or with the reason why there is none."""

from __future__ import annotations

import os

from zsclip.errors import ImageError
from zsclip.images.item import Contents, Item, Member, Stamp
from zsclip.images.remote.addresses import is_address


class Inside(Member):
    """A picture whose bytes are in the row. They are given once."""

    def __init__(self, name: str, position: int, inner: str, data: bytes) -> None:
        super().__init__(name, position, inner)
        self._data = data
        self.held = len(data)

    def read(self, max_pixels: int) -> Contents:  # noqa: ARG002
        """See `Item`."""
        data, self._data = self._data, b""
        return Contents(data)


class Elsewhere(Member):
    """A picture that the row names, and that is as it was if the picture itself is, whatever became of the table.

    `where` is its path or address, secrets included.
    """

    elsewhere = True

    def __init__(self, name: str, position: int, inner: str, picture: Item, where: str) -> None:
        super().__init__(name, position, inner)
        self._picture = picture
        self.where = where
        self.remote = picture.remote
        self._path = "" if "://" in where else f"{where}: "  # an address may have secrets in it

    @property
    def origin(self) -> Item:
        """See `Item`."""
        return self._picture

    def stamp(self) -> Stamp | None:
        """See `Item`."""
        return self._picture.stamp()

    def prepare(self) -> None:
        """See `Item`."""
        self._picture.prepare()

    def read(self, max_pixels: int) -> Contents:
        """See `Item`."""
        try:
            return self._picture.read(max_pixels)
        except ImageError as error:
            raise ImageError(f"{self._path}{error}", kind=error.kind) from None


class NoPicture(Member):
    """A row without a picture, or whose picture cannot be had, and why."""

    def __init__(self, name: str, position: int, inner: str, error: ImageError) -> None:
        super().__init__(name, position, inner)
        self.error = error

    def read(self, max_pixels: int) -> Contents:  # noqa: ARG002
        """See `Item`."""
        raise self.error


def beside(table: str, where: str) -> str:
    """Where a row's path or address leads: paths start at the table's folder. Raises `ImageError` for what may not be followed."""
    if is_address(where):
        return where
    if not is_address(table):
        return os.path.join(os.path.dirname(table), where)
    # A table from elsewhere says nothing about the files of this machine.
    if where.startswith(("/", "\\")) or ":" in where.partition("/")[0]:
        raise ImageError("a path of some machine, in a table that is not on this one", kind="denied")
    address, _, _ = table.partition("?")
    return f"{address.rpartition('/')[0]}/{where}"
