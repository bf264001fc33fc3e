"""Pictures that are local files, and Pillow images that a library user has at hand."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, BinaryIO, TypeAlias

from zsclip.errors import ImageError, InputError
from zsclip.images import decoding
from zsclip.images.container import Container
from zsclip.images.item import Contents, Item, Stamp
from zsclip.images.remote.addresses import is_address
from zsclip.images.remote.settings import Network

if TYPE_CHECKING:
    from PIL.Image import Image

    from zsclip.errors import ErrorKind

ImageSource: TypeAlias = "str | os.PathLike[str] | Image | Item | Container"

# 250 megapixels of 16-bit RGBA, stored without compression
MAX_FILE_BYTES = 2_000_000_000
# Of a larger file the head is looked at first.
LARGE_FILE_BYTES = 64_000_000
# Of errors of the system, as those of a picture.
KINDS: dict[type[OSError], ErrorKind] = {FileNotFoundError: "not_found", PermissionError: "denied"}


class File(Item):
    """A local file, by its path, which is its name unless it has another one."""

    def __init__(self, path: str, name: str = "") -> None:
        super().__init__(name or path)
        self.path = path

    def stamp(self) -> Stamp | None:
        """See `Item`."""
        try:
            return Stamp.of_file(self.path, os.stat(self.path))
        except (OSError, ValueError):
            return None

    def read(self, max_pixels: int) -> Contents:
        """See `Item`."""
        data, status = read_file(self.path, max_pixels=max_pixels)
        return Contents(data, Stamp.of_file(self.path, status))


class InMemory(Item):
    """A Pillow image of the caller's."""

    def __init__(self, name: str, image: Image) -> None:
        super().__init__(name)
        self._image = image
        self._error: str | None = None
        self._depth: int | None = None

    def prepare(self) -> None:
        """See `Item`. Pillow loads an image that is listed twice on one thread only."""
        try:
            self._depth = decoding.declared_depth(
                self._image
            )  # of which nothing is left in a copy, nor after loading a PNG
            self._image.load()
        except Exception as error:
            self._error = f"damaged or closed image: {error}"

    def read(self, max_pixels: int) -> Contents:  # noqa: ARG002
        """See `Item`. The image is the caller's own: copy it before it is changed."""
        if self._error is not None:
            raise ImageError(self._error)
        return Contents(image=self._image, depth=self._depth)


def as_item(source: ImageSource, number: int) -> Item | Container:
    """A path, a Pillow image, an item or a container as what a listing has; `number` names an image that has no name of its own.

    Raises `InputError` for anything else.
    """
    if isinstance(source, (Item, Container)):
        return source
    if isinstance(source, (str, os.PathLike)):
        path = os.fspath(source)
        if not is_address(path):
            return File(path)
        from zsclip.images.remote.finding import picture

        return picture(path, "", Network(), typed=True)
    if not hasattr(source, "convert"):
        raise InputError(f"Image {number} must be a path or a Pillow image, not {type(source).__name__}.")
    return InMemory(str(getattr(source, "filename", "") or f"image {number}"), source)


def read_file(path: str, *, max_pixels: int = decoding.DEFAULT_MAX_PIXELS) -> tuple[bytes, os.stat_result]:
    """The bytes of a regular file, and its status before they were read; raises `ImageError` otherwise.

    Pipes and devices are never opened. A large file is read only if its head is that of an image that may be decoded.
    """
    try:
        require_regular(os.stat(path).st_mode, path)  # before it is opened: that alone can wait, or rewind a tape
        # In between it may have become a pipe, whose other end is not to be waited for.
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
        with open(os.open(path, flags), "rb") as file:
            before = os.fstat(file.fileno())
            require_regular(before.st_mode, path)
            _require_fit_size(file, before.st_size, max_pixels)
            data = file.read(before.st_size)
            after = os.fstat(file.fileno())
    except OSError as error:
        raise ImageError(error.strerror or str(error), kind=KINDS.get(type(error), "other")) from None
    except ValueError:
        raise ImageError("not a path (it holds a NUL byte)", kind="not_found") from None
    except MemoryError:
        raise ImageError("too large to read", kind="too_large") from None
    if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns) or len(data) != before.st_size:
        raise ImageError("it changed while it was read", kind="other")
    return data, before


def require_regular(mode: int, path: str) -> None:
    """Raise `ImageError` unless a file of that mode is one whose bytes can be read in peace: no pipe, device or folder."""
    if stat.S_ISDIR(mode):
        if os.access(path, os.R_OK | os.X_OK):
            raise ImageError("a folder, not an image", kind="other")
        raise ImageError("a folder that cannot be read", kind="denied")
    if not stat.S_ISREG(mode):
        raise ImageError("not a regular file", kind="other")


def require_size(size: int) -> None:
    """Raise `ImageError` for a picture of no bytes, or of more than are read."""
    if not size:
        raise ImageError("the file is empty")
    if size > MAX_FILE_BYTES:
        raise ImageError(
            f"a file of {size / 1e9:,.1f} GB; more than {MAX_FILE_BYTES // 10**9} GB are not read", kind="too_large"
        )


def _require_fit_size(file: BinaryIO, size: int, max_pixels: int) -> None:
    require_size(size)
    if size > LARGE_FILE_BYTES:
        decoding.require_decodable(file, max_pixels)
        file.seek(0)
