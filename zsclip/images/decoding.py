"""Untrusted bytes made into upright RGB or grey pictures. Pillow and NumPy only.

Whatever a file holds, what comes out is an image or an `ImageError` that says what is wrong with the file; what it costs is
bounded before it is decoded.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from io import BytesIO
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin, UnidentifiedImageError

from zsclip.errors import ImageError
from zsclip.images import depth, jxl, raw
from zsclip.images.compression import can_hold
from zsclip.images.formats import JXL_HINT, heif_supported, jxl_supported
from zsclip.images.jpeg_metadata import without_metadata
from zsclip.images.preprocessing import Preprocessing, fit

# Phones make 200 megapixels.
DEFAULT_MAX_PIXELS = 250_000_000
# Pillow holds four bytes a pixel, and conversions as much again: larger images take turns.
_BIG_PIXELS = 40_000_000
_STRIP_PIXELS = 4_000_000
# A PNG may hold long texts, such as the workflow that made it (Pillow: 1 MiB).
_TEXT_BYTES = 16 << 20

_COMMON = ("JPEG", "PNG", "GIF", "BMP", "PPM")  # known to Pillow without loading all of its plugins
# Not EPS and WMF, which run programs, nor what needs handlers that are not there (GRIB, HDF5, BUFR, MPEG), nor what
# holds an image whose size its decoder alone sees (IPTC, BLP).
_FORMATS = (
    *_COMMON, "WEBP", "TIFF", "AVIF", "JPEG2000", "ICO", "ICNS", "CUR", "DIB", "QOI", "PSD", "DDS", "SGI", "PCX", "DCX",
    "TGA", "FITS", "FLI", "SUN", "MSP", "XBM", "XPM", "IM", "SPIDER", "PIXAR", "GBR", "FTEX",
)  # fmt: skip
_HEIF_BRANDS = (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftyphevc", b"ftypmsf1")
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
turn_of_big_images = threading.Lock()


def require_decodable(file: BinaryIO, max_pixels: int) -> None:
    """Raise `ImageError` unless the head of a file is that of an image that may be decoded."""
    with _pillow_limits(max_pixels), _told_as_image_errors():
        if jxl.is_jxl(file):
            _require_few(*jxl.declared_size(file), max_pixels)
        elif raw.is_raw(file):
            raw.require_support()
        else:
            file.seek(0)
            _open(file, max_pixels)


def pixels(
    data: bytes,
    wanted: Preprocessing,
    *,
    full: bool = False,
    half: bool = False,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    measure: Callable[[str], AbstractContextManager[object]] = nullcontext,
    turn: AbstractContextManager[object] = turn_of_big_images,
) -> tuple[NDArray[np.uint8], bool]:
    """A file's bytes as the model wants them: uint8 (height, width, 3), and whether they are others than open_clip's.

    As `decode` and `fit`, but big images are decoded within `turn`, among all threads one at a time, so that memory holds
    one of them. Pixels are others than open_clip's if the image was decoded at a reduced scale, or, unless `full`, `half` says
    that the model computes in half precision, to which the difference is nothing.
    `measure` is told which of the two, "decode" or "resize", is being done. Raises `ImageError`.
    """
    with _pillow_limits(max_pixels), _told_as_image_errors():
        with measure("decode"):
            opened = _opened(data, wanted, full, max_pixels)
        with turn if opened.is_big else nullcontext():
            with measure("decode"):
                upright = opened.upright()
            with measure("resize"):
                is_fast = opened.reduced or (half and not full)
                return fit(upright, wanted, exact=not is_fast), is_fast


def decode(
    data: bytes, wanted: Preprocessing, *, full: bool = False, max_pixels: int = DEFAULT_MAX_PIXELS
) -> tuple[Image.Image, bool]:
    """The first frame as an upright RGB or grey (L) image, and whether it was decoded at a reduced scale.

    Unless `full`, a JPEG is decoded at 1/2, 1/4 or 1/8 as long as both sides stay at least twice the wanted size
    (libjpeg does that in the DCT). Raises `ImageError` for whatever is no image, is damaged or has more than `max_pixels`.
    """
    with _pillow_limits(max_pixels), _told_as_image_errors():
        opened = _opened(data, wanted, full, max_pixels)
        return opened.upright(), opened.reduced


def declared_depth(image: Image.Image) -> int | None:
    """The bits of deep grey that the file of an image declares, before it is loaded; None for other images and without any."""
    return depth.declared(image) if _is_deep(image) else None


def upright_rgb(image: Image.Image, declared: int | None = None) -> Image.Image:
    """A Pillow image of the caller's, turned as its EXIF orientation says, in mode RGB or L; raises `ImageError`.

    Transparency is laid over white; palettes become RGB and 1-bit images grey (resized later, not as indices); 16-bit and
    other deep grey is scaled to 8 bits, not clipped (see `zsclip.images.depth`), from its `declared` depth if that is known.
    """
    with _told_as_image_errors():
        return _upright_rgb(image, declared)


class _PillowLimits:
    """Pillow's limits, which belong to the process: ours while anything is being decoded here, then what they were."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._in_use: list[int] = []
        self._before: tuple[int | None, int] = (0, 0)
        self._filters: list[object] = []

    @contextmanager
    def __call__(self, max_pixels: int) -> Iterator[None]:
        with self._lock:
            if not self._in_use:
                self._before = Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK
                PngImagePlugin.MAX_TEXT_CHUNK = _TEXT_BYTES
                # Whether there are too many pixels is asked and told here.
                self._filters = cast("list[object]", warnings.filters)
                self._filters.insert(0, _NO_BOMB_WARNING)
            self._in_use.append(max_pixels)
            self._limit()
        try:
            yield
        finally:
            with self._lock:
                self._in_use.remove(max_pixels)
                if self._in_use:
                    self._limit()
                else:
                    Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK = self._before
                    # By identity: the caller may have a filter of their own that equals it.
                    self._filters[:] = [one for one in self._filters if one is not _NO_BOMB_WARNING]

    def _limit(self) -> None:
        # For frames and for images inside of images, which only Pillow sees; it raises above twice this, also where `fit` crops.
        Image.MAX_IMAGE_PIXELS = (max(*self._in_use, _BIG_PIXELS) + 1) // 2


