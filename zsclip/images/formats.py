"""Which names are those of pictures, RAW files and videos, and what must be installed to read them."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec

EXTENSIONS = frozenset({
    ".apng", ".avif", ".avifs", ".bmp", ".dib", ".gif", ".icns", ".ico", ".j2c", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg",
    ".jpf", ".jpg", ".jpx", ".mpo", ".pbm", ".pcx", ".pfm", ".pgm", ".png", ".pnm", ".ppm", ".qoi", ".sgi", ".tga", ".tif",
    ".tiff", ".webp",
})  # fmt: skip
HEIF = frozenset({".heic", ".heif", ".hif"})
JXL = frozenset({".jxl"})
RAW = frozenset({
    ".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".fff", ".iiq", ".k25", ".kdc", ".mef", ".mos", ".mrw", ".nef",
    ".nrw", ".orf", ".pef", ".raf", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f",
})  # fmt: skip
PICTURES = EXTENSIONS | HEIF | JXL | RAW
# What a camera or a program makes of a RAW file, or beside one.
DEVELOPED = frozenset({".jpg", ".jpeg", ".jpe", ".jfif"})
VIDEO = frozenset({
    ".3gp", ".avi", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".webm", ".wmv",
})  # fmt: skip

HEIF_HINT = "HEIC is read with: pip install pillow-heif"
JXL_HINT = "JPEG XL is read with: pip install 'zsclip[jxl]'"
RAW_HINT = "RAW is read with: pip install 'zsclip[raw]'"
VIDEO_HINT = "videos are read with: pip install 'zsclip[video]'"


@cache  # asked for every picture, and a tenth of a millisecond to find out
def _is_installed(module: str) -> bool:
    return find_spec(module) is not None


def image_extensions() -> frozenset[str]:
    """The extensions of what can be read as a picture here."""
    supported = ((HEIF, heif_supported), (JXL, jxl_supported), (RAW, raw_supported))
    return EXTENSIONS.union(*(extensions for extensions, is_supported in supported if is_supported()))


def heif_supported() -> bool:
    """Whether `.heic` can be read: with the extra `heic` (pillow-heif) installed."""
    return _is_installed("pillow_heif")


def jxl_supported() -> bool:
    """Whether `.jxl` can be read: with the extra `jxl` (pillow-jxl-plugin) installed."""
    return _is_installed("pillow_jxl")


def raw_supported() -> bool:
    """Whether RAW files of cameras can be read: with the extra `raw` (rawpy) installed."""
    return _is_installed("rawpy")


def video_supported() -> bool:
    """Whether videos can be read: with the extra `video` (PyAV) installed."""
    return _is_installed("av")
