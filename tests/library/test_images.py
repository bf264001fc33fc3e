"""Images: found, decoded, and made into the very pixels that open_clip's inference transform makes."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from zsclip import ImageError, InputError
from zsclip.engines.probes import photo_like
from zsclip.images import decoding, formats
from zsclip.images.decoding import decode, upright_rgb
from zsclip.images.files import File, read_file
from zsclip.images.folders import Place, Search, Walk, is_in_library
from zsclip.images.preprocessing import Preprocessing, fit
from zsclip.images.siblings import Siblings
from zsclip.images.sources import Finder, require_paths

if TYPE_CHECKING:
    import torch


def noise(size: tuple[int, int], mode: str = "RGB", seed: int = 0) -> Image.Image:
    """A picture with both smooth and sharp places."""
    rng = np.random.default_rng(seed)
    width, height = size
    smooth = np.linspace(0, 255, width * height * 3).reshape(height, width, 3)
    values = np.where(rng.random((height, width, 1)) < 0.5, smooth, rng.integers(0, 256, (height, width, 3)))
    return Image.fromarray(values.astype(np.uint8)).convert(mode)


def stored(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def normalised(pixels: np.ndarray, wanted: Preprocessing) -> torch.Tensor:
    """As the engine does it."""
    import torch

    from zsclip.engines.torch.engine import Normalisation

    return Normalisation(wanted)(torch.from_numpy(np.stack([pixels])))[0]


def open_clips(image: Image.Image, wanted: Preprocessing) -> torch.Tensor:
    from open_clip.transform import PreprocessCfg, image_transform_v2

    height, width = wanted.size
    transform = image_transform_v2(
        PreprocessCfg(
            size=height if height == width else wanted.size,
            mean=wanted.mean,
            std=wanted.std,
            interpolation=wanted.interpolation,
            resize_mode=wanted.resize_mode,
            fill_color=wanted.fill_color,
        ),
        is_train=False,
    )
    return transform(image)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(
    width=st.integers(1, 400),
    height=st.integers(1, 400),
    size=st.sampled_from([(64, 64), (224, 224), (33, 33), (48, 80), (80, 48)]),
    resize_mode=st.sampled_from(["shortest", "longest", "squash"]),
    interpolation=st.sampled_from(["bicubic", "bilinear"]),
    fill_color=st.sampled_from([0, 127]),
    mode=st.sampled_from(["RGB", "L"]),
)
def test_pixels_equal_open_clips_bit_for_bit(width, height, size, resize_mode, interpolation, fill_color, mode) -> None:
    import torch

    if max(width, height) > 16 * min(width, height):
        width = height  # beyond 1:16 the ends are cut off first; see the test below
    image = noise((width, height), mode)
    wanted = Preprocessing(
        size=size, mean=(0.5, 0.4, 0.3), std=(0.2, 0.25, 0.3), resize_mode=resize_mode, interpolation=interpolation, fill_color=fill_color
    )  # fmt: skip
    try:
        theirs = open_clips(image, wanted)
    except ValueError:  # "longest" of a thin image: open_clip asks for a height of 0
        assert resize_mode == "longest"
        return
    ours, reduced = decode(stored(image), wanted, full=True)
    assert not reduced
    assert torch.equal(normalised(fit(ours, wanted), wanted), theirs)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("quality", [60, 95])
def test_a_jpeg_decodes_as_open_clip_decodes_it(mode: str, quality: int) -> None:
    import torch

    data = stored(noise((517, 389), mode), "JPEG", quality=quality)
    wanted = Preprocessing()
    ours = fit(decode(data, wanted, full=True)[0], wanted)
    assert torch.equal(normalised(ours, wanted), open_clips(Image.open(io.BytesIO(data)), wanted))


@pytest.mark.slow
def test_pixels_equal_openais_own_preprocessing(shared: Path) -> None:
    """`images.npz` holds what OpenAI's CLIP made of seven photos."""
    theirs = np.load(shared / "clip_vit_b32" / "images.npz")
    wanted = Preprocessing()
    for name, pixels in zip(theirs["names"], theirs["pixels"], strict=True):
        data = (shared / "clip_vit_b32" / "images" / str(name)).read_bytes()
        ours = normalised(fit(decode(data, wanted, full=True)[0], wanted), wanted)
        assert np.array_equal(ours.numpy(), pixels), name


