"""RAW files of cameras: what they embed as a preview, or what their sensor saw. Read with rawpy (LibRaw).

A file is known as RAW by its bytes, never by its name: vectors are kept by bytes, so that these alone may decide on the picture.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from io import BytesIO
from typing import BinaryIO

from PIL import Image

from zsclip.errors import ImageError
from zsclip.images.formats import RAW_HINT, raw_supported

# Beginnings of files, with their place: Fujifilm, Olympus, Panasonic and Leica, Sigma, Minolta, Canon three times, Phase One.
_BEGINNINGS = (
    (0, b"FUJIFILMCCD-RAW"), (0, b"IIRO"), (0, b"IIRS"), (0, b"MMOR"), (0, b"IIU\0"), (0, b"FOVb"), (0, b"\0MRM"),
    (6, b"HEAPCCDR"), (8, b"CR\2\0"), (4, b"ftypcrx "), (8, b"IIII"),
)  # fmt: skip
_MOST_DIRECTORIES, _MOST_ENTRIES = 32, 512
_COMPRESSION, _PHOTOMETRIC, _SUB_IFDS, _DNG_VERSION, _LEAF = 259, 262, 330, 50706, 34310
_SENSOR_PHOTOMETRIC = (32803, 34892)  # a colour filter array, linear RAW
_SENSOR_COMPRESSION = (32767, 32769, 32770, 34713, 65000, 65535)  # of Sony, Epson, Samsung, Nikon, Kodak, Pentax
# Pixels from a byte, at the most, of any way in which sensors are compressed.
_PIXELS_OF_BYTE = 512
_TURNS = {3: Image.Transpose.ROTATE_180, 5: Image.Transpose.ROTATE_90, 6: Image.Transpose.ROTATE_270}


def is_raw(file: BinaryIO) -> bool:
    """Whether the bytes are those of a RAW file. Of a TIFF, which most of them are, directories are looked through."""
    file.seek(0)
    head = file.read(16)
    if any(head.startswith(beginning, place) for place, beginning in _BEGINNINGS):
        return True
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(head[:4])
    return order is not None and _has_sensor(file, order, struct.unpack(order + "I", head[4:8])[0])


def _has_sensor(file: BinaryIO, order: str, first: int) -> bool:
    """Whether one of the directories of a TIFF is of what a sensor saw."""
    waiting, seen = [first], set[int]()
    while waiting and len(seen) < _MOST_DIRECTORIES:
        at = waiting.pop()
        if not at or at in seen:
            continue
        seen.add(at)
        file.seek(at)
        head = file.read(2)
        count = min(struct.unpack(order + "H", head)[0], _MOST_ENTRIES) if len(head) == 2 else 0
        table = file.read(12 * count + 4)
        for start in range(0, len(table) - 11, 12):
            tag, kind, number = struct.unpack_from(order + "HHI", table, start)
            (value,) = struct.unpack_from(order + ("H" if kind == 3 else "I"), table, start + 8)
            if tag in (_DNG_VERSION, _LEAF):
                return True
            if tag == _PHOTOMETRIC and value in _SENSOR_PHOTOMETRIC:
                return True
            if tag == _COMPRESSION and value in _SENSOR_COMPRESSION:
                return True
            if tag == _SUB_IFDS:
                waiting += _offsets(file, order, number, value)
        if len(table) == 12 * count + 4:
            waiting.append(struct.unpack_from(order + "I", table, 12 * count)[0])
    return False


def _offsets(file: BinaryIO, order: str, number: int, value: int) -> list[int]:
    if number == 1:
        return [value]
    number = min(number, _MOST_DIRECTORIES)
    file.seek(value)
    data = file.read(4 * number)
    return list(struct.unpack(f"{order}{len(data) // 4}I", data[: len(data) // 4 * 4]))


@dataclass(frozen=True)
class Preview:
    """What a RAW file embeds as its picture: a JPEG's bytes or an image, and how it is to be turned unless its EXIF says so."""

    jpeg: bytes | None
    image: Image.Image | None
    turn: Image.Transpose | None


class RawFile:
    """A RAW file of which the head was read; raises `ImageError`, also for a sensor of more than `max_pixels`."""

    def __init__(self, data: bytes, max_pixels: int) -> None:
        import rawpy

        try:
            self._raw = rawpy.imread(BytesIO(data))
        except rawpy.LibRawError as error:
            raise _told(error) from None
        self._length = len(data)
        self._max_pixels = max_pixels
        sizes = self._raw.sizes
        self.pixels = sizes.raw_width * sizes.raw_height

    def preview(self) -> Preview | None:
        """The largest that there is, if there is one that can be read."""
        import rawpy

        try:
            found = self._raw.extract_thumb()
        except (rawpy.LibRawError, NotImplementedError):
            return None
        turn = _TURNS.get(self._raw.sizes.flip)
        if isinstance(found.data, bytes):
            return Preview(found.data, None, turn)
        return Preview(None, Image.fromarray(found.data), turn)

    def require_sensor(self) -> None:
        """Raise `ImageError` unless what the sensor saw may be decoded."""
        if self.pixels > self._max_pixels:
            raise ImageError(
                f"a sensor of {self.pixels:,} pixels, more than {self._max_pixels:,}; `max_pixels` allows more",
                kind="too_large",
            )
        if not self.pixels or self._length * _PIXELS_OF_BYTE < self.pixels:
            raise ImageError(
                f"damaged RAW: its {self._length:,} bytes cannot hold the {self.pixels:,} pixels it declares"
            )

    def developed(self) -> Image.Image:
        """What the sensor saw, at half its size, upright, as the camera balanced its white."""
        import rawpy

        try:
            made = self._raw.postprocess(half_size=True, use_camera_wb=True, output_bps=8)
        except rawpy.LibRawError as error:
            raise _told(error) from None
        finally:
            self._raw.close()
        return Image.fromarray(made)


def require_support() -> None:
    """Raise `ImageError` unless the extra is installed."""
    if not raw_supported():
        raise ImageError(f"a RAW file of a camera: {RAW_HINT}", kind="other")


def _told(error: Exception) -> ImageError:
    said = error.args[0] if error.args else type(error).__name__
    return ImageError(f"damaged or unsupported RAW: {said.decode() if isinstance(said, bytes) else said}")
