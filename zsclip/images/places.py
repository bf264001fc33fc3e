"""Where a file's bytes are, for what is larger than a picture: archives and tables, of which not all is read at once."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from typing import BinaryIO

from zsclip.errors import ImageError
from zsclip.images.files import KINDS, require_regular
from zsclip.images.item import Stamp


class Place(ABC):
    """A file or an object, by what the user calls it."""

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    def stamp(self) -> Stamp | None:
        """What tells that it is as it was; None if it cannot be told, or if it is not there."""

    @abstractmethod
    def open(self) -> BinaryIO:
        """A stream over its bytes from the first on, which need not be able to seek; raises `ImageError`, as may each read."""

    @abstractmethod
    def open_seekable(self) -> BinaryIO:
        """A stream over its bytes in any order; raises `ImageError`, as may each read."""


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


def place(name: str) -> Place:
    """The place that a path stands for."""
    return LocalFile(name)
