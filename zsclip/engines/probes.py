"""A fixed set of images and texts on which two ways to compute a model are compared."""

from __future__ import annotations

import random

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from zsclip.demo.scenes import PAIRS, draw, random_scene
from zsclip.images import preprocessing as images
from zsclip.images.preprocessing import Preprocessing

_DRAWN = 8
_PHOTO_LIKE = 8

TEXTS = (
    "a photo of a cat.",
    "a bad photo of the dog.",
    "itap of a golden retriever.",
    "a centered satellite photo of annual crop land.",
    "a close-up of a red star on a white background, next to two smaller blue circles, seen from above at night",
    "X-ray",
    "beach",
    "ein Foto von einem Fahrrad",
    "写真",
    "une photo d'un café à Paris, 1997",
    "a black and white photo of the number: \"42\".",
    "the word 'STOP' & an arrow <-",
    "an origami toucan, a doodle, a sculpture, a rendering, graffiti, a tattoo, an embroidered toucan. " * 3,
    "a bad photo of the",
    "a bad photo of the dog and the cat.",
    "a photo of a cat, and of a café",
    "",
)  # fmt: skip


def pixels(wanted: Preprocessing) -> NDArray[np.uint8]:
    """Drawn and photo-like images, uint8 (n, height, width, 3), the same on every machine."""
    rng = random.Random(0)
    drawn = [draw(random_scene(rng, rng.choice(PAIRS)), rng, (320, 240)) for _ in range(_DRAWN)]
    photos = [photo_like((320, 240), seed) for seed in range(_PHOTO_LIKE)]
    return np.stack([images.fit(image, wanted) for image in drawn + photos])


def photo_like(size: tuple[int, int], seed: int) -> Image.Image:
    """An RGB image (width, height) of noise whose power falls with the square of the frequency, as it does in photographs,
    in correlated colours (Field, 1987), with an edge through it."""
    width, height = size
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = np.inf
    phase = rng.uniform(0, 2 * np.pi, (3, *frequency.shape))
    layers = np.fft.irfft2(np.exp(1j * phase) / frequency, (height, width))
    layers /= layers.std(axis=(1, 2), keepdims=True)
    mix = np.array([[1, 0.2, 0.05], [1, 0, -0.1], [1, -0.2, 0.15]])  # mostly brightness
    values = np.tensordot(mix, layers, 1)
    slope, offset = rng.uniform(-2, 2), rng.uniform(-0.3, 0.3)
    y, x = np.mgrid[-0.5 : 0.5 : height * 1j, -0.5 : 0.5 : width * 1j]
    values[:, y > slope * x + offset] += rng.uniform(-1, 1, (3, 1))
    return Image.fromarray(np.clip(128 + 45 * values, 0, 255).astype(np.uint8).transpose(1, 2, 0))
