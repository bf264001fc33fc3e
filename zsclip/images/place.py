"""Where a file's bytes are, for what is larger than a picture: archives and tables, of which not all is read at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import BinaryIO

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
