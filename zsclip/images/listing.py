"""Pictures as they become known: at once, or from a thread where the next may be long in coming."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from typing import Any, TypeAlias

from zsclip.images.container import Container
from zsclip.images.files import ImageSource, as_item
from zsclip.images.item import Item
from zsclip.images.siblings import Siblings

_MOST_AHEAD = 4096
_MOST_BYTES_AHEAD = 64_000_000
_FEW = 32
_WAIT_SECONDS = 0.02

Piece: TypeAlias = "Item | Siblings | Container"


class Listing:
    """Items, and files side by side, of a source that has them at hand, such as folders on a disk.

    At most `window` pictures are taken at once; `limit` is how many are wanted at all, from the beginning (None: all).
    """

    def __init__(self, pieces: Iterable[Piece], window: int = 1024, *, limit: int | None = None) -> None:
        self._pieces = iter(pieces)
        self.window = window
        self._returned: deque[Piece] = deque()
        self._exhausted = False
        self.limit = limit

    @classmethod
    def of(cls, sources: ImageSource | Iterable[ImageSource] | Listing) -> Listing:
        """A listing as it is; paths, Pillow images and items, or a single one, as a listing."""
        if isinstance(sources, Listing):
            return sources
        # A Pillow image is no iterable; a path is one, of its letters.
        many: Iterable[Any] = sources if isinstance(sources, Iterable) and not isinstance(sources, str) else [sources]
        # What a caller makes one by one may be slow to come, or large.
        return cls((as_item(source, number) for number, source in enumerate(many)), _FEW)

    @property
    def ended(self) -> bool:
        """Whether all was taken; an error of the source comes out of `take`."""
        return self._exhausted and not self._returned

    def take(self, most: int) -> list[Piece]:
        """The next pictures, up to `most`. Fewer, perhaps none, where the next is not known yet, or at the end (`ended`).

        What is side by side stays so if it fits into `most`, so that a folder is asked about once.
        """
        if (missing := most - sum(map(size, self._returned))) > 0:
            self._returned.extend(self._next(missing))
        taken: list[Piece] = []
        while self._returned and most:
            piece = self._returned[0]
            if isinstance(piece, Siblings) and len(piece) > most:
                if not taken:
                    taken, self._returned[0] = [piece[:most]], piece[most:]
                break
            taken.append(self._returned.popleft())
            most -= size(piece)
        return taken

    @property
    def is_running(self) -> bool:
        """Whether more is being looked for in the background."""
        return False

    @property
    def total(self) -> int | None:
        """How many pictures there are, once it is known; never of what is found as it is taken, or lies in containers."""
        return None

    def is_empty(self) -> bool:
        """Whether there is no picture at all; waits until that is known."""
        while not self._returned and not self._exhausted:
            self._returned.extend(self._next(1))
        return self.ended

    def close(self) -> None:
        """Look for no more."""

    def _next(self, most: int) -> list[Piece]:
        """More pieces, of `most` pictures together if so many are known."""
        found: list[Piece] = []
        while most > 0 and not self._exhausted:
            piece = next(self._pieces, None)
            if piece is None:
                self._exhausted = True
            else:
                found.append(piece)
                most -= size(piece)
        return found


def size(piece: Piece) -> int:
    """How many pictures that is; of a container, which is opened later, nobody knows: one."""
    return len(piece) if isinstance(piece, Siblings) else 1


def held(piece: Piece) -> int:
    """How many bytes of pictures it has in memory."""
    return piece.held if isinstance(piece, Item) else 0


class BackgroundListing(Listing):
    """Items of a source that may be slow, such as a list that another program is still writing: found on a thread."""

    def __init__(self, pieces: Iterable[Piece], *, limit: int | None = None) -> None:
        super().__init__(pieces, limit=limit)
        self._count: int | None = 0
        self._total: int | None = None
        self._known: deque[Piece] = deque()
        self._held = 0  # bytes, of what is known
        self._changed = threading.Condition()
        self._found_all = False
        self._error: BaseException | None = None
        threading.Thread(target=self._find, daemon=True, name="listing").start()

    @property
    def is_running(self) -> bool:
        """See `Listing`."""
        return not self._found_all

    @property
    def total(self) -> int | None:
        """See `Listing`."""
        return self._total

    def close(self) -> None:
        """See `Listing`. What is being waited for on the thread is waited for there; it holds up nothing."""
        with self._changed:
            self._found_all = True
            self._changed.notify_all()

    def _find(self) -> None:
        try:
            for piece in self._pieces:
                with self._changed:
                    self._known.append(piece)
                    self._count = (
                        None if self._count is None or isinstance(piece, Container) else self._count + size(piece)
                    )
                    self._held += held(piece)
                    self._changed.notify_all()
                    self._changed.wait_for(lambda: self._has_room() or self._found_all)
                    if self._found_all:
                        return
            self._total = self._count
        except BaseException as error:  # carried over to the thread that takes
            self._error = error
        finally:
            self.close()

    def _has_room(self) -> bool:
        return len(self._known) < _MOST_AHEAD and self._held < _MOST_BYTES_AHEAD

    def _next(self, most: int) -> list[Piece]:
        with self._changed:
            self._changed.wait_for(lambda: self._known or self._found_all, _WAIT_SECONDS)
            taken = [self._known.popleft() for _ in range(min(most, len(self._known)))]
            self._held -= sum(map(held, taken))
            self._changed.notify_all()
            if self._found_all and not self._known:
                if self._error is not None and not taken:
                    raise self._error
                self._exhausted = self._error is None
        return taken
