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


def fit(image: Image.Image, wanted: Preprocessing) -> NDArray[np.uint8]:
    """Resize and crop to uint8 (height, width, 3), bit for bit as open_clip's inference transform does, or transformers' own
    image processor where `wanted` crops as that does."""
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
    return np.asarray(_centre(image.convert("RGB"), wanted))


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


def _centre(image: Image.Image, wanted: Preprocessing) -> Image.Image:
    """The central pixels of the size wanted, filled up at the sides where the image is smaller."""
    height, width = wanted.size
    fill, begin = wanted.fill_color, _ROUNDINGS[wanted.crop]
    spare_x, spare_y = max(0, width - image.width), max(0, height - image.height)
    if spare_x or spare_y:
        border = (spare_x // 2, spare_y // 2, (spare_x + 1) // 2, (spare_y + 1) // 2)
        image = ImageOps.expand(image, border, (fill, fill, fill))
    left, top = begin((image.width - width) / 2), begin((image.height - height) / 2)
    if (left, top) == (0, 0) and image.size == (width, height):
        return image
    return image.crop((left, top, left + width, top + height))
