"""Images: found in folders, and resized and cropped to the pixels a model wants. Pillow and NumPy only."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from PIL.Image import Resampling

from zsclip.errors import InputError

ResizeMode = Literal["shortest", "longest", "squash"]
Interpolation = Literal["bicubic", "bilinear"]

# Counted into a model's identity: raise it when pixels change for the same file.
PREPROCESSING_VERSION = 1

HEIF = frozenset({".heic", ".heif", ".hif"})
EXTENSIONS = frozenset({
    ".apng", ".avif", ".avifs", ".bmp", ".dib", ".gif", ".icns", ".ico", ".j2c", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg",
    ".jpf", ".jpg", ".jpx", ".mpo", ".pbm", ".pcx", ".pfm", ".pgm", ".png", ".pnm", ".ppm", ".qoi", ".sgi", ".tga", ".tif",
    ".tiff", ".webp",
})  # fmt: skip


@dataclass(frozen=True)
class Preprocessing:
    """How a model wants its images. Sizes in pixels (height, width); mean and std per channel, for values 0 to 1."""

    size: tuple[int, int] = (224, 224)
    mean: tuple[float, float, float] = (0.48145466, 0.4578275, 0.40821073)
    std: tuple[float, float, float] = (0.26862954, 0.26130258, 0.27577711)
    resize_mode: ResizeMode = "shortest"
    interpolation: Interpolation = "bicubic"
    fill_color: int = 0


@dataclass
class Walk:
    """Paths of images, found lazily: folders (recursive, sorted) and files as given.

    A file inside a folder counts if its extension is an image's; a file that was named always counts, even if it is not
    there (its row will say so), and so does a folder that cannot be looked into. None among the paths stands for one that is
    not known yet, and is handed on. Iterating again walks again. `passed_over` counts the other files by extension, but
    for those in the folder `exclude`.
    """

    paths: Iterable[str | None]
    recursive: bool = True
    exclude: str | os.PathLike[str] | None = None
    passed_over: Counter[str] = field(default_factory=Counter)

    def __iter__(self) -> Iterator[str | None]:
        self.passed_over.clear()
        extensions = EXTENSIONS | HEIF if heif_supported() else EXTENSIONS
        excluded = os.path.realpath(self.exclude) if self.exclude is not None else None
        for path in self.paths:
            if path is not None and _is_folder(path):
                yield from self._folder(path, extensions, excluded)
            else:
                yield path

    def _folder(self, top: str, extensions: frozenset[str], excluded: str | None) -> Iterator[str]:
        waiting = [(top, True)]  # the next is last; not a recursion, for folders may be nested a thousand deep
        while waiting:
            path, is_folder = waiting.pop()
            if not is_folder:
                extension = os.path.splitext(path)[1].lower()
                if extension in extensions:
                    yield path
                else:
                    self.passed_over[extension] += 1
            elif excluded is None or os.path.realpath(path) != excluded:
                try:
                    waiting += reversed(_entries(path, self.recursive))
                except OSError:
                    yield path  # a folder that cannot be looked into gets a row that says so


def _entries(folder: str, recursive: bool) -> list[tuple[str, bool]]:
    """What is in a folder, sorted by the bytes of its names, and whether it is a folder.

    Links to folders are not followed (they may lead in circles), nor taken for files.
    """
    with os.scandir(folder) as entries:
        found = [
            (os.fsencode(entry.name), _is(entry.is_dir, follow_symlinks=False))
            for entry in entries
            if not (entry.is_symlink() and _is(entry.is_dir))
        ]
    return [
        (os.path.join(folder, os.fsdecode(name)), is_folder)
        for name, is_folder in sorted(found)
        if recursive or not is_folder
    ]


def _is(asked: Callable[..., bool], **options: bool) -> bool:
    """The answer; no where there is none, as for a link that leads to itself. That link's row will say so."""
    try:
        return asked(**options)
    except OSError:
        return False


def require_paths(paths: Iterable[str]) -> None:
    """Raise `InputError` for the first path that is not there."""
    for path in paths:
        if "\0" in path or not os.path.lexists(path):
            raise InputError(f"{path or repr(path)}: there is no such file or folder.")


def _is_folder(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


def heif_supported() -> bool:
    """Whether `.heic` can be read: with the extra `heic` (pillow-heif) installed."""
    return find_spec("pillow_heif") is not None


def fit(image: Image.Image, wanted: Preprocessing) -> NDArray[np.uint8]:
    """Resize and crop to uint8 (height, width, 3), bit for bit as open_clip's inference transform does."""
    method = {"bicubic": Resampling.BICUBIC, "bilinear": Resampling.BILINEAR}[wanted.interpolation]
    height, width = wanted.size
    if wanted.resize_mode == "squash":
        image = image.resize((width, height), method)
    elif wanted.resize_mode == "longest":
        image = _resize_keeping_ratio(image, wanted.size, max, method)
    elif height == width:
        image = _resize_shortest(_without_excess(image), height, method)
    else:
        # open_clip resizes for a size that is not square with bicubic, whatever the configuration says.
        image = _resize_keeping_ratio(_without_excess(image), wanted.size, min, Resampling.BICUBIC)
    return np.asarray(_centre(image.convert("RGB"), wanted.size, wanted.fill_color))


def _without_excess(image: Image.Image) -> Image.Image:
    """Cut the ends off an image over 16 times as long as it is wide: they would be cropped away after the resize, at the
    price of gigabytes."""
    width, height = image.size
    keep = 16 * min(width, height)
    left, top = max(0, (width - keep) // 2), max(0, (height - keep) // 2)
    return image if left == top == 0 else image.crop((left, top, width - left, height - top))


def _resize_shortest(image: Image.Image, size: int, method: Resampling) -> Image.Image:
    width, height = image.size
    long = int(size * max(width, height) / min(width, height))
    return image.resize((size, long) if width <= height else (long, size), method)


def _resize_keeping_ratio(
    image: Image.Image, size: tuple[int, int], side: Callable[[float, float], float], method: Resampling
) -> Image.Image:
    width, height = image.size
    ratio = side(height / size[0], width / size[1])
    return image.resize((max(1, round(width / ratio)), max(1, round(height / ratio))), method)


def _centre(image: Image.Image, size: tuple[int, int], fill: int) -> Image.Image:
    """The central `size` (height, width), filled up at the sides where the image is smaller."""
    height, width = size
    spare_x, spare_y = max(0, width - image.width), max(0, height - image.height)
    if spare_x or spare_y:
        border = (spare_x // 2, spare_y // 2, (spare_x + 1) // 2, (spare_y + 1) // 2)
        image = ImageOps.expand(image, border, (fill, fill, fill))
    left, top = round((image.width - width) / 2.0), round((image.height - height) / 2.0)
    if (left, top) == (0, 0) and image.size == (width, height):
        return image
    return image.crop((left, top, left + width, top + height))
