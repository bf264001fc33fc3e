"""Pictures that data names: a path in the row of a table, or in a list."""

from __future__ import annotations

from zsclip.errors import ImageError
from zsclip.images.files import File
from zsclip.images.item import Item, Unreadable
from zsclip.images.opening import Opening


def picture_at(where: str, name: str, opening: Opening) -> Item:  # noqa: ARG001
    """The picture at a path or address that stands in data and that a row calls `name`; what cannot be had says why when it is read."""
    if "://" in where:
        return Unreadable(name, ImageError("addresses are not read", kind="other"))
    return File(where)
