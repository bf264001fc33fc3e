"""Signals at random moments of a run: what becomes of the exit code, the output, the workers and the next run.

    python benchmarks/signals.py [--times 6] [--images 400]

Each run classifies drawn scenes with the demo model into a file that existed before, and is sent one signal at one moment. A
run is clean if its exit code is the signal's (or it had ended with 0), nothing was said but that it was interrupted, the
output is the old one or the whole new one, no other file is left beside it, and no process outlives it. At the end one
more run with the same store must give the rows of an undisturbed run.
"""

from __future__ import annotations

import argparse
import random
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from zsclip.demo.scenes import PAIRS, draw, random_scene
from zsclip.store.database import FILENAME

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGKILL")
OLD = "what was there before\n"


@dataclass
class Run:
    """One run on its way."""

    process: subprocess.Popen[bytes]
    output: Path
    cache: Path
    images: int
    began: float

    def committed(self) -> int:
        try:
            with sqlite3.connect(f"file:{self.cache / FILENAME}?mode=ro", uri=True) as connection:
                return int(
                    connection.execute(
                        "SELECT count(*) FROM vectors JOIN contents ON contents.id = content WHERE kind = 0"
                    ).fetchone()[0]
                )
        except sqlite3.Error:
            return 0

    def wait_for(self, condition: Callable[[], bool]) -> None:
        while self.process.poll() is None and not condition():
            time.sleep(0.001)

    def is_writing(self) -> bool:
        return any(path != self.output for path in self.output.parent.iterdir())


def at_start(run: Run, rng: random.Random) -> None:
    time.sleep(rng.random() * 0.05)


def in_imports(run: Run, rng: random.Random) -> None:
    time.sleep(0.05 + rng.random() * 0.4)


def loading(run: Run, rng: random.Random) -> None:
    run.wait_for(run.is_writing)
    time.sleep(rng.random() * 5)


def decoding(run: Run, rng: random.Random) -> None:
    until = rng.randrange(1, run.images)
    run.wait_for(lambda: run.committed() >= until)


def writing(run: Run, rng: random.Random) -> None:
    run.wait_for(lambda: run.committed() >= run.images)
    time.sleep(rng.random() * 0.05)


def all_known(run: Run, rng: random.Random) -> None:
    time.sleep(rng.random() * 1.2)


# moment: when, more options, whether the store knows all images already
MOMENTS: dict[str, tuple[Callable[[Run, random.Random], None], tuple[str, ...], bool]] = {
    "Python starts (first 50 ms)": (at_start, (), False),
    "imports": (in_imports, (), False),
    "the model loads": (loading, (), False),
    "images are decoded": (decoding, (), False),
    "decoded with --isolate": (decoding, ("--isolate",), False),
    "the end of the output": (writing, (), False),
    "a run that knows all": (all_known, (), True),
}


def command(images: Path, cache: Path, output: Path, *options: str) -> list[str]:
    labels = "red star,blue ring,green heart,circle"
    return [sys.executable, "-m", "zsclip", "classify", str(images), "--model", "demo", "--cache-dir", str(cache), "--batch-size",
            "8", "-l", labels, "-o", str(output), "-q", *options]  # fmt: skip


def descendants(parent: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(fields[1]) == parent:
                found += [int(entry.name), *descendants(int(entry.name))]
    return found


def is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def one(
    name: str, moment: str, images: Path, count: int, cache: Path, place: Path, rng: random.Random
) -> tuple[str, list[str]]:
    """Send one signal to one run: how it ended, and what was not clean."""
    when, options, _ = MOMENTS[moment]
    output = place / "out" / "result.csv"
    output.parent.mkdir(exist_ok=True)
    for path in output.parent.iterdir():
        path.unlink()
    output.write_text(OLD)
    process = subprocess.Popen(
        command(images, cache, output, *options), stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    run = Run(process, output, cache, count, time.monotonic())
    when(run, rng)
    workers = descendants(process.pid)
    number = getattr(signal, name)
    ended_before = process.poll() is not None
    sent = time.monotonic()
    process.send_signal(number)
    try:
        out, err = process.communicate(timeout=30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return "no end", ["it did not end within 30 s"]
    faults = []
    took = time.monotonic() - sent
    if took > 5:
        faults.append(f"it took {took:.1f} s to end")
    code = process.returncode
    if code not in (0, 128 + number, -number) or (code == 0 and not ended_before and output.read_text() == OLD):
        faults.append(f"exit code {code}")
    said = re.sub(
        rb"zsclip: interrupted\.( \d+ images? (is|are) kept; the same command goes on from there\.)?\n", b"", err
    )
    if said or out:
        faults.append(f"it said {(said + out)[-300:]!r}")
    whole = len(output.read_text().splitlines()) == count + 1 if output.exists() else False
    if not output.exists() or (output.read_text() != OLD and not whole):
        faults.append("the output is neither the old nor the new one")
    if name != "SIGKILL" and len(list(output.parent.iterdir())) > 1:
        faults.append("a partial file is left")
    end = time.monotonic() + 3
    while any(map(is_running, workers)) and time.monotonic() < end:
        time.sleep(0.01)
    if any(map(is_running, workers)):
        faults.append("a worker outlives it")
    return (
        "done before" if code == 0 else f"exit {code}" if code > 0 else f"killed by {signal.Signals(-code).name}"
    ), faults


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--times", type=int, default=6)
    args = parser.parse_args()
    rng = random.Random(11)
    all_faults: Counter[str] = Counter()
    runs = 0
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        images = place / "images"
        images.mkdir()
        for number in range(args.images):
            draw(random_scene(rng, PAIRS[number % 64]), rng, (320, 240)).save(images / f"{number:04}.png")
        known, expected = place / "known", place / "expected.csv"
        subprocess.run(command(images, known, expected), check=True)
        print("| moment | " + " | ".join(SIGNALS) + " |\n|---|" + "---|" * len(SIGNALS))
        for moment in MOMENTS:
            cells = []
            for signal_name in SIGNALS:
                outcomes: Counter[str] = Counter()
                for _ in range(args.times):
                    cache = known if MOMENTS[moment][2] else Path(tempfile.mkdtemp(dir=place))
                    if cache != known and moment != "the model loads" and (known / "exports").is_dir():
                        (cache / "exports").symlink_to(
                            known / "exports"
                        )  # converting the model takes longer than a run
                    how, faults = one(signal_name, moment, images, args.images, cache, place, rng)
                    runs += 1
                    outcomes[how + (" (NOT CLEAN)" if faults else "")] += 1
                    all_faults.update(f"{moment}, {signal_name}: {fault}" for fault in faults)
                cells.append(", ".join(f"{count} × {how}" for how, count in sorted(outcomes.items())))
                again = place / "again.csv"
                after = subprocess.run(command(images, cache, again), capture_output=True, check=False)
                if after.returncode or after.stderr or again.read_bytes() != expected.read_bytes():
                    all_faults[f"{moment}, {signal_name}: the next run differs: {after.stderr[-200:]!r}"] += 1
            print(f"| {moment} | " + " | ".join(cells) + " |", flush=True)
    print(f"\n{runs} runs, {sum(all_faults.values())} faults")
    for fault, count in all_faults.items():
        print(f"{count} × {fault}")
    sys.exit(bool(all_faults))


if __name__ == "__main__":
    for ignored in SIGNALS[:3]:  # as in a job in the background
        signal.signal(getattr(signal, ignored), signal.SIG_DFL)
    main()
