"""A labelled folder of scenes, drawn for trying things out."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

from zsclip.demo.scenes import PAIRS, add_noise, draw, random_scene
from zsclip.errors import InputError

# Width and height of the drawn pictures: of several shapes, as photos are.
_SIZES = ((320, 240), (240, 320), (256, 256), (400, 300))


@dataclass(frozen=True)
class DrawnFolder:
    """What `draw_folder` made: the folder of scenes (one folder a label), the label file, one picture, how many."""

    scenes: Path
    labels: Path
    example: Path
    count: int


def draw_folder(folder: Path, images: int = 2, seed: int = 0, noise: float = 0.0) -> DrawnFolder:
    """Draw `images` scenes for each of the 64 pairs of colour and shape into `folder`, which must be new or empty.

    `noise`, from 0 to 1, is how much of each picture gives way to random pixels. Raises `InputError`.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(
            f"{folder} is there already. Name a new folder, so that nothing of yours is mixed with the scenes."
        )
    scenes, labels = folder / "scenes", folder / "labels.txt"
    rng = random.Random(seed)
    names, paths = [], []
    try:
        for pair in PAIRS:
            names.append(" ".join(pair))
            (scenes / names[-1]).mkdir(parents=True)
            for number in range(1, images + 1):
                paths.append(scenes / names[-1] / f"{number:03}.png")
                scene = draw(random_scene(rng, pair), rng, rng.choice(_SIZES))
                (add_noise(scene, noise, rng) if noise else scene).save(paths[-1])
        labels.write_text("\n".join(names) + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"{folder}: cannot be written: {error.strerror}.") from None
    return DrawnFolder(scenes, labels, paths[0], len(paths))
