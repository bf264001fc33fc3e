"""Every broken or hostile archive, table and video of the tests through the command: the tables of docs/reliability.md.

    python -m benchmarks.hostile

Says on standard error which rows are not those that must come, and the peak of the process.
"""

from __future__ import annotations

import io
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support import hostile_archives, hostile_tables, videos

Row = dict[str, Any]


@dataclass(frozen=True)
class Made:
    """A file, what is wrong with it, and what tells of its rows (names behind the file's, errors) what is not as it must be."""

    name: str
    what: str
    faults: Callable[[list[tuple[str, str]]], str]


def archives(folder: Path) -> Iterator[Made]:
    for one in hostile_archives.write(folder):

        def faults(rows: list[tuple[str, str]], expected: hostile_archives.Rows = one.rows) -> str:
            fits = [name for name, _ in rows] == [name for name, _ in expected] and all(
                said in error and bool(said) == bool(error)
                for (_, error), (_, said) in zip(rows, expected, strict=False)
            )
            return "" if fits else f"{rows}, and not {expected}"

        yield Made(one.name, one.what, faults)


def tables(folder: Path) -> Iterator[Made]:
    rng, pictures = np.random.default_rng(0), []
    for number in range(12):  # of different sizes
        stream = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (16, 16 + number, 3), np.uint8)).save(stream, "PNG")
        pictures.append(stream.getvalue())
    for one in hostile_tables.hostile_tables(pictures):
        name = f"{one.name.replace(' ', '-').replace(',', '')}.parquet"
        (folder / name).write_bytes(one.data)

        def faults(rows: list[tuple[str, str]], expected: hostile_tables.HostileTable = one) -> str:
            good = [name for name, error in rows if not error]
            errors = [error for _, error in rows if error]
            fits = good == [f"#{number}" for number in expected.read] and errors
            return (
                "" if fits and all(expected.says in error for error in errors) else f"{rows}, and not {expected.read}"
            )

        yield Made(name, one.name, faults)


def clips(folder: Path) -> Iterator[Made]:
    for what, path in videos.odd(folder).items():

        def faults(rows: list[tuple[str, str]], expected: tuple[list[float | None], str] = videos.ODD[what]) -> str:
            times, said = expected
            good = [name for name, error in rows if not error]
            fits = good == [f"#t={time:.3f}" for time in times if time is not None]
            return "" if fits and (not said or said in rows[-1][1]) else f"{rows}, and not {expected}"

        yield Made(path.name, what, faults)


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        made = [*archives(folder), *tables(folder), *clips(folder)]
        command = [sys.executable, "-m", "zsclip", "classify", *(str(folder / one.name) for one in made), "-m", "demo"]
        started = time.monotonic()
        run = subprocess.run(
            [*command, "-l", "red star,blue ring", "-f", "jsonl", "--no-cache", "-q"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        seconds = time.monotonic() - started
        rows = [json.loads(line) for line in run.stdout.splitlines()]
        print("| file | what is wrong with it | pictures | error rows |\n|---|---|---|---|")
        wrong, seen = [], 0
        for one in made:
            mine = [
                (row["path"].removeprefix(str(folder / one.name)), row["error"] or "")
                for row in rows
                if row["path"] == str(folder / one.name)
                or row["path"].startswith(tuple(f"{folder / one.name}{end}" for end in "/#"))
            ]
            seen += len(mine)
            if fault := one.faults(mine):
                wrong.append(f"{one.name}: {fault}")
            errors = [f"{name.lstrip('/') + ': ' if name else ''}{error}" for name, error in mine if error]
            print(f"| `{one.name}` | {one.what} | {len(mine) - len(errors)} | {'; '.join(errors) or 'none'} |")
        if seen != len(rows):
            wrong.append(f"{len(rows) - seen} rows are of no file")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(
        f"{len(made)} files in {seconds:.1f} s, {peak:,.0f} MB at the peak, exit code {run.returncode}", file=sys.stderr
    )
    print("\n".join(wrong + run.stderr.splitlines()), file=sys.stderr)


if __name__ == "__main__":
    main()
