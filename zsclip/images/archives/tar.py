"""Tar archives, plain or with gzip, read from the first byte to the last without an index.

The standard library reads the headers. What follows one it decides here: its own loop takes a corrupt header in the middle, or
a cut in or before one, for the end.
"""

from __future__ import annotations

import io
import logging
import tarfile
from collections.abc import Iterator
from contextlib import closing
from functools import partial

from zsclip.errors import ImageError
from zsclip.images.archives.archive import HEAD_BYTES, Archive, ArchiveError, Found, require_picture
from zsclip.images.archives.streams import GZIP, Stream, Window
from zsclip.images.files import LARGE_FILE_BYTES, require_size

_MOST_OF_HEADERS = 300_000  # bytes, of one member: names and what else is said of it
_MOST_AFTER_END = 1_000_000  # bytes; mostly they are zeros, up to 10 KB
_MOST_OF_ALL = 1 << 62  # bytes; beyond 63 bits nothing can be looked for
_BLOCK = tarfile.BLOCKSIZE
logger = logging.getLogger("zsclip")
# What the standard library raises for headers that make no sense.
_SENSELESS = (tarfile.HeaderError, ValueError, IndexError, OverflowError, RecursionError)


class Tar(Archive):
    """See `Archive`."""

    is_stream = True

    def found(self) -> Iterator[Found]:
        """See `Archive`."""
        try:
            with closing(self.place.open()) as raw:
                stream = Stream(raw)
                if stream.peek(len(GZIP)) == GZIP:
                    stream = Stream.unpacked(stream)
                headers = _Headers(stream)
                for position, info in enumerate(headers):
                    if not info.isdir():
                        yield Found(position, info.name, info.size, partial(_read, stream, info, headers.offset))
                if _is_followed(stream):
                    logger.warning("%s: another archive follows its end mark. It is not read.", self.path)
        except ArchiveError:
            raise
        except ImageError as error:  # of the place
            raise ArchiveError(str(error), kind=error.kind) from None


class _Headers(tarfile.TarFile):
    """The headers of a stream, each once; between them it may be read to `offset`, where the next one begins."""

    def __init__(self, stream: Stream) -> None:  # not that of `TarFile`, which reads the first header
        self._stream = stream
        self.fileobj = stream  # type: ignore[assignment]
        self.encoding, self.errors = "utf-8", "surrogateescape"
        self.pax_headers: dict[str, str] = {}
        self.offset = 0

    def __iter__(self) -> Iterator[tarfile.TarInfo]:
        position = 0
        while (info := self._header()) is not None:
            yield info
            end = info.offset_data + info.size
            if info.isreg() and not info.sparse and self._stream.position < end <= self.offset:
                self._stream.skip_to(end - 1)
                if not self._stream.read(1):
                    cut = ArchiveError(_cut(f"ends within {info.name}"))
                    cut.within = position
                    raise cut
            self._stream.skip_to(self.offset)
            position += 1

    def _header(self) -> tarfile.TarInfo | None:
        """The next one; None at the end, which two empty blocks are."""
        at, self._stream.budget = self.offset, _MOST_OF_HEADERS
        try:
            info = tarfile.TarInfo.fromtarfile(self)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            if self._stream.read(_BLOCK).strip(b"\0"):
                raise ArchiveError(f"damaged: an empty header at byte {at:,}, and more after it") from None
            return None
        except tarfile.EmptyHeaderError:  # type: ignore[attr-defined]
            raise ArchiveError(
                _cut(f"ends without an end mark, where a header should be at byte {at:,}")
                if at
                else "the file is empty"
            ) from None
        except tarfile.TruncatedHeaderError:  # type: ignore[attr-defined]
            raise ArchiveError(_cut(f"ends within the header at byte {at:,}") if at else "no tar archive") from None
        except tarfile.SubsequentHeaderError:  # type: ignore[attr-defined]
            what = f"the header at byte {at:,} is not followed by that of its member"
            raise ArchiveError(_cut(what) if self._stream.ended else f"damaged: {what}") from None
        except _SENSELESS:
            raise ArchiveError(f"damaged: no sound header at byte {at:,}" if at else "no tar archive") from None
        finally:
            self._stream.budget = None
        if info.size < 0 or not self._stream.position <= self.offset < _MOST_OF_ALL:
            raise ArchiveError(f"damaged: the header at byte {at:,} declares a size that no file has")
        if self.pax_headers and sum(map(len, self.pax_headers.values())) > _MOST_OF_HEADERS:
            raise ArchiveError(f"damaged: more than {_MOST_OF_HEADERS:,} bytes said of all members")
        return info


def _is_followed(stream: Stream) -> bool:
    """Whether another archive was appended to one that has ended. Reading on also checks gzip's sum of all, which comes last."""
    rest = stream.read(_MOST_AFTER_END)
    start = (len(rest) - len(rest.lstrip(b"\0"))) // _BLOCK * _BLOCK
    return rest[start : start + _BLOCK][257:262] == b"ustar"


def _cut(what: str) -> str:
    return f"{what}: it was cut off, and what came after that is missing"


def _read(stream: Stream, info: tarfile.TarInfo, end: int, max_pixels: int) -> bytes:
    if info.sparse is not None:
        raise ImageError("a sparse file, of which archives hold parts only; those are not read", kind="other")
    if info.islnk() or info.issym():
        raise ImageError(f"a link (to {info.linkname}); links in archives are not followed", kind="other")
    if not info.isreg() and info.type in tarfile.SUPPORTED_TYPES:
        raise ImageError("not a regular file", kind="other")
    require_size(info.size)
    start = info.offset_data
    if start != stream.position or start + info.size > end:
        raise ImageError("damaged: its headers contradict each other about its size")
    head = b""
    if info.size > LARGE_FILE_BYTES:
        head = stream.take(HEAD_BYTES, info.name)
        whole = io.BufferedReader(Window(stream, start, info.size)) if stream.seekable else None
        try:
            require_picture(head, info.size, max_pixels, whole)
        except ImageError as error:
            if error.kind != "too_large" or (whole is None and head[:2] in (b"II", b"MM")):
                raise
            # Here nobody knows how many pixels may be decoded; the decoder does.
        if whole is not None:
            stream.return_to(start + len(head))
    return head + stream.take(info.size - len(head), info.name)
