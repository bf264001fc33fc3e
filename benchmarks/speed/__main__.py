"""Throughput, text building, start-up and peak memory of zsclip beside open_clip, the Hugging Face pipeline and ONNX Runtime.

python -m benchmarks.speed [--rounds 5] [--folder build/speed]     (or: make bench)

All sides take turns within one run; what is printed are ratios with their spread. Absolute figures only say what the
machine was. Nothing is downloaded. What is printed is also saved as `results.md` in the folder, and every round's figure as
`results.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from benchmarks.speed import material
from benchmarks.speed.material import ARCHITECTURE, LABELS
from benchmarks.speed.sides import share_exports

THROUGHPUT = ("zsclip", "zsclip --exact", "open_clip", "pipeline 1", "pipeline 32", "ONNX Runtime",
              "model", "decode", "model fp32", "decode in full")  # fmt: skip
# Images a round, so that every side takes a few seconds.
SMALL_COUNT = {"zsclip": 256, "zsclip --exact": 128, "open_clip": 64, "pipeline 1": 16, "pipeline 32": 64, "ONNX Runtime": 96,
               "model": 256, "decode": 512, "model fp32": 128, "decode in full": 512}  # fmt: skip
LARGE_COUNT = {"zsclip": 48, "zsclip --exact": 24, "open_clip": 16, "model": 64, "decode": 48, "model fp32": 64,
               "decode in full": 24}  # fmt: skip


class Results:
    """What is printed, in a file as well, and the figures of every round."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lines: list[str] = []
        self._rounds: dict[str, object] = {}

    def say(self, text: str) -> None:
        """Print a text and save all there is."""
        print(text, flush=True)
        self._lines.append(text)
        (self._folder / "results.md").write_text("\n".join(self._lines) + "\n", encoding="utf-8")

    def keep(self, title: str, rounds: object) -> None:
        """Save the figures behind a table."""
        self._rounds[title] = rounds
        (self._folder / "results.json").write_text(json.dumps(self._rounds, indent=1), encoding="utf-8")


class Side:
    """One side's process."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.speed.sides", name, str(folder)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._said: list[str] = []
        threading.Thread(target=lambda: self._said.extend(self._process.stderr or ()), daemon=True).start()
        self._line()

    def _line(self) -> str:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} failed:\n{''.join(self._said)}")
        return line

    def seconds(self, task: dict[str, object]) -> float:
        """How long a task took, as the side measured it."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps(task) + "\n")
        self._process.stdin.flush()
        return float(self._line())

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


@contextmanager
def sides(names: tuple[str, ...], folder: Path) -> Iterator[dict[str, Side]]:
    """The processes of these sides, loaded."""
    running = {name: Side(name, folder) for name in names}
    try:
        yield running
    finally:
        for side in running.values():
            side.close()


def take_turns(
    running: dict[str, Side],
    tasks: dict[str, dict[str, object]],
    work: dict[str, int],
    rounds: int,
    *,
    warm: bool = False,
) -> dict[str, list[float]]:
    """Work per second of each side, round by round, after one round that does not count unless they are `warm`."""
    rates: dict[str, list[float]] = {name: [] for name in tasks}
    for number in range(warm, rounds + 1):
        for name, task in tasks.items():
            rate = work[name] / running[name].seconds(task)
            if number:
                rates[name].append(rate)
    return rates


