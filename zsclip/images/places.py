"""What a name stands for: a file of this machine or an address, as bytes or as a picture."""

from __future__ import annotations

import os
from typing import BinaryIO

from zsclip.errors import ImageError
from zsclip.images.files import KINDS, File, require_regular
from zsclip.images.item import Item, Stamp
from zsclip.images.opening import Opening
from zsclip.images.place import Place
from zsclip.images.remote.addresses import is_address

__all__ = ["LocalFile", "Place", "picture_at", "place"]


class LocalFile(Place):
    """A file of this machine."""

    def stamp(self) -> Stamp | None:
        """See `Place`."""
        try:
            return Stamp.of_file(self.name, os.stat(self.name))
        except (OSError, ValueError):
            return None

    def open(self) -> BinaryIO:
        """See `Place`. Pipes and devices are never opened."""
        try:
            require_regular(os.stat(self.name).st_mode, self.name)
            return open(self.name, "rb")
        except OSError as error:
            raise ImageError(error.strerror or str(error), kind=KINDS.get(type(error), "other")) from None
        except ValueError:
            raise ImageError("not a path (it holds a NUL byte)", kind="not_found") from None

    def open_seekable(self) -> BinaryIO:
        """See `Place`."""
        return self.open()


def place(name: str, opening: Opening | None = None, *, typed: bool = True) -> Place:
    """The place that a path or an address stands for. Its own name has no secrets in it.

    `typed`: it comes from the user and not out of data.
    Raises `InputError` for an address that cannot be asked at all.
    """
    if not is_address(name):
        return LocalFile(name)
    from zsclip.images.remote.finding import remote_place

    return remote_place(name, (opening or Opening()).network, typed=typed)


def picture_at(where: str, name: str, opening: Opening) -> Item:
    """The picture at a path or an address that stands in data, such as a table; its row says `name`.

    An address may not lead to this machine or a private network, unless that is allowed.
    """
    if not is_address(where):
        return File(where, name)
    from zsclip.images.remote.finding import picture

    return picture(where, name, opening.network, typed=False)
