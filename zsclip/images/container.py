"""What many pictures are parts of: an archive, a table, a video."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from zsclip.images.item import Member, Stamp

if TYPE_CHECKING:
    from zsclip.images.reading import Reading


class Container(ABC):
    """Pictures in one file or object. `name` is what was named to get at it.

    `reading` says how it is read, where other ways make other pictures of it ("every=2"), so that its list of members is not
    taken for another's.
    """

    reading = ""

    def __init__(self, name: str) -> None:
        self.name = name

    def stamp(self) -> Stamp | None:
        """What tells, without reading it, that it is as it was; None where nothing can."""
        return None

    def row_name(self, position: int, inner: str) -> str:  # noqa: ARG002
        """What the row of a member says."""
        return f"{self.name}/{inner}"

    def labelled(self) -> Iterator[tuple[str, str | None]]:
        """What the row of each of its pictures says, in the order of `members`, and the label that its source has for it.

        No pictures are read where that can be avoided. Raises `ImageError` where `members` would.
        """
        return ((member.name, member.label) for member in self.members())

    def prepare(self, reading: Reading) -> None:  # noqa: B027  (most do not decode)
        """Told, before `members`, how pictures are read: what decodes by itself keeps to the same limits."""

    @abstractmethod
    def members(self, wanted: Collection[int] | None = None) -> Iterator[Member]:
        """Its pictures, by ascending position; of all, or of those at the `wanted` positions.

        Called on a thread. Once it ends by itself, the list is complete and is kept. Raises `ImageError` where it cannot
        be read any further, which becomes a row.
        """
