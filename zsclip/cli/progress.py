"""Progress on a terminal: a bar with new images a second and the time left."""

from __future__ import annotations

import math
import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from zsclip.cli.messages import console, step_line, tell_if_interrupted
from zsclip.text.wording import counted

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from zsclip.classifier import Classifier
    from zsclip.embedding.records import Counts


class Advance(Protocol):
    """Called when images are done."""

    def __call__(self, images: int = 1) -> None:
        """Advance by so many."""


def into_pipe(output: Path | None) -> bool:
    """Whether rows go into a pipe: its other end, a pager or `head`, may write to the terminal that a bar would be on."""
    if output is not None and str(output) != "-":
        return False
    try:
        mode = os.fstat(sys.stdout.fileno()).st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


@contextmanager
def progress(
    classifier: Classifier,
    count: Callable[[], int | None],
    *,
    hidden: bool,
    rows: Console | None = None,
    is_listing: Callable[[], bool] = lambda: False,
) -> Iterator[Advance]:
    """Show progress while the block runs, unless `hidden` or stderr is no terminal. `count` gives the total, or None
    while it is not known; `is_listing` says whether more is being looked for.

    A model that is not on this machine is downloaded first, which shows a progress of its own. From here on an
    interruption says how many images are kept.

    `rows` is the console that prints rows on the same terminal, if one does: the bar must live there then, so that the two
    do not garble each other. Else it is on stderr.
    """
    classifier.model.fetch()
    tell_if_interrupted(lambda: _kept(classifier))
    # Not a console's `is_terminal`, which FORCE_COLOR makes true.
    if hidden or not sys.stderr.isatty():
        yield lambda images=1: None
        return
    bar = _bar(rows or console(stderr=True), classifier.counts, is_listing)
    total = count()
    task, new = bar.add_task("", total=total), bar.add_task("", total=None, visible=False)
    done = computed = 0

    def advance(images: int = 1) -> None:
        nonlocal done, computed, total
        done += images
        if total is None and (total := count()) is not None:
            bar.update(task, total=total)
        bar.advance(task, images)
        # What was known may be counted before it comes out, in its order.
        if (fresh := done - classifier.counts.found) > computed:
            computed = fresh
            bar.update(new, completed=fresh)

    with bar:
        yield advance


def _kept(classifier: Classifier) -> str:
    """What an interruption leaves: nothing without a store."""
    kept = classifier.counts.found + classifier.counts.computed
    if not classifier.keeps or not kept:
        return ""
    return f"{counted(kept, 'image')} {'is' if kept == 1 else 'are'} kept; the same command goes on from there."


def _bar(console: Console, counts: Counts, is_listing: Callable[[], bool]) -> Progress:
    """A bar over two tasks: all images, and, not shown, the new ones, which tell the pace. Known ones cost next to nothing."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, SpinnerColumn, Task
    from rich.text import Text

    class Pace(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed, parts = bar.tasks[1].speed, []
            if speed:
                parts.append(f"{speed:.1f} images/s")
                if task.remaining is not None:
                    parts.append(f"{timedelta(seconds=math.ceil(task.remaining / speed))} left")
            elif not task.completed:
                parts.append(step_line.step or "loading the model")
            if is_listing():
                parts.append("still listing")
            if counts.found:
                parts.append(f"{counts.found:,} known")
            return Text(", ".join(parts))

    bar = Progress(
        SpinnerColumn(), BarColumn(bar_width=20), MofNCompleteColumn(), Pace(),
        console=console, transient=True, redirect_stdout=False,
    )  # fmt: skip
    return bar
