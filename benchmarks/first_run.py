"""The first run ever with a model, beside a second one with other labels and another picture, and beside open_clip's loop.

    python benchmarks/first_run.py [--rounds N] [--images N] [--only NAME] [--large]

Whole processes over random weights at the models' real sizes, kept as safetensors (and once more as `.pt`), `logit_scale` ln 100, in
turn, each first run with an empty store; medians, and ratios within one run. Memory is the peak of what is no mapped file
(RssAnon, which only Linux tells). `--large` takes ViT-H-14, 4 GB of weights.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.made_once import save_random_checkpoint
from support.small_models import INCEPTION, family, save_family, save_unigram

MODELS = ("ViT-B-32", "ViT-L-14", "ViT-B-16-SigLIP", "RN50")
LARGE = "ViT-H-14"
VOCABULARY = 32_000  # of SigLIP; the tokenizer made for the tests has few words, which changes no time
LOOP = """
import sys
import open_clip, torch
from PIL import Image
name, weights, *pictures = sys.argv[1:]
model, _, transform = open_clip.create_model_and_transforms(name, pretrained=weights or None)
model.eval()
tokenizer = open_clip.get_tokenizer(name)
with torch.no_grad():
    texts = [f"a photo of a {label}." for label in ("cat", "dog")]
    classes = model.encode_text(tokenizer(texts), normalize=True)
    pixels = torch.stack([transform(Image.open(picture).convert("RGB")) for picture in pictures])
    images = model.encode_image(pixels, normalize=True)
    print((model.logit_scale.exp() * images @ classes.T).softmax(-1))
"""


@dataclass
class Run:
    seconds: float
    anonymous: float  # bytes


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=1)
    parser.add_argument("--only", default="")
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--weights", type=Path, help="a folder that keeps the weights that are made")
    chosen = parser.parse_args()
    models = [LARGE] if chosen.large else [name for name in MODELS if chosen.only in name]
    print(
        f"{'model':<18}{'first':>8}{'second':>8}{'first/second':>14}{'loop/first':>12}{'memory, weights, loop (GB)':>28}"
    )
    with tempfile.TemporaryDirectory() as folder:
        pictures = draw(Path(folder), 2 * chosen.images)
        for name in models:
            for ending in ("safetensors", "pt") if name == "ViT-B-32" else ("safetensors",):
                name_of, weights, size = saved(name, ending, chosen.weights or Path(folder))
                measure(f"{name} ({ending})", name_of, weights, size, pictures, chosen.rounds, Path(folder))


def draw(folder: Path, count: int) -> list[Path]:
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    paths = [folder / f"{number:03}.jpg" for number in range(count)]
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (375, 500, 3), np.uint8)).resize((500, 375)).save(path, quality=85)
    return paths


def saved(name: str, ending: str, folder: Path) -> tuple[str, str, int]:
    """The model's name, the file of its weights ("" where the name has them), and their size."""
    if "SigLIP" not in name:
        path = folder / f"{name}.{ending}"
        if not path.exists():
            save_random_checkpoint(name, path)
        return name, str(path), path.stat().st_size
    place = folder / name
    if not place.exists():
        save_family(place, family(name), lambda folder: max(save_unigram(folder), VOCABULARY), INCEPTION)
    return f"local-dir:{place}", "", (place / "open_clip_model.safetensors").stat().st_size


def measure(title: str, name: str, weights: str, size: int, pictures: list[Path], rounds: int, folder: Path) -> None:
    half = len(pictures) // 2
    chosen = ["-m", name, *(["--pretrained", weights] if weights else []), "-q", "--cache-dir", str(folder / "cache")]
    zsclip = [sys.executable, "-m", "zsclip", "classify", "--template", "a photo of a <label>."]
    first, second, loop = [], [], []
    for _ in range(rounds):
        shutil.rmtree(folder / "cache", ignore_errors=True)
        first.append(timed([*zsclip, *map(str, pictures[:half]), "-l", "cat,dog", *chosen]))
        second.append(timed([*zsclip, *map(str, pictures[half:]), "-l", "tree,house", *chosen]))
        loop.append(timed([sys.executable, "-c", LOOP, name, weights, *map(str, pictures[:half])]))
    seconds = [statistics.median(run.seconds for run in runs) for runs in (first, second, loop)]
    memory = [max(run.anonymous for run in runs) / 1e9 for runs in (first, loop)]
    print(
        f"{title:<30}{seconds[0]:>7.2f}s{seconds[1]:>7.2f}s{seconds[0] / seconds[1]:>8.2f}{seconds[2] / seconds[0]:>10.2f}"
        f"{memory[0]:>12.2f}{size / 1e9:>8.2f}{memory[1]:>8.2f}",
        flush=True,
    )


def timed(command: list[str]) -> Run:
    started, peak = time.perf_counter(), 0.0
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment
    ) as run:
        while run.poll() is None:
            peak = max(peak, anonymous(run.pid))
            time.sleep(0.01)
        elapsed = time.perf_counter() - started
        if run.returncode:
            raise SystemExit(f"{' '.join(command)}: {run.stderr.read() if run.stderr else ''}")
    return Run(elapsed, peak)


def anonymous(process: int) -> float:
    try:
        text = Path(f"/proc/{process}/status").read_text()
        return 1024 * float(text.split("RssAnon:")[1].split()[0])
    except (OSError, IndexError):
        return math.nan if not Path("/proc/self/status").exists() else 0.0


if __name__ == "__main__":
    main()
