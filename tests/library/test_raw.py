"""RAW files of cameras and JPEG XL: known by their bytes, turned, bounded before they are decoded."""

from __future__ import annotations

import io
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.raw_files import PREVIEW, SENSOR, SIZE, dng, jpeg, scene, tiff

from zsclip.errors import ImageError
from zsclip.images import decoding, folders, formats, jxl, raw
from zsclip.images.decoding import decode
from zsclip.images.folders import Search, Walk
from zsclip.images.preprocessing import Preprocessing
from zsclip.images.worker_pool import IsolatedDecoder

pytest.importorskip("rawpy")

SMALL = Preprocessing(size=(32, 32))
# As EXIF numbers them: how many quarters counter-clockwise.
TURNS = {1: 0, 3: 2, 6: 3, 8: 1}


def corners(image: Image.Image) -> list[tuple[int, ...]]:
    """The colours of the four corners, coarsely."""
    values = np.asarray(image.convert("RGB")).astype(int)
    points = values[[3, 3, -4, -4], [3, -4, 3, -4]]
    return [tuple(int(value > 150) for value in point) for point in points.tolist()]


def turned(image: Image.Image, orientation: int) -> list[tuple[int, ...]]:
    return corners(Image.fromarray(np.rot90(np.asarray(image), TURNS[orientation])))


