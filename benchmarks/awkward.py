"""Every awkward file of the tests' corpus through the command: rows, errors, tracebacks and peak memory, kind by kind.

    python benchmarks/awkward.py [--isolate]

Prints the table of docs/reliability.md. "Peak of the run" is that of the whole process; the line "one sound picture" is what
a run takes before it meets anything awkward. "Most for one file" is what reading and decoding adds at the peak, each file in
a process by itself (Linux). The model runs only where something decodes, so a kind without images takes less.
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
from support.declared import WITHOUT_BOUND, declared
from support.memory import PEAKS
from support.processes import run_python

# A process takes over the peak of the one that starts it, which here holds all files: a small one stands between.
_BETWEEN = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[2:])
with open(sys.argv[1], "w") as file:
    print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024, file=file)
sys.exit(code)
"""


def run(paths: list[Path], isolate: bool) -> tuple[list[dict[str, object]], int, float, float]:
    """The rows, how many tracebacks there were, MB at the peak, seconds."""
    command = ["classify", "-", "-0", "--model", "demo", "-l", "red star,blue ring", "-f", "jsonl", "--no-cache", "-q"]
    command += ["--isolate"] if isolate else []
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as place, tempfile.TemporaryFile() as names, tempfile.TemporaryFile() as out:
        names.write(b"\0".join(map(os.fsencode, paths)))
        names.seek(0)
        peak, said = Path(place, "peak"), Path(place, "said")
        with said.open("wb") as messages:
            between = [sys.executable, "-c", _BETWEEN, str(peak), sys.executable, "-m", "zsclip", *command]
            code = subprocess.call(between, stdin=names, stdout=out, stderr=messages)
        seconds = time.monotonic() - started
        out.seek(0)
        rows = [json.loads(line) for line in out]
        tracebacks = said.read_bytes().count(b"Traceback") + (code not in (0, 3))
        return rows, tracebacks, float(peak.read_text(encoding="ascii")), seconds


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
        for name, data in declared():
            bound = not name.endswith(WITHOUT_BOUND)
            kind = "declares 200 megapixels" if bound else "the same, in formats without a bound"
            path = folder / kind / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
            kinds[kind][path] = Awkward(name, kind, data, "error" if bound else "either")
        sound = folder / "sound.png"
        sound.write_bytes(saved(picture()))
        kinds["one sound picture"][sound] = Awkward("sound.png", "", b"")
        print(
            "| kind | files | decoded | error rows | not as it must be | tracebacks | peak of the run, MB | most for one file, MB |"
        )
        print("|---|---|---|---|---|---|---|---|")
        peaks = json.loads(run_python(PEAKS, folder).stdout)
        for kind, files in kinds.items():
            rows, tracebacks, peak, _ = run(list(files), args.isolate)
            errors = sum(row["error"] is not None for row in rows)
            wrong = len(files) - len(rows)
            for row, one in zip(rows, files.values(), strict=False):
                wrong += one.expected not in ("either", "error" if row["error"] else "decodes")
            print(
                f"| {kind} | {len(files)} | {len(rows) - errors} | {errors} | {wrong} | {tracebacks} | {peak:.0f} | "
                f"{max(peaks[str(path)][0] for path in files):.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
