"""Bytes that come one after the other: counted, bounded, unpacked."""

from __future__ import annotations

import io
import os
import re
import zlib
from typing import Any, BinaryIO

from zsclip.errors import ImageError
from zsclip.images.archives.archive import ArchiveError

GZIP = b"\x1f\x8b"
_CHUNK = 1 << 18
# On which regular expressions of the standard library spend their square, before Python 3.11.10 and 3.12.6 (CVE-2024-6232).
_TOO_MANY_DIGITS = re.compile(rb"\d{300}")


class Stream:
    """A source from its beginning. With a `budget`, no more than that is read; `ended` says that it was read to its end.

    Raises `ArchiveError` wherever the source cannot be read.
    """

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._peeked = b""
        self.position = 0
        self.budget: int | None = None
        self.ended = False
        self.seekable = isinstance(source, io.BufferedReader) and source.seekable()  # what is remote is read in order

    @classmethod
    def unpacked(cls, packed: Stream) -> Stream:
        """What a stream of gzip holds, as another stream."""
        return cls(io.BufferedReader(Gunzip(packed), _CHUNK))

    def tell(self) -> int:
        """As a file does."""
        return self.position

    def read(self, most: int = -1) -> bytes:
        """So many bytes, or what there is until the end."""
        if self.budget is not None:
            if not 0 <= most <= self.budget:
                raise ArchiveError(
                    f"damaged: names of {most:,} bytes at byte {self.position:,}, more than are read of one member"
                )
            self.budget -= most
            data = self._read(most)
            if _TOO_MANY_DIGITS.search(data):
                raise ArchiveError(f"damaged: no sound header at byte {self.position:,}")
            return data
        return self._read(most)

    def _read(self, most: int) -> bytes:
        parts, missing = [], most
        while missing > 0:
            part = self._next(missing)
            if not part:
                self.ended = True
                break
            parts.append(part)
            missing -= len(part)
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        self.position += len(data)
        return data

    def peek(self, length: int) -> bytes:
        """The next bytes, which come again."""
        data = self.read(length)
        self._peeked, self.position, self.ended = data + self._peeked, self.position - len(data), False
        return data

    def take(self, length: int, name: str) -> bytes:
        """So many bytes, of a member of that name."""
        data = self.read(length)
        if len(data) < length:
            raise ArchiveError(f"ends within {name}: it was cut off, and what came after that is missing")
        return data

    def skip_to(self, position: int) -> None:
        """Go on there, or at the end."""
        if self.seekable and position - self.position > _CHUNK and not self._peeked:
            self.return_to(position)
        while self.position < position and self.read(min(_CHUNK, position - self.position)):
            pass

    def return_to(self, position: int) -> None:
        """Go to a place of a source that is `seekable`."""
        self._source.seek(position)
        self.position = position

    def read_at(self, position: int, length: int) -> bytes:
        """Bytes from elsewhere in a source that is `seekable`; where the stream is then is up to the caller."""
        self.return_to(position)
        return self.read(length)

    def _next(self, most: int) -> bytes:
        if self._peeked:
            part, self._peeked = self._peeked[:most], self._peeked[most:]
            return part
        try:
            return self._source.read(most)
        except ArchiveError:
            raise
        except ImageError as error:
            raise ArchiveError(str(error), kind=error.kind) from None
        except OSError as error:
            raise ArchiveError(error.strerror or str(error), kind="other") from None
        except MemoryError:
            raise ArchiveError("too large to read", kind="too_large") from None


class Gunzip(io.RawIOBase):
    """What a stream of gzip holds, one or several in a row; what follows them is left alone."""

    def __init__(self, packed: Stream) -> None:
        self._packed = packed
        self._waiting = b""
        self._gzip = zlib.decompressobj(wbits=31)
        self._damaged: ArchiveError | None = None

    def readable(self) -> bool:
        """See `io`."""
        return True

    def readinto(self, buffer: Any) -> int:
        """See `io`."""
        while True:
            if self._gzip.eof:
                rest = self._waiting + self._packed.read(max(0, len(GZIP) - len(self._waiting)))
                if not rest.startswith(GZIP):
                    return 0
                self._gzip, self._waiting = zlib.decompressobj(wbits=31), rest
            if self._damaged is not None:
                raise self._damaged
            packed = self._waiting or self._packed.read(_CHUNK)
            if not packed:
                raise ArchiveError("its gzip ends too early: it was cut off, and what came after that is missing")
            before = self._gzip.copy()
            try:
                data = self._gzip.decompress(packed, len(buffer))
            except zlib.error as error:
                self._damaged = ArchiveError(f"its gzip is damaged ({str(error).rpartition(': ')[2]})")
                data = _until_damage(before, packed)
            self._waiting = self._gzip.unused_data if self._gzip.eof else self._gzip.unconsumed_tail
            if data:
                buffer[: len(data)] = data
                return len(data)


def _until_damage(gzip: Any, packed: bytes) -> bytes:
    data = b""
    try:
        for place in range(len(packed)):
            data += gzip.decompress(packed[place : place + 1])
    except zlib.error:
        pass
    return data


class Window(io.RawIOBase):
    """A part of a stream that is `seekable`, as a file."""

    def __init__(self, stream: Stream, start: int, size: int) -> None:
        self._stream, self._start, self._size = stream, start, size
        self._at = 0

    def seekable(self) -> bool:
        """See `io`."""
        return True

    def readable(self) -> bool:
        """See `io`."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """See `io`."""
        self._at = max(0, offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence])
        return self._at

    def tell(self) -> int:
        """See `io`."""
        return self._at

    def readinto(self, buffer: Any) -> int:
        """See `io`."""
        data = self._stream.read_at(self._start + self._at, max(0, min(len(buffer), self._size - self._at)))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
