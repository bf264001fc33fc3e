"""A million known pictures: `search` and `classify -k 1 -o` as whole processes, beside the floors of what they do.

    python -m benchmarks.known [--images 100000 1000000] [--runs 3] [--folder DIR]

Vectors (512 numbers in half precision) are put into the store through its own interface, with empty files for the paths, 1,000 in
a folder: a million needs some minutes and 3 GB in DIR (default: the folder for temporary files), removed afterwards. Floors,
in this process: a scan of the folders with a `stat` of each file; the bytes of the packs as the database gives them; as many vectors
made float32 unit vectors, and their product with one. CPU seconds are user and system: other work stretches them less.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.relabel import DIMENSION, LABELS, checkpoint_folder, fill
from zsclip import scoring
from zsclip.embedding.model import Model
from zsclip.models import resolve
from zsclip.models.spec import ModelFacts
from zsclip.store.database import Store

RUN = "import sys; from zsclip.__main__ import main; sys.argv[0] = 'zsclip'; main()"


@dataclass(frozen=True)
class Cost:
    """Of a whole process: seconds, seconds of the processor, and the most anonymous memory in MB (Linux)."""

    seconds: float
    cpu: float
    memory: float

    @classmethod
    def of(cls, arguments: list[str]) -> Cost:
        started, before, peak = time.perf_counter(), os.times(), 0
        run = subprocess.Popen([sys.executable, "-c", RUN, *arguments])
        while run.poll() is None:
            peak = max(peak, anonymous_kilobytes(run.pid))
            time.sleep(0.01)
        seconds, after = time.perf_counter() - started, os.times()
        assert run.returncode == 0
        cpu = after.children_user + after.children_system - before.children_user - before.children_system
        return cls(seconds, cpu, peak / 1024)


def anonymous_kilobytes(process: int) -> int:
    """Memory of a process that is no mapped file; 0 where the system does not say."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("RssAnon")), 0)


def scan(root: Path) -> int:
    """All that the file system has to say of the pictures."""
    seen = 0
    for folder in os.scandir(root):
        with os.scandir(folder.path) as entries:
            seen += len([(s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino) for s in map(os.DirEntry.stat, entries)])
    return seen


def read_packs(store: Store) -> int:
    with store.guard() as connection:
        assert connection
        rows = connection.execute("SELECT names, stamps, qualities, vectors FROM packs ORDER BY folder, first")
        return sum(len(vectors) // (2 * DIMENSION) for *_, vectors in rows)


def multiply(count: int) -> int:
    """As many vectors in half precision to unit vectors, and the product with one more."""
    rng = np.random.default_rng(0)
    half = scoring.normalise(rng.standard_normal((1000, DIMENSION)).astype(np.float32)).astype(np.float16)
    one = scoring.normalise(rng.standard_normal((1, DIMENSION)).astype(np.float32))
    for _ in range(0, count, len(half)):
        scoring.similarities(scoring.normalise(half.astype(np.float32)), one)
    return count


def measure(folder: Path, count: int, runs: int) -> None:
    name, images, cache = f"local-dir:{checkpoint_folder(folder / 'model')}", folder / "images", folder / "cache"
    with Store(cache) as store:
        model = Model(resolve(name), store)
        store.put_facts(model.identity, ModelFacts(100.0, 0.0, DIMENSION, "benchmark"))
        fill(store, model, images, count)
        size = store.size() / 1e6
    print(f"\n{count:,} known pictures, a store of {size:,.0f} MB; medians of {runs}, in turn\n")
    shared = [str(images), "--model", name, "--cache-dir", str(cache), "-q", "-o", str(folder / "out.csv")]
    commands = {
        "search": ["search", "--text", LABELS[1], "-p", "openai-simple", *shared],
        "classify -k 1 -o": ["classify", "-l", ",".join(LABELS), "-k", "1", *shared],
    }
    costs: dict[str, list[Cost]] = {name: [] for name in commands}
    with Store(cache) as store:
        floors: dict[str, Callable[[], int]] = {
            "scan and stat": lambda: scan(images),
            "read packs": lambda: read_packs(store),
            "vectors and product": lambda: multiply(count),
        }
        lowest: dict[str, list[float]] = {name: [] for name in floors}
        for _ in range(runs):
            for what, arguments in commands.items():
                costs[what].append(Cost.of(arguments))
            for what, floor in floors.items():
                started = time.process_time()
                assert floor() == count
                lowest[what].append(time.process_time() - started)
    lines = sum(1 for _ in (folder / "out.csv").open())
    assert lines == count + 1, lines
    print("| what | seconds | CPU seconds | anonymous MB |\n| --- | --- | --- | --- |")
    for what, some in costs.items():
        medians = (
            statistics.median(values) for values in zip(*((c.seconds, c.cpu, c.memory) for c in some), strict=True)
        )
        print("| {} | {:.2f} | {:.2f} | {:.0f} |".format(what, *medians))
    for what, seconds in lowest.items():
        print(f"| floor: {what} | | {statistics.median(seconds):.2f} | |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", type=Path)
    args = parser.parse_args()
    for count in args.images:
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            measure(Path(folder), count, args.runs)


if __name__ == "__main__":
    main()
