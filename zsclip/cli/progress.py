"""Progress on a terminal: a bar with images a second and the time left."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from zsclip.cli.messages import console

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress


class Advance(Protocol):
    """Called once per image that is done."""

    def __call__(self) -> None:
        """Advance by one."""


@contextmanager
def progress(rows: Console | None, count: Callable[[], int | None], *, hidden: bool) -> Iterator[Advance]:
    """Show progress while the block runs, unless `hidden` or stderr is no terminal. `count` gives the total, if known.

    `rows` is the console that prints rows on the same terminal, if one does: the bar must live there then, so that the two
    do not garble each other. Else it is on stderr.
    """
    # Not a console's `is_terminal`, which FORCE_COLOR makes true.
    if hidden or not sys.stderr.isatty():
        yield lambda: None
        return
    bar = _bar(rows or console(stderr=True))
    task = bar.add_task("", total=count())
    with bar:
        yield lambda: bar.advance(task)


def _bar(console: Console) -> Progress:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, SpinnerColumn, Task
    from rich.text import Text

    class Pace(ProgressColumn):
        def render(self, task: Task) -> Text:
            if not task.speed:
                return Text("loading the model" if not task.completed else "")
            left = "" if task.time_remaining is None else f", {timedelta(seconds=math.ceil(task.time_remaining))} left"
            return Text(f"{task.speed:.1f} images/s{left}")

    return Progress(
        SpinnerColumn(), BarColumn(bar_width=20), MofNCompleteColumn(), Pace(),
        console=console, transient=True, redirect_stdout=False,
    )  # fmt: skip
