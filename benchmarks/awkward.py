"""Every awkward file of the tests' corpus through the command: rows, errors, tracebacks and peak memory, kind by kind.

    python benchmarks/awkward.py [--isolate]

Prints the table of docs/reliability.md. Peak memory is that of the process; the line "one sound picture" is what a run takes
before it meets anything awkward. The model runs only where something decodes, so a kind without images takes less.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.corpus import Awkward, picture, saved, write_corpus


def run(paths: list[Path], isolate: bool) -> tuple[list[dict[str, object]], int, float, float]:
    """The rows, how many tracebacks there were, MB at the peak, seconds."""
    command = [
        sys.executable,
        "-m",
        "zsclip",
        "classify",
        "-",
        "-0",
        "--model",
        "demo",
        "-l",
        "red star,blue ring",
        "-f",
        "jsonl",
    ]
    command += ["--no-cache", "-q", *(["--isolate"] if isolate else [])]
    started = time.monotonic()
    with tempfile.TemporaryFile() as names, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as said:
        names.write(b"\0".join(map(os.fsencode, paths)))
        names.seek(0)
        process = subprocess.Popen(command, stdin=names, stdout=out, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - started
        out.seek(0)
        said.seek(0)
        rows = [json.loads(line) for line in out]
        tracebacks = said.read().count(b"Traceback") + (os.waitstatus_to_exitcode(status) not in (0, 3))
    return rows, tracebacks, usage.ru_maxrss / 1024, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--isolate", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        corpus = write_corpus(folder)
        kinds: defaultdict[str, dict[Path, Awkward]] = defaultdict(dict)
        for path, one in corpus.items():
            kinds[one.kind][path] = one
        sound = folder / "sound.png"
        sound.write_bytes(saved(picture()))
        kinds["one sound picture"][sound] = Awkward("sound.png", "", b"")
        print("| kind | files | decoded | error rows | not as it must be | tracebacks | peak memory, MB |")
        print("|---|---|---|---|---|---|---|")
        for kind, files in kinds.items():
            rows, tracebacks, peak, _ = run(list(files), args.isolate)
            errors = sum(row["error"] is not None for row in rows)
            wrong = len(files) - len(rows)
            for row, one in zip(rows, files.values(), strict=False):
                wrong += one.expected not in ("either", "error" if row["error"] else "decodes")
            print(
                f"| {kind} | {len(files)} | {len(rows) - errors} | {errors} | {wrong} | {tracebacks} | {peak:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
