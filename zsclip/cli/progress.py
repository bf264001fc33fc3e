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

    from zsclip.classifier import Classifier


class Advance(Protocol):
    """Called when images are done."""

    def __call__(self, images: int = 1) -> None:
        """Advance by so many."""


@contextmanager
def progress(
    classifier: Classifier, count: Callable[[], int | None], *, hidden: bool, rows: Console | None = None
) -> Iterator[Advance]:
    """Show progress while the block runs, unless `hidden` or stderr is no terminal. `count` gives the total, if known.

    A model that is not on this machine is downloaded first, which shows a progress of its own.

    `rows` is the console that prints rows on the same terminal, if one does: the bar must live there then, so that the two
    do not garble each other. Else it is on stderr.
    """
    classifier.model.fetch()
    # Not a console's `is_terminal`, which FORCE_COLOR makes true.
    if hidden or not sys.stderr.isatty():
        yield lambda images=1: None
        return
    bar = _bar(rows or console(stderr=True))
    task = bar.add_task("", total=count())
    with bar:
        yield lambda images=1: bar.advance(task, images)


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
