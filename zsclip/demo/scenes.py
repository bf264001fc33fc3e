"""The world of the demo model: coloured shapes, drawn with Pillow.

A scene is one to four equal shapes on a plain or shaded background. The demo model is trained on these scenes and
knows nothing else. Of the 64 pairs of colour and shape, 12 never occur in its training (`UNSEEN_PAIRS`), neither in a
picture nor in a text: they show whether the model understands "red" and "star" apart from each other.
"""

from __future__ import annotations

import colorsys
import math
import random
from dataclasses import dataclass

from PIL import Image, ImageChops, ImageDraw

COLOURS = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink")
SHAPES = ("circle", "ring", "square", "triangle", "star", "heart", "cross", "arrow")
SIZES = ("small", "medium", "large")
COUNTS = (1, 2, 3, 4)
PATTERNS = ("plain", "striped", "dotted")
BACKGROUNDS = ("white", "black", "gray", "shaded")

PAIRS = tuple((colour, shape) for colour in COLOURS for shape in SHAPES)
# Fixed by rule, before the first training run: a permutation (each colour and each shape once) and half of another.
UNSEEN_PAIRS = frozenset(
    [(COLOURS[i], SHAPES[(3 * i + 1) % 8]) for i in range(8)]
    + [(COLOURS[i], SHAPES[(3 * i + 4) % 8]) for i in (0, 2, 4, 6)]
)
SEEN_PAIRS = tuple(pair for pair in PAIRS if pair not in UNSEEN_PAIRS)

# Hue in degrees, then the ranges of saturation and value.
_HSV = {
    "red": (0, (0.8, 1.0), (0.75, 1.0)),
    "orange": (28, (0.85, 1.0), (0.9, 1.0)),
    "yellow": (55, (0.75, 1.0), (0.9, 1.0)),
    "green": (120, (0.6, 1.0), (0.45, 0.85)),
    "cyan": (182, (0.6, 1.0), (0.8, 1.0)),
    "blue": (225, (0.7, 1.0), (0.6, 1.0)),
    "purple": (277, (0.6, 0.95), (0.5, 0.8)),
    "pink": (332, (0.35, 0.6), (0.95, 1.0)),
}
_GRAYS = {"white": (235, 255), "black": (0, 25), "gray": (110, 150)}


@dataclass(frozen=True)
class Scene:
    """What is in one picture. `size` is relative to the room that `count` shapes have."""

    colour: str
    shape: str
    size: str = "large"
    count: int = 1
    pattern: str = "plain"
    background: str = "white"

    @property
    def label(self) -> str:
        """The class name of the scene: colour and shape, as in "red star"."""
        return f"{self.colour} {self.shape}"


def random_scene(rng: random.Random, pair: tuple[str, str]) -> Scene:
    """A scene of that colour and shape; the rest is drawn uniformly."""
    return Scene(*pair, rng.choice(SIZES), rng.choice(COUNTS), rng.choice(PATTERNS), rng.choice(BACKGROUNDS))


def draw(scene: Scene, rng: random.Random, size: tuple[int, int] = (160, 160)) -> Image.Image:
    """Draw `scene` as an RGB image of `size` (width, height) in pixels, at least 32 a side.

    All shapes lie in the central square, which survives a centre crop. Positions, rotation (up to 20 degrees) and
    shades come from `rng`; the same state of it draws the same picture.
    """
    width, height = size
    side = min(size)
    image = _background(scene.background, rng, size)
    colour = _shade(scene.colour, rng)
    room = 0.42 if scene.count == 1 else 0.21
    scale = {"small": (0.42, 0.55), "medium": (0.64, 0.76), "large": (0.88, 1.0)}[scene.size]
    for x, y in _centres(scene.count, rng):
        radius = side * room * rng.uniform(*scale)
        slack = max(0.0, side * room - radius) * 0.9
        centre = (
            (width - side) / 2 + side * x + rng.uniform(-slack, slack),
            (height - side) / 2 + side * y + rng.uniform(-slack, slack),
        )
        mask = _mask(scene.shape, size, centre, radius, math.radians(rng.uniform(-20, 20)))
        image.paste(_fill(scene.pattern, colour, size, radius, rng), mask=mask)
    return image


