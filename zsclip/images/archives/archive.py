"""What all archives have in common: which of their members are pictures, what these are called, and their labels."""

from __future__ import annotations

import hashlib
import io
import json
import os
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from zsclip.errors import ImageError
from zsclip.images import decoding
from zsclip.images.archives.sidecar import Sidecar
from zsclip.images.container import Container
from zsclip.images.files import LARGE_FILE_BYTES
from zsclip.images.folders import PassedOver, Search
from zsclip.images.formats import image_extensions
from zsclip.images.item import Contents, Member, Stamp
from zsclip.images.place import Place

_MOST_OF_SIDECAR = 1_000_000
HEAD_BYTES = 1_000_000  # of a large picture, which say what it is


class ArchiveError(ImageError):
    """An archive that cannot be read any further; `within` is the position of the member that it ends in, if it does."""

    within: int | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """A member that is no folder. `read` gives its bytes, given how many pixels may be decoded; it raises `ImageError`, and
    `ArchiveError` where nothing more can be read. Of a stream it is called before the next member is looked for.
    """

    position: int
    inner: str
    size: int
    read: Callable[[int], bytes]


class Part(Member):
    """A picture in an archive, which is read once."""

    def __init__(self, name: str, found: Found, read: Callable[[int], bytes], held: int = 0) -> None:
        super().__init__(name, found.position, found.inner)
        self._read = read
        self.held = held

    def read(self, max_pixels: int) -> Contents:
        """See `Item`."""
        read, self._read = self._read, refuse(ImageError("it was read before", kind="other"))
        return Contents(read(max_pixels))


