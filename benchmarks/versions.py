"""Two checkouts of zsclip against each other: whole processes in interleaved pairs, as ratios with their 95 % intervals.

    python benchmarks/versions.py OTHER [--pairs 10] [--task WORDS] [--folder build/versions]

OTHER is the folder of the other checkout, with the same libraries. ViT-B-32 has random weights, and both have it converted already. A
ratio above 1 says that this checkout is slower. Speed has not fallen where the interval reaches 1.03 or lower and ends below 1.08.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import stats

HERE = Path(__file__).parents[1]


def photo(path: Path, size: tuple[int, int], seed: int | tuple[int, int]) -> None:
    """A JPEG with about the detail of a photograph."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (size[1] // 16, size[0] // 16, 3), np.uint8)
    image = np.asarray(Image.fromarray(small).resize(size, Image.Resampling.BICUBIC), np.int16)
    noisy = image + rng.integers(-12, 13, image.shape, np.int16)
    Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(path, quality=88)


def prepare(folder: Path) -> None:
    """Weights and pictures."""
    import open_clip
    import torch

    for name, size, count in (("small", (500, 375), 96), ("large", (4000, 3000), 16)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            photo(folder / name / f"{number:03}.jpg", size, number)
    torch.manual_seed(7)
    model = open_clip.create_model("ViT-B-32")
    with torch.no_grad():
        model.logit_scale.fill_(math.log(100))
    torch.save(model.state_dict(), folder / "weights.pt")
    (folder / "done").touch()


def measure(checkout: Path, folder: Path, arguments: list[str]) -> tuple[float, float, float]:
    """Seconds of a run, its processor time and its peak memory in MB. Each checkout has a store of its own; converted models are shared."""
    cache = folder / f"cache-{checkout.name}"
    if not cache.exists():
        cache.mkdir(mode=0o700)
        (folder / "exports").mkdir(exist_ok=True)
        (cache / "exports").symlink_to((folder / "exports").resolve())
    settings = {"PYTHONPATH": str(checkout), "ZSCLIP_CACHE_DIR": str(cache.resolve()), "HF_HUB_OFFLINE": "1"}
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "zsclip", *arguments], cwd=folder, env={**os.environ, **settings},
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(said.decode())
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def tasks(folder: Path) -> dict[str, Callable[[int], list[str]]]:
    """What is run in each pair, by its number."""
    model = ["-m", "ViT-B-32", "--pretrained", "weights.pt", "-l", "cat,dog,bird", "-q"]

    def one_new(number: int) -> list[str]:
        name = f"new-{number}.jpg"  # never seen: the stores may be of an earlier run
        photo(folder / name, (500, 375), (number + 2, time.time_ns()))
        return ["classify", name, *model]

    return {
        "--help": lambda _: ["classify", "--help"],
        "all known, 96 images": lambda _: ["classify", "small", *model],
        "one new image, known labels": one_new,
        "16 JPEGs of 12 megapixels": lambda _: ["classify", "large", *model, "--no-cache"],
        "96 JPEGs of 500 x 375": lambda _: ["classify", "small", *model, "--no-cache"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path)
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--task", default="", help="only tasks whose names hold this")
    parser.add_argument("--folder", type=Path, default=Path("build/versions"))
    args = parser.parse_args()
    folder, sides = args.folder.resolve(), (args.other.resolve(), HERE)
    if not (folder / "done").exists():  # apart, for a child's peak is never told below its parent's size
        process = multiprocessing.get_context("spawn").Process(target=prepare, args=(folder,))
        process.start()
        process.join()
    print("| task | seconds: other, this | ratio (95 %) | of processor time | peak MB: other, this |")
    print("|---|---|---|---|---|")
    for name, arguments in tasks(folder).items():
        if args.task not in name:
            continue
        for side in sides:  # what is converted or read for the first time does not count
            measure(side, folder, arguments(-1))
        rounds = []
        for number in range(args.pairs):
            order = sides if number % 2 else sides[::-1]
            found = {side: measure(side, folder, arguments(number)) for side in order}
            rounds.append([found[side] for side in sides])
        seconds, peaks = ([statistics.median(one[side][what] for one in rounds) for side in (0, 1)] for what in (0, 2))
        print(
            f"| {name} | {seconds[0]:.2f}, {seconds[1]:.2f} | {ratio(rounds, 0)} | {ratio(rounds, 1)} "
            f"| {peaks[0]:,.0f}, {peaks[1]:,.0f} |",
            flush=True,
        )


def ratio(rounds: list[list[tuple[float, float, float]]], what: int) -> str:
    """This checkout's share of the other's, as the geometric mean over the pairs with its 95 % interval."""
    logs = [math.log(this[what] / other[what]) for other, this in rounds]
    mean, error = statistics.mean(logs), statistics.stdev(logs) / math.sqrt(len(logs))
    margin = float(stats.t.ppf(0.975, len(logs) - 1)) * error
    middle, low, high = (math.exp(value) for value in (mean, mean - margin, mean + margin))
    return f"{middle:.3f} ({low:.3f} to {high:.3f})"


if __name__ == "__main__":
    main()
