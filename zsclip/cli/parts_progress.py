"""Progress of a run in parts: a bar on a terminal, else a line now and then."""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from zsclip.cli.messages import console, say, tell_if_interrupted
from zsclip.text.wording import counted

if TYPE_CHECKING:
    from types import TracebackType

    from rich.progress import Progress

    from zsclip.cluster.job import Outcome
    from zsclip.cluster.part_file import Error
    from zsclip.cluster.tasks import PartTasks

_SECONDS = 30  # between lines


class PartsProgress:
    """Tells how a run in parts goes; see `cluster.run.Watch`. Says nothing if `hidden`."""

    def __init__(self, *, hidden: bool) -> None:
        self._hidden = hidden
        self._tasks: PartTasks | None = None
        self._bar: Progress | None = None
        self._parts = self._pictures = self._unread = self._in_part = 0
        self._started = time.monotonic()
        self._ended = threading.Event()

    def __enter__(self) -> PartsProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._bar is not None:
            self._bar.stop()

    @property
    def pace(self) -> str:
        """Pictures a second so far, in words."""
        seconds = time.monotonic() - self._started
        return f"{counted(self._pictures, 'picture')} in {seconds:,.1f} s, {self._pictures / seconds:,.1f} a second"

    def begins(self, tasks: PartTasks) -> None:
        """See `Watch`."""
        self._tasks, self._started = tasks, time.monotonic()
        tell_if_interrupted(self._kept)
        if self._hidden:
            return
        if sys.stderr.isatty():
            self._bar = _bar(self)
            self._bar.start()
        else:
            threading.Thread(target=self._tell, daemon=True, name="progress").start()

    def advance(self, pictures: int, errors: Sequence[Error]) -> None:
        """See `Watch`."""
        self._in_part += pictures
        self._pictures += pictures
        self._unread += len(errors)

    def done(self, outcome: Outcome) -> None:
        """See `Watch`."""
        self._parts += 1
        if not self._in_part:  # done elsewhere
            self._pictures += outcome.pictures
            self._unread += sum(outcome.errors.values())
        self._in_part = 0

    @property
    def known(self) -> tuple[int, int, bool]:
        """Parts that are there, parts that are known, and whether these are all."""
        if self._tasks is None:
            return 0, 0, False
        return self._tasks.were_done + self._parts, self._tasks.known, self._tasks.extent is not None

    def __str__(self) -> str:
        there, known, is_all = self.known
        seconds = time.monotonic() - self._started
        said = [f"{counted(self._pictures, 'picture')}"]
        if self._pictures:
            said.append(f"{self._pictures / seconds:,.1f}/s")
        if self._parts and is_all:
            left = math.ceil((known - there) * seconds / self._parts)
            said.append(f"{timedelta(seconds=max(0, left))} left")
        if self._unread:
            said.append(f"{self._unread:,} could not be read")
        if not is_all:
            said.append("still listing")
        return ", ".join(said)

    def _tell(self) -> None:
        while not self._ended.wait(_SECONDS):
            there, known, _ = self.known
            say(f"{there:,} of {counted(known, 'part')}, {self}")

    def _kept(self) -> str:
        there = self.known[0]
        if not there:
            return ""
        return f"{counted(there, 'part')} {'is' if there == 1 else 'are'} kept; the same command goes on from there."


def _bar(progress: PartsProgress) -> Progress:
    from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task
    from rich.text import Text

    class Parts(ProgressColumn):
        def render(self, task: Task) -> Text:
            there, known, _ = progress.known
            bar.update(task.id, completed=there, total=known or None, refresh=False)
            return Text(f"{there:,}/{known:,} parts")

    class Pace(ProgressColumn):
        def render(self, task: Task) -> Text:  # noqa: ARG002
            return Text(str(progress))

    bar = Progress(
        SpinnerColumn(), Parts(), BarColumn(bar_width=12), Pace(),
        console=console(stderr=True), transient=True, redirect_stdout=False,
    )  # fmt: skip
    bar.add_task("", total=None)
    return bar
