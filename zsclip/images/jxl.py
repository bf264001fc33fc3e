"""The size that a JPEG XL declares, which is wanted before its decoder sees it: that one allocates all of it at once."""

from __future__ import annotations

import struct
from typing import BinaryIO

from zsclip.errors import ImageError

_CODESTREAM = b"\xff\x0a"
_BOXES = b"\0\0\0\x0cJXL \r\n\x87\n"
_MOST_BOXES = 1_000
_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}
_WIDTHS = (9, 13, 18, 30)


def is_jxl(file: BinaryIO) -> bool:
    """Whether the bytes are those of a JPEG XL."""
    file.seek(0)
    return file.read(12).startswith((_CODESTREAM, _BOXES))


def declared_size(file: BinaryIO) -> tuple[int, int]:
    """Width and height, as the head says; raises `ImageError` without one.

    Source: ISO/IEC 18181-1, `SizeHeader`; 18181-2 for boxes.
    """
    file.seek(0)
    if file.read(2) != _CODESTREAM:
        _go_to_codestream(file)
    bits = _Bits(file.read(16))
    is_small = bits.take(1)

    def side() -> int:
        return 8 * (bits.take(5) + 1) if is_small else bits.take(_WIDTHS[bits.take(2)]) + 1

    height = side()
    ratio = bits.take(3)
    if not ratio:
        return side(), height
    wide, high = _RATIOS[ratio]
    return height * wide // high, height


def _go_to_codestream(file: BinaryIO) -> None:
    at = 0
    for _ in range(_MOST_BOXES):
        file.seek(at)
        head = file.read(16)
        if len(head) < 8:
            break
        size, kind, start = struct.unpack(">I", head[:4])[0], head[4:8], 8
        if size == 1 and len(head) == 16:
            size, start = struct.unpack(">Q", head[8:])[0], 16
        if kind in (b"jxlc", b"jxlp"):
            file.seek(at + start + (4 if kind == b"jxlp" else 0))
            if file.read(2) == _CODESTREAM:
                return
            break
        if size < 8:
            break
        at += size
    raise ImageError("damaged JPEG XL: no picture in it")


class _Bits:
    """Bits from the lowest of the first byte on."""

    def __init__(self, data: bytes) -> None:
        self._left, self._bits = 8 * len(data), int.from_bytes(data, "little")

    def take(self, count: int) -> int:
        if count > self._left:
            raise ImageError("damaged JPEG XL: it ends in its head")
        value = self._bits & ((1 << count) - 1)
        self._bits >>= count
        self._left -= count
        return value
