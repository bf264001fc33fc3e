"""Files of some bytes that declare 200 megapixels, fewer than `max_pixels`: what they hold is not worth decoding."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from PIL import Image

from support.corpus import _chunk, _dds, _png_head, _tiff, picture, saved

SIDE = 14_142
_PAIR = struct.pack("<II", SIDE, SIDE)
# Formats that code an area of one colour in some bytes, however large it is.
WITHOUT_BOUND = (".webp", ".avif", ".jp2")


def declared() -> Iterator[tuple[str, bytes]]:
    """Names and bytes."""
    for make in (_stored, _runs, _tiffs, _jpegs, _pngs_and_gifs, _without_bound, _nested):
        yield from make()


def _stored() -> Iterator[tuple[str, bytes]]:
    for bits in (1, 24, 32):
        yield f"{bits} bit.bmp", _bmp(bits, 0, bytes(100))
    for kind in (b"P4", b"P5", b"P6", b"Pf"):
        yield f"{kind.decode()}.ppm", b"%s %d %d 255\n" % (kind, SIDE, SIDE) + bytes(100)
    for kind in (b"P1", b"P2", b"P3"):
        yield f"{kind.decode()}.ppm", b"%s %d %d 255\n" % (kind, SIDE, SIDE) + b"1 " * 100
    yield "deep.ppm", b"P6 %d %d 1000\n" % (SIDE, SIDE) + bytes(100)
    yield "plain.tga", _tga(2)
    for depth in (1, 2):
        yield f"plain {depth}.sgi", _sgi(0, depth)
    yield "plain.psd", _psd(0)
    rgb = struct.pack("<II4sIIIII", 32, 0x40, bytes(4), 32, 0xFF0000, 0xFF00, 0xFF, 0)
    yield "dxt1.dds", _dds(SIDE, SIDE)
    yield "rgb.dds", b"DDS " + struct.pack("<7I44x", 124, 0x1007, SIDE, SIDE, 0, 0, 0) + rgb + bytes(120)
    for packing in (0, 1):
        head = b"FTEX" + struct.pack("<i", 0) + _PAIR + struct.pack("<iiiii", 1, 1, packing, 0, 32)
        yield f"{packing}.ftc", head + bytes(100)
    yield "a.sun", struct.pack(">8I", 0x59A66A95, SIDE, SIDE, 24, 0, 1, 0, 0) + bytes(100)
    yield "a.xbm", b"#define x_width %d\n#define x_height %d\nstatic char x_bits[] = {\n0x00};" % (SIDE, SIDE)
    yield "a.xpm", b'/* XPM */\nstatic char *x[] = {\n"%d %d 1 1",\n"a c #ffffff",\n"aaaa",\n};' % (SIDE, SIDE)
    grey = saved(Image.new("L", (64, 64)), "IM")
    yield "a.im", grey.replace(b"64*64", b"%d*%d" % (SIDE, SIDE))[:600]
    yield "a.gbr", struct.pack(">IIIII", 28, 2, SIDE, SIDE, 4) + b"GIMP" + struct.pack(">I", 10) + bytes(100)
    cards = (b"SIMPLE  =                    T", b"BITPIX  =                    8", b"NAXIS   =                    2",
             b"NAXIS1  = %20d" % SIDE, b"NAXIS2  = %20d" % SIDE, b"END")  # fmt: skip
    yield "a.fits", b"".join(card.ljust(80) for card in cards).ljust(2880) + bytes(100)


def _runs() -> Iterator[tuple[str, bytes]]:
    for bits, compression in ((8, 1), (4, 2)):
        for name, data in (("runs", bytes(100)), ("end", b"\0\1"), ("deltas", b"\0\2\xff\xff" * 2000 + b"\0\1")):
            yield f"{bits} bit {name}.bmp", _bmp(bits, compression, data)
    yield "runs.tga", _tga(10)
    for depth in (1, 2):
        yield f"runs {depth}.sgi", _sgi(1, depth)
    msp = b"LinS" + struct.pack("<HHHHHH", SIDE, SIDE, 1, 1, 1, 1) + bytes(8)
    check = 0
    for at in range(0, 24, 2):
        check ^= int.from_bytes(msp[at : at + 2], "little")
    yield "a.msp", msp + struct.pack("<HHHH", check, 0, 0, 0) + bytes(100)
    yield "runs.psd", _psd(1)
    yield "runs.sun", struct.pack(">8I", 0x59A66A95, SIDE, SIDE, 24, 0, 2, 0, 0) + bytes(100)
    yield "a.qoi", b"qoif" + struct.pack(">IIBB", SIDE, SIDE, 4, 0) + bytes(100)
    pcx = b"\x0a\5\1\x08" + struct.pack("<HHHHHH", 0, 0, SIDE - 1, SIDE - 1, 72, 72) + bytes(49)
    pcx += b"\3" + struct.pack("<H", SIDE) + bytes(100)
    yield "a.pcx", pcx
    yield "a.dcx", struct.pack("<III", 0x3ADE68B1, 16, 0).ljust(16, b"\0") + pcx
    fli = struct.pack("<IHHHHHHI", 128, 0xAF11, 1, SIDE, SIDE, 8, 0, 0).ljust(128, b"\0")
    yield "a.fli", fli + struct.pack("<IHH8x", 116, 0xF1FA, 1) + bytes(100)


def _tiffs() -> Iterator[tuple[str, bytes]]:
    yield "raw.tif", _tiff(SIDE, SIDE)
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "zstd", "lzma", "group3", "group4"):
        image = Image.new("1" if compression.startswith("group") else "RGB", (64, 64))
        data = bytearray(saved(image, "TIFF", compression=compression))
        start = int.from_bytes(data[4:8], "little")
        for at in range(start + 2, start + 2 + 12 * int.from_bytes(data[start : start + 2], "little"), 12):
            tag = int.from_bytes(data[at : at + 2], "little")
            if tag in (256, 257, 278):  # width, height, rows in the strip
                data[at : at + 12] = struct.pack("<HHII", tag, 4, 1, SIDE)
        yield f"{compression}.tif", bytes(data)


def _jpegs() -> Iterator[tuple[str, bytes]]:
    for size in (64, 2000):
        for mode in ("L", "RGB"):
            for progressive in (False, True):
                jpeg = bytearray(saved(picture((size, size), mode), "JPEG", progressive=progressive))
                at = jpeg.index(b"\xff\xc2" if progressive else b"\xff\xc0") + 5
                jpeg[at : at + 4] = struct.pack(">HH", SIDE, SIDE)
                yield f"{size} {mode}{' progressive' * progressive}.jpg", bytes(jpeg)


def _pngs_and_gifs() -> Iterator[tuple[str, bytes]]:
    for interlace in (0, 1):
        head = _png_head(SIDE, SIDE, 8, 6, interlace)
        yield f"{interlace}.png", head + _chunk(b"IDAT", zlib.compress(bytes(1 << 20))) + _chunk(b"IEND", b"")
    gif = bytearray(saved(picture(), "GIF"))
    gif[6:10] = struct.pack("<HH", SIDE, SIDE)
    yield "screen.gif", bytes(gif)
    at = gif.rindex(b"\x2c\0\0\0\0") + 5
    gif[at : at + 4] = struct.pack("<HH", SIDE, SIDE)
    yield "frame.gif", bytes(gif)


def _without_bound() -> Iterator[tuple[str, bytes]]:
    webp = bytearray(saved(picture(), "WEBP", lossless=True))
    at = webp.index(b"VP8L") + 9
    webp[at : at + 4] = struct.pack("<I", (SIDE - 1) | (SIDE - 1) << 14)
    yield "lossless.webp", bytes(webp)
    webp = bytearray(saved(picture(), "WEBP"))
    at = webp.index(b"VP8 ") + 14
    webp[at : at + 4] = struct.pack("<HH", SIDE, SIDE)
    yield "lossy.webp", bytes(webp)
    jp2 = bytearray(saved(picture(), "JPEG2000"))
    for at in (jp2.index(b"ihdr") + 4, jp2.index(b"\xff\x51") + 6, jp2.index(b"\xff\x51") + 22):
        jp2[at : at + 8] = struct.pack(">II", SIDE, SIDE)
        yield f"{at}.jp2", bytes(jp2)
    avif = bytearray(saved(picture(), "AVIF"))
    at = avif.index(b"ispe") + 8
    avif[at : at + 8] = struct.pack(">II", SIDE, SIDE)
    yield "a.avif", bytes(avif)


def _nested() -> Iterator[tuple[str, bytes]]:
    jpeg = dict(_jpegs())["64 L.jpg"]
    blp = b"BLP1" + struct.pack("<iI", 0, 0) + _PAIR + struct.pack("<ii", 5, 0)
    blp += struct.pack("<16I", 160, *[0] * 15) + struct.pack("<16I", len(jpeg), *[0] * 15) + bytes(4)
    yield "a.blp", blp + jpeg
    cursor = struct.pack("<IiiHHIIiiII", 40, SIDE, 2 * SIDE, 1, 32, 0, 0, 0, 0, 0, 0) + bytes(100)
    for number, name in ((1, "a.ico"), (2, "a.cur")):
        head = struct.pack("<HHH", 0, number, 1) + struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(cursor), 22)
        yield name, head + cursor


def _bmp(bits: int, compression: int, pixels: bytes) -> bytes:
    palette = bytes(1024 if bits <= 8 else 0)
    head = struct.pack("<IiiHHIIiiII", 40, SIDE, SIDE, 1, bits, compression, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 100, 0, 0, 54 + len(palette)) + head + palette + pixels


def _tga(kind: int) -> bytes:
    return struct.pack("<BBBHHBHHHHBB", 0, 0, kind, 0, 0, 0, 0, 0, SIDE, SIDE, 24, 0) + bytes(100)


def _sgi(compression: int, depth: int) -> bytes:
    return struct.pack(">hBBHHHH", 474, compression, depth, 3, SIDE, SIDE, 3).ljust(512, b"\0") + bytes(600)


def _psd(compression: int) -> bytes:
    head = b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, SIDE, SIDE, 8, 3) + bytes(12)
    return head + struct.pack(">H", compression) + bytes(100 + compression * SIDE * 3 * 2)
