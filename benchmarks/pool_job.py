"""What the actors of `benchmarks/pool.py` import: parts that sleep."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from zsclip.cluster.job import Advance, Outcome, Resources, Task, Way, no_advance


@dataclass(frozen=True)
class Sleeping:
    """Parts take `seconds`; that share of them crashes when it is tried first."""

    seconds: float
    crashing: float
    weights: Path | None = None
    weights_key: str = ""

    def at(self, weights: Path) -> Sleeping:
        return self

    def open(self, resources: Resources) -> Sleeping:
        return self

    def run(self, task: Task, advance: Advance = no_advance) -> Outcome:
        if self.crashing and task.part % round(1 / self.crashing) == 0 and task.way is Way.PLAIN:
            os._exit(1)
        time.sleep(self.seconds)
        return Outcome(task.part, rows=1)

    def close(self) -> None:
        pass


@dataclass
class Numbers:
    """Tasks from 0 on, once they are `ready`."""

    count: int
    ready: bool = True
    taken: int = 0

    @property
    def ended(self) -> bool:
        return self.taken >= self.count

    def take(self) -> Task | None:
        if not self.ready or self.ended:
            return None
        self.taken += 1
        return Task(self.taken - 1)
