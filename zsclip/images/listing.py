"""Items as they become known: at once, or from a thread where the next may be long in coming."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from itertools import islice
from typing import Any

from zsclip.images.files import ImageSource, as_item
from zsclip.images.item import Item

_MOST_AHEAD = 4096
_FEW = 32
_WAIT_SECONDS = 0.02


class Listing:
    """Items of a source that has them at hand, such as folders on a disk; at most `window` of them are taken at once."""

    def __init__(self, items: Iterable[Item], window: int = 1024) -> None:
        self._items = iter(items)
        self.window = window
        self._returned: deque[Item] = deque()
        self.ended = False

    @classmethod
    def of(cls, sources: ImageSource | Iterable[ImageSource] | Listing) -> Listing:
        """A listing as it is; paths, Pillow images and items, or a single one, as a listing."""
        if isinstance(sources, Listing):
            return sources
        # A Pillow image is no iterable; a path is one, of its letters.
        many: Iterable[Any] = sources if isinstance(sources, Iterable) and not isinstance(sources, str) else [sources]
        # What a caller makes one by one may be slow to come, or large.
        return cls((as_item(source, number) for number, source in enumerate(many)), _FEW)

    def take(self, most: int) -> list[Item]:
        """Up to `most` of the next items. Fewer, perhaps none, where the next is not known yet, or at the end (`ended`)."""
        taken = [self._returned.popleft() for _ in range(min(most, len(self._returned)))]
        if len(taken) < most:
            taken += self._next(most - len(taken))
        return taken

    def is_empty(self) -> bool:
        """Whether there is no item at all; waits until that is known."""
        while not self._returned and not self.ended:
            self._returned.extend(self._next(1))
        self.ended = not self._returned  # what was returned is still to be taken
        return self.ended

    def close(self) -> None:
        """Look for no more."""

    def _next(self, most: int) -> list[Item]:
        taken = list(islice(self._items, most))
        self.ended = len(taken) < most
        return taken


class BackgroundListing(Listing):
    """Items of a source that may be slow, such as a list that another program is still writing: found on a thread."""

    def __init__(self, items: Iterable[Item]) -> None:
        super().__init__(items)
        self._known: deque[Item] = deque()
        self._changed = threading.Condition()
        self._exhausted = False
        self._error: BaseException | None = None
        threading.Thread(target=self._find, daemon=True, name="listing").start()

    def close(self) -> None:
        """See `Listing`. What is being waited for on the thread is waited for there; it holds up nothing."""
        with self._changed:
            self._exhausted = True
            self._changed.notify_all()

    def _find(self) -> None:
        try:
            for item in self._items:
                with self._changed:
                    self._known.append(item)
                    self._changed.notify_all()
                    self._changed.wait_for(lambda: len(self._known) < _MOST_AHEAD or self._exhausted)
                    if self._exhausted:
                        return
        except BaseException as error:  # carried over to the thread that takes
            self._error = error
        finally:
            self.close()

    def _next(self, most: int) -> list[Item]:
        with self._changed:
            self._changed.wait_for(lambda: self._known or self._exhausted, _WAIT_SECONDS)
            taken = [self._known.popleft() for _ in range(min(most, len(self._known)))]
            self._changed.notify_all()
            if self._exhausted and not self._known:
                if self._error is not None and not taken:
                    raise self._error
                self.ended = self._error is None
        return taken
