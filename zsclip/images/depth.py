"""How many of the bits of deep grey hold a picture.

Cameras, microscopes and scanners keep 10, 12 or 14 bits in files of 16, mostly without a word. Read as 16 bits, 12 of them are
nearly black: at most 16 of 255. What the file declares decides: a TIFF's bits of a sample and largest value, a PNG's significant
bits. Where it declares nothing, a picture without any value above 4,095 is taken for 12 bits. In 16 bits that would be a picture
without a light in it: the rule can show what was too dark to see, and one that is darker still stays dark. More bits are
not guessed at, for a dim picture and one of 14 bits look the same.
"""

from __future__ import annotations

from typing import Any, BinaryIO

from PIL import Image

_FULL = 16
_GUESSED = 12
_BITS_PER_SAMPLE, _MAX_SAMPLE_VALUE = 258, 281
_SCALED = ("JPEG2000", "PPM")  # Pillow brings their depth to 16 bits
_PNG_SIGNATURE = 8


def declared(image: Image.Image) -> int | None:
    """The depth that the file of an image of which Pillow has read the head declares; None if it declares none."""
    if image.format in _SCALED:
        return _FULL
    if image.format == "PNG":
        return _significant_bits(getattr(image, "fp", None))
    return _of_tiff(image) if image.format == "TIFF" else None


def white(top: float, depth: int | None) -> float:
    """The value that is white, of integers the largest of which is `top`, in a file that declares `depth`."""
    if depth is None:
        depth = _GUESSED if top < 1 << _GUESSED else _FULL
    # PNG has significant bits moved up to fill all 16; what exceeds them was.
    return float((1 << depth) - 1) if top < 1 << depth else max(65535.0, top)


def _of_tiff(image: Any) -> int | None:
    bits, most = image.tag_v2.get(_BITS_PER_SAMPLE, (_FULL,))[0], image.tag_v2.get(_MAX_SAMPLE_VALUE)
    if isinstance(most, tuple):
        most = most[0]
    if (
        isinstance(most, int) and most > 0 and most & (most + 1) == 0
    ):  # all bits set: a depth, not what is in the picture
        return most.bit_length()
    return bits if bits < _FULL else None  # 16 bits are said of every file of 16, whatever is in them


def _significant_bits(file: BinaryIO | None) -> int | None:
    """What a PNG's sBIT chunk says."""
    if file is None or file.closed:
        return None
    place = file.tell()
    try:
        file.seek(_PNG_SIGNATURE)
        while len(head := file.read(8)) == 8 and head[4:] != b"IDAT":
            if head[4:] == b"sBIT":
                bits = file.read(1)
                return bits[0] if bits and 0 < bits[0] <= _FULL else None
            file.seek(int.from_bytes(head[:4], "big") + 4, 1)
        return None
    finally:
        file.seek(place)
