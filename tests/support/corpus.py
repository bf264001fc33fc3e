"""Hundreds of awkward image files, made from code: what twenty years of photos, half-copied cards and ill will hold.

    python tests/corpus.py FOLDER

Every file says of what kind it is and what must become of it: an image (`decodes`), an error row (`error`), or either of
the two (`either`: damage that some decoders bear). The same seed gives the same files.
"""

from __future__ import annotations

import random
import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageDraw

MODES = (
    "1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr", "LAB", "HSV", "I;16", "I;16B", "I", "F",
)  # fmt: skip
# Pillow writes these too, but reads them through programs or handlers that are not there: EPS, PDF, WMF, stubs.
FORMATS = {
    "AVIF": "avif", "BMP": "bmp", "DDS": "dds", "DIB": "dib", "GIF": "gif", "ICNS": "icns", "ICO": "ico", "IM": "im",
    "JPEG": "jpg", "JPEG2000": "jp2", "MPO": "mpo", "MSP": "msp", "PCX": "pcx", "PNG": "png", "PPM": "ppm", "QOI": "qoi",
    "SGI": "sgi", "SPIDER": "spi", "TGA": "tga", "TIFF": "tif", "WEBP": "webp", "XBM": "xbm",
}  # fmt: skip
DAMAGED_FORMATS = ("AVIF", "BMP", "GIF", "ICO", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "QOI", "TGA", "TIFF", "WEBP")
FLIPS = 32  # damaged copies of each of them


@dataclass(frozen=True)
class Awkward:
    """One file: its name, its kind, its bytes and what must become of it."""

    name: str
    kind: str
    data: bytes
    expected: str = "decodes"