def test_a_big_jpeg_is_decoded_at_a_reduced_scale_unless_in_full() -> None:
    data = stored(noise((1800, 1200)).resize((1800, 1200)), "JPEG")
    wanted = Preprocessing(size=(224, 224))
    full, reduced_full = decode(data, wanted, full=True)
    small, reduced = decode(data, wanted)
    assert (full.size, reduced_full) == ((1800, 1200), False)
    assert (small.size, reduced) == ((900, 600), True)  # a quarter would leave 300, under twice 224
    assert decode(stored(noise((895, 895)), "JPEG"), wanted)[1] is False


@given(
    width=st.integers(1, 300),
    height=st.integers(1, 300),
    size=st.sampled_from([(64, 64), (33, 33), (48, 80), (80, 48)]),
    resize_mode=st.sampled_from(["shortest", "longest", "squash"]),
    mode=st.sampled_from(["RGB", "L"]),
)
def test_what_is_cropped_away_need_not_be_resized(width, height, size, resize_mode, mode) -> None:
    image = photo_like((320, 240), 1).convert(mode).resize((width, height), Image.Resampling.BICUBIC)
    wanted = Preprocessing(size=size, resize_mode=resize_mode, crop="floor")
    difference = np.abs(fit(image, wanted).astype(int) - fit(image, wanted, exact=False).astype(int))
    assert difference.max() <= 8
    assert difference.mean() < 0.4


def test_pixels_for_half_precision_say_that_they_are_not_exact_and_in_full_they_are() -> None:
    image, wanted = noise((500, 375)), Preprocessing()
    data = stored(image)
    found = {(full, half): decoding.pixels(data, wanted, full=full, half=half) for full in (0, 1) for half in (0, 1)}
    assert [said for _, said in found.values()] == [False, True, False, False]
    exact = fit(image, wanted)
    assert all(np.array_equal(found[how][0], exact) for how in ((0, 0), (1, 0), (1, 1)))


def test_a_smooth_picture_looks_the_same_at_a_reduced_scale() -> None:
    y, x = np.mgrid[0:1600, 0:1600] / 1600
    smooth = Image.fromarray((np.stack([x, y, (x + y) / 2], -1) * 255).astype(np.uint8))
    data, wanted = stored(smooth, "JPEG", quality=95), Preprocessing(size=(64, 64))
    full, fast = (fit(decode(data, wanted, full=full)[0], wanted).astype(int) for full in (True, False))
    assert np.abs(full - fast).max() <= 3


def test_transparency_is_laid_over_white() -> None:
    clear = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    half = Image.new("LA", (8, 8), (0, 128))
    palette = Image.new("P", (8, 8), 0)
    palette.putpalette([10, 20, 30])
    palette.info["transparency"] = 0
    assert upright_rgb(clear).getpixel((0, 0)) == (255, 255, 255)
    assert upright_rgb(half).getpixel((0, 0)) == (127, 127, 127)
    assert upright_rgb(Image.open(io.BytesIO(stored(palette)))).getpixel((0, 0)) == (255, 255, 255)


def test_palettes_become_rgb_and_one_bit_images_grey_before_they_are_resized() -> None:
    palette = noise((64, 64)).quantize(8)
    assert upright_rgb(palette.copy()).tobytes() == palette.convert("RGB").tobytes()
    assert upright_rgb(noise((64, 64)).convert("1")).mode == "L"


@pytest.mark.parametrize("mode", ["I;16", "I"])
def test_sixteen_bit_grey_is_scaled_not_clipped(mode: str) -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    image = Image.fromarray(ramp) if mode == "I;16" else Image.fromarray(ramp.astype(np.int32))
    assert image.mode == mode
    assert np.abs(np.asarray(upright_rgb(image)).astype(int).ravel() - np.arange(256)).max() <= 1


