"""Deep grey: 10, 12 and 14 bits in files of 16 are seen, and what is dark in 16 stays dark."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.corpus import saved

from zsclip.images.decoding import decode
from zsclip.images.preprocessing import Preprocessing


def deep(top: int, format: str = "PNG", **options: object) -> bytes:
    """A file of 16-bit grey, a ramp from 0 to `top`."""
    ramp = np.linspace(0, top, 64 * 64).round().astype(np.uint16).reshape(64, 64)
    return saved(Image.fromarray(ramp), format, **options)


def with_significant_bits(png: bytes, bits: int) -> bytes:
    chunk = b"sBIT" + bytes([bits])
    return png[:33] + struct.pack(">I", 1) + chunk + struct.pack(">I", zlib.crc32(chunk)) + png[33:]


def whitest(data: bytes) -> int:
    return int(np.asarray(decode(data, Preprocessing(size=(64, 64)))[0]).max())


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
@pytest.mark.parametrize(
    ("top", "white"), [(4095, 255), (3000, 187), (200, 12), (0, 0), (4096, 16), (16383, 64), (65535, 255)]
)
def test_twelve_bits_in_sixteen_are_seen_and_more_are_not_guessed_at(format: str, top: int, white: int) -> None:
    """A frame in the dark (200) stays dark, and so does a dim picture of 16 bits (16383)."""
    assert whitest(deep(top, format)) == white


@pytest.mark.parametrize(
    ("bits", "top", "white"),
    [
        (10, 1023, 255),
        (12, 4095, 255),
        (14, 16383, 255),
        (16, 4095, 16),
        (16, 1023, 4),
        (12, 65535, 255),
        (12, 30000, 117),
    ],
)
def test_the_significant_bits_of_a_png_are_its_depth(bits: int, top: int, white: int) -> None:
    """By the specification they are moved up to fill all 16; what is above them was."""
    assert whitest(with_significant_bits(deep(top), bits)) == white


@pytest.mark.parametrize(
    ("most", "top", "white"),
    [(1023, 1023, 255), (16383, 16383, 255), (65535, 4095, 16), (3000, 3000, 187), (9999, 9999, 39)],
)
def test_the_largest_value_that_a_tiff_declares_is_its_depth_if_it_is_one(most: int, top: int, white: int) -> None:
    assert whitest(deep(top, "TIFF", tiffinfo={281: most})) == white


def test_a_tiff_of_twelve_bits_a_sample_is_seen() -> None:
    """Two pixels in three bytes."""
    values = np.linspace(0, 2047, 64 * 64).round().astype(np.uint16).reshape(-1, 2)
    packed = np.stack([values[:, 0] >> 4, (values[:, 0] & 15) << 4 | values[:, 1] >> 8, values[:, 1] & 255], -1)
    data = packed.astype(np.uint8).tobytes()
    tags = [(256, 64), (257, 64), (258, 12), (259, 1), (262, 1), (273, 8), (277, 1), (278, 64), (279, len(data))]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    file = b"II*\0" + struct.pack("<I", 8 + len(data)) + data + struct.pack("<H", len(tags)) + entries + bytes(4)
    assert whitest(file) == 127


def test_what_pillow_brings_to_sixteen_bits_stays_as_it_is() -> None:
    dark = np.linspace(0, 100, 64 * 64).round().astype(">u2").tobytes()
    assert whitest(b"P5 64 64 4095\n" + dark) == 6
    assert whitest(deep(4000, "JPEG2000")) == 16


def test_a_pillow_image_gives_what_its_file_gives(tmp_path: Path) -> None:
    from zsclip import Classifier

    (tmp_path / "a.png").write_bytes(with_significant_bits(deep(4095), 16))
    (tmp_path / "b.tif").write_bytes(deep(1023, "TIFF", tiffinfo={281: 1023}))
    with Classifier.load("demo", use_cache=False) as classifier:
        for path in sorted(tmp_path.iterdir()):
            from_file, from_image = (
                one.embedding for batch in classifier.embed_images([path, Image.open(path)]) for one in batch
            )
            assert from_file
            assert from_image
            np.testing.assert_array_equal(from_file.vector, from_image.vector)