class Archive(Container):
    """The pictures of an archive, or those in it that are called `only`.

    Searched like a folder: what is hidden, the system's, or no picture by its extension is passed over. Labels come from the `sidecar`.
    """

    is_stream = False  # so that members are read when they come by, or never

    def __init__(
        self, place: Place, search: Search, passed_over: PassedOver, sidecar: Sidecar | None, only: str | None
    ) -> None:
        super().__init__(place.name if only is None else f"{place.name}/{only}")
        self.path = place.name
        self.place = place
        self._search = search
        self._passed_over = passed_over
        self._sidecar = sidecar
        self._only = only
        self._extensions = image_extensions()
        # A list was made with what was a picture then, and holds no others.
        way = sorted(self._extensions) if only is None else ["only", only]
        way += [str(search.recursive), str(search.hidden)]
        self.reading = hashlib.sha256(os.fsencode("\0".join(way))).hexdigest()[:32]

    def stamp(self) -> Stamp | None:
        """See `Container`."""
        return self.place.stamp()

    def row_name(self, position: int, inner: str) -> str:  # noqa: ARG002
        """See `Container`. Nobody who follows the name is led out of the archive, nor takes one name for two."""
        parts = ["(..)" if part == ".." else part for part in inner.replace("\0", "␀").split("/") if part != "."]
        return f"{self.path}/{'/'.join(parts)}"

    @abstractmethod
    def found(self) -> Iterator[Found]:
        """All its members but folders, by position; raises `ArchiveError`."""

    def members(self, wanted: Collection[int] | None = None) -> Iterator[Member]:
        """See `Container`. An archive without any pictures is an error, so that no input goes without a row."""
        is_empty, others = True, 0
        takes = self._taking(self._passed_over)
        for one in self.found():
            if one.position not in wanted if wanted is not None else not takes(one.inner):
                others += 1
                continue
            is_empty = False
            yield self._part(one)
        if is_empty and wanted is None:
            what = "no pictures in it" if self._only is None else f"it is not in {self.path}"
            raise ArchiveError(
                f"{what}, which holds {others:,} other file{'' if others == 1 else 's'}", kind="not_found"
            )

    def labelled(self) -> Iterator[tuple[str, str | None]]:
        """See `Container`. Pictures and sidecars of one sample share their folder and the name up to its first dot."""
        takes, pictures, labels = self._taking(None), list[tuple[str, str]](), dict[str, str | None]()
        last = None  # the position of the last picture
        broken = None
        try:
            for one in self.found():
                key, extension = _sample(one.inner)
                if takes(one.inner):
                    pictures.append((self.row_name(one.position, one.inner), key))
                    last = one.position
                elif self._sidecar and extension == self._sidecar.extension:
                    label = self._label(one)
                    # Of a name that comes twice nobody knows which picture is meant.
                    labels[key] = label if labels.get(key, label) == label else None
        except ArchiveError as error:
            broken = error
            if last is not None and error.within == last:
                pictures.pop()
        yield from ((name, labels.get(key)) for name, key in pictures)
        if broken is not None:
            raise broken

    def _part(self, found: Found) -> Part:
        name, read, held = self.row_name(found.position, found.inner), found.read, 0
        if self.is_stream:
            try:
                data = found.read(decoding.DEFAULT_MAX_PIXELS)
                read, held = (lambda max_pixels: data), len(data)
            except ArchiveError:
                raise
            except ImageError as error:
                read = refuse(error)
        return Part(name, found, read, held)

    def _taking(self, passed_over: PassedOver | None) -> Callable[[str], bool]:
        """What tells whether a member of that name is taken, and counts those that are not."""
        seen: set[str] = set()

        def takes(inner: str) -> bool:
            if self._only is not None:
                return self._only == inner or self.row_name(0, inner) == self.name
            *folders, name = [part for part in inner.split("/") if part not in ("", ".", "..")] or [""]
            if folders and not self._search.recursive:
                return False
            for depth, folder in enumerate(folders):
                if hidden := self._search.place(folder):
                    path = "/".join(folders[: depth + 1])
                    if passed_over is not None and path not in seen:
                        passed_over.places[hidden] += 1
                        seen.add(path)
                    return False
            return self._search.takes(name, self._extensions, passed_over)

        return takes

    def _label(self, found: Found) -> str | None:
        assert self._sidecar is not None
        if found.size > _MOST_OF_SIDECAR:
            return None
        try:
            text = found.read(0).decode("utf-8-sig").strip()
            if self._sidecar.extension != "json":
                return text if text and text.isprintable() else None
            value = json.loads(text)
            for key in self._sidecar.key.split("."):
                value = value[key]
        except ArchiveError:
            raise
        except (ImageError, ValueError, KeyError, TypeError, RecursionError):
            return None
        return str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else None


def refuse(error: ImageError) -> Callable[[int], bytes]:
    """A way to read what cannot be read."""

    def read(max_pixels: int) -> bytes:  # noqa: ARG001
        raise error

    return read


def require_picture(head: bytes, size: int, max_pixels: int, whole: BinaryIO | None = None) -> None:
    """Raise `ImageError` unless a picture of more than 64 MB, by its first bytes, is one that may be decoded.

    A TIFF's head stands anywhere, mostly at its end: of it the `whole` file is looked at, or it is refused where there is none.
    """
    if size <= LARGE_FILE_BYTES:
        return
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        if whole is None:
            raise ImageError(
                f"a TIFF of {size / 1e6:,.0f} MB, which cannot be looked into before all of it is read; "
                f"of those in compressed archives no more than {LARGE_FILE_BYTES // 10**6} MB are read",
                kind="too_large",
            )
        decoding.require_decodable(whole, max_pixels)
    else:
        decoding.require_decodable(_Head(head, size), max_pixels)


class _Head(io.BytesIO):
    """The first bytes of a file that is longer."""

    def __init__(self, head: bytes, size: int) -> None:
        super().__init__(head)
        self._size = size

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return super().seek(offset) if whence == os.SEEK_SET else self._size


def _sample(inner: str) -> tuple[str, str]:
    """Which sample a member belongs to, and its extension there: as webdataset tells them, by the first dot of the file's name."""
    folder, slash, name = inner.rpartition("/")
    stem, _, extension = name.partition(".")
    return f"{folder}{slash}{stem}", extension