_NO_BOMB_WARNING = ("ignore", None, Image.DecompressionBombWarning, None, 0)
_pillow_limits = _PillowLimits()


@contextmanager
def _told_as_image_errors() -> Iterator[None]:
    try:
        yield
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise ImageError("not an image in a format that is known here", kind="other") from None
    except Image.DecompressionBombError:
        raise ImageError("it holds an image of more pixels than `max_pixels` allows", kind="too_large") from None
    except MemoryError:
        raise ImageError("too large to decode in the memory there is", kind="too_large") from None
    except Exception as error:
        # Fed with the bytes of strangers, Pillow's decoders have been seen to raise nearly everything there is.
        raise ImageError(
            f"damaged or unsupported image: {' '.join(str(error).split()) or type(error).__name__}"
        ) from None


@dataclass(frozen=True)
class _Opened:
    """A picture of which only the head was read: how to decode it, whether at a reduced scale, and whether it takes turns."""

    upright: Callable[[], Image.Image]
    reduced: bool = False
    is_big: bool = False


def _opened(data: bytes, wanted: Preprocessing, full: bool, max_pixels: int) -> _Opened:
    if not data:
        raise ImageError("the file is empty")
    file = BytesIO(data)
    if jxl.is_jxl(file):
        return _opened_jxl(file, max_pixels)
    if raw.is_raw(file):
        return _opened_raw(data, wanted, full, max_pixels)
    return _drafted(_open(BytesIO(without_metadata(data)), max_pixels), wanted, full)


def _drafted(image: Image.Image, wanted: Preprocessing, full: bool, turn: Image.Transpose | None = None) -> _Opened:
    """An image, a JPEG at the scale wanted; turned where its EXIF says nothing of that."""
    stored = image.size
    if not full and image.format == "JPEG":
        image.draft(None, (2 * max(wanted.size), 2 * max(wanted.size)))
    turns = turn is not None and not _orientation(image, 0)

    def upright() -> Image.Image:
        flat = _upright_rgb(image)
        return flat.transpose(turn) if turns and turn is not None else flat

    return _Opened(upright, image.size != stored, _is_big(image))


def _opened_raw(data: bytes, wanted: Preprocessing, full: bool, max_pixels: int) -> _Opened:
    """The embedded preview; what the sensor saw where there is none, or one smaller than what is wanted."""
    raw.require_support()
    file = raw.RawFile(data, max_pixels)
    if preview := file.preview():
        image = preview.image or _preview(preview.jpeg or b"", max_pixels)
        if image and min(image.size) >= min(wanted.size):
            return _drafted(image, wanted, full, preview.turn)
    file.require_sensor()
    return _Opened(file.developed, is_big=file.pixels > _BIG_PIXELS)


def _preview(data: bytes, max_pixels: int) -> Image.Image | None:
    try:
        return _open(BytesIO(without_metadata(data)), max_pixels)
    except UnidentifiedImageError:
        return None


