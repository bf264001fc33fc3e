"""kill -9 at random moments: is a rerun's output that of an undisturbed run, and is no finished commit computed again?

    python benchmarks/kill.py [--images 300] [--moments 10]

Each time: an empty store, a run that is killed at a random moment, a second run to the end. The second run must find exactly
what was committed when the first was killed, and its output must be byte for byte that of an undisturbed run.
"""

from __future__ import annotations

import argparse
import random
import re
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from zsclip.demo.scenes import PAIRS, draw, random_scene
from zsclip.store.database import FILENAME


def start(images: Path, cache: Path, output: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "zsclip", "classify", str(images), "--model", "demo", "--cache-dir", str(cache)]
    command += ["--batch-size", "8", "-l", "red star,blue ring,green heart,circle", "-o", str(output)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def committed(cache: Path) -> int:
    try:
        with sqlite3.connect(f"file:{cache / FILENAME}?mode=ro", uri=True) as connection:
            return int(
                connection.execute(
                    "SELECT count(*) FROM vectors JOIN contents ON contents.id = content WHERE kind = 0"
                ).fetchone()[0]
            )
    except sqlite3.Error:
        return 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--moments", type=int, default=10)
    args = parser.parse_args()
    rng = random.Random(6)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        images = folder / "images"
        images.mkdir()
        for number in range(args.images):
            draw(random_scene(rng, PAIRS[number % 64]), rng, (640, 480)).save(images / f"{number:04}.png")
        started = time.monotonic()
        assert start(images, folder / "undisturbed", folder / "expected.csv").wait() == 0
        duration = time.monotonic() - started
        same = counted = 0
        for moment in range(args.moments):
            cache, output = folder / f"cache {moment}", folder / f"{moment}.csv"
            run = start(images, cache, output)
            # Most of a run is loading the model; the moments are to lie in what follows.
            until = committed(cache) if moment == 0 else rng.randrange(args.images)
            while committed(cache) < until and run.poll() is None:
                time.sleep(0.002)
            time.sleep(rng.random() * duration / 50)
            run.kill()
            run.communicate()
            half = output.exists() and output.read_bytes() != (folder / "expected.csv").read_bytes()
            done = committed(cache)
            again = start(images, cache, output)
            _, said = again.communicate()
            found = re.search(r"(\d+) of (\d+) images were in the store", said)
            same += output.read_bytes() == (folder / "expected.csv").read_bytes() and not half
            counted += (int(found[1]) if found else 0) == done
            print(f"killed with {done:3} of {args.images} committed; the rerun found {found[1] if found else 0}")
        print(f"same output {same} of {args.moments}; nothing committed was computed again {counted} of {args.moments}")


if __name__ == "__main__":
    main()
