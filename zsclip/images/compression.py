"""How many pixels the bytes of a file can hold at the most.

What a head declares costs memory before its pixels are decoded, whatever follows it: a declaration that no file of that
length can keep is refused. WebP, AVIF, HEIC and JPEG 2000 code an area of one colour, however large, in a few bytes: for
them there is no such bound, nor for what is unknown here.
"""

from __future__ import annotations

import os
from typing import Any, BinaryIO

# Up to here a picture costs little, and is decoded whatever it declares.
_FEW_PIXELS = 1_000_000
_DEFLATE = 1032  # bytes from a byte, says zlib's documentation
_PACKBITS = 64  # 128 bytes from 2
_LZW = 2731  # a code of 12 bits is at most 4,096 values
# Pixels from a byte, by the name of Pillow's decoder, or of the format where it names none. Eight where the pixels may be single bits.
_PIXELS = {
    "raw": 8,
    "zip": 8 * _DEFLATE,
    "gif": _LZW,
    "packbits": 8 * _PACKBITS,
    "bmp_rle": 128,  # 255 pixels from 2 bytes; what is left out between runs has no colour
    "tga_rle": 64,  # 128 pixels from 2 bytes
    "pcx": 8 * 32,  # 63 bytes from 2
    "sun_rle": 8 * 86,  # 256 bytes from 3
    "qoi": 62,
    "bcn": 2,  # blocks of 16 pixels in 8 bytes
    "ppm": 1,
    "ppm_plain": 1,
    "SGI16": 1,
    "dds_rgb": 1,
    "xpm": 1,
    "xbm": 8,
    "GBR": 1,
    "fits_gzip": _DEFLATE,
}
# Bytes of a row, whatever its width: of a table that says where it is, or how long.
_ROW_BYTES = {"sgi_rle": 8, "MSP": 2}
# Bytes from a byte of a TIFF's strip.
_TIFF_BYTES = {
    "tiff_lzw": _LZW,
    "tiff_deflate": _DEFLATE,
    "tiff_adobe_deflate": _DEFLATE,
    "packbits": _PACKBITS,
    "zstd": 1 << 15,  # 128 KiB from 4
    "lzma": 1 << 13,  # 273 bytes from 14 decisions of 0.022 bits
}
_TIFF_FAX = ("group3", "group4", "tiff_ccitt")
# Markers of a JPEG.
_FRAMES = [bytes([marker]) for marker in range(0xC0, 0xD0) if marker not in (0xC4, 0xC8, 0xCC)]
_ARITHMETIC, _SCAN = (b"\xc9", b"\xca"), b"\xda"
_BITS_PER_SAMPLE, _PHOTOMETRIC, _SAMPLES_PER_PIXEL, _YCBCR = 258, 262, 277, 6


def can_hold(length: int, image: Any) -> bool:
    """Whether a file of `length` bytes can hold the picture that it declares; of `image` Pillow has read the head only."""
    area = int(image.width * image.height)
    if area <= _FEW_PIXELS or image.format in ("AVIF", "HEIF"):
        return True
    codec = image.tile[0].codec_name if image.tile else image.format
    if codec == "jpeg":
        return length >= _jpeg_bytes(image) or _is_arithmetic(image.fp)
    if codec == "libtiff":
        return length >= _tiff_bytes(image)
    if codec in _ROW_BYTES:
        return bool(length >= image.height * _ROW_BYTES[codec])
    return codec not in _PIXELS or length * _PIXELS[codec] >= area


def _jpeg_bytes(image: Any) -> float:
    """Every block of 8 x 8 samples has a Huffman code, which is a bit or more."""
    wide, high = (max(1, *(layer[side] for layer in image.layer)) for side in (1, 2))
    samples = sum(layer[1] * layer[2] for layer in image.layer) / (wide * high)
    return float(image.width * image.height * samples / 64 / 8)


def _is_arithmetic(file: BinaryIO) -> bool:
    """Whether a JPEG has arithmetic coding, which has no least size. Markers are read as libjpeg reads them."""
    file.seek(2)
    while byte := file.read(1):
        if byte != b"\xff":
            continue
        while byte == b"\xff":
            byte = file.read(1)
        if byte in _FRAMES or byte == _SCAN:
            return byte in _ARITHMETIC
        if byte > b"\x01" and not b"\xd0" <= byte <= b"\xd9":
            file.seek(int.from_bytes(file.read(2), "big") - 2, os.SEEK_CUR)
    return False


def _tiff_bytes(image: Any) -> float:
    tags, area = image.tag_v2, image.width * image.height
    compression = image.info.get("compression")
    if compression in _TIFF_FAX:
        return float(image.height / 8)  # a row of any width is a bit or more
    if compression == "jpeg":
        return float(area / 64 / 8)
    if compression not in _TIFF_BYTES:
        return 0
    samples = 1 if tags.get(_PHOTOMETRIC) == _YCBCR else tags.get(_SAMPLES_PER_PIXEL, 1)
    return float(area * samples * min(tags.get(_BITS_PER_SAMPLE, (1,))) / 8 / _TIFF_BYTES[compression])