def _opened_jxl(file: BytesIO, max_pixels: int) -> _Opened:
    width, height = jxl.declared_size(file)
    _require_few(width, height, max_pixels)
    if not jxl_supported():
        raise ImageError(JXL_HINT, kind="other")
    from pillow_jxl.JpegXLImagePlugin import JXLImageFile

    def upright() -> Image.Image:
        file.seek(0)
        image = JXLImageFile(file)
        if not image.jpeg:
            image.info.pop("exif", None)  # which way is up its decoder knows from the picture itself
        return _upright_rgb(image)

    return _Opened(upright, is_big=width * height > _BIG_PIXELS)


def _open(file: BinaryIO, max_pixels: int) -> Image.Image:
    formats: tuple[str, ...] = _FORMATS
    if heif_supported():
        from pillow_heif import register_heif_opener

        register_heif_opener()
        formats = (*formats, "HEIF")
    head, length = file.read(12), file.seek(0, os.SEEK_END)
    try:
        image = _first_of(file, formats)
    except UnidentifiedImageError:
        if head[4:12] in _HEIF_BRANDS and "HEIF" not in formats:
            raise ImageError("HEIC, which is read with: pip install pillow-heif", kind="other") from None
        raise
    except Image.DecompressionBombError:
        raise ImageError(f"more than {max_pixels:,} pixels; `max_pixels` allows more", kind="too_large") from None
    width, height = image.size
    _require_few(width, height, max_pixels)
    if not can_hold(length, image):
        raise ImageError(
            f"damaged image: its {length:,} bytes cannot hold the {width:,} x {height:,} pixels it declares"
        )
    return image


def _require_few(width: int, height: int, max_pixels: int) -> None:
    if not width or not height:
        raise ImageError("an image without pixels")
    if width * height > max_pixels:
        raise ImageError(
            f"{width:,} x {height:,} pixels, more than {max_pixels:,}; `max_pixels` allows more", kind="too_large"
        )


def _first_of(file: BinaryIO, formats: tuple[str, ...]) -> Image.Image:
    try:
        return Image.open(file, formats=_COMMON)
    except UnidentifiedImageError:
        Image.init()
        return Image.open(file, formats=[name for name in formats if name in Image.OPEN])


def _is_big(image: Image.Image) -> bool:
    """Whether it waits until no other big image is being decoded; a progressive JPEG is held whole whatever its scale."""
    scale = 64 if image.info.get("progressive") else 1
    return image.width * image.height * scale > _BIG_PIXELS


def _upright_rgb(image: Image.Image, declared: int | None = None) -> Image.Image:
    declared = declared or declared_depth(image)
    image.load()
    if not image.width or not image.height:
        raise ImageError("an image without pixels")
    if image.mode == "P" and image.palette is None:
        image = image.convert("RGB")  # an icon of ICNS, which loses it
    if _is_deep(image):
        flat = _deep_grey(image, declared)
    elif image.has_transparency_data:
        flat = _in_strips(image, "RGB", _over_white)
    elif image.mode in ("RGB", "L"):
        flat = image
    else:
        flat = image.convert("L" if image.mode == "1" else "RGB")
    turn = _TURNS.get(_orientation(image))
    return flat if turn is None else flat.transpose(turn)


def _orientation(image: Image.Image, unknown: int = 1) -> int:
    """The EXIF orientation; 1 (upright) where the EXIF data is broken, which is no reason to refuse a picture."""
    try:
        return int(image.getexif().get(_ORIENTATION, unknown))
    except Exception:
        return unknown


def _over_white(image: Image.Image) -> Image.Image:
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")


def _is_deep(image: Image.Image) -> bool:
    return image.mode.startswith("I") or image.mode == "F"


def _deep_grey(image: Image.Image, declared: int | None) -> Image.Image:
    top = max(float(_values(strip).max()) for strip in _strips(image))
    if image.mode == "F":
        # No depth is declared: 0 to 1, 0 to 255, or else whatever range there is.
        white = 1.0 if top <= 1 else 255.0 if top <= 255 else top
    else:
        white = depth.white(top, declared)

    def scaled(strip: Image.Image) -> Image.Image:
        return Image.fromarray((np.clip(_values(strip), 0, None) / white * 255).round().astype(np.uint8))

    return _in_strips(image, "L", scaled)


def _values(image: Image.Image) -> NDArray[np.float64]:
    return np.nan_to_num(np.asarray(image).astype(np.float64))


def _in_strips(image: Image.Image, mode: str, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """What `convert` makes of an image, some rows at a time, so that what it holds meanwhile is small."""
    if image.width * image.height <= _STRIP_PIXELS:
        return convert(image)
    whole, top = Image.new(mode, image.size), 0
    for strip in _strips(image):
        whole.paste(convert(strip), (0, top))
        top += strip.height
    return whole


def _strips(image: Image.Image) -> Iterator[Image.Image]:
    rows = max(1, _STRIP_PIXELS // image.width)
    for top in range(0, image.height, rows):
        yield image.crop((0, top, image.width, min(image.height, top + rows)))