def ratio(rates: dict[str, list[float]], one: str, other: str) -> str:
    """The median of the rounds' ratios, and the smallest and the largest."""
    ratios = [a / b for a, b in zip(rates[one], rates[other], strict=True)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def of_limit(rates: dict[str, list[float]], one: str, model: str, decode: str) -> str:
    """The share of what the cores could do if they only ran the bare model and the bare decoder, one after the other."""
    shares = [
        ours * (1 / model_rate + 1 / decode_rate)
        for ours, model_rate, decode_rate in zip(rates[one], rates[model], rates[decode], strict=True)
    ]
    return f"{statistics.median(shares):.2f} ({min(shares):.2f} to {max(shares):.2f})"


def report(results: Results, rates: dict[str, list[float]], title: str, unit: str) -> None:
    """A table: the rate of each side, and zsclip's multiples of it."""
    results.keep(title, rates)
    results.say(f"\n### {title}\n\n| side | {unit}/s (median) | zsclip | zsclip --exact |\n| --- | --- | --- | --- |")
    for name, values in rates.items():
        multiples = f"{ratio(rates, 'zsclip', name)} | {ratio(rates, 'zsclip --exact', name)}"
        results.say(f"| {name} | {statistics.median(values):.1f} | {multiples} |")


def throughput(results: Results, folder: Path, rounds: int) -> None:
    """500 x 375 and 12-megapixel JPEGs."""
    with sides(THROUGHPUT, folder) as running:
        for kind, counts in (("small", SMALL_COUNT), ("large", LARGE_COUNT)):
            paths = sorted(str(path) for path in (folder / kind).glob("*.jpg"))
            tasks: dict[str, dict[str, object]] = {
                name: {"paths": [paths[n % len(paths)] for n in range(count)]} for name, count in counts.items()
            }
            rates = take_turns(running, tasks, counts, rounds)
            report(results, rates, {"small": "500 x 375 JPEGs", "large": "12-megapixel JPEGs"}[kind], "images")
            results.say(f"\nOf the limit: {of_limit(rates, 'zsclip', 'model', 'decode')}; "
                        f"--exact: {of_limit(rates, 'zsclip --exact', 'model fp32', 'decode in full')}.")  # fmt: skip


def texts(results: Results, folder: Path, full: bool) -> None:
    """Class vectors of 10 and 100 labels with 80 templates."""
    with sides(("zsclip", "zsclip --exact", "open_clip"), folder) as running:
        for count in (10, 100):
            names = ["zsclip", "zsclip --exact"] + (["open_clip"] if count == 10 or full else [])
            rates = take_turns(
                running,
                {name: {"labels": count} for name in names},
                dict.fromkeys(names, 80 * count),
                3 if count == 10 else 1,
                warm=count != 10,
            )
            rounds_done = "3 rounds" if count == 10 else "one round"
            report(results, rates, f"{count} labels x 80 templates ({rounds_done})", "prompts")


def command(folder: Path, *arguments: str, cache: str = "cache") -> list[str]:
    """zsclip's command line, as a user would type it."""
    return [
        sys.executable, "-m", "zsclip", "classify", "--model", ARCHITECTURE, "--pretrained", str(folder / "vit.pt"),
        "--cache-dir", str(folder / cache), "--labels", ",".join(LABELS), "--quiet", "-f", "csv", *arguments,
    ]  # fmt: skip


def whole(arguments: list[str]) -> tuple[float, float]:
    """Seconds and peak memory (MB) of a whole process."""
    started = time.perf_counter()
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(arguments)} failed")
    return time.perf_counter() - started, usage.ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)


OPEN_CLIP = """
import sys, torch, open_clip
from PIL import Image
model, _, preprocess = open_clip.create_model_and_transforms({architecture!r}, pretrained={weights!r})
model.eval()
tokenizer = open_clip.get_tokenizer({architecture!r})
with torch.no_grad():
    texts = model.encode_text(tokenizer([f"a photo of a {{label}}." for label in {labels!r}]))
    texts /= texts.norm(dim=-1, keepdim=True)
    for start in range(1, len(sys.argv), 32):
        features = model.encode_image(torch.stack([preprocess(Image.open(path)) for path in sys.argv[start:start + 32]]))
        features /= features.norm(dim=-1, keepdim=True)
        print((100 * features @ texts.T).softmax(-1))
"""