def picture(size: tuple[int, int] = (96, 64), mode: str = "RGB") -> Image.Image:
    """A picture with an up and a left to it, in a mode of Pillow's."""
    width, height = size
    y, x = np.mgrid[0:height, 0:width]
    values = np.stack([x * 255 // max(1, width - 1), y * 255 // max(1, height - 1), (x ^ y) & 255], -1).astype(np.uint8)
    image = Image.fromarray(values)
    ImageDraw.Draw(image).rectangle((0, 0, width // 4, height // 4), fill=(250, 20, 20))
    if mode in ("I", "I;16", "I;16B"):
        grey = np.asarray(image.convert("L")).astype(np.uint16) * 257
        if mode == "I":
            return Image.fromarray(grey.astype(np.int32))
        return Image.frombytes(mode, size, grey.astype(">u2" if mode == "I;16B" else "<u2").tobytes())
    if mode == "LAB":
        transform = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
        return ImageCms.applyTransform(image, transform)
    if mode in ("La", "RGBa"):
        return image.convert(mode.upper()).convert(mode)
    if mode == "PA":
        return image.convert("P").convert("PA")
    if mode in ("LA", "RGBA"):
        image = image.convert(mode)
        image.putalpha(Image.linear_gradient("L").resize(size))
        return image
    return image.convert(mode)


def saved(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    """The image's file."""
    buffer = BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def every_format_and_mode() -> Iterator[Awkward]:
    """What Pillow writes and reads: formats times modes."""
    for codec, extension in FORMATS.items():
        for mode in MODES:
            try:
                data = saved(picture(mode=mode), codec)
            except (OSError, ValueError, KeyError, TypeError, NotImplementedError):
                continue  # this format has no such mode
            yield Awkward(f"{mode.replace(';', '_')}.{extension}", "format and mode", data)
    clear = picture(mode="P")
    for extension in ("png", "gif"):
        yield Awkward(f"P transparent.{extension}", "format and mode", saved(clear, extension, transparency=3))
    yield Awkward("P transparent bytes.png", "format and mode", saved(clear, transparency=bytes(range(256))))
    yield Awkward("RGB transparent.png", "format and mode", saved(picture(), transparency=(250, 20, 20)))
    yield Awkward("L transparent.png", "format and mode", saved(picture(mode="L"), transparency=7))
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "zstd", "lzma"):
        yield Awkward(f"RGB {compression}.tif", "format and mode", saved(picture(), "TIFF", compression=compression))
    for compression in ("group3", "group4"):
        yield Awkward(
            f"1 {compression}.tif", "format and mode", saved(picture(mode="1"), "TIFF", compression=compression)
        )


def good_ones() -> Iterator[Awkward]:
    """Odd, but pictures: shapes, depths, animations, orientations, profiles, several frames."""
    kind = "odd but sound"
    for size in ((1, 1), (1, 20_000), (20_000, 1), (3, 20_000), (2, 1)):
        name = f"{size[0]}x{size[1]}"
        for codec, extension in (("PNG", "png"), ("JPEG", "jpg"), ("TIFF", "tif"), ("BMP", "bmp")):
            yield Awkward(f"{name}.{extension}", kind, saved(picture(size), codec))
        if max(size) <= 16_383:
            yield Awkward(f"{name}.webp", kind, saved(picture(size), "WEBP"))
    yield Awkward("progressive.jpg", kind, saved(picture((640, 480)), "JPEG", progressive=True))
    yield Awkward("arithmetic quality 1.jpg", kind, saved(picture((640, 480)), "JPEG", quality=1))
    yield Awkward("4-4-4.jpg", kind, saved(picture(), "JPEG", subsampling=0, restart_marker_rows=1))
    yield Awkward("interlaced.png", kind, _interlaced_png())
    yield Awkward("16 bit RGB.png", kind, _png(8, 8, 16, 2, bytes([0] + [17] * 48) * 8))
    yield Awkward("16 bit RGBA.png", kind, _png(8, 8, 16, 6, bytes([0] + [17] * 64) * 8))
    yield Awkward("2 bit grey.png", kind, _png(8, 8, 2, 0, bytes([0, 27, 228]) * 8))
    frames = [picture((64, 64)), Image.new("RGB", (64, 64), "blue"), Image.new("RGB", (64, 64), "lime")]
    for codec, extension in (
        ("GIF", "gif"),
        ("WEBP", "webp"),
        ("PNG", "apng"),
        ("TIFF", "tif"),
        ("MPO", "mpo"),
        ("AVIF", "avif"),
    ):
        data = saved(frames[0], codec, save_all=True, append_images=frames[1:])
        yield Awkward(f"three frames.{extension}", kind, data)
    for orientation in range(10):
        exif = Image.Exif()
        exif[0x0112] = orientation
        for codec, extension in (("JPEG", "jpg"), ("PNG", "png"), ("WEBP", "webp"), ("TIFF", "tif"), ("AVIF", "avif")):
            yield Awkward(f"orientation {orientation}.{extension}", kind, saved(picture(), codec, exif=exif))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for name, profile in (
        ("sRGB", srgb),
        ("nonsense", b"no profile at all"),
        ("cut", srgb[:50]),
        ("huge", srgb + bytes(3_000_000)),
    ):
        for codec, extension in (("JPEG", "jpg"), ("PNG", "png"), ("WEBP", "webp"), ("TIFF", "tif")):
            yield Awkward(f"profile {name}.{extension}", kind, saved(picture(), codec, icc_profile=profile))
    yield Awkward("sizes.ico", kind, saved(picture((256, 256)), "ICO", sizes=[(16, 16), (64, 64), (256, 256)]))
    yield Awkward("comment.gif", kind, saved(picture(), "GIF", comment=b"\x1b[31m" + b"x" * 100_000))
    yield Awkward("after the end.jpg", kind, saved(picture(), "JPEG") + b"PK\3\4" + bytes(50_000))
    yield Awkward("named txt.txt", "wrong extension", saved(picture(), "JPEG"))
    yield Awkward("no extension", "wrong extension", saved(picture(), "PNG"))
    yield Awkward("really a png.jpg", "wrong extension", saved(picture(), "PNG"))
    yield Awkward("really a jpeg.png", "wrong extension", saved(picture(), "JPEG"))
    yield Awkward("really a webp.gif", "wrong extension", saved(picture(), "WEBP"))


def heic() -> Iterator[Awkward]:
    """HEIC, where the extra is installed."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return
    register_heif_opener()
    data = saved(picture((128, 96)), "HEIF")
    yield Awkward("sound.heic", "HEIC", data)
    yield Awkward("alpha.heic", "HEIC", saved(picture((128, 96), "RGBA"), "HEIF"))
    yield Awkward("grey.heic", "HEIC", saved(picture((128, 96), "L"), "HEIF"))
    for tenth in range(1, 10):
        yield Awkward(f"cut at {tenth}.heic", "truncated", data[: len(data) * tenth // 10], "either")


def exif_troubles() -> Iterator[Awkward]:
    """EXIF data that is broken or hostile; the picture is sound."""
    good = Image.Exif()
    good[0x0112] = 6
    blob = good.tobytes()
    blobs = {
        "no header": b"Exif\0\0not a TIFF header at all",
        "empty": b"Exif\0\0",
        "offset beyond": b"Exif\0\0II*\0" + struct.pack("<I", 0xFFFFFFF0),
        "loop": b"Exif\0\0II*\0" + struct.pack("<IHHHII", 8, 1, 0x8769, 4, 1, 8) + struct.pack("<I", 8),
        "count of 4 billion": b"Exif\0\0II*\0" + struct.pack("<IHHHII", 8, 1, 0x0112, 3, 0xFFFFFFFF, 6),
        "orientation as text": b"Exif\0\0II*\0" + struct.pack("<IHHHI4s", 8, 1, 0x0112, 2, 4, b"six\0"),
        "orientation 0 of 0": b"Exif\0\0II*\0"
        + struct.pack("<IHHHII", 8, 1, 0x0112, 5, 1, 26)
        + struct.pack("<II", 0, 0),
        "65535 tags": b"Exif\0\0II*\0" + struct.pack("<IH", 8, 0xFFFF) + bytes(60_000),
        "cut": blob[: len(blob) // 2],
    }
    for name, exif in blobs.items():
        yield Awkward(f"exif {name}.jpg", "EXIF", saved(picture(), "JPEG", exif=exif))
        yield Awkward(f"exif {name}.png", "EXIF", saved(picture(), "PNG", exif=exif))
        yield Awkward(f"exif {name}.webp", "EXIF", saved(picture(), "WEBP", exif=exif))
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf tiff:Orientation="99999999999999999999"/></x:xmpmeta>'
    yield Awkward(
        "xmp orientation.png", "EXIF", _with_chunk(saved(picture()), b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)
    )
    bomb = b'<!DOCTYPE lolz [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><x:xmpmeta>&b;</x:xmpmeta>'
    yield Awkward(
        "xmp entities.png", "EXIF", _with_chunk(saved(picture()), b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + bomb)
    )


def damaged(seed: int) -> Iterator[Awkward]:
    """Cut at every tenth of their length, and with bits flipped."""
    rng = random.Random(seed)
    for codec in DAMAGED_FORMATS:
        data, extension = saved(picture(), codec), FORMATS[codec]
        for tenth in range(1, 10):
            yield Awkward(f"cut at {tenth}.{extension}", "truncated", data[: len(data) * tenth // 10], "either")
        for number in range(FLIPS):
            flipped = bytearray(data)
            for _ in range(1 + number):
                # half of the flips in the head, where sizes and offsets stand
                end = len(data) if number % 2 else min(len(data), 200)
                flipped[rng.randrange(end)] ^= 1 << rng.randrange(8)
            yield Awkward(f"flipped {number:02}.{extension}", "bits flipped", bytes(flipped), "either")
    progressive = saved(picture((640, 480)), "JPEG", progressive=True)
    animation = saved(picture(), "GIF", save_all=True, append_images=[picture().rotate(90), picture().rotate(45)])
    for tenth in range(1, 10):
        yield Awkward(
            f"progressive cut at {tenth}.jpg", "truncated", progressive[: len(progressive) * tenth // 10], "either"
        )
        yield Awkward(f"animation cut at {tenth}.gif", "truncated", animation[: len(animation) * tenth // 10], "either")
    yield Awkward("one byte short.png", "truncated", saved(picture())[:-1], "either")
    yield Awkward("last byte missing.jpg", "truncated", saved(picture(), "JPEG")[:-1], "either")


def no_images() -> Iterator[Awkward]:
    """What is no image, whatever it is called."""
    rng = random.Random(1)
    kind = "no image"
    for extension in ("jpg", "png", "gif", "webp", "tif", "avif", "jp2", "bmp", "ico", "tga", "heic"):
        yield Awkward(f"empty.{extension}", kind, b"", "error")
        yield Awkward(f"zeros.{extension}", kind, bytes(1000), "error")
        yield Awkward(f"noise.{extension}", kind, rng.randbytes(3000), "either" if extension == "tga" else "error")
        yield Awkward(f"one byte.{extension}", kind, b"\xff", "error")
    head = {"jpg": b"\xff\xd8\xff\xe0", "png": b"\x89PNG\r\n\x1a\n", "gif": b"GIF89a", "webp": b"RIFF\xff\xff\xff\xffWEBPVP8 ",
            "tif": b"II*\0", "avif": b"\0\0\0\x1cftypavif", "jp2": b"\0\0\0\x0cjP  \r\n\x87\n", "bmp": b"BM", "ico": b"\0\0\1\0",
            "psd": b"8BPS\0\1", "icns": b"icns", "qoi": b"qoif", "ppm": b"P6 ", "fits": b"SIMPLE  ",
            "heic": b"\0\0\0\x18ftypheic"}  # fmt: skip
    for extension, start in head.items():
        yield Awkward(f"head alone.{extension}", kind, start, "error")
        yield Awkward(f"head and zeros.{extension}", kind, start + bytes(2000), "error")
        yield Awkward(f"head and noise.{extension}", kind, start + rng.randbytes(2000), "error")
        yield Awkward(f"head and ff.{extension}", kind, start + b"\xff" * 2000, "error")
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n%%EndComments\n(%pipe%touch executed) (w) file\nshowpage\n%%EOF\n"
    texts = {"page.jpg": b"<!doctype html><title>404</title>", "drawing.png": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
             "script.jpg": b"#!/bin/sh\ntouch executed\n", "postscript.jpg": eps, "postscript.eps": eps, "paper.png": b"%PDF-1.7\n",
             "pickle.png": b"cos\nsystem\n(S'touch executed'\ntR.", "archive.gif": b"PK\3\4" + bytes(100),
             "video.jpg": b"\0\0\0\x18ftypmp42" + bytes(1000), "mpeg.jpg": b"\0\0\1\xb3\x16\0\xf0\xc4" + bytes(1000),
             "wmf.png": b"\xd7\xcd\xc6\x9a" + bytes(100), "hdf5.png": b"\x89HDF\r\n\x1a\n" + bytes(100),
             "xpm.png": b"/* XPM */\nstatic char *x[] = {\n"}  # fmt: skip
    for name, data in texts.items():
        yield Awkward(name, kind, data, "error")


def bombs() -> Iterator[Awkward]:
    """Small files that declare, or unpack to, far more than `--max-pixels` or memory holds."""
    kind = "bomb"
    side = 65_000
    rows = zlib.compress(bytes(1 << 20), 9)
    yield Awkward(
        "declared.png", kind, _png_head(side, side, 8, 6) + _chunk(b"IDAT", rows) + _chunk(b"IEND", b""), "error"
    )
    yield Awkward("2 billion.png", kind, _png_head(0x7FFFFFFF, 0x7FFFFFFF, 16, 6), "error")
    yield Awkward("unpacks.png", kind, _black_png(30_000, 30_000), "error")
    jpeg = bytearray(saved(picture(), "JPEG"))
    at = jpeg.index(b"\xff\xc0") + 5
    jpeg[at : at + 4] = struct.pack(">HH", 65_500, 65_500)
    yield Awkward("declared.jpg", kind, bytes(jpeg), "error")
    progressive = bytearray(saved(picture(), "JPEG", progressive=True))
    at = progressive.index(b"\xff\xc2") + 5
    progressive[at : at + 4] = struct.pack(">HH", 65_500, 65_500)
    yield Awkward("declared progressive.jpg", kind, bytes(progressive), "error")
    gif = bytearray(saved(picture(), "GIF"))
    gif[6:10] = struct.pack("<HH", 65_535, 65_535)
    yield Awkward("declared.gif", kind, bytes(gif), "error")
    frame = bytearray(saved(picture(), "GIF"))
    at = frame.rindex(b"\x2c\0\0\0\0") + 5
    frame[at : at + 4] = struct.pack("<HH", 65_535, 65_535)
    yield Awkward("declared frame.gif", kind, bytes(frame), "error")
    for name, bits in (("declared.bmp", 24), ("declared 1 bit.bmp", 1)):
        head = struct.pack("<IiiHHIIiiII", 40, side, side, 1, bits, 0, 0, 0, 0, 0, 0)
        yield Awkward(name, kind, b"BM" + struct.pack("<IHHI", 100, 0, 0, 54) + head + bytes(100), "error")
    yield Awkward("declared.tif", kind, _tiff(side, side), "error")
    yield Awkward("many tags.tif", kind, _tiff(8, 8, extra=60_000), "either")
    yield Awkward("loop of frames.tif", kind, _tiff(8, 8, loop=True), "either")
    yield Awkward("declared.ppm", kind, b"P6 %d %d 255\n" % (side, side) + bytes(100), "error")
    yield Awkward("digits.ppm", kind, b"P6 " + b"9" * 5_000 + b" 1 255\n" + bytes(100), "error")
    yield Awkward("declared.qoi", kind, b"qoif" + struct.pack(">IIBB", side, side, 4, 0) + bytes(100), "error")
    yield Awkward(
        "declared.tga",
        kind,
        struct.pack("<BBBHHBHHHHBB", 0, 0, 10, 0, 0, 0, 0, 0, side, side, 24, 0) + bytes(100),
        "error",
    )
    yield Awkward("declared.sgi", kind, struct.pack(">hBBHHHH", 474, 1, 1, 3, 65_000, 65_000, 3) + bytes(600), "error")
    yield Awkward(
        "declared.pcx",
        kind,
        b"\x0a\5\1\x08" + struct.pack("<HHHHHH", 0, 0, 64_999, 64_999, 72, 72) + bytes(112),
        "error",
    )
    yield Awkward("declared.dds", kind, _dds(side, side), "error")
    psd = b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, side, side, 8, 3) + bytes(12) + b"\0\1"
    yield Awkward("declared.psd", kind, psd + bytes(100), "error")
    webp = bytearray(saved(picture(), "WEBP", lossless=True))
    at = webp.index(b"VP8L") + 9
    webp[at : at + 4] = struct.pack("<I", (16_383 - 1) | (16_383 - 1) << 14)
    yield Awkward("declared.webp", kind, bytes(webp), "error")
    extended = b"VP8X" + struct.pack("<II", 10, 2) + b"\xfe\x3f\0\xfe\x3f\0" + b"ANIM" + struct.pack("<IIH", 6, 0, 0)
    yield Awkward(
        "declared animation.webp", kind, b"RIFF" + struct.pack("<I", len(extended) + 4) + b"WEBP" + extended, "error"
    )
    jp2 = bytearray(saved(picture(), "JPEG2000"))
    at = jp2.index(b"ihdr") + 4
    jp2[at : at + 8] = struct.pack(">II", side, side)
    yield Awkward("declared.jp2", kind, bytes(jp2), "error")
    both = bytearray(jp2)
    at = both.index(b"\xff\x51") + 6
    both[at : at + 8] = struct.pack(">II", side, side)
    yield Awkward("declared twice.jp2", kind, bytes(both), "error")
    tiles = bytearray(saved(picture(), "JPEG2000", no_jp2=True))
    at = tiles.index(b"\xff\x51") + 22
    tiles[at : at + 8] = struct.pack(">II", 1, 1)
    yield Awkward("tiles of one pixel.j2k", kind, bytes(tiles), "either")
    avif = bytearray(saved(picture(), "AVIF"))
    at = avif.index(b"ispe") + 8
    avif[at : at + 8] = struct.pack(">II", side, side)
    yield Awkward("declared.avif", kind, bytes(avif), "error")
    inner = _black_png(20_000, 20_000)
    ico = struct.pack("<HHH", 0, 1, 1) + struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(inner), 22) + inner
    yield Awkward("png inside.ico", kind, ico, "error")
    icns = b"icns" + struct.pack(">I", 16 + len(inner)) + b"ic10" + struct.pack(">I", 8 + len(inner)) + inner
    yield Awkward("png inside.icns", kind, icns, "error")
    nested = b"icns" + struct.pack(">I", 0) + b"ic10" + struct.pack(">I", 0)
    yield Awkward("blocks of nothing.icns", kind, nested, "error")
    good = saved(picture())
    text = _packed_zeros(200)
    yield Awkward("text.png", kind, _with_chunk(good, b"zTXt", b"Comment\0\0" + text), "either")
    yield Awkward("international text.png", kind, _with_chunk(good, b"iTXt", b"Comment\0\1\0\0\0" + text), "either")
    yield Awkward("profile.png", kind, _with_chunk(good, b"iCCP", b"icc\0\0" + text), "either")
    many = good
    small = _packed_zeros(8)
    for number in range(40):
        many = _with_chunk(many, b"zTXt", b"Comment %d\0\0" % number + small)
    yield Awkward("many texts.png", kind, many, "either")
    yield Awkward("chunks without end.png", kind, good[:33] + _chunk(b"tEXt", b"k\0v") * 100_000 + good[33:], "either")
    yield Awkward("comments.gif", kind, _gif_of_comments(3_000_000), "either")
    yield Awkward("segments.jpg", kind, _jpeg_of_segments(200), "either")
    yield Awkward("animation of 5000.gif", kind, _long_gif(5_000), "decodes")


def slow_jpeg(scans: int = 100_000) -> bytes:
    """A file of a megabyte that keeps libjpeg busy for minutes: a progressive JPEG of far too many scans."""
    jpeg = saved(Image.new("L", (4000, 4000)), "JPEG", progressive=True)
    start = jpeg.rindex(b"\xff\xda")
    head = int.from_bytes(jpeg[start + 2 : start + 4], "big")
    return jpeg[: start + 2 + head] + jpeg[start : start + 2 + head] * scans + jpeg[start + 2 + head :]


def corpus(seed: int = 7) -> Iterator[Awkward]:
    """All of them, one by one; about a thousand files, some megabytes."""
    makers: tuple[Callable[[], Iterator[Awkward]], ...] = (
        every_format_and_mode, good_ones, heic, exif_troubles, lambda: damaged(seed), no_images, bombs,
    )  # fmt: skip
    for make in makers:
        yield from make()


def write_corpus(folder: Path, seed: int = 7) -> dict[Path, Awkward]:
    """Write them, a folder a kind; what each path is."""
    written = {}
    for one in corpus(seed):
        path = folder / one.kind / one.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(one.data)
        written[path] = one
    return written


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png_head(width: int, height: int, bits: int, colour: int, interlace: int = 0) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlace))


def _png(width: int, height: int, bits: int, colour: int, rows: bytes) -> bytes:
    return _png_head(width, height, bits, colour) + _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND", b"")


def _packed_zeros(megabytes: int) -> bytes:
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(1 << 20)) for _ in range(megabytes)) + packer.flush()


def _black_png(width: int, height: int) -> bytes:
    """A sound PNG of one bit a pixel, all black: a thousandth of its pixels in bytes."""
    packer = zlib.compressobj(9)
    row = bytes(1 + (width + 7) // 8)
    packed = b"".join(packer.compress(row * 100) for _ in range(height // 100)) + packer.flush()
    return _png_head(width, height, 1, 0) + _chunk(b"IDAT", packed) + _chunk(b"IEND", b"")


def _interlaced_png() -> bytes:
    """8 x 8 grey in Adam7."""
    widths = ((1, 1), (1, 1), (2, 1), (2, 2), (4, 2), (4, 4), (8, 4))
    rows = b"".join((b"\0" + bytes(range(width))) * height for width, height in widths)
    return _png_head(8, 8, 8, 0, 1) + _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND", b"")


def _with_chunk(png: bytes, kind: bytes, data: bytes) -> bytes:
    return png[:33] + _chunk(kind, data) + png[33:]


def _tiff(width: int, height: int, extra: int = 0, loop: bool = False) -> bytes:
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8), (278, 4, 1, height),
            (279, 4, 1, width * height & 0xFFFFFFFF)]  # fmt: skip
    tags += [(40_000 + number % 20_000, 7, 0x7FFFFFFF, 8) for number in range(extra)]
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    pixels = bytes(64)
    start = 8 + len(pixels)
    return (
        b"II*\0"
        + struct.pack("<I", start)
        + pixels
        + struct.pack("<H", len(tags))
        + entries
        + struct.pack("<I", start if loop else 0)
    )


def _dds(width: int, height: int) -> bytes:
    pixel_format = struct.pack("<II4sIIIII", 32, 4, b"DXT1", 0, 0, 0, 0, 0)
    return b"DDS " + struct.pack("<7I44x", 124, 0x1007, height, width, 0, 0, 0) + pixel_format + bytes(20) + bytes(100)


def _gif_of_comments(length: int) -> bytes:
    gif = saved(picture(), "GIF")
    at = gif.index(b"\x2c\0\0\0\0")
    return gif[:at] + b"\x21\xfe" + (b"\xff" + b"c" * 255) * (length // 255) + b"\0" + gif[at:]


def _jpeg_of_segments(count: int) -> bytes:
    jpeg = saved(picture(), "JPEG")
    segment = b"\xff\xe1\xff\xff" + b"Exif\0\0" + bytes(65_527)
    profile = b"\xff\xe2\xff\xff" + b"ICC_PROFILE\0\1\1" + bytes(65_519)
    return jpeg[:2] + segment * count + profile * count + jpeg[2:]


def _long_gif(frames: int) -> bytes:
    gif = saved(Image.new("P", (8, 8)), "GIF")
    at = gif.index(b"\x2c\0\0\0\0")
    return gif[:at] + gif[at:-1] * frames + b"\x3b"


if __name__ == "__main__":
    print(f"{len(write_corpus(Path(sys.argv[1])))} files")
