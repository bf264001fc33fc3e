"""Zip archives, by their directory; members are read where they are decoded, several at once."""

from __future__ import annotations

import io
import lzma
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from functools import partial
from typing import Any, BinaryIO

from zsclip.errors import ImageError
from zsclip.images.archives.archive import HEAD_BYTES, Archive, ArchiveError, Found, require_picture
from zsclip.images.files import LARGE_FILE_BYTES, require_size

_MOST_OF_DIRECTORY = 100_000_000  # bytes, at 46 and the name a member; in memory a member takes 0.6 KB
_MOST_PACKED = 1032  # times what it takes: no byte of deflate becomes more
_LOCAL_HEADER = 30  # bytes, and the name
_UTF8, _ENCRYPTED = 0x800, 0x1
_METHODS = {1: "shrunk", 6: "imploded", 9: "Deflate64", 93: "Zstandard", 95: "XZ", 96: "JPEG", 98: "PPMd", 99: "AES"}
# What the standard library raises for what makes no sense.
_SENSELESS = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, ValueError, OverflowError, IndexError,
)  # fmt: skip


class Zip(Archive):
    """See `Archive`."""

    def found(self) -> Iterator[Found]:
        """See `Archive`."""
        archive = self._open()
        overlapping = _overlapping(archive.infolist())
        for position, info in enumerate(archive.infolist()):
            if not info.filename.endswith("/"):
                read = partial(_read, archive, info, info.header_offset in overlapping)
                yield Found(position, _name(info), info.file_size, read)

    def _open(self) -> zipfile.ZipFile:
        try:
            return zipfile.ZipFile(_Bounded(self.place.open_seekable()))
        except ArchiveError:
            raise
        except ImageError as error:  # of the place
            raise ArchiveError(str(error), kind=error.kind) from None
        except UnicodeDecodeError:
            raise ArchiveError("damaged: a name in its directory is not in UTF-8, as it says") from None
        except NotImplementedError as error:
            raise ArchiveError(f"a kind of zip that is not read ({error})", kind="other") from None
        except _SENSELESS as error:
            raise ArchiveError(f"no zip archive, or cut off: its directory is missing or damaged ({error})") from None
        except OSError as error:
            raise ArchiveError(error.strerror or str(error), kind="other") from None
        except MemoryError:
            raise ArchiveError("its directory is too large to read", kind="too_large") from None


class _Bounded(io.BufferedIOBase):
    """A file of which no more is read at once than a directory may have; it closes with the last member that needs it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, most: int | None = -1, /) -> bytes:
        """See `io`."""
        if most is not None and most > _MOST_OF_DIRECTORY:
            raise ArchiveError(
                f"its directory takes {most / 1e6:,.0f} MB; no more than {_MOST_OF_DIRECTORY // 10**6} are read"
            )
        return self._file.read(-1 if most is None else most)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """See `io`."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """See `io`."""
        return self._file.tell()

    def seekable(self) -> bool:
        """See `io`."""
        return True

    def close(self) -> None:
        """See `io`."""
        self._file.close()
        super().close()


def _overlapping(members: list[zipfile.ZipInfo]) -> set[int]:
    """Where members begin that share bytes with others, as they do in bombs, in which some bytes are a thousand pictures."""
    found: set[int] = set()
    longest, end = -1, -1
    for one in sorted(members, key=lambda one: one.header_offset):
        if one.header_offset < end:
            found |= {longest, one.header_offset}
        if (its_end := one.header_offset + _LOCAL_HEADER + one.compress_size) > end:
            longest, end = one.header_offset, its_end
    return found


def _name(info: zipfile.ZipInfo) -> str:
    """The name in UTF-8, which many write without saying so, or else in cp437, as the format has it."""
    if info.flag_bits & _UTF8:
        return info.filename
    try:
        return info.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return info.filename


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo, is_overlapping: bool, max_pixels: int) -> bytes:
    require_size(info.file_size)
    if is_overlapping:
        raise ImageError("damaged: it shares bytes with another member")
    if info.flag_bits & _ENCRYPTED:
        raise ImageError("encrypted; archives with a password are not read", kind="denied")
    if stat.S_ISLNK(info.external_attr >> 16):
        raise ImageError("a link; links in archives are not followed", kind="other")
    if info.compress_type <= zipfile.ZIP_DEFLATED and info.file_size > _MOST_PACKED * max(info.compress_size, 1) + 1024:
        raise ImageError(
            f"damaged: its {info.compress_size:,} bytes cannot hold the {info.file_size:,} that it declares"
        )
    try:
        with archive.open(info) as member:
            data = _bytes(member, info.file_size, max_pixels)
    except ImageError:
        raise
    except NotImplementedError:
        method = _METHODS.get(info.compress_type, f"method {info.compress_type}")
        raise ImageError(f"packed in a way that is not read ({method})", kind="other") from None
    except (*_SENSELESS, RuntimeError) as error:
        raise ImageError(f"damaged in its archive: {str(error) or type(error).__name__}") from None
    except OSError as error:
        raise ImageError(error.strerror or str(error), kind="other") from None
    if len(data) != info.file_size:
        raise ImageError(f"damaged: {len(data):,} bytes, and not the {info.file_size:,} that it declares")
    return data


def _bytes(member: Any, size: int, max_pixels: int) -> bytes:
    head: bytes = member.read(min(size, HEAD_BYTES))
    if size > LARGE_FILE_BYTES:
        require_picture(head, size, max_pixels, member)
        member.seek(len(head))
    rest: bytes = member.read(size - len(head))
    return head + rest
