"""A picture: what it is called, a way to its bytes, and what tells that it is as it was."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from PIL.Image import Image

    from zsclip.errors import ImageError


class Stamp(NamedTuple):
    """What tells, without reading it, that a picture is as it was.

    `name` is an absolute path or an address. A local file has its size and time of change, and the two that change when
    its time is set back: change time and inode. `version` is what a server says of an object (its ETag or version).
    """

    name: bytes
    size: int
    mtime_ns: int
    ctime_ns: int = 0
    inode: int = 0
    version: str = ""

    @classmethod
    def of_file(cls, path: str | os.PathLike[str], status: os.stat_result) -> Stamp:
        """The stamp of a file with that status."""
        name = os.fsencode(os.path.abspath(path))
        modified, changed, inode = status.st_mtime_ns, status.st_ctime_ns, status.st_ino
        return cls(name, status.st_size, wrapped(modified), wrapped(changed), wrapped(inode))


_END = 1 << 63  # of SQLite's integers: as nanoseconds, the year 2262


def wrapped(number: int) -> int:
    """A number as one of SQLite's integers; what is beyond them goes round to a number of its own."""
    return number if -_END <= number < _END else (number + _END) % (2 * _END) - _END


@dataclass(frozen=True, slots=True)
class Contents:
    """What was read of a picture: a file's bytes with the stamp they had, or an image that is decoded already."""

    data: bytes = b""
    stamp: Stamp | None = None
    image: Image | None = None
    depth: int | None = None  # of an image: the bits of deep grey that its file declared
    digest: bytes | None = None  # of an image: what its vector is kept by; none is kept without


class Item(ABC):
    """A picture before it is read. `name` is what its row says, and what can be given back as an input.

    `label` is the one that its source says it has, as for `evaluate`. `held` is how many bytes it has in memory until it is read.
    `elsewhere` is what a container only names: its own stamp tells whether it is as it was, not the container's.
    One that is `remote` is waited for: many of those are read at once.
    """

    label: str | None = None
    held: int = 0
    elsewhere: bool = False
    remote: bool = False

    def __init__(self, name: str) -> None:
        self.name = name

    def stamp(self) -> Stamp | None:
        """The stamp as it is now, without reading the picture; None where nothing can tell."""
        return None

    def prepare(self) -> None:  # noqa: B027  (most have nothing to prepare)
        """Called shortly before `read`, on the thread that takes the items."""

    @property
    def origin(self) -> Item:
        """The picture itself, of what only names it."""
        return self

    @abstractmethod
    def read(self, max_pixels: int) -> Contents:
        """Read the picture, unless it is larger than may be decoded; raises `ImageError`. Called on a thread."""


class Revalidated(Item):
    """A picture of which only its server can tell whether it is as it was, when it is asked for.

    `key` is what the store knows it by: the `name` of its stamps.
    """

    key: bytes
    remote = True

    @abstractmethod
    def read_unless(self, kept: Stamp | None, max_pixels: int) -> Contents | None:
        """As `read`; None if it is as it was when it had the stamp `kept`."""

    def read(self, max_pixels: int) -> Contents:
        """See `Item`."""
        contents = self.read_unless(None, max_pixels)
        assert contents is not None
        return contents


class Member(Item):
    """A picture that is a part of something, at a `position` in it, where it is called `inner`."""

    def __init__(self, name: str, position: int, inner: str) -> None:
        super().__init__(name)
        self.position = position
        self.inner = inner


class Unreadable(Item):
    """What stands where a picture cannot be had, and why."""

    def __init__(self, name: str, error: ImageError) -> None:
        super().__init__(name)
        self._error = error

    def read(self, max_pixels: int) -> Contents:  # noqa: ARG002
        """See `Item`."""
        raise self._error
