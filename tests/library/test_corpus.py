"""Every awkward file becomes an image or an error row, costs little, and takes nothing else with it."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.cli import Cli
from support.corpus import FORMATS, MODES, Awkward, bombs, corpus, picture, saved, write_corpus
from support.processes import run_python

from zsclip import ImageError
from zsclip.images import decoding
from zsclip.images.decoding import decode, pixels
from zsclip.images.jpeg_metadata import without_metadata
from zsclip.images.preprocessing import Preprocessing

WANTED = Preprocessing(size=(64, 64))


@pytest.fixture(scope="module")
def awkward(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Awkward]:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.mark.slow
def test_the_corpus_is_large_and_the_same_each_time(awkward: dict[Path, Awkward]) -> None:
    assert len(awkward) > 1000
    again = list(corpus())
    assert [one.name for one in again] == [one.name for one in awkward.values()]
    for one, other in zip(again, awkward.values(), strict=True):
        if one.kind in ("bits flipped", "no image"):
            assert one == other
    kinds = {path.suffix for path, one in awkward.items() if one.kind == "format and mode"}
    assert kinds == {f".{extension}" for extension in FORMATS.values()}
    assert len(MODES) == 18


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_every_file_becomes_an_image_or_an_error(awkward: dict[Path, Awkward]) -> None:
    wrong = []
    for path, one in awkward.items():
        try:
            result, _ = pixels(one.data, WANTED)
        except ImageError as error:
            became = "error" if str(error) else "nothing said"
        else:
            assert (result.shape, result.dtype) == ((64, 64, 3), np.uint8), path
            became = "decodes"
        if one.expected not in (became, "either"):
            wrong.append((path, became))
    assert not wrong


@pytest.mark.slow
def test_every_file_gets_its_row_and_no_neighbour_is_lost(
    cli: Cli, awkward: dict[Path, Awkward], tmp_path: Path
) -> None:
    """Sound pictures stand between the awkward files; theirs must be the rows of a run of their own."""
    sound = tmp_path / "sound.png"
    sound.write_bytes(saved(picture((64, 64))))
    listed = [path for number, one in enumerate(awkward) for path in ([one, sound] if number % 16 == 0 else [one])]
    command = ["classify", "-", "-0", "--model", "demo", "-l", "red star,blue ring", "-f", "jsonl", "--no-cache"]
    alone = json.loads(cli(*command, stdin=os.fsencode(sound)).out)
    run = cli(*command, stdin=b"\0".join(map(os.fsencode, listed)))
    assert run.code == 3
    assert "Traceback" not in run.err
    rows = [json.loads(line) for line in run.out.splitlines()]
    assert [row["path"] for row in rows] == list(map(str, listed))
    assert all(row == alone for row in rows if row["path"] == str(sound))
    others = [row for row in rows if row["path"] != str(sound)]
    for row, one in zip(others, awkward.values(), strict=True):
        assert (row["label"] is None) == (row["error"] is not None)
        assert one.expected in ("either", "error" if row["error"] else "decodes"), row


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs the resource module")
def test_bombs_cost_no_memory(awkward: dict[Path, Awkward]) -> None:
    paths = [str(path) for path, one in awkward.items() if one.kind == "bomb"]
    script = """
import resource, sys
from zsclip import ImageError
from zsclip.images import decoding
from zsclip.images.files import read_file
from zsclip.images.preprocessing import Preprocessing
from PIL import Image
Image.init()
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != 'darwin' else 1 << 20)
before = peak()
for path in sys.argv[1:]:
    try:
        decoding.pixels(read_file(path)[0], Preprocessing())
    except ImageError:
        pass
print(peak() - before)
"""
    run = run_python(script, *paths)
    assert float(run.stdout) < 150, f"{run.stdout} MiB"  # the largest file has 26 MB, a PNG may hold 16 MiB of text


def test_programs_are_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow hands PostScript to Ghostscript, whatever the file is called."""
    ghostscript = tmp_path / "gs"
    ghostscript.write_text(f"#!/bin/sh\ntouch '{tmp_path}/executed'\n")
    ghostscript.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    eps = saved(picture(), "EPS")
    with pytest.raises(ImageError, match="not an image in a format that is known"):
        decode(eps, WANTED)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("limit", [96 * 64, 96 * 64 - 1])
def test_max_pixels_is_the_limit(limit: int) -> None:
    for codec in ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "JPEG2000", "AVIF"):
        data = saved(picture((96, 64)), codec)
        if limit == 96 * 64:
            assert pixels(data, WANTED, max_pixels=limit)[0].shape == (64, 64, 3)
        else:
            with pytest.raises(ImageError, match=r"96 x 64 pixels, more than 6,143; `max_pixels`"):
                pixels(data, WANTED, max_pixels=limit)


@pytest.mark.slow
def test_an_icon_hides_no_bomb() -> None:
    """The size an ICO declares is not that of the PNG in it."""
    inside = {one.name: one.data for one in bombs() if one.name.startswith("png inside")}
    assert len(inside) == 2
    for data in inside.values():
        with pytest.raises(ImageError, match="`max_pixels`"):
            decode(data, WANTED)