@pytest.mark.parametrize("top", [1.0, 255.0, 40_000.0])
def test_floating_point_grey_is_scaled(top: float) -> None:
    image = Image.fromarray(np.linspace(0, top, 64, dtype=np.float32).reshape(8, 8))
    grey = np.asarray(upright_rgb(image))
    assert (grey.min(), grey.max()) == (0, 255)


def test_every_orientation_comes_out_upright() -> None:
    upright = noise((40, 30))
    turned = {
        1: upright,
        3: upright.transpose(Image.Transpose.ROTATE_180),
        6: upright.transpose(Image.Transpose.ROTATE_90),
        8: upright.transpose(Image.Transpose.ROTATE_270),
        2: upright.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    }
    for orientation, image in turned.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        assert decode(stored(image, exif=exif), Preprocessing())[0].tobytes() == upright.tobytes(), orientation


def test_the_shared_orientations_agree(shared: Path) -> None:
    wanted = Preprocessing()
    for kind in ("Landscape", "Portrait"):
        pixels = [
            fit(decode((shared / "exif_orientation" / f"{kind}_{n}.jpg").read_bytes(), wanted)[0], wanted).astype(float)
            for n in range(9)
        ]
        for one in pixels[1:]:
            assert np.abs(one - pixels[0]).mean() < 4


