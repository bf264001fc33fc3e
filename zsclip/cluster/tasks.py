"""The parts of a run that are to be done: those planned, while the planning goes on, minus those that are there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from zsclip.cluster.job import Task
from zsclip.cluster.part_file import done_parts, errors_name, part_name, read_tally
from zsclip.cluster.plan import Extent, Part, Plan
from zsclip.cluster.results import ResultFolder


class PartTasks:
    """See `job.Tasks`: parts that are known, minus those that are there. It holds a byte a part.

    With `failed`, parts that are there and have errors which may have passed are to be done too, for these only. `check` raises where
    somebody else has taken the run over (see `lock.alone`), out of `take` too.
    """

    def __init__(
        self,
        results: ResultFolder,
        extent: Extent | None,
        *,
        failed: bool = False,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._results, self._failed, self._check, self.extent = results, failed, check, extent
        self._done = bytearray()
        for number in done_parts(results):
            self._set_done(number, is_done=True)
        self._next, self._known = 0, extent.parts if extent else 0
        self._error: BaseException | None = None
        self._lock = threading.Lock()

    @property
    def were_done(self) -> int:
        """How many parts were there before, but for those that are done again."""
        return self._done.count(1)

    @property
    def known(self) -> int:
        """How many parts are known so far."""
        return self._known

    @property
    def ended(self) -> bool:
        """See `Tasks`."""
        return self._error is None and self.extent is not None and self._next >= self.extent.parts

    def take(self) -> Task | None:
        """See `Tasks`. What is there is passed over some hundred parts at a time."""
        self._check()
        for _ in range(256):
            with self._lock:
                if self._next >= self._known:
                    if self._error is not None:
                        raise self._error
                    return None
                number, self._next = self._next, self._next + 1
                is_done = number < len(self._done) and self._done[number]
            if not is_done:
                return Task(number)
            if self._failed and read_tally(self._results, number).may_pass:
                self._set_done(number, is_done=False)
                return Task(number, failed=True)
        return None

    def _set_done(self, number: int, *, is_done: bool) -> None:
        if number >= len(self._done):
            self._done.extend(bytes(number + 1 - len(self._done)))
        self._done[number] = is_done


class PlannedTasks(PartTasks):
    """The same of a plan. While it is not complete, all `parts` are listed on a thread."""

    def __init__(
        self,
        results: ResultFolder,
        parts: Iterable[Part],
        part_size: int,
        *,
        failed: bool = False,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        plan = Plan(results)
        super().__init__(results, plan.extent(), failed=failed, check=check)
        if self.extent is None:
            planning = (plan, parts, part_size)
            threading.Thread(target=self._plan, args=planning, daemon=True, name="planning").start()

    def _plan(self, plan: Plan, parts: Iterable[Part], part_size: int) -> None:
        try:
            self.extent = plan.write(parts, part_size, self._planned, self._redo)
        except BaseException as error:  # carried over to the thread that takes
            self._error = error

    def _planned(self, count: int) -> None:
        self._check()
        with self._lock:
            self._known = count

    def _redo(self, number: int) -> None:
        for name in (part_name(number), errors_name(number)):
            self._results.remove(name)
        with self._lock:
            self._set_done(number, is_done=False)
