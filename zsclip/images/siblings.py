"""Files of one folder, handled together: names and arrays of stamps instead of an object a file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from zsclip.images.item import Stamp, wrapped

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_ABSENT = (-1, 0, 0, 0)  # no file has such a size


@dataclass(frozen=True, slots=True)
class Siblings:
    """Local files of one folder in the order of the input, each name once; a path is `prefix` and the name."""

    prefix: str
    names: list[str]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, part: slice) -> Siblings:
        return Siblings(self.prefix, self.names[part])

    @property
    def paths(self) -> list[str]:
        """Their paths, as rows say them."""
        return [self.prefix + name for name in self.names]

    def stamps(self) -> SiblingStamps:
        """Their stamps as they are now, without reading the files."""
        import numpy as np

        seen = [_status(path) for path in self.paths]
        try:
            numbers = np.fromiter(chain.from_iterable(seen), np.int64, 4 * len(seen))
        except OverflowError:
            numbers = np.array([wrapped(number) for number in chain.from_iterable(seen)], np.int64)
        # The folder is not to be cut to its parent, nor a root to nothing.
        folder = os.fsencode(os.path.join(os.path.abspath(self.prefix or os.curdir), ""))
        return SiblingStamps(folder, os.fsencode("\0".join(self.names)).split(b"\0"), numbers.reshape(-1, 4))


def _status(path: str) -> tuple[int, int, int, int]:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return _ABSENT
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


@dataclass(frozen=True, slots=True)
class SiblingStamps:
    """Stamps of files of one folder: its absolute path with the last separator, the names, and int64 (n, 4) of sizes, times of
    modification, change times and inodes, as in `Stamp`. The size of a file that is not there is -1.
    """

    folder: bytes
    names: list[bytes]
    numbers: NDArray[np.int64]

    def stamp(self, place: int) -> Stamp | None:
        """The stamp of one of them; None for a file that is not there."""
        size, *others = self.numbers[place].tolist()
        return None if size < 0 else Stamp(self.folder + self.names[place], size, *others)