def test_the_first_frame_of_an_animation_counts() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    data = stored(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode(data, Preprocessing())[0].convert("RGB").getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize("size", [(1, 30_000), (30_000, 1), (1, 1)])
def test_extreme_shapes_cost_no_memory(size: tuple[int, int]) -> None:
    """open_clip would make 224 x 6,720,000 pixels of it before cropping."""
    image = Image.new("RGB", size, (10, 200, 30))
    pixels = fit(image, Preprocessing())
    assert pixels.shape == (224, 224, 3)
    assert (pixels == (10, 200, 30)).all()


def test_heic_is_read_with_the_extra() -> None:
    pytest.importorskip("pillow_heif")
    assert decoding.heif_supported()
    from pillow_heif import register_heif_opener

    register_heif_opener()
    image, _ = decode(stored(Image.new("RGB", (64, 64), (200, 30, 40)), "HEIF"), Preprocessing())
    assert np.abs(np.array(image.getpixel((5, 5))) - (200, 30, 40)).max() < 12


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"", "empty"), (b"hello", "not an image"), (stored(noise((64, 64)), "JPEG")[:200], "damaged|not an image")],
)
def test_what_is_no_image_says_so(data: bytes, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        decode(data, Preprocessing())


def test_what_cannot_be_read_says_so(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="No such file"):
        read_file(str(tmp_path / "missing.png"))
    with pytest.raises(ImageError, match="a folder, not an image"):
        read_file(str(tmp_path))
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.png")
        with pytest.raises(ImageError, match="not a regular file"):
            read_file(str(tmp_path / "pipe.png"))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("b.JPG", "a.png", "sub/d.webp", "sub/deep/c.gif", "notes.txt", "sub/raw.cr2", "Makefile", "z.heic"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_a_walk_takes_images_sorted_and_counts_the_others(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "heif_supported", lambda: False)
    monkeypatch.setattr(formats, "raw_supported", lambda: False)
    walk = Walk(tree)
    found = [os.path.relpath(path, tree).replace(os.sep, "/") for path in walk]
    assert found == ["a.png", "b.JPG", "sub/d.webp", "sub/deep/c.gif"]
    assert dict(walk.passed_over.files) == {".txt": 1, ".cr2": 1, "": 1, ".heic": 1}
    assert [os.path.basename(path) for path in Walk(tree, Search(recursive=False))] == ["a.png", "b.JPG"]


def test_a_named_file_always_counts(tree: Path) -> None:
    paths = [str(tree / "notes.txt"), str(tree / "missing.png")]
    assert [item.name for item in Finder(paths)] == paths


def test_a_path_that_is_not_there_is_refused(tree: Path) -> None:
    with pytest.raises(InputError, match=r"missing: there is no such file or folder"):
        require_paths([str(tree), str(tree / "missing")])


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="needs symbolic links")
def test_links_to_folders_are_not_followed(tree: Path) -> None:
    (tree / "loop").symlink_to(tree)
    (tree / "loop.png").symlink_to(tree / "sub")
    (tree / "link.png").symlink_to(tree / "a.png")
    walk = Walk(tree)
    names = [os.path.relpath(path, tree) for path in walk]
    assert "link.png" in names
    assert not any(name.startswith("loop") for name in names)
    assert walk.passed_over.places == {Place.LINK: 2}
    assert "2 linked folders" in str(walk.passed_over)


HIDDEN = {
    ".thumbnails/a.png": Place.HIDDEN_FOLDER,
    ".Trash-1000/files/a.png": Place.HIDDEN_FOLDER,
    "._x.jpg": Place.HIDDEN_FILE,
    ".hidden.png": Place.HIDDEN_FILE,
    "@eaDir/a.jpg/SYNO.jpg": Place.SYSTEM,
    "$Recycle.Bin/S-1-5/a.jpg": Place.SYSTEM,
    "System Volume Information/a.jpg": Place.SYSTEM,
    "lost+found/a.jpg": Place.SYSTEM,
    "Photos Library.photoslibrary/originals/0/a.jpg": Place.LIBRARY,
    "Old.APLibrary/Masters/a.jpg": Place.LIBRARY,
    "Catalog Previews.lrdata/0/a.jpg": Place.LIBRARY,
}


@pytest.fixture
def with_hidden(tree: Path) -> Path:
    for name in (*HIDDEN, ".DS_Store"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).touch()
    return tree


def relative(walk: Walk) -> set[str]:
    return {os.path.relpath(path, walk.folder).replace(os.sep, "/") for path in walk}


def test_hidden_files_system_folders_and_photo_libraries_are_passed_over_and_counted(with_hidden: Path) -> None:
    walk = Walk(with_hidden)
    assert not relative(walk) & HIDDEN.keys()
    assert walk.passed_over.places == Counter(HIDDEN.values())
    assert walk.passed_over.files[""] == 2  # Makefile and .DS_Store
    told = str(walk.passed_over)
    assert "2 hidden files, 2 hidden folders, 4 system folders, 3 photo libraries; add `hidden` to include" in told


def test_hidden_takes_them_but_a_move_never_a_photo_library(with_hidden: Path) -> None:
    assert HIDDEN.keys() <= relative(Walk(with_hidden, Search(hidden=True)))
    closed = Walk(with_hidden, Search(hidden=True, libraries=False))
    assert HIDDEN.keys() - relative(closed) == {name for name, place in HIDDEN.items() if place is Place.LIBRARY}
    assert "3 photo libraries that nothing is moved out of" in str(closed.passed_over)
    assert is_in_library(with_hidden / "Old.APLibrary" / "Masters" / "a.jpg")
    assert not is_in_library(with_hidden / "a.png")


@pytest.mark.parametrize("name", HIDDEN)
def test_what_is_named_itself_is_taken_whatever_it_is_called(with_hidden: Path, name: str) -> None:
    folder = with_hidden / name.split("/")[0]
    assert len(list(Finder([str(folder)]))) == 1


def test_a_broken_exif_is_no_reason_to_refuse_a_picture() -> None:
    picture = noise((40, 30))
    exif = Image.Exif()
    exif[0x0112] = 6
    good = stored(picture, "JPEG", exif=exif)
    assert decode(good, Preprocessing())[0].size == (30, 40)
    assert decode(stored(picture, exif=b"Exif\0\0not a TIFF header at all"), Preprocessing())[0].size == (40, 30)
    odd = Image.Exif()
    odd[0x0112] = 6
    odd[0x9286] = "text where bytes should be"
    assert decode(stored(picture, "JPEG", exif=odd), Preprocessing())[0].size == (30, 40)


@pytest.mark.slow
def test_big_photos_and_long_texts_are_read() -> None:
    from PIL.PngImagePlugin import PngInfo

    phone = stored(Image.new("RGB", (16320, 12240), "red"), "JPEG")
    assert decode(phone, Preprocessing())[1] is True
    info = PngInfo()
    info.add_text("workflow", "x" * 3_000_000, zip=True)
    assert decode(stored(noise((20, 20)), pnginfo=info), Preprocessing())[0].size == (20, 20)


@pytest.mark.skipif(os.name != "posix", reason="needs sparse files")
def test_a_file_that_is_too_large_is_one_error(tmp_path: Path) -> None:
    with open(tmp_path / "huge.png", "wb") as file:
        file.truncate(1 << 42)
    with pytest.raises(ImageError, match="more than 2 GB are not read"):
        read_file(str(tmp_path / "huge.png"))


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="needs rm")
def test_folders_may_be_nested_deeply(tmp_path: Path) -> None:
    here = os.getcwd()
    os.chdir(tmp_path)
    try:
        for _ in range(1100):
            os.mkdir("d")
            os.chdir("d")
        Path("deep.png").touch()
        os.chdir(tmp_path)
        found = list(Walk("."))
    finally:
        os.chdir(here)
        subprocess.run(["rm", "-rf", str(tmp_path / "d")], check=True)  # shutil.rmtree is a recursion
    # the whole path is longer than the system allows, which is a row and no crash
    assert len(found) == 1


