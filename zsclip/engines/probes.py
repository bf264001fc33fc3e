"""A fixed set of images and texts on which two ways to compute a model are compared.

No photographs, for none are as free as the program is: drawings, and two kinds of images with statistics of photographs.
"""

from __future__ import annotations

import io
import random

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from zsclip.demo.scenes import PAIRS, draw, random_scene
from zsclip.images import preprocessing as images
from zsclip.images.preprocessing import Preprocessing

VERSION = 3  # raise it when the probes are others: what was measured on them is measured again
_A_KIND = 8  # images of it

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


def pixels(wanted: Preprocessing, *, few: bool = False) -> NDArray[np.uint8]:
    """Drawn and photo-like images, uint8 (n, height, width, 3), the same on every machine but for the rounding of JPEG.

    With `few`, two of each kind.
    """
    rng = random.Random(0)
    drawn = [draw(random_scene(rng, rng.choice(PAIRS)), rng, (320, 240)) for _ in range(_A_KIND)]
    photos = [photo_like((320, 240), seed) for seed in range(_A_KIND)]
    photos += [occluding((320, 240), seed) for seed in range(_A_KIND)]
    made = (drawn + photos)[:: _A_KIND // 2] if few else drawn + photos
    return np.stack([images.fit(image, wanted) for image in made])


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


def occluding(size: tuple[int, int], seed: int) -> Image.Image:
    """An RGB image (width, height) of things before other things, from near and far, as in photographs, taken by a camera: discs
    whose number falls with the third power of their radius ("dead leaves": Lee, Mumford and Huang, 2001), under light from one
    side, from night to overexposed, blurred, with a sensor's noise and JPEG's blocks."""
    width, height = size
    rng = np.random.default_rng(1000 + seed)
    image = Image.new("RGB", size)
    canvas = ImageDraw.Draw(image)
    colours = rng.uniform(20, 235, (12, 1)) + rng.normal(0, 30, (12, 3))  # mostly brightness
    radii = 3 / np.sqrt(rng.uniform((3 / 90) ** 2, 1, 1500))
    for radius, x, y in zip(radii, rng.uniform(0, width, len(radii)), rng.uniform(0, height, len(radii)), strict=True):
        colour = np.clip(colours[rng.integers(len(colours))] + rng.normal(0, 10, 3), 0, 255)
        canvas.ellipse((x - radius, y - radius, x + radius, y + radius), fill=tuple(colour.astype(int).tolist()))
    light = (
        np.linspace(rng.uniform(0.5, 1), rng.uniform(0.7, 1.3), width)[None, :, None]
        * np.geomspace(0.15, 1.8, _A_KIND)[seed]
    )
    values = np.asarray(image.filter(ImageFilter.GaussianBlur(0.7)), float) * light + rng.normal(
        0, 4, (height, width, 3)
    )
    stream = io.BytesIO()
    Image.fromarray(np.clip(values, 0, 255).astype(np.uint8)).save(stream, "JPEG", quality=60)
    return Image.open(stream).convert("RGB")
