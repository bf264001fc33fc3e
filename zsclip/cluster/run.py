"""A run in parts: what is planned and not there yet, one part after the other, and what says that it is whole."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from zsclip.cluster.account import Account, ErrorsSoFar, MostErrors, Whole, read_whole
from zsclip.cluster.identity import RUN, SUCCESS, settle
from zsclip.cluster.job import Advance, Job, Resources, Task, Tasks, no_advance
from zsclip.cluster.lock import alone
from zsclip.cluster.part_file import Error, Tally, done_parts, part_name, read_errors
from zsclip.cluster.plan import PLAN
from zsclip.cluster.pool import Done, Event, Lost
from zsclip.cluster.results import ResultFolder
from zsclip.cluster.tasks import PartTasks
from zsclip.errors import InputError, ZsclipError
from zsclip.text.wording import counted

PART_SIZE = 4096
_WAIT_SECONDS = 0.02
_SEEN_AFTER = (0, 1, 5, 15)  # seconds; some shared file systems show a file late


class Watch(Protocol):
    """Who is told how a run goes."""

    def begins(self, tasks: PartTasks) -> None:
        """Parts are being planned and done."""

    def advance(self, pictures: int, errors: Sequence[Error]) -> None:
        """Some pictures of a part in this process are done, some of which could not be read."""

    def happened(self, event: Event) -> None:
        """Of a part that is done, this process may have told the pictures already."""


class Work(Protocol):
    """What does the parts of a job."""

    def __call__(self, job: Job, tasks: Tasks, advance: Advance) -> Generator[Event, None, None]:
        """Do them, and tell what happens. Raises `ZsclipError`; closing it ends whatever it began."""


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
    work: Work | None = None,
) -> Whole:
    """Begin a run or go on with it, until it is whole. Raises `ZsclipError`; what is done by then is kept.

    `decides` and `said` are those of `identity.settle`. The `job` and its `tasks` are made once it is known that the run may go on; `tasks`
    are given the lock's `check`. `work` does them, in this process unless another is given.
    """
    with alone(results) as check:
        went_on = settle(results, decides, said, restart=settings.restart)
        try:
            if (whole := read_whole(results)) and not settings.retry_errors:
                return whole
            return _work(results, tasks(check), job(), settings, watch, check, work or work_here)
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
    work: Work,
) -> Whole:
    watch.begins(tasks)
    account, errors_so_far = Account(), ErrorsSoFar(settings.most_errors)
    done, lost, nodes = 0, list[Lost](), {""}
    in_part = 0  # pictures that were told of before their part was done

    def advance(pictures: int, errors: Sequence[Error]) -> None:
        nonlocal in_part
        watch.advance(pictures, errors)
        if settings.retry_errors:  # of a part that is there only its errors come by: too few to have a share of
            return
        in_part += pictures
        errors_so_far.add(pictures, len(errors), lambda: errors[-1])

    results.remove(SUCCESS)
    with closing(work(job, tasks, advance)) as events:
        for event in events:
            check()
            watch.happened(event)
            if isinstance(event, Done):
                outcome, done = event.outcome, done + 1
                if event.node not in nodes:
                    _require_seen(results, event)
                    nodes.add(event.node)
                account.add(outcome.part, Tally(outcome.rows, outcome.errors, outcome.digest))
                if not in_part:
                    errors_so_far.add(
                        outcome.pictures, sum(outcome.errors.values()), partial(_last, results, outcome.part)
                    )
                in_part = 0
            elif isinstance(event, Lost):
                lost.append(event)
    if lost:
        raise InputError(
            f"{counted(len(lost), 'part')} could not be done, such as part {lost[0].task.part}: {lost[0].why}.", where=results.setting,
            remedy="The others are kept. Run it again to try once more.",
        )  # fmt: skip
    assert tasks.extent is not None
    check()
    results.tidy()  # of workers that were killed in the middle of a part
    account.finish(results, tasks.extent.parts)
    return Whole(tasks.extent.parts, account.pictures, account.errors, done)


def _require_seen(results: ResultFolder, event: Done) -> None:
    """Raise `InputError` where a part that a node wrote is not there as seen from here."""
    name = part_name(event.outcome.part)
    for pause in _SEEN_AFTER:
        time.sleep(pause)
        if name in results:
            return
    raise InputError(
        f"{event.node} wrote {name}, which is not in this machine's folder of that name.", where=results.setting,
        remedy="Name a bucket, or a folder that all machines share.",
    )  # fmt: skip


def _last(results: ResultFolder, part: int) -> Error | None:
    errors = read_errors(results, part)
    return errors[-1] if errors else None


def work_here(job: Job, tasks: Tasks, advance: Advance = no_advance) -> Generator[Event, None, None]:
    """Do parts in this process, one after the other. The model is loaded once there is one to do. Raises `ZsclipError`."""
    task = _next(tasks)
    if task is None:
        return
    with closing(job.open(Resources())) as worker:
        while task is not None:
            yield Done(worker.run(task, advance))
            task = _next(tasks)


def _next(tasks: Tasks) -> Task | None:
    while (task := tasks.take()) is None:
        if tasks.ended:
            return None
        time.sleep(_WAIT_SECONDS)
    return task