def test_pillows_own_limits_are_left_as_they_were() -> None:
    """They belong to the process, and to whoever else uses Pillow in it."""
    code = (
        "import io, numpy, warnings\nfrom PIL import Image, PngImagePlugin\n"
        "def state(): return Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK, list(warnings.filters)\n"
        "warnings.simplefilter('ignore', Image.DecompressionBombWarning)\n"
        "before = state()\n"
        "from zsclip.images.decoding import pixels\nfrom zsclip.images.preprocessing import Preprocessing\n"
        "stream = io.BytesIO(); Image.new('RGB', (50, 50)).save(stream, 'PNG')\n"
        "pixels(stream.getvalue(), Preprocessing(), max_pixels=5000)\n"
        "assert state() == before, state()\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_heic_without_the_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "heif_supported", lambda: False)
    with pytest.raises(ImageError, match="pip install pillow-heif"):
        decode(b"\0\0\0\x18ftypheic" + b"\0" * 64, Preprocessing())


def test_files_side_by_side_have_the_stamps_that_each_has_by_itself(tmp_path: Path) -> None:
    for name in ("a.png", "c.JPEG", "ü.webp"):
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "link.png").symlink_to("a.png")
    (tmp_path / "lost.png").symlink_to("nowhere")
    os.utime(tmp_path / "c.JPEG", ns=(0, -(10**18)))
    for root in (tmp_path, Path(os.path.relpath(tmp_path)), tmp_path / ".." / tmp_path.name):
        (found,) = Walk(root).pieces()
        assert isinstance(found, Siblings)
        stamps = found.stamps()
        assert [stamps.stamp(place) for place in range(len(found))] == [File(path).stamp() for path in found.paths]
        assert found.names == ["a.png", "c.JPEG", "link.png", "lost.png", "ü.webp"]
        assert stamps.stamp(3) is None


@pytest.mark.parametrize(
    ("names", "images"),
    [
        (["a.jpg", "b.jpg"], ["a.jpg", "b.jpg"]),
        (["a.JPG", "b.jpeg", "c.jp2"], ["a.JPG", "b.jpeg", "c.jp2"]),
        (["xjpeg", "ajpg", "b.jpg"], ["b.jpg"]),
        ([".jpg", "..jpg", ".a.jpg", "a..jpg"], ["a..jpg"]),
        (["jpg", "x", "a.jpg.txt", "-.png", "!.png"], ["!.png", "-.png"]),
    ],
)
def test_images_are_told_by_their_extensions(tmp_path: Path, names: list[str], images: list[str]) -> None:
    for name in names:
        (tmp_path / name).touch()
    walk = Walk(tmp_path)
    assert [os.path.basename(path) for path in walk] == images
    passed_over = walk.passed_over.files.total() + walk.passed_over.places[Place.HIDDEN_FILE]
    assert passed_over == len(names) - len(images)
