"""Objects that are not on this machine as streams: from the beginning, going on where a connection broke, or in any order."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Generator
from typing import BinaryIO, NamedTuple, cast

from zsclip.errors import ImageError
from zsclip.images.item import Stamp
from zsclip.images.place import Place

_BLOCK = 1 << 20
_BLOCKS_KEPT = 32
_MOST_RESUMED = 5  # times in a row without a byte between them


class Head(NamedTuple):
    """What a server says of an object without sending it: its bytes, and what tells this state of it from another."""

    size: int
    version: str


class RemotePlace(Place, ABC):
    """An object at an address. What is read of it is of one version; if it changes meanwhile, that is an error."""

    _known: Head | None = None

    @abstractmethod
    def head(self) -> Head:
        """Ask for its size and version; raises `ImageError`."""

    @abstractmethod
    def chunks(self, start: int, version: str) -> Generator[bytes, None, None]:
        """Its bytes from a position on; raises `ImageError`, of the kinds `network` and `timeout` for what may pass."""

    @abstractmethod
    def part(self, start: int, end: int, version: str) -> bytes:
        """Its bytes from `start` to before `end`; raises `ImageError`."""

    def stamp(self) -> Stamp | None:
        """See `Place`."""
        try:
            self._known = head = self.head()
        except ImageError:
            return None
        return (
            Stamp(self.name.encode("utf-8", "surrogateescape"), head.size, 0, version=head.version)
            if head.version
            else None
        )

    def open(self) -> BinaryIO:
        """See `Place`."""
        return cast("BinaryIO", io.BufferedReader(_Forward(self, self._head_once()), _BLOCK))

    def open_seekable(self) -> BinaryIO:
        """See `Place`."""
        return cast("BinaryIO", io.BufferedReader(_Blocks(self, self._head_once()), 1 << 16))

    def _head_once(self) -> Head:
        """What its stamp was made of, if that was asked for just before; so what is read is what the stamp says."""
        head, self._known = self._known, None
        return head or self.head()


class _Forward(io.RawIOBase):
    """A stream that cannot seek."""

    def __init__(self, source: RemotePlace, head: Head) -> None:
        self._source, self._head = source, head
        self._position = 0
        self._rest = memoryview(b"")
        self._chunks: Generator[bytes, None, None] | None = None
        self._failed = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        into = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        while not self._rest and self._position < self._head.size:
            self._receive()
        size = min(len(into), len(self._rest))
        into[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size

    def _receive(self) -> None:
        try:
            self._chunks = self._chunks or self._source.chunks(self._position, self._head.version)
            chunk = next(self._chunks, b"")
            if not chunk:
                raise ImageError("the connection was cut in the middle", kind="network")
        except ImageError as error:
            self._give_up()
            self._failed += 1
            if error.kind not in ("network", "timeout") or self._failed > _MOST_RESUMED:
                raise
            return
        self._failed = 0
        self._position += len(chunk)
        self._rest = memoryview(chunk)

    def _give_up(self) -> None:
        if self._chunks is not None:
            self._chunks.close()
            self._chunks = None

    def close(self) -> None:
        self._give_up()
        super().close()


class _Blocks(io.RawIOBase):
    """A stream that can seek: blocks of a megabyte, the last of which are kept."""

    def __init__(self, source: RemotePlace, head: Head) -> None:
        self._source, self._head = source, head
        self._position = 0
        self._kept: OrderedDict[int, bytes] = OrderedDict()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._head.size}[whence]
        if start + offset < 0:
            raise ValueError("before the beginning")
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: object) -> int:
        into = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        if self._position >= self._head.size or not len(into):
            return 0
        number, start = divmod(self._position, _BLOCK)
        # What is asked for at once, as a row group or a member, comes in one request.
        end = min(self._head.size, max(self._position + len(into), (number + 1) * _BLOCK))
        block = self._block(number) if number in self._kept or end <= (number + 1) * _BLOCK else None
        data = memoryview(self._source.part(self._position, end, self._head.version) if block is None else block)
        data = data[start if block is not None else 0 :][: len(into)]
        if not data:
            raise ImageError("the server sent less than it has", kind="network")
        into[: len(data)] = data
        self._position += len(data)
        return len(data)

    def _block(self, number: int) -> bytes:
        if number not in self._kept:
            start = number * _BLOCK
            self._kept[number] = self._source.part(start, min(self._head.size, start + _BLOCK), self._head.version)
            if len(self._kept) > _BLOCKS_KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(number)
        return self._kept[number]
