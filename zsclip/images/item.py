"""A picture: what it is called, a way to its bytes, and what tells that it is as it was."""

from __future__ import annotations

import os
from typing import NamedTuple


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
        return cls(
            name, status.st_size, _wrapped(status.st_mtime_ns), _wrapped(status.st_ctime_ns), _wrapped(status.st_ino)
        )


def _wrapped(number: int) -> int:
    """SQLite's integers end in the year 2262; what is beyond goes round to a time of its own."""
    return (number + (1 << 63)) % (1 << 64) - (1 << 63)
