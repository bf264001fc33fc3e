"""Progress on a terminal: a bar with images a second and the time left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text


class Advance(Protocol):
    """Called once per image that is done."""

    def __call__(self) -> None:
        """Advance by one."""


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f} images/s" if task.speed else "loading the model")


@contextmanager
def progress(out: Console, err: Console, total: int | None, *, hidden: bool) -> Iterator[Advance]:
    """Show progress while the block runs, unless `hidden` or stderr is no terminal.

    Where rows are printed on a terminal too, the bar lives on their console, so that they do not garble each other.
    """
    if hidden or not err.is_terminal:
        yield lambda: None
        return
    bar = Progress(
        SpinnerColumn(), BarColumn(bar_width=20), MofNCompleteColumn(), _Rate(), TextColumn("left"), TimeRemainingColumn(),
        console=out if out.is_terminal else err, transient=True, redirect_stdout=False,
    )  # fmt: skip
    task = bar.add_task("", total=total)
    with bar:
        yield lambda: bar.advance(task)