@pytest.mark.parametrize("orientation", TURNS)
def test_previews_and_sensors_are_turned_as_the_file_says(orientation: int) -> None:
    sensor, _ = decode(dng(orientation=orientation), SMALL)
    assert corners(sensor) == turned(scene(SENSOR), orientation)
    assert sorted(sensor.size) == [SIZE[1] // 2, SIZE[0] // 2], "half-size"
    preview, _ = decode(dng(preview=jpeg(scene(PREVIEW)), orientation=orientation), SMALL)
    assert corners(preview) == turned(scene(PREVIEW), orientation)
    assert sorted(preview.size) == sorted(SIZE)


def test_a_preview_that_says_that_it_is_upright_is_not_turned() -> None:
    plain = jpeg(scene(PREVIEW), exif_orientation=1)
    camera = plain[:2] + plain[20:]  # as cameras write it, the EXIF first
    assert camera[6:10] == b"Exif"
    found, _ = decode(dng(preview=camera, orientation=6), SMALL)
    assert corners(found) == corners(scene(PREVIEW))


def test_a_preview_smaller_than_what_the_model_wants_is_not_taken() -> None:
    data = dng(preview=jpeg(scene(PREVIEW)), size=(960, 640))
    assert corners(decode(data, SMALL)[0]) == corners(scene(PREVIEW))
    large, reduced = decode(data, Preprocessing(size=(224, 224)))
    assert (large.size, reduced) == ((480, 320), False)
    assert corners(large) == corners(scene(SENSOR))


def test_big_previews_are_decoded_at_a_reduced_scale_unless_in_full() -> None:
    data = dng(preview=jpeg(scene(PREVIEW, (960, 640))), preview_size=(960, 640))
    assert [decode(data, SMALL, full=full)[0].size for full in (False, True)] == [(120, 80), (960, 640)]


def test_raw_is_known_by_its_bytes_and_not_by_its_name(tmp_path: Path) -> None:
    for data in (dng(), dng(preview=jpeg(scene(PREVIEW))), b"FUJIFILMCCD-RAW 0201", b"\0\0\0\x18ftypcrx \0\0\0\1",
                 b"II*\0\x10\0\0\0CR\2\0" + b"\0" * 9, b"IIRO\x08\0\0\0" + b"\0" * 9):  # fmt: skip
        assert raw.is_raw(io.BytesIO(data))
    files = {}
    for kind, mode in (("TIFF", "RGB"), ("TIFF", "I;16"), ("PNG", "RGB"), ("JPEG", "RGB")):
        file = io.BytesIO()
        Image.new(mode, (20, 20)).save(file, kind)
        files[kind, mode] = file.getvalue()
        assert not raw.is_raw(file)
    ours = dng(preview=jpeg(scene(PREVIEW)))
    (tmp_path / "a.jpg").write_bytes(ours)
    from zsclip.images.files import read_file

    assert decode(read_file(str(tmp_path / "a.jpg"))[0], SMALL)[0] == decode(ours, SMALL)[0]


def test_directories_that_lead_in_circles_or_nowhere_end() -> None:
    circle = b"II*\0" + struct.pack("<IHHHIII", 8, 1, 330, 4, 1, 8, 8)
    outside = b"MM\0*" + struct.pack(">IHHHIII", 8, 1, 330, 4, 1_000_000, 0xFFFFFFF0, 0xFFFFFF00)
    for data in (circle, outside, circle[:12], b"II*\0\xff\xff\xff\xff", tiff([([(256, 4, [1])], b"")])):
        assert not raw.is_raw(io.BytesIO(data))


def test_broken_raw_says_so_by_its_head_or_is_not_scored() -> None:
    whole = dng(preview=jpeg(scene(PREVIEW)), size=(640, 480))
    broken = {
        "format that is known": whole[: len(whole) // 3],
        "damaged or unsupported RAW": dng(declared=(96, 640)),
        "Unsupported file format": b"FUJIFILMCCD-RAW 0201" + b"\0" * 400,
        "sensor of 3,600,000,000 pixels, more than 250,000,000": dng(declared=(60_000, 60_000)),
        "cannot hold the 225,000,000 pixels it declares": dng(declared=(15_000, 15_000)),
    }
    for message, data in broken.items():
        with pytest.raises(ImageError, match=message):
            decode(data, SMALL)
    assert decode(dng(preview=b"\xff\xd8no JPEG"), SMALL)[0].size == (48, 32), "a preview that is none is not taken"
    for data in (dng(), dng(preview=jpeg(scene(PREVIEW)))):
        with pytest.raises(ImageError, match=r"more than 6,000") as found:
            decode(data, SMALL, max_pixels=6000)
        assert found.value.kind == "too_large"
    decoding.require_decodable(io.BytesIO(whole), 1_000_000)


def test_worker_processes_read_raw_alike() -> None:
    data = dng(preview=jpeg(scene(PREVIEW)), orientation=6)
    with IsolatedDecoder(SMALL) as decoder:
        for one in (data, dng(orientation=3)):
            assert (decoder(one)[0] == decoding.pixels(one, SMALL)[0]).all()
        with pytest.raises(ImageError, match="RAW"):
            decoder(dng(declared=(96, 640)))


def test_a_folder_takes_raw_but_not_beside_its_jpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.CR2", "a.jpg", "b.dng", "c.nef", "C.JPG", "d.ARW", "d.heic", "e.raf", "x/e.jpg", "f.jpg.orf"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "b.jpg").mkdir()  # a folder is no picture

    def found() -> tuple[list[str], str]:
        walk = Walk(tmp_path)
        return [os.path.relpath(path, tmp_path) for path in walk], str(walk.passed_over)

    taken = ["C.JPG", "a.jpg", "b.dng", "c.nef", "d.heic", "e.raf", "f.jpg.orf", os.path.join("x", "e.jpg")]
    assert found() == (taken, "passed over 2 RAW files beside their JPEGs")
    assert "2 RAW files" in str(_over(Walk(tmp_path, Search(hidden=True))))
    monkeypatch.setattr(formats, "raw_supported", lambda: False)
    said = (
        "passed over 4 other files (1 .dng, 1 .nef, 1 .raf, 1 .orf), 2 RAW files beside their JPEGs; "
        + formats.RAW_HINT
    )
    assert found() == ([one for one in taken if one.endswith(("g", "G", "c")) and "dng" not in one], said)
    monkeypatch.setattr(folders, "heif_supported", lambda: False)
    monkeypatch.setattr(formats, "heif_supported", lambda: False)
    assert "1 RAW file beside its JPEG" in found()[1], "what cannot be read is no reason to pass over what can"


def _over(walk: Walk) -> folders.PassedOver:
    list(walk)
    return walk.passed_over


def test_each_extra_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(raw, "raw_supported", lambda: False)
    with pytest.raises(ImageError, match=r"pip install 'zsclip\[raw\]'"):
        decode(dng(), SMALL)
    monkeypatch.setattr(decoding, "jxl_supported", lambda: False)
    monkeypatch.setattr(formats, "jxl_supported", lambda: False)
    with pytest.raises(ImageError, match=r"pip install 'zsclip\[jxl\]'"):
        decode(b"\xff\x0a\x7f" + b"\0" * 20, SMALL)
    (tmp_path / "a.jxl").touch()
    assert str(_over(Walk(tmp_path))) == f"passed over 1 other file (1 .jxl); {formats.JXL_HINT}"


def stored_jxl(image: Image.Image, **options: object) -> bytes:
    pytest.importorskip("pillow_jxl")
    file = io.BytesIO()
    image.save(file, "JXL", **options)
    return file.getvalue()


def test_jpeg_xl_is_decoded_and_turned_once(tmp_path: Path) -> None:
    picture, exif = scene(PREVIEW), Image.Exif()
    exif[0x0112] = 6
    # Which way is up the codestream says, and not EXIF; but of a JPEG that is kept within, its EXIF.
    assert corners(decode(stored_jxl(picture, exif=exif.tobytes()), SMALL)[0]) == corners(picture)
    (tmp_path / "a.jpg").write_bytes(jpeg(picture, 6))
    with Image.open(tmp_path / "a.jpg") as kept:
        inside = stored_jxl(kept, lossless_jpeg=True)
    assert corners(decode(inside, SMALL)[0]) == turned(picture, 6)
    assert decode(stored_jxl(Image.new("RGBA", (40, 40), (0, 0, 0, 0))), SMALL)[0].getpixel((9, 9)) == (255, 255, 255)
    (tmp_path / "b.jxl").touch()
    assert [os.path.basename(path) for path in Walk(tmp_path)] == ["a.jpg", "b.jxl"]


def test_the_size_of_a_jpeg_xl_is_read_before_it_is_decoded() -> None:
    sizes = ((8, 8), (256, 256), (4096, 100), (40_000, 30), (640, 480), (31, 17))
    for size in sizes:
        for use_container in (False, True):
            data = stored_jxl(Image.new("L", size), use_container=use_container, effort=1)
            assert jxl.declared_size(io.BytesIO(data)) == size
            for end in range(12, 40, 9):
                with pytest.raises(ImageError):
                    decode(data[:end], SMALL)
    with pytest.raises(ImageError, match="1,920 x 1,080 pixels, more than 2,000,000") as found:
        decode(stored_jxl(Image.new("L", (1920, 1080)), effort=1), SMALL, max_pixels=2_000_000)
    assert found.value.kind == "too_large"
    with pytest.raises(ImageError, match="1,920 x 1,080"):
        decoding.require_decodable(io.BytesIO(stored_jxl(Image.new("L", (1920, 1080)), effort=1)), 2_000_000)
