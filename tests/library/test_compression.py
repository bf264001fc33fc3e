"""A file costs what its bytes can hold, not what it declares; and whatever it can hold is read."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.corpus import FORMATS, saved
from support.declared import SIDE, WITHOUT_BOUND, declared
from support.memory import PEAKS
from support.processes import run_python

from zsclip import ImageError
from zsclip.images.decoding import decode, pixels
from zsclip.images.preprocessing import Preprocessing

WANTED = Preprocessing(size=(64, 64))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the kernel tells no peak of memory")
def test_a_file_that_declares_more_than_it_holds_costs_next_to_nothing(tmp_path: Path) -> None:
    """Each of them by itself: 200 megapixels in hundreds of bytes took up to a gigabyte."""
    for name, data in declared():
        if not name.endswith(WITHOUT_BOUND):
            (tmp_path / name).write_bytes(data)
    measured = json.loads(run_python(PEAKS, tmp_path).stdout)
    assert len(measured) > 60
    assert {path: found for path, found in measured.items() if found[0] > 10 or found[1] == "decoded"} == {}


def test_it_says_what_is_wrong_with_it() -> None:
    jpeg = dict(declared())["2000 RGB progressive.jpg"]
    with pytest.raises(ImageError, match=rf"its {len(jpeg):,} bytes cannot hold the 14,142 x 14,142 pixels"):
        decode(jpeg, WANTED)


@pytest.mark.slow
@pytest.mark.parametrize("format", sorted(FORMATS.keys() - {"DIB", "ICNS", "ICO", "MPO"}))
def test_an_area_of_one_colour_is_read_however_well_it_is_compressed(format: str) -> None:
    read = 0
    for mode in ("1", "L", "P", "RGB", "RGBA", "I;16"):
        image = Image.new(mode, (1001, 1003))
        for options in _ways_to_save(format):
            try:
                data = saved(image, format, **options)
            except (OSError, ValueError, KeyError, TypeError, NotImplementedError):
                continue  # this format has no such mode
            assert pixels(data, WANTED)[0].shape == (64, 64, 3), (mode, options)
            read += 1
    assert read


def _ways_to_save(format: str) -> list[dict[str, object]]:
    if format == "TIFF":
        kinds = ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "zstd", "lzma", "group3", "group4")
        return [{"compression": kind} for kind in kinds]
    if format == "JPEG":
        return [
            {"quality": 1, "optimize": True, "progressive": progressive, "subsampling": subsampling}
            for progressive in (False, True)
            for subsampling in (0, 2)
        ]
    return {
        "PNG": [{"optimize": True}],
        "WEBP": [{"lossless": True}, {"quality": 1}],
        "AVIF": [{"quality": 1, "speed": 10}],
        "TGA": [{"compression": "tga_rle"}],
        "DDS": [{"pixel_format": "DXT1"}],
    }.get(format, [{}])


def test_a_jpeg_of_arithmetic_coding_has_no_least_size() -> None:
    """It spends less than a bit on a block. Pillow writes none; this one is read for what it is, and is damaged."""
    huffman = bytearray(saved(Image.new("L", (64, 64)), "JPEG"))
    at = huffman.index(b"\xff\xc0")
    huffman[at + 5 : at + 9] = b"\x0f\xff\x0f\xff"
    with pytest.raises(ImageError, match="cannot hold"):
        decode(bytes(huffman), WANTED)
    arithmetic = huffman[: at + 1] + b"\xc9" + huffman[at + 2 :]
    assert decode(bytes(arithmetic), WANTED)[0].size[0] >= 64


def test_one_bit_pictures_stay_grey() -> None:
    """Three times the memory for the same pixels."""
    image = Image.fromarray(np.random.default_rng(3).random((70, 90)) > 0.5)
    upright, _ = decode(saved(image), WANTED)
    assert upright.mode == "L"
    assert pixels(saved(image), WANTED)[0].tobytes() == pixels(saved(image.convert("RGB")), WANTED)[0].tobytes()


def test_a_picture_whose_size_only_its_decoder_sees_is_not_read() -> None:
    """A BLP may hold a JPEG of any size: one of 284 bytes took 835 MB."""
    with pytest.raises(ImageError, match="not an image in a format that is known"):
        decode(dict(declared())["a.blp"], WANTED)
    assert SIDE**2 < 250_000_000
    assert sys.getsizeof(dict(declared())["a.blp"]) < 1000
