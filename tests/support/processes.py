"""Python and zsclip in processes of their own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

TESTS = str(Path(__file__).parents[1])
ZSCLIP = [sys.executable, "-m", "zsclip"]

# The command line, then the names of all modules that it imported, on the last line of standard error.
_AND_ITS_MODULES = """
import sys
from zsclip.cli import main
try:
    main()
except SystemExit as end:
    assert end.code in (None, 0, 3), end.code
print(*sys.modules, file=sys.stderr)
"""


def _listening() -> None:
    """The tests may run in the background, where signals are ignored, and what is started inherits that."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        signal.signal(signal.Signals[name], signal.SIG_DFL)


def start_zsclip(*arguments: str | Path, **options: Any) -> subprocess.Popen[bytes]:
    """`zsclip ARGUMENTS` in the background, with pipes to read it from, and signals that reach it."""
    if os.name == "posix":
        options.setdefault("preexec_fn", _listening)
    command = [*ZSCLIP, *map(str, arguments)]
    return subprocess.Popen(command, **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options})


def run_zsclip(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """`zsclip ARGUMENTS` to its end, whatever its exit code."""
    command = [*ZSCLIP, *map(str, arguments)]
    return subprocess.run(command, **{"capture_output": True, "text": True, "timeout": 120, **options})


def run_bash(command: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """A shell command in which `zsclip` as the first such word is this one."""
    command = command.replace("zsclip", f"{sys.executable} -m zsclip", 1)
    return subprocess.run(["bash", "-c", command], **{"capture_output": True, "text": True, "timeout": 120, **options})


def on_terminal(command: str, *, columns: int = 80, **options: str) -> tuple[int, bytes]:
    """A shell command's exit code, and all that it shows on a terminal of that width. `zsclip` is this one."""
    import pty

    leader, follower = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": str(columns), **options}
    command = command.replace("zsclip", f"{sys.executable} -m zsclip", 1)
    with subprocess.Popen(
        ["bash", "-c", command], stdout=follower, stderr=follower, stdin=follower, env=environment
    ) as run:
        os.close(follower)
        output = b""
        while True:
            try:
                output += os.read(leader, 1 << 16)
            except OSError:
                break
        return run.wait(), output


def without_controls(shown: bytes) -> str:
    """The text, each control sequence of the terminal as a carriage return."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "\r", shown.decode())


def with_support() -> dict[str, str]:
    """An environment in which `support` can be imported."""
    paths = [TESTS, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def start_python(code: str, *arguments: str | Path, **options: Any) -> subprocess.Popen[str]:
    """`python -c CODE ARGUMENTS` in the background; `support` can be imported there."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, **{"text": True, "env": with_support(), **options})


def run_python(code: str, *arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """`python -c CODE ARGUMENTS` to its end, which must be a good one; `support` can be imported there."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, **{"capture_output": True, "text": True, "env": with_support(), **options})
    assert done.returncode == 0, done.stderr
    return done


def run_and_list_modules(*arguments: str | Path) -> tuple[subprocess.CompletedProcess[str], set[str]]:
    """`zsclip ARGUMENTS` to its end, and what it imported."""
    run = run_python(_AND_ITS_MODULES, *arguments)
    return run, set(run.stderr.splitlines()[-1].split())
