"""A run in parts: what is planned and not there yet, one part after the other, and what says that it is whole."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Protocol

from zsclip.cluster.account import Account, ErrorsSoFar, MostErrors, Whole, read_whole
from zsclip.cluster.identity import RUN, SUCCESS, settle
from zsclip.cluster.job import Advance, Job, Outcome, Resources, Task, Tasks, no_advance
from zsclip.cluster.lock import alone
from zsclip.cluster.part_file import Error, Tally, done_parts
from zsclip.cluster.plan import PLAN
from zsclip.cluster.results import ResultFolder
from zsclip.cluster.tasks import PartTasks
from zsclip.errors import ZsclipError

PART_SIZE = 4096
_WAIT_SECONDS = 0.02


class Watch(Protocol):
    """Who is told how a run goes."""

    def begins(self, tasks: PartTasks) -> None:
        """Parts are being planned and done."""

    def advance(self, pictures: int, errors: Sequence[Error]) -> None:
        """Some pictures of a part in this process are done, some of which could not be read."""

    def done(self, outcome: Outcome) -> None:
        """A part is done, whose pictures this process may have told of already."""


@dataclass(frozen=True)
class Settings:
    """How a run begins and ends; see `identity.settle`, `tasks.PartTasks` and `MostErrors`."""

    part_size: int = PART_SIZE
    restart: bool = False
    retry_errors: bool = False
    most_errors: MostErrors | None = None


def run(
    results: ResultFolder,
    decides: Mapping[str, Any],
    said: Mapping[str, Any],
    tasks: Callable[[Callable[[], None]], PartTasks],
    job: Callable[[], Job],
    settings: Settings,
    watch: Watch,
) -> Whole:
    """Begin a run or go on with it, until it is whole. Raises `ZsclipError`; what is done by then is kept.

    `decides` and `said` are those of `identity.settle`. The `job` and its `tasks` are made once it is known that the run may go on; `tasks`
    are given the lock's `check`.
    """
    with alone(results) as check:
        went_on = settle(results, decides, said, restart=settings.restart)
        try:
            if (whole := read_whole(results)) and not settings.retry_errors:
                return whole
            return _work(results, tasks(check), job(), settings, watch, check)
        except ZsclipError:
            if not (went_on or any(results.names(PLAN)) or any(done_parts(results))):
                results.remove(RUN)  # nothing came of it, which must not be in another run's way
            raise


def _work(
    results: ResultFolder,
    tasks: PartTasks,
    job: Job,
    settings: Settings,
    watch: Watch,
    check: Callable[[], None],
) -> Whole:
    watch.begins(tasks)
    account, pace = Account(), ErrorsSoFar(settings.most_errors)

    def advance(pictures: int, errors: Sequence[Error]) -> None:
        watch.advance(pictures, errors)
        pace.add(pictures, errors)

    done = 0
    results.remove(SUCCESS)
    for outcome in work_here(job, tasks, advance):
        account.add(outcome.part, Tally(outcome.rows, outcome.errors, outcome.digest))
        done += 1
        watch.done(outcome)
    assert tasks.extent is not None
    check()
    account.finish(results, tasks.extent.parts)
    return Whole(tasks.extent.parts, account.pictures, account.errors, done)


def work_here(job: Job, tasks: Tasks, advance: Advance = no_advance) -> Iterator[Outcome]:
    """Do parts in this process, one after the other. The model is loaded once there is one to do. Raises `ZsclipError`."""
    task = _next(tasks)
    if task is None:
        return
    with closing(job.open(Resources())) as worker:
        while task is not None:
            yield worker.run(task, advance)
            task = _next(tasks)


def _next(tasks: Tasks) -> Task | None:
    while (task := tasks.take()) is None:
        if tasks.ended:
            return None
        time.sleep(_WAIT_SECONDS)
    return task
