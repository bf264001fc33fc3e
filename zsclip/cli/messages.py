"""What is said on stderr: errors, warnings, notes."""

from __future__ import annotations

import io
import logging
import os
import re
import select
import shutil
import stat
import sys
import textwrap
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TextIO

from zsclip.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from zsclip.embedding.timings import Timings

_LEVELS = {logging.WARNING: "warning: ", logging.ERROR: "error: "}


def console(file: TextIO | None = None, *, stderr: bool = False) -> Console:
    """A console that prints what it is given, with nothing guessed from it (markup, emoji codes, highlighting)."""
    from rich.console import Console

    class Plain(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # Rich would end the process with 1; `| head` is no error

    return Plain(file=file, stderr=stderr, highlight=False, markup=False, emoji=False)


# Settings whose option is not their name with dashes.
_OPTIONS = {
    "use_cache": "--no-cache",
    "sign_requests": "--no-sign-request",
    "prompts": "--prompts",
    "templates": "--template",
}
_SETTINGS = frozenset({
    "allow_predictions", "allow_private", "background", "baseline", "batch_size", "cache_dir", "calibrate", "calibration",
    "class_names", "classifier", "cluster", "column", "combine", "copy", "decode_timeout", "device", "engine", "every", "exact",
    "examples", "format", "hidden", "id_column", "image", "into", "isolate", "label_column", "labels", "labels_file", "max_errors",
    "max_pixels", "min_margin", "min_probability", "min_similarity", "minus", "model", "multi_label", "offline", "output", "per_host",
    "pool", "precision", "pretrained", "readers", "rehash", "report", "restart", "retry", "retry_errors", "save_classifier",
    "save_prompts", "text", "texts", "top_k", "unknown_label", "vectors", "workers", *_OPTIONS,
})  # fmt: skip
_SETTING = re.compile(r"`(\w+)(?:=([^`]+))?`")


def in_options(text: str) -> str:
    """The library's text with its settings as options: "`max_pixels`" as "--max-pixels", "`device=cpu`" as "--device cpu"."""

    def option(found: re.Match[str]) -> str:
        name, value = found.groups()
        if name not in _SETTINGS:
            return found[0]
        return " ".join(filter(None, (_OPTIONS.get(name, f"--{name.replace('_', '-')}"), value)))

    return _SETTING.sub(option, text)


def fail(message: str) -> None:
    """Say why the command ends."""
    _say(logging.ERROR, message)


class _StepLine:
    """The terminal's last line while a long piece of work is done, which says what it is at (see `zsclip.steps`)."""

    step = ""

    def show(self, step: str) -> None:
        """Show it in place of the step before; none removes the line."""
        self.step = step
        self._write(f"zsclip: {step} ..." if step else "")

    def remove(self) -> None:
        """Make room for something else."""
        if self.step:
            self._write("")

    def _write(self, text: str) -> None:
        # While a bar is shown standard error is Rich's, and the bar says what is being done.
        if sys.stderr.isatty() and isinstance(sys.stderr, io.TextIOWrapper):
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


step_line = _StepLine()


class _Handler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        step = getattr(record, "step", None)
        if step is None or logging.getLogger("zsclip").isEnabledFor(logging.DEBUG):
            _say(record.levelno, record.getMessage())
        else:
            step_line.show(step)


def listen(*, quiet: bool, verbose: bool) -> None:
    """Show what the library logs: warnings always, notes unless `quiet`, details if `verbose`."""
    logger = logging.getLogger("zsclip")
    logger.handlers = [_Handler()]
    logger.propagate = False
    logger.setLevel(logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO)
    if quiet or not sys.stderr.isatty():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    if not verbose:
        # The libraries below talk about their own affairs.
        logging.getLogger().addHandler(logging.NullHandler())
        # Both set their loggers' levels themselves when they are imported.
        os.environ.setdefault("HF_HUB_VERBOSITY", "error")
        os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
        for name in ("huggingface_hub", "httpx", "open_clip", "timm"):
            logging.getLogger(name).setLevel(logging.ERROR)
        warnings.simplefilter("ignore")


def prepare_streams() -> None:
    """Make standard streams that can take any text, and exist."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by the shell: `>&-`
            sink = _Closed() if name == "stdout" else open(os.devnull, mode, encoding="utf-8")  # noqa: SIM115
            setattr(sys, name, sink)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A reader of a pipe gets each row as it comes; a regular file need not be told of each.
        regular = stat.S_ISREG(os.fstat(sys.stdout.fileno()).st_mode)
        sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape", newline="\n", line_buffering=not regular)
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr.reconfigure(errors="backslashreplace")


class _Closed(io.StringIO):
    """In the place of a standard output that was closed: what is written there is missed."""

    def __init__(self) -> None:
        super().__init__()
        self._descriptor = os.open(os.devnull, os.O_WRONLY)  # the number of standard output, so that no file gets it

    def write(self, _text: str) -> int:
        raise InputError("Standard output is closed. Name a file with --output.")

    def fileno(self) -> int:
        return self._descriptor


_interruption: list[Callable[[], str]] = []


def tell_if_interrupted(what: Callable[[], str]) -> None:
    """From now on, let an interruption say this, too: what is kept, and how to go on. It must not wait for anything."""
    _interruption[:] = [what]


def leave() -> None:
    """Say that the run is interrupted, because the process is about to end; raises nothing and does not wait."""
    try:
        said = " ".join(filter(None, ("interrupted.", *(what() for what in _interruption))))
        if stat.S_ISREG(os.fstat(sys.stdout.fileno()).st_mode):
            sys.stdout.flush()  # rows that are done
        # Over the progress, whose cursor was hidden.
        start = "\r\x1b[K\x1b[?25h" if sys.stderr.isatty() else ""
        # A pipe that nobody empties would keep the process from ending.
        if os.name != "posix" or select.select([], [sys.stderr], [], 0)[1]:
            os.write(sys.stderr.fileno(), f"{start}zsclip: {said}\n".encode())
    except (OSError, ValueError, RuntimeError, AttributeError):
        return  # closed, full, or being written to at this very moment


def say(message: str) -> None:
    """Say something that was asked for."""
    _say(logging.INFO, message)


def _say(level: int, message: str) -> None:
    from zsclip.output.cells import printable

    text = f"zsclip: {_LEVELS.get(level, '')}{printable(in_options(message))}"
    if sys.stderr.isatty():
        width = shutil.get_terminal_size().columns
        text = textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False)
    try:
        step_line.remove()
        print(text, file=sys.stderr, flush=True)
    except OSError:
        return  # nobody listens; the exit code says it too


_SHOWN = 5


def warn_of_unreadable(unreadable: Sequence[tuple[str, str]], said: str, *, count: int = 0, end: str = "") -> None:
    """Name the first images that could not be read, which have no row to say why; `said` is how many there are."""
    logger = logging.getLogger("zsclip")
    for path, error in unreadable[:_SHOWN]:
        logger.warning("%s could not be read: %s.", path, error)
    more = (count or len(unreadable)) - _SHOWN
    logger.warning("%s could not be read%s%s.", said, f", {more:,} more than these" if more > 0 else "", end)


def report_timings(timings: Timings) -> None:
    """Seconds by stage, and which stage the others waited for."""
    seconds = timings.seconds
    for stage in ("load", "texts", "read", "digest", "decode", "resize", "wait", "model", "store"):
        say(f"{stage:<7}{seconds[stage]:8.2f} s{'  (summed over the threads)' if stage == 'read' else ''}")
    slowest = (
        "the model"
        if seconds["model"] >= seconds["wait"]
        else max(("read", "decode", "resize"), key=lambda stage: seconds[stage])
    )
    say(f"The bottleneck for images was {slowest}.")
