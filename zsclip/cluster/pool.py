"""Parts and workers: who does which part, and what follows when a worker, a node or the results' folder fails.

A part that ends its worker, or raises, or takes too long, is tried another way (`job.Way`); the end of a node is not its fault. Nothing
here knows of Ray (`ray.py`), and no more is kept than what is being done.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from zsclip.cluster.engine import Died, Engine, Finished, Happening, NotReady, Raised, Ready
from zsclip.cluster.job import Outcome, Task, Tasks, Way
from zsclip.errors import ZsclipError

_TICK_SECONDS = 0.5  # half of what is promised
_UNKNOWN_SECONDS = 0.02  # before the source is asked again, where a worker is idle


@dataclass(frozen=True)
class PoolSettings:
    """When the pool gives up. All times are in seconds.

    `part_timeout` for a part (not for `HALVED`, whose processes have limits of their own); None: for ever. `pauses` before a part, or a
    worker, whose results could not be written tries again, and `start_pauses` before a worker that did not start does.
    """

    part_timeout: float | None = None
    pauses: Sequence[float] = (1, 5, 15, 30)
    start_pauses: Sequence[float] = (1, 5)
    deaths_in_a_row: int = 20  # of workers at one place, without a part done in between
    node_deaths: int = 3  # of nodes under one part, before that counts against the part
    halved_tries: int = 2
    no_place_seconds: float = 60  # without a node that could do anything
    clock: Callable[[], float] = time.monotonic

    def limit(self, way: Way) -> float | None:
        """How long a part may take."""
        return None if way is Way.HALVED else self.part_timeout


# What the pool tells.


@dataclass(frozen=True)
class Done:
    """A part is done and written, on a node (none: in this process)."""

    outcome: Outcome
    node: str = ""


@dataclass(frozen=True)
class Again:
    """A part failed on a node and will be done as in `task`."""

    task: Task
    node: str
    why: str


@dataclass(frozen=True)
class Lost:
    """A part that nothing helped; the run goes on without it."""

    task: Task
    node: str
    why: str


@dataclass(frozen=True)
class Joined:
    """A worker on a node is ready."""

    node: str


@dataclass(frozen=True)
class Left:
    """A worker on a node is gone. With `for_good`: no other will start in its place."""

    node: str
    why: str
    for_good: bool = False


@dataclass(frozen=True)
class Tick:
    """Comes at least once a second. `ready` workers, and `doing` of them have a part; `places` are those for workers."""

    ready: int
    doing: int
    places: int


Event: TypeAlias = "Done | Again | Lost | Joined | Left | Tick"


@dataclass
class _Try:
    """A part that is being done or is to be done again."""

    task: Task
    node_deaths: int = 0
    halved: int = 0
    refused: int = 0  # times that its results could not be written
    refused_at: int = 0  # how many parts had been done in all when that began
    after: float = 0.0  # not before
    shunned: set[str] = field(
        default_factory=set
    )  # nodes on which it failed; others take it first, in case a node is to blame


@dataclass
class _Worker:
    number: int
    place: str
    node: str
    ready: bool = False
    doing: _Try | None = None
    since: float = 0.0
    refused: int = 0  # in a row
    after: float = 0.0  # takes nothing before


@dataclass
class _Place:
    node: str
    fails: int = 0  # starts in a row
    deaths: int = 0  # in a row
    after: float = 0.0
    given_up: str = ""  # why


class Pool:
    """Does tasks with an engine's workers; see `events`."""

    def __init__(self, engine: Engine, tasks: Tasks, settings: PoolSettings | None = None) -> None:
        self._engine, self._tasks, self._settings = engine, tasks, settings or PoolSettings()
        self._now = self._settings.clock
        self._workers: dict[int, _Worker] = {}
        self._places: dict[str, _Place] = {}
        self._again: list[_Try] = []  # no more than there were workers
        self._done = 0
        self._told: list[Event] = []
        self._cause: Exception | None = None  # why the last place was given up
        self._last_place = self._now()

    def events(self) -> Iterator[Event]:
        """Do all tasks, each once or lost, and tell how it goes. Closing the generator ends all workers.

        Raises `ZsclipError` where no worker can start or stay, or results cannot be written at all, and what `Tasks.take` raises.
        """
        look, tick = 0.0, -1.0
        try:
            while True:
                if self._whole():
                    return
                if self._now() >= look:
                    self._settle()
                    look = self._now() + _TICK_SECONDS
                self._assign()
                yield from self._tell()
                if self._now() >= tick:
                    tick = self._now() + _TICK_SECONDS
                    doing = sum(one.doing is not None for one in self._workers.values())
                    yield Tick(sum(one.ready for one in self._workers.values()), doing, len(self._places))
                for happening in self._engine.wait(self._patience(min(look, tick))):
                    self._take(happening)
                    look = look if isinstance(happening, Ready | Finished | Raised) else 0.0
                self._end_late()
                yield from self._tell()
        finally:
            self._engine.close()

    def _tell(self) -> Iterator[Event]:
        while self._told:
            yield self._told.pop(0)

    def _whole(self) -> bool:
        return not self._again and self._tasks.ended and all(one.doing is None for one in self._workers.values())

    def _patience(self, until: float) -> float:
        idle = any(one.ready and one.doing is None for one in self._workers.values())
        at_most = _UNKNOWN_SECONDS if idle and not self._tasks.ended else _TICK_SECONDS
        times = [one.after for one in self._again] + [until]
        return max(0.0, min(at_most, min((when for when in times if when > self._now()), default=0.0) - self._now()))

    # Places and workers.

    def _settle(self) -> None:
        """Let there be a worker at each place, and none elsewhere."""
        there = self._engine.places()
        for key in self._places.keys() - there.keys():
            del self._places[key]
        for one in [one for one in self._workers.values() if one.place not in there]:
            self._engine.end(one.number)
            self._gone(one, "its node left", node=True)
        for key, node in there.items():
            self._places.setdefault(key, _Place(node))
        usable = {key: place for key, place in self._places.items() if not place.given_up}
        if usable or self._workers:
            self._last_place = self._now()
        elif self._places or self._now() - self._last_place > self._settings.no_place_seconds:
            self._nobody_left()
        wanted = self._wanted()
        for key in usable.keys() - {one.place for one in self._workers.values()}:
            if wanted > 0 and usable[key].after <= self._now():
                number = self._engine.start(key)
                self._workers[number] = _Worker(number, key, usable[key].node)
                wanted -= 1

    def _wanted(self) -> int:
        """How many more workers could have something to do."""
        if not self._tasks.ended:
            return len(self._places)
        return len(self._again) - sum(one.doing is None for one in self._workers.values())

    def _nobody_left(self) -> None:
        if isinstance(self._cause, ZsclipError):
            raise self._cause
        if self._cause is not None:
            raise ZsclipError(f"no worker could start or stay: {_text(self._cause)}.")
        raise ZsclipError("the cluster has had no node for workers for a minute.", remedy="Run it again to go on.")

    def _gone(self, one: _Worker, why: str, node: bool = False, for_good: bool = False) -> None:
        """Forget a worker, and what it did is to be done again."""
        del self._workers[one.number]
        if one.ready or for_good:
            self._told.append(Left(one.node, why, for_good))
        if (trial := one.doing) is None:
            return
        trial.node_deaths += node
        if node and trial.node_deaths < self._settings.node_deaths:
            self._again.insert(0, trial)
            self._told.append(Again(trial.task, one.node, why))
        else:
            self._blame(trial, one.node, why)

    # What happens.

    def _take(self, happening: Happening) -> None:
        one = self._workers.get(happening.worker)
        if one is None:
            return  # it was ended
        if isinstance(happening, Ready):
            one.ready = True
            if place := self._places.get(one.place):
                place.fails = 0
            self._told.append(Joined(one.node))
        elif isinstance(happening, NotReady):
            self._not_started(one, happening.error)
        elif isinstance(happening, Finished):
            self._finished(one, happening.outcome)
        elif isinstance(happening, Died):
            self._died(one, happening)
        elif (trial := one.doing) is not None:
            one.doing = None
            if isinstance(happening.error, ZsclipError):
                self._refused(one, trial, happening.error)
            else:
                self._blame(trial, one.node, _text(happening.error))

    def _finished(self, one: _Worker, outcome: Outcome) -> None:
        one.doing, one.refused = None, 0
        if place := self._places.get(one.place):
            place.deaths = 0
        self._done += 1
        self._told.append(Done(outcome, one.node))

    def _not_started(self, one: _Worker, error: Exception) -> None:
        place = self._places.get(one.place)
        if place is None:
            self._gone(one, _text(error))
            return
        place.fails += 1
        pauses = self._settings.start_pauses
        if isinstance(error, ZsclipError) or place.fails > len(pauses):
            place.given_up, self._cause = _text(error), error
            self._gone(one, place.given_up, for_good=True)
        else:
            place.after = self._now() + pauses[place.fails - 1]
            self._gone(one, _text(error))

    def _died(self, one: _Worker, death: Died) -> None:
        if death.node:
            self._gone(one, death.why, node=True)
        elif not one.ready:
            self._not_started(one, RuntimeError(death.why))
        else:
            left_out = self._count_death(one, death.why)
            self._gone(one, left_out or death.why, for_good=bool(left_out))

    def _count_death(self, one: _Worker, why: str) -> str:
        """Why no other worker will start in its place, if so."""
        place = self._places.get(one.place)
        if place is None:
            return ""
        place.deaths += 1
        if place.deaths >= self._settings.deaths_in_a_row:
            place.given_up = f"{place.deaths} workers in a row ended there, the last with: {why}"
            self._cause = RuntimeError(f"on {place.node}, {place.given_up}")
        return place.given_up

    def _end_late(self) -> None:
        for one in list(self._workers.values()):
            limit = None if one.doing is None else self._settings.limit(one.doing.task.way)
            if limit is not None and self._now() - one.since > limit:
                self._engine.end(one.number)
                self._gone(one, f"took longer than {limit:g} s")

    # Parts.

    def _assign(self) -> None:
        """Give every idle worker a part, if there is one."""
        for one in self._workers.values():
            if one.ready and one.doing is None and one.after <= self._now():
                trial = self._next(one)
                if trial is None:
                    continue
                one.doing, one.since = trial, self._now()
                self._engine.give(one.number, trial.task)

    def _next(self, one: _Worker) -> _Try | None:
        nodes = {other.node for other in self._workers.values() if other.ready}
        for n, trial in enumerate(self._again):
            if trial.after <= self._now() and (one.node not in trial.shunned or nodes <= trial.shunned):
                return self._again.pop(n)
        task = self._tasks.take()
        return None if task is None else _Try(task)

    def _blame(self, trial: _Try, node: str, why: str) -> None:
        """Do a part another way, or give it up."""
        task = trial.task
        trial.halved += task.way is Way.HALVED
        if trial.halved >= self._settings.halved_tries:
            self._told.append(Lost(task, node, why))
            return
        task = replace(task, way=Way(min(task.way + 1, Way.HALVED)))
        self._again.insert(0, _Try(task, halved=trial.halved, shunned=trial.shunned | {node}))
        self._told.append(Again(task, node, why))

    def _refused(self, one: _Worker, trial: _Try, error: ZsclipError) -> None:
        """What could not be written is nobody's fault, unless others are written all the while."""
        pauses = self._settings.pauses
        if not trial.refused:
            trial.refused_at = self._done
        if trial.refused >= len(pauses):
            if self._done == trial.refused_at:
                raise error
            self._told.append(Lost(trial.task, one.node, str(error)))
        else:
            trial.after = self._now() + pauses[trial.refused]
            trial.refused += 1
            trial.shunned.add(one.node)
            self._again.append(trial)
            self._told.append(Again(trial.task, one.node, str(error)))
        one.after = self._now() + pauses[min(one.refused, len(pauses) - 1)]
        one.refused += 1


def _text(error: Exception) -> str:
    """An error in a line."""
    said = str(error).strip().split("\n")[-1]
    return said if isinstance(error, ZsclipError) or type(error) is RuntimeError else f"{type(error).__name__}: {said}"