def processes(results: Results, folder: Path, rounds: int) -> None:
    """Whole processes: start-up, and a folder from start to end, with peak memory."""
    script = folder / "open_clip_loop.py"
    script.write_text(OPEN_CLIP.format(architecture=ARCHITECTURE, weights=str(folder / "vit.pt"), labels=LABELS))
    small, large = (sorted(str(path) for path in (folder / kind).glob("*.jpg")) for kind in ("small", "large"))
    fresh = iter(range(10**6))

    def cold(*paths: str) -> list[str]:
        """With the model converted and an empty store."""
        cache = folder / f"cold-{next(fresh)}"
        share_exports(folder, cache)
        return command(folder, *paths, cache=cache.name)

    def one_new_image() -> list[str]:
        path = folder / f"new-{os.getpid()}-{next(fresh)}.jpg"
        path.write_bytes(Path(small[0]).read_bytes() + os.urandom(8))  # unknown by its bytes
        return command(folder, str(path))

    whole(command(folder, small[0])), whole(command(folder, *small[:32]))
    loop = [sys.executable, str(script)]
    rows = {
        "one new image, labels known": (one_new_image, lambda: [*loop, small[0]]),
        "32 images, all known": (lambda: command(folder, *small[:32]), lambda: [*loop, *small[:32]]),
        f"{len(small)} images of 500 x 375": (lambda: cold(*small), lambda: [*loop, *small]),
        f"{len(large)} images of 12 megapixels": (
            lambda: cold(*large),
            lambda: [*loop, *large],
        ),
    }
    results.say("\n### Whole processes\n")
    results.say("| work | zsclip, s | open_clip's loop, s | times as fast | zsclip, MB | open_clip, MB |")
    results.say("| --- | --- | --- | --- | --- | --- |")
    for title, (ours, theirs) in rows.items():
        pairs = [(whole(ours()), whole(theirs())) for _ in range(rounds)]
        results.keep(title, pairs)
        ratios = [b[0] / a[0] for a, b in pairs]
        results.say(
            f"| {title} | {statistics.median(a[0] for a, _ in pairs):.2f} | {statistics.median(b[0] for _, b in pairs):.2f} | "
            f"{statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f}) | "
            f"{max(a[1] for a, _ in pairs):.0f} | {max(b[1] for _, b in pairs):.0f} |"
        )
    _, peak = whole(command(folder, "--no-cache", *large * 4))
    results.say(f"\nPeak memory over {4 * len(large)} images of 12 megapixels: {peak:.0f} MB.")
    for path in folder.glob("new-*.jpg"):
        path.unlink()
    for path in folder.glob("cold-*"):
        shutil.rmtree(path)


PEAK = """
import statistics, time, torch
for dtype in (torch.float32, torch.bfloat16):
    a, b = torch.randn(2, 2048, 2048).to(dtype)
    seconds = []
    for _ in range(12):
        started = time.perf_counter()
        a @ b
        seconds.append(time.perf_counter() - started)
    print(f"{2 * 2048**3 / statistics.median(seconds[2:]) / 1e12:.2f}")
"""


def peaks() -> str:
    """How fast the machine multiplies matrices, which bounds every side: teraflops in float32 and bfloat16."""
    return " and ".join(
        subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True).stdout.split()
    )


def processor() -> str:
    """The processor's name, as OpenVINO tells it."""
    import openvino

    return str(openvino.Core().get_property("CPU", "FULL_DEVICE_NAME"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path("build/speed"))
    parser.add_argument(
        "--full", action="store_true", help="open_clip builds 100 x 80 prompts, too, which takes minutes"
    )
    parser.add_argument("--only", choices=("throughput", "texts", "processes"))
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    material.make(args.folder, small=256, large=48)
    # Converted before any side is measured.
    whole([*command(args.folder, str(args.folder / "small" / "00000.jpg"))])
    packages = ("torch", "open_clip_torch", "openvino", "transformers", "onnxruntime", "pillow")
    results = Results(args.folder)
    results.say(f"{os.cpu_count()} cores ({processor()}), Python {platform.python_version()}, "
                f"{', '.join(f'{name} {version(name)}' for name in packages)}; {args.rounds} rounds. "
                f"Matrices of 2048 x 2048: {peaks()} TFLOP/s in float32 and bfloat16.")  # fmt: skip
    if args.only in (None, "throughput"):
        throughput(results, args.folder, args.rounds)
    if args.only in (None, "texts"):
        texts(results, args.folder, args.full)
    if args.only in (None, "processes"):
        processes(results, args.folder, args.rounds)


if __name__ == "__main__":
    main()
