"""Progress of a run in parts: a bar on a terminal, else a line now and then."""

from __future__ import annotations

import logging
import math
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from zsclip.cli.messages import console, say, tell_if_interrupted
from zsclip.cluster.pool import Again, Done, Joined, Lost, Tick
from zsclip.text.wording import counted

if TYPE_CHECKING:
    from types import TracebackType

    from rich.progress import Progress

    from zsclip.cluster.job import Outcome
    from zsclip.cluster.part_file import Error
    from zsclip.cluster.pool import Event
    from zsclip.cluster.tasks import PartTasks

logger = logging.getLogger("zsclip")

_SECONDS = 30  # between lines


@dataclass
class _Node:
    """What its workers did, with their seconds added up."""

    parts: int = 0
    pictures: int = 0
    seconds: float = 0.0

    def add(self, outcome: Outcome) -> None:
        self.parts += 1
        self.pictures += outcome.pictures
        self.seconds += outcome.seconds

    def __str__(self) -> str:
        pace = self.pictures / max(self.seconds, 1e-9)
        return f"{counted(self.parts, 'part')}, {counted(self.pictures, 'picture')}, {pace:,.1f} a second of a worker"


class PartsProgress:
    """Tells how a run in parts goes; see `cluster.run.Watch`. Says nothing if `hidden`."""

    def __init__(self, *, hidden: bool) -> None:
        self._hidden = hidden
        self._tasks: PartTasks | None = None
        self._bar: Progress | None = None
        self._parts = self._pictures = self._unread = self._in_part = 0
        self._workers: tuple[int, int] | None = None  # that are ready, and that there should be
        self._nodes: defaultdict[str, _Node] = defaultdict(_Node)
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

    def happened(self, event: Event) -> None:
        """See `Watch`."""
        if isinstance(event, Done):
            self._parts += 1
            if not self._in_part:  # done elsewhere
                self._pictures += event.outcome.pictures
                self._unread += sum(event.outcome.errors.values())
            self._in_part = 0
            if event.node:
                self._nodes[event.node].add(event.outcome)
        elif isinstance(event, Tick):
            self._workers = event.ready, event.places
        elif isinstance(event, Again):
            logger.debug(
                "Part %d on %s: %s; it is tried again, %s.",
                event.task.part,
                event.node,
                event.why,
                event.task.way.name.lower(),
            )
        elif isinstance(event, Lost):
            logger.warning("Part %d could not be done: on %s, %s.", event.task.part, event.node, event.why)
        elif isinstance(event, Joined):
            logger.debug("A worker on %s is ready.", event.node)
        else:
            level = logging.WARNING if event.for_good else logging.DEBUG
            logger.log(
                level, "A worker on %s is gone%s: %s.", event.node, " for good" if event.for_good else "", event.why
            )

    @property
    def by_node(self) -> list[str]:
        """What each node did, in words; nothing where all was done in this process."""
        return [f"{node}: {one}" for node, one in sorted(self._nodes.items())]

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
        if self._workers is not None:
            said.append(f"{self._workers[0]}/{self._workers[1]} workers")
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
