"""Archives and Parquet beside a folder of the same pictures: pictures a second, turn by turn, and memory over many members.

    python -m benchmarks.containers [--images 1500] [--rounds 5] [--members 100000]

The first table is ratios of times (below 1: quicker than the folder), without the store, with the demo model. The second is the peak of
anonymous memory of a process that reads an archive or table of small pictures, all the same, with a store (Linux).
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow.parquet
from PIL import Image

KINDS = (".tar", ".tar.gz", ".zip", ".parquet")
_ROWS = 256  # of a row group


def jpeg(rng: np.random.Generator, size: tuple[int, int]) -> bytes:
    small = Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8))
    stream = io.BytesIO()
    small.resize(size, Image.Resampling.BICUBIC).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def write(path: Path, members: Iterable[tuple[str, bytes]]) -> Path:
    if path.suffix == ".parquet":
        schema = pyarrow.schema([("image", pyarrow.binary()), ("id", pyarrow.string())])
        rows = iter(members)
        with pyarrow.parquet.ParquetWriter(path, schema) as table:
            while group := list(islice(rows, _ROWS)):
                names, data = zip(*group, strict=True)
                table.write_table(pyarrow.table([data, names], schema=schema))
    elif path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in members:
                archive.writestr(name, data)
    else:
        with tarfile.open(path, "w") if path.suffix == ".tar" else tarfile.open(path, "w:gz", compresslevel=1) as tar:
            for name, data in members:
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return path


def speed(place: Path, images: int, rounds: int) -> None:
    from zsclip import Classifier
    from zsclip.images.sources import Finder

    rng = np.random.default_rng(0)
    folder = place / "folder"
    folder.mkdir()
    for number in range(images):
        (folder / f"{number:06}.jpg").write_bytes(jpeg(rng, (500, 375)))
    files = sorted(folder.iterdir())
    sources = [folder, *(write(place / f"x{kind}", ((one.name, one.read_bytes()) for one in files)) for kind in KINDS)]
    with Classifier.load("demo", use_cache=False, device="cpu") as classifier:

        def run(source: Path) -> tuple[float, float]:
            wall, cpu = time.perf_counter(), time.process_time()
            assert sum(map(len, classifier.embed_images(Finder([str(source)])))) == images
            return time.perf_counter() - wall, time.process_time() - cpu

        run(folder)
        times = [[run(source) for source in sources] for _ in range(rounds)]
    print(
        f"| source | pictures/s | time to the folder's, median of {rounds} | lowest and highest | CPU time to the folder's |"
    )
    print("|---|---|---|---|---|")
    for number, source in enumerate(sources):
        ratios = [one[number][0] / one[0][0] for one in times]
        cpu = statistics.median(one[number][1] / one[0][1] for one in times)
        middle, low, high = statistics.median(ratios), min(ratios), max(ratios)
        rate = images / statistics.median(one[number][0] for one in times)
        print(f"| {source.suffix or 'folder'} | {rate:.0f} | {middle:.2f} | {low:.2f} to {high:.2f} | {cpu:.2f} |")


_READ = """
import sys
from zsclip import Classifier
from zsclip.images.sources import Finder
with Classifier.load("demo", cache_dir=sys.argv[1], device="cpu") as classifier:
    print(sum(len(batch) for batch in classifier.embed_images(Finder([sys.argv[2]]))))
"""


def peak(store: Path, source: Path) -> tuple[int, float, float]:
    """Members, MB of anonymous memory at the peak, and seconds."""
    started = time.monotonic()
    with subprocess.Popen(
        [sys.executable, "-c", _READ, str(store), str(source)], stdout=subprocess.PIPE, text=True
    ) as process:
        most = 0

        def watch() -> None:
            nonlocal most
            while process.poll() is None:
                try:
                    status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
                    most = max(
                        most, *(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon")), 0
                    )
                except OSError:
                    return
                time.sleep(0.02)

        watcher = threading.Thread(target=watch)
        watcher.start()
        assert process.stdout
        count = int(process.stdout.read())
        process.wait()
        watcher.join()
    return count, most / 1024, time.monotonic() - started


def memory(place: Path, members: int) -> None:
    data = jpeg(np.random.default_rng(0), (64, 64))
    print("\n| source | members | peak, MB | seconds | second run: peak, MB | seconds |\n|---|---|---|---|---|---|")
    for kind in KINDS:
        for count in (members // 10, members):
            path = write(place / f"small{kind}", ((f"{number:08}.jpg", data) for number in range(count)))
            with tempfile.TemporaryDirectory() as store:
                found, first, seconds = peak(Path(store), path)
                assert found == count
                _, second, again = peak(Path(store), path)
            print(f"| {kind} | {count:,} | {first:.0f} | {seconds:.1f} | {second:.0f} | {again:.1f} |", flush=True)
            os.unlink(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1500)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--members", type=int, default=100_000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        if args.rounds:
            speed(Path(place), args.images, args.rounds)
        if args.members:
            memory(Path(place), args.members)


if __name__ == "__main__":
    main()