def add_noise(image: Image.Image, share: float, rng: random.Random) -> Image.Image:
    """Blend the picture with grains of random colour, `share` from 0 (none) to 1 (nothing else); same size and mode."""
    width, height = image.size
    grains = Image.frombytes("RGB", (width // 4, height // 4), rng.randbytes(3 * (width // 4) * (height // 4)))
    return Image.blend(image, grains.resize(image.size, Image.Resampling.BILINEAR), share)


def _centres(count: int, rng: random.Random) -> list[tuple[float, float]]:
    if count == 1:
        return [(0.5, 0.5)]
    return rng.sample([(0.26, 0.26), (0.74, 0.26), (0.26, 0.74), (0.74, 0.74)], count)


def _shade(name: str, rng: random.Random) -> tuple[int, int, int]:
    hue, saturation, value = _HSV[name]
    red, green, blue = colorsys.hsv_to_rgb(
        ((hue + rng.uniform(-7, 7)) % 360) / 360, rng.uniform(*saturation), rng.uniform(*value)
    )
    return round(red * 255), round(green * 255), round(blue * 255)


def _background(name: str, rng: random.Random, size: tuple[int, int]) -> Image.Image:
    if name in _GRAYS:
        level = rng.randint(*_GRAYS[name])
        return Image.new("RGB", size, (level, level, level))
    corners = [tuple(rng.randint(150, 235) for _ in range(3)) for _ in range(2)]
    ramp = Image.linear_gradient("L").rotate(90 * rng.randrange(4)).resize(size)
    return Image.composite(Image.new("RGB", size, corners[0]), Image.new("RGB", size, corners[1]), ramp)


def _fill(
    pattern: str, colour: tuple[int, int, int], size: tuple[int, int], radius: float, rng: random.Random
) -> Image.Image:
    fill = Image.new("RGB", size, colour)
    if pattern == "plain":
        return fill
    red, green, blue = (round(channel * 0.5) for channel in colour)
    pen = ImageDraw.Draw(fill)
    step = max(4.0, radius * 0.45)
    offset = rng.uniform(0, step)
    if pattern == "striped":
        for n in range(int((size[0] + size[1]) / step) + 1):
            x = offset + n * step
            pen.line([(x, 0), (x - size[1], size[1])], fill=(red, green, blue), width=max(2, round(step * 0.3)))
        return fill
    dot = max(1.0, step * 0.24)
    for row in range(int(size[1] / step) + 1):
        for column in range(int(size[0] / step) + 1):
            x, y = offset + (column + row % 2 / 2) * step, offset + row * step
            pen.ellipse([x - dot, y - dot, x + dot, y + dot], fill=(red, green, blue))
    return fill


def _mask(shape: str, size: tuple[int, int], centre: tuple[float, float], radius: float, angle: float) -> Image.Image:
    mask = Image.new("L", size)
    _polygon(mask, _OUTLINES[shape], centre, radius, angle)
    if shape == "ring":
        hole = Image.new("L", size)
        _polygon(hole, _OUTLINES["circle"], centre, radius * 0.55, angle)
        mask = ImageChops.subtract(mask, hole)
    return mask


def _polygon(
    mask: Image.Image,
    outline: list[tuple[float, float]],
    centre: tuple[float, float],
    radius: float,
    angle: float,
) -> None:
    cos, sin = math.cos(angle) * radius, math.sin(angle) * radius
    points = [(centre[0] + x * cos - y * sin, centre[1] + x * sin + y * cos) for x, y in outline]
    ImageDraw.Draw(mask).polygon(points, fill=255)


def _regular(corners: int, *, first: float = -90.0, radii: tuple[float, ...] = (1.0,)) -> list[tuple[float, float]]:
    points = []
    for n in range(corners):
        turn = math.radians(first + 360 * n / corners)
        radius = radii[n % len(radii)]
        points.append((radius * math.cos(turn), radius * math.sin(turn)))
    return points


def _heart() -> list[tuple[float, float]]:
    points = []
    for n in range(48):
        t = 2 * math.pi * n / 48
        y = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
        points.append((math.sin(t) ** 3 * 0.98, -(y + 2.5) / 16))
    return points


# Unit outlines, y downwards, within a circle of radius 1.
_ARM = 0.34
_OUTLINES: dict[str, list[tuple[float, float]]] = {
    "circle": _regular(48),
    "ring": _regular(48),
    "square": [(-0.78, -0.78), (0.78, -0.78), (0.78, 0.78), (-0.78, 0.78)],
    "triangle": [(0.0, -0.95), (0.9, 0.7), (-0.9, 0.7)],
    "star": _regular(10, radii=(1.0, 0.42)),
    "heart": _heart(),
    "cross": [
        (-_ARM, -1), (_ARM, -1), (_ARM, -_ARM), (1, -_ARM), (1, _ARM), (_ARM, _ARM),
        (_ARM, 1), (-_ARM, 1), (-_ARM, _ARM), (-1, _ARM), (-1, -_ARM), (-_ARM, -_ARM),
    ],
    "arrow": [(-1, -0.28), (0.1, -0.28), (0.1, -0.8), (1, 0), (0.1, 0.8), (0.1, 0.28), (-1, 0.28)],
}  # fmt: skip
