"""Images resized and cropped to the pixels a model wants. Pillow and NumPy only."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from PIL.Image import Resampling

ResizeMode = Literal["shortest", "longest", "squash"]


Interpolation = Literal["bicubic", "bilinear"]

# Where a crop begins if half a pixel is spare: `even` takes the even number, as torchvision does and so open_clip, `floor`
# the lower one, as transformers does.
CropRounding = Literal["even", "floor"]
_ROUNDINGS: dict[CropRounding, Callable[[float], int]] = {"even": round, "floor": math.floor}

# Counted into a model's identity: raise it when pixels change for the same file.
PREPROCESSING_VERSION = 1


@dataclass(frozen=True)
class Preprocessing:
    """How a model wants its images. Sizes in pixels (height, width); mean and std per channel, for values 0 to 1."""

    size: tuple[int, int] = (224, 224)
    mean: tuple[float, float, float] = (0.48145466, 0.4578275, 0.40821073)
    std: tuple[float, float, float] = (0.26862954, 0.26130258, 0.27577711)
    resize_mode: ResizeMode = "shortest"
    interpolation: Interpolation = "bicubic"
    fill_color: int = 0
    crop: CropRounding = "even"

    def identity(self) -> dict[str, Any]:
        """All that decides on pixels, in a model's identity. What was added later is in it only where it is not the default,
        so that vectors of models that it does not concern remain theirs."""
        facts = asdict(self)
        if self.crop == "even":
            del facts["crop"]
        return facts


def fit(image: Image.Image, wanted: Preprocessing, *, exact: bool = True) -> NDArray[np.uint8]:
    """Resize and crop to uint8 (height, width, 3), bit for bit as open_clip's inference transform does, or transformers' own
    image processor where `wanted` crops as that does.

    Unless `exact`, what would be cropped away is not resized, which saves a quarter of the time for a picture of 4:3. Pillow
    then rounds otherwise: on photographs few values are another by more than 1, which is less than what decoding at a reduced
    scale changes.
    """
    method = {"bicubic": Resampling.BICUBIC, "bilinear": Resampling.BILINEAR}[wanted.interpolation]
    height, width = wanted.size
    if wanted.resize_mode == "squash":
        size = width, height
    elif wanted.resize_mode == "longest":
        size = _keeping_ratio(image.size, wanted.size, max)
    elif height == width:
        image = _without_excess(image)
        size = _shortest(image.size, height)
    else:
        # open_clip resizes for a size that is not square with bicubic, whatever the configuration says.
        method = Resampling.BICUBIC
        image = _without_excess(image)
        size = _keeping_ratio(image.size, wanted.size, min)
    if exact or size[0] < width or size[1] < height:
        return np.asarray(_centre(image.resize(size, method).convert("RGB"), wanted))
    left, top = _corner(size, wanted)
    x, y = image.width / size[0], image.height / size[1]
    part = left * x, top * y, min((left + width) * x, image.width), min((top + height) * y, image.height)
    return np.asarray(image.resize((width, height), method, part).convert("RGB"))


def _without_excess(image: Image.Image) -> Image.Image:
    """Cut the ends off an image over 16 times as long as it is wide: they would be cropped away after the resize, at the
    price of gigabytes."""
    width, height = image.size
    keep = 16 * min(width, height)
    left, top = max(0, (width - keep) // 2), max(0, (height - keep) // 2)
    return image if left == top == 0 else image.crop((left, top, width - left, height - top))


def _shortest(size: tuple[int, int], wanted: int) -> tuple[int, int]:
    """An image's size (width, height) with its shorter side as wanted."""
    long = int(wanted * max(size) / min(size))
    return (wanted, long) if size[0] <= size[1] else (long, wanted)


def _keeping_ratio(
    size: tuple[int, int], wanted: tuple[int, int], side: Callable[[float, float], float]
) -> tuple[int, int]:
    """An image's size (width, height) with that side as wanted (height, width)."""
    width, height = size
    ratio = side(height / wanted[0], width / wanted[1])
    return max(1, round(width / ratio)), max(1, round(height / ratio))


def _corner(size: tuple[int, int], wanted: Preprocessing) -> tuple[int, int]:
    """Where the central pixels begin in an image of that size (width, height): left, top."""
    begin = _ROUNDINGS[wanted.crop]
    return begin((size[0] - wanted.size[1]) / 2), begin((size[1] - wanted.size[0]) / 2)


def _centre(image: Image.Image, wanted: Preprocessing) -> Image.Image:
    """The central pixels of the size wanted, filled up at the sides where the image is smaller."""
    height, width = wanted.size
    fill = wanted.fill_color
    spare_x, spare_y = max(0, width - image.width), max(0, height - image.height)
    if spare_x or spare_y:
        border = (spare_x // 2, spare_y // 2, (spare_x + 1) // 2, (spare_y + 1) // 2)
        image = ImageOps.expand(image, border, (fill, fill, fill))
    left, top = _corner(image.size, wanted)
    if (left, top) == (0, 0) and image.size == (width, height):
        return image
    return image.crop((left, top, left + width, top + height))
