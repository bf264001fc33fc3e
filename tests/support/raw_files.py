"""RAW files made by hand: DNG as small as LibRaw reads it, with and without a preview, and a TIFF that is none."""

from __future__ import annotations

import io
import struct

import numpy as np
from PIL import Image

SIZE = (96, 64)
# Left and right half of what the sensor saw, and of the preview; another above, so that a turn shows.
SENSOR = ((200, 40, 40), (40, 40, 200))
PREVIEW = ((40, 200, 40), (200, 200, 40))

Tag = tuple[int, int, list[int] | bytes]
_BYTE, _ASCII, _SHORT, _LONG, _RATIONAL, _SRATIONAL = 1, 2, 3, 4, 5, 10
_SIZES = {_BYTE: 1, _ASCII: 1, _SHORT: 2, _LONG: 4, _RATIONAL: 8, _SRATIONAL: 8}
_CODES = {_BYTE: "B", _SHORT: "H", _LONG: "I", _RATIONAL: "I", _SRATIONAL: "i"}


def scene(colours: tuple[tuple[int, int, int], tuple[int, int, int]], size: tuple[int, int] = SIZE) -> Image.Image:
    """Two halves beside each other, the upper quarter white."""
    width, height = size
    image = Image.new("RGB", size, colours[0])
    image.paste(colours[1], (width // 2, 0, width, height))
    image.paste((255, 255, 255), (0, 0, width, height // 4))
    return image


def jpeg(image: Image.Image, exif_orientation: int | None = None) -> bytes:
    """An image as JPEG."""
    file, exif = io.BytesIO(), Image.Exif()
    if exif_orientation:
        exif[0x0112] = exif_orientation
    image.save(file, "JPEG", quality=95, exif=exif)
    return file.getvalue()


def dng(
    *,
    preview: bytes | None = None,
    preview_size: tuple[int, int] = SIZE,
    orientation: int = 1,
    size: tuple[int, int] = SIZE,
    declared: tuple[int, int] | None = None,
) -> bytes:
    """A DNG of a Bayer sensor, without compression; its `declared` size may be another than the one it has."""
    width, height = declared or size
    sensor = _mosaic(scene(SENSOR, size))
    camera: list[Tag] = [
        (271, _ASCII, b"Zsclip\0"), (272, _ASCII, b"Test\0"), (274, _SHORT, [orientation]),
        (50706, _BYTE, [1, 4, 0, 0]), (50707, _BYTE, [1, 1, 0, 0]), (50708, _ASCII, b"Zsclip Test\0"),
        (50721, _SRATIONAL, [value for one in np.eye(3).ravel().astype(int).tolist() for value in (one, 1)]),
        (50728, _RATIONAL, [1, 1, 1, 1, 1, 1]), (50778, _SHORT, [21]),
    ]  # fmt: skip
    raw: list[Tag] = [
        (254, _LONG, [0]), (256, _LONG, [width]), (257, _LONG, [height]), (258, _SHORT, [16]), (259, _SHORT, [1]),
        (262, _SHORT, [32803]), (273, _LONG, [0]), (277, _SHORT, [1]), (278, _LONG, [height]), (279, _LONG, [len(sensor)]),
        (33421, _SHORT, [2, 2]), (33422, _BYTE, [0, 1, 1, 2]), (50714, _LONG, [0]), (50717, _LONG, [65535]),
    ]  # fmt: skip
    if preview is None:
        return tiff([(raw + camera, sensor)])
    shown: list[Tag] = [
        (254, _LONG, [1]), (256, _LONG, [preview_size[0]]), (257, _LONG, [preview_size[1]]), (258, _SHORT, [8, 8, 8]),
        (259, _SHORT, [7]), (262, _SHORT, [6]), (273, _LONG, [0]), (277, _SHORT, [3]), (278, _LONG, [preview_size[1]]),
        (279, _LONG, [len(preview)]), (330, _LONG, [0]),
    ]  # fmt: skip
    return tiff([(shown + camera, preview), (raw, sensor)])


def tiff(directories: list[tuple[list[Tag], bytes]]) -> bytes:
    """A TIFF; a second directory is the first one's child. Offsets of strips and of the child are put in."""
    made = b"II*\0" + struct.pack("<I", 0)
    starts: list[int] = []
    for tags, strip in reversed(directories):
        strip_at = len(made)
        made += strip + b"\0" * (len(strip) % 2)
        found = [(t, k, [strip_at] if t == 273 else [starts[-1]] if t == 330 else v) for t, k, v in sorted(tags)]
        at = len(made)
        more_at = at + 2 + 12 * len(found) + 4
        entries, more = b"", b""
        for tag, kind, values in found:
            data = values if isinstance(values, bytes) else struct.pack(f"<{len(values)}{_CODES[kind]}", *values)
            count = len(data) // _SIZES[kind]
            if len(data) > 4:
                entries += struct.pack("<HHII", tag, kind, count, more_at + len(more))
                more += data + b"\0" * (len(data) % 2)
            else:
                entries += struct.pack("<HHI", tag, kind, count) + data.ljust(4, b"\0")
        made += struct.pack("<H", len(found)) + entries + b"\0\0\0\0" + more
        starts.append(at)
    return made[:4] + struct.pack("<I", starts[-1]) + made[8:]


def _mosaic(image: Image.Image) -> bytes:
    pixels = np.asarray(image).astype(np.uint16) * 257
    mosaic = pixels[..., 1].copy()
    mosaic[::2, ::2] = pixels[::2, ::2, 0]
    mosaic[1::2, 1::2] = pixels[1::2, 1::2, 2]
    return mosaic.astype("<u2").tobytes()
