"""Every broken or hostile container of the tests through the command: the table of docs/reliability.md.

    python -m benchmarks.hostile

Says on standard error which rows are not those that must come, and the peak of the process.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support import hostile_archives

MAKERS = (hostile_archives.write,)  # each writes its files into a folder and says what must come of them


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        made = [one for maker in MAKERS for one in maker(folder)]
        command = [sys.executable, "-m", "zsclip", "classify", *(str(folder / one.name) for one in made), "-m", "demo"]
        started = time.monotonic()
        run = subprocess.run(
            [*command, "-l", "red star,blue ring", "-f", "jsonl", "--no-cache", "-q"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        seconds = time.monotonic() - started
        rows = iter([json.loads(line) for line in run.stdout.splitlines()])
        print("| file | what is wrong with it | pictures | error rows |\n|---|---|---|---|")
        wrong = []
        for one in made:
            errors = []
            for name, error in one.rows:
                row = next(rows)
                found = row["error"] or ""
                if row["path"] != f"{folder / one.name}{name}" or error not in found or bool(error) != bool(found):
                    wrong.append(f"{one.name}: {row}")
                errors += [f"{name.lstrip('/') + ': ' if name else ''}{found}"] if found else []
            print(f"| `{one.name}` | {one.what} | {len(one.rows) - len(errors)} | {'; '.join(errors) or 'none'} |")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(
        f"{len(made)} files in {seconds:.1f} s, {peak:,.0f} MB at the peak, exit code {run.returncode}", file=sys.stderr
    )
    print("\n".join(wrong + list(map(str, rows)) + run.stderr.splitlines()), file=sys.stderr)


if __name__ == "__main__":
    main()
