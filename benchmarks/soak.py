"""A long run over many small images: are memory, file handles and throughput flat?

    nice python benchmarks/soak.py [--images 20000] [--damaged 0.05] [--isolate]

Draws the images, runs `zsclip classify` on them with the demo model and an empty store, and looks at its process in /proc
while rows come in. Compared are the first and the last quarter of the rows (the first 5 %, in which the model loads and
buffers fill, left out of the first quarter): median resident memory, most file handles, rows a second.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from zsclip.demo.scenes import PAIRS, draw, random_scene


@dataclass(frozen=True)
class Sample:
    """The process when so many rows had come."""

    rows: int
    seconds: float
    megabytes: float
    handles: int
    threads: int


def make(folder: Path, count: int, damaged: float, rng: random.Random) -> int:
    """Images that all differ; the number of damaged ones (cut, flipped, empty, no image)."""
    scenes = [draw(random_scene(rng, PAIRS[n % 64]), rng, (64, 64)) for n in range(256)]
    broken = 0
    for number in range(count):
        image = scenes[number % 256].copy()
        image.putpixel((0, 0), (number & 255, number >> 8 & 255, number >> 16 & 255))
        path = folder / f"{number // 1000:03}" / f"{number:06}.png"
        path.parent.mkdir(exist_ok=True)
        image.save(path, compress_level=1)
        if rng.random() < damaged:
            broken += 1
            data = bytearray(path.read_bytes())
            kind = number % 4
            if kind == 0:
                data = data[: rng.randrange(8, len(data) - 60)]
            elif kind == 1:
                data[rng.randrange(45, len(data) // 2)] ^= 1 << rng.randrange(8)
            elif kind == 2:
                data = bytearray()
            else:
                data = bytearray(rng.randbytes(500))
            path.write_bytes(data)
    return broken


def sample(process: int, rows: int, started: float) -> Sample:
    status = dict(line.split(":", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines())
    handles = len(os.listdir(f"/proc/{process}/fd"))
    memory = int(status["VmRSS"].split()[0]) / 1024
    return Sample(rows, time.monotonic() - started, memory, handles, int(status["Threads"]))


def soak(folder: Path, cache: Path, isolate: bool) -> tuple[list[Sample], int, int, str]:
    """Samples along the run, the number of error rows, the exit code and what was said."""
    command = [
        sys.executable,
        "-m",
        "zsclip",
        "classify",
        str(folder),
        "--model",
        "demo",
        "-l",
        "red star,blue ring,circle",
        "-f",
    ]
    command += ["jsonl", "--cache-dir", str(cache), *(["--isolate"] if isolate else [])]
    started = time.monotonic()
    with tempfile.TemporaryFile() as said:
        run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said)
        assert run.stdout is not None
        samples, errors = [], 0
        for rows, line in enumerate(run.stdout, 1):
            errors += json.loads(line)["error"] is not None
            if rows % 50 == 0:
                try:
                    samples.append(sample(run.pid, rows, started))
                except (OSError, KeyError):
                    break  # at its end
        errors += sum(json.loads(line)["error"] is not None for line in run.stdout)
        code = run.wait()
        said.seek(0)
        return samples, errors, code, said.read().decode()


def pace(samples: list[Sample]) -> float:
    return (samples[-1].rows - samples[0].rows) / (samples[-1].seconds - samples[0].seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--damaged", type=float, default=0.0)
    parser.add_argument("--isolate", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "images"
        folder.mkdir()
        broken = make(folder, args.images, args.damaged, random.Random(20))
        samples, errors, code, said = soak(folder, Path(place) / "cache", args.isolate)
    first = [one for one in samples if args.images * 0.05 <= one.rows < args.images * 0.25]
    last = [one for one in samples if one.rows >= args.images * 0.75]
    before, after = (statistics.median(one.megabytes for one in part) for part in (first, last))
    print(
        f"{args.images} images, {broken} damaged, {errors} error rows, exit code {code}, in {samples[-1].seconds:.0f} s"
    )
    print(f"resident memory, median: first quarter {before:.0f} MB, last {after:.0f} MB ({after - before:+.1f} MB)")
    print(f"most file handles: {max(one.handles for one in first)} and {max(one.handles for one in last)}")
    print(f"most threads: {max(one.threads for one in first)} and {max(one.threads for one in last)}")
    print(f"throughput, last to first quarter: {pace(last) / pace(first):.2f}")
    print(said.strip())
    sys.exit("Traceback" in said or abs(after - before) > 50)


if __name__ == "__main__":
    main()