@pytest.mark.slow
def test_max_pixels_on_the_command_line(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(saved(picture((96, 64))))
    command = ["classify", tmp_path, "--model", "demo", "-l", "a,b", "-f", "csv"]
    assert cli(*command, "--max-pixels", "6144").code == 0
    run = cli(*command, "--max-pixels", "6143", "--no-cache")
    assert run.code == 3
    assert "96 x 64 pixels, more than 6,143; --max-pixels allows more" in run.out
    assert cli(*command, "--max-pixels", "0").code == 2


@pytest.mark.slow
def test_metadata_of_a_jpeg_costs_nothing() -> None:
    """Pillow joins segments one by one: 400 MB of them took three minutes."""
    from support.corpus import _jpeg_of_segments

    plain, full = saved(picture(), "JPEG"), _jpeg_of_segments(2000)
    assert len(full) > 250_000_000
    assert decode(full, WANTED)[0].tobytes() == decode(plain, WANTED)[0].tobytes()
    with pytest.raises(ImageError, match="more than 10,000 segments"):
        decode(plain[:2] + b"\xff\xfe\0\2" * 10_001 + plain[2:], WANTED)


def test_junk_between_the_segments_of_a_jpeg_is_dropped() -> None:
    """Pillow looks through it byte by byte."""
    plain = saved(picture(), "JPEG")
    after_first = 4 + int.from_bytes(plain[4:6], "big")
    junk = plain[:after_first] + bytes(10_000_000) + plain[after_first:]
    assert without_metadata(junk) == plain
    assert without_metadata(plain) is plain


def jpegs() -> Iterator[bytes]:
    exif = Image.Exif()
    exif[0x0112] = 6
    for options in (
        {},
        {"progressive": True},
        {"quality": 30, "optimize": True},
        {"exif": exif},
        {"comment": b"hello"},
    ):
        for mode in ("RGB", "L", "CMYK", "YCbCr"):
            yield saved(picture(mode=mode), "JPEG", **options)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(20))
def test_a_jpeg_without_its_metadata_is_the_same_picture(number: int) -> None:
    data = list(jpegs())[number]
    junk = b"\xff\xfe\0\x0bcomment\xff\xff" + b"\xff\xe5\0\6junk" + b"\xff\xff\xe7\0\6more"
    odd = data[:2] + junk + b"\0\0between" + data[2:]
    for one in (data, odd):
        bare = without_metadata(one)
        theirs, ours = Image.open(_file(one)), Image.open(_file(bare))
        assert theirs.convert("RGB").tobytes() == ours.convert("RGB").tobytes()
        assert theirs.getexif().get(0x0112) == ours.getexif().get(0x0112)
        assert b"more" not in bare


def _file(data: bytes) -> object:
    from io import BytesIO

    return BytesIO(data)


def test_an_mpo_is_decoded_at_a_reduced_scale_like_any_jpeg() -> None:
    frames = [picture((1200, 900)), picture((1200, 900)).rotate(180)]
    data = saved(frames[0], "MPO", save_all=True, append_images=frames[1:])
    image, reduced = decode(data, WANTED)
    assert (image.size, reduced) == ((300, 225), True)
    full, _ = decode(data, WANTED, full=True)
    assert full.tobytes() == Image.open(_file(data)).tobytes()


@pytest.mark.parametrize(
    ("mode", "format"), [("RGBA", "PNG"), ("P", "PNG"), ("I;16", "PNG"), ("F", "TIFF"), ("LA", "PNG")]
)
def test_big_images_are_converted_in_strips_to_the_same_pixels(
    mode: str, format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"transparency": 3} if mode == "P" else {}
    data = saved(picture((301, 207), mode), format, **options)
    whole = decode(data, WANTED)[0].tobytes()
    monkeypatch.setattr(decoding, "_STRIP_PIXELS", 301 * 10)
    assert decode(data, WANTED)[0].tobytes() == whole


@pytest.mark.slow
@pytest.mark.parametrize(("big", "together"), [(100, False), (100_000, True)])
def test_big_images_take_turns(monkeypatch: pytest.MonkeyPatch, big: int, together: bool) -> None:
    """Seen from a decoder that is written in Python; images that are not big are decoded by all threads at once."""
    from PIL.QoiImagePlugin import QoiDecoder

    decoding_now, most, lock = 0, 0, threading.Lock()
    decode_qoi = QoiDecoder.decode

    def watched(self: QoiDecoder, buffer: bytes) -> tuple[int, int]:
        nonlocal decoding_now, most
        with lock:
            decoding_now += 1
            most = max(most, decoding_now)
        time.sleep(0.1)
        try:
            return decode_qoi(self, buffer)
        finally:
            with lock:
                decoding_now -= 1

    monkeypatch.setattr(QoiDecoder, "decode", watched)
    monkeypatch.setattr(decoding, "_BIG_PIXELS", big)
    data = saved(picture((64, 48)), "QOI")
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: pixels(data, WANTED)[0].tobytes(), range(8)))
    assert len(set(results)) == 1
    assert (most > 1) is together
