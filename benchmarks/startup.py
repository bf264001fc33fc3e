"""Start-up: `zsclip --help` against the --help of a bare Typer application with two commands, in turn.

python benchmarks/startup.py [--runs 21]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BARE = """
import typer
app = typer.Typer()
@app.command()
def one(number: int = 1): "The first."
@app.command()
def two(number: int = 2): "The second."
app()
"""


def seconds(*command: str) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=21)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bare = Path(folder) / "bare.py"
        bare.write_text(BARE, encoding="utf-8")
        ours, theirs = [sys.executable, "-m", "zsclip", "--help"], [sys.executable, str(bare), "--help"]
        seconds(*ours), seconds(*theirs)
        ratios = sorted(seconds(*ours) / seconds(*theirs) for _ in range(args.runs))
    low, high = ratios[len(ratios) // 4], ratios[3 * len(ratios) // 4]
    print(f"zsclip --help takes {statistics.median(ratios):.2f} times as long as a bare Typer application's --help")
    print(f"(median of {args.runs} pairs; quartiles {low:.2f} and {high:.2f})")


if __name__ == "__main__":
    main()
