"""What travels between a driver and its workers: a job once, then numbers of parts, and what came of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from zsclip.cluster.part_file import Error

Advance: TypeAlias = (
    "Callable[[int, Sequence[Error]], None]"  # so many more pictures of a part, and those that could not be read
)


def no_advance(pictures: int, errors: Sequence[Error]) -> None:
    """Nobody wants to know."""


class Way(IntEnum):
    """How a part is done."""

    PLAIN = 0
    ISOLATED = 1  # pictures are decoded in worker processes, as with `--isolate`
    HALVED = 2  # child processes do it, given less and less down to the picture that ends them


@dataclass(frozen=True)
class Task:
    """A part that is to be done, and how. With `failed`, of a part that is there: the pictures whose error may have passed."""

    part: int
    way: Way = Way.PLAIN
    failed: bool = False


@dataclass(frozen=True)
class Outcome:
    """A part that is done and written: pictures with a row, those without one by kind of error, and how long it took.

    `seconds` is its time in the worker, of which loading the model is no part; `digest` that of names and vectors.
    """

    part: int
    rows: int
    errors: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    digest: str = ""

    @property
    def pictures(self) -> int:
        """How many there are in it."""
        return self.rows + sum(self.errors.values())


@dataclass(frozen=True)
class Resources:
    """What a worker may use. `cpus` None: all of the machine's. `gpus`: their numbers on the machine; None: whatever the job says."""

    cpus: int | None = None
    gpus: tuple[int, ...] | None = None


class Worker(Protocol):
    """One process that does parts, one at a time. Its model is loaded."""

    def run(self, task: Task, advance: Advance = no_advance) -> Outcome:
        """Do a part and write it, whole or not at all; done twice, it is the same.

        Calls `advance` as it goes on, which may raise to end it.

        Raises `ZsclipError` for what is not the part's fault: results that cannot be written, a model that cannot be used.
        Any other exception, and a death of the process, count against the part.
        """

    def close(self) -> None:
        """Let go of what it holds."""


class Job(Protocol):
    """All that a worker needs to know but the numbers of parts. Can be pickled."""

    @property
    def weights(self) -> Path | None:
        """The file here without which no machine can open it; None if there is none."""

    @property
    def weights_key(self) -> str:
        """What its weights are known by, wherever they are; see `models.weights.fingerprint`."""

    def at(self, weights: Path) -> Job:
        """The same job on a machine where that file is elsewhere."""

    def open(self, resources: Resources) -> Worker:
        """A worker in this process; loads the model. Raises `ZsclipError` where this machine lacks something."""


class Tasks(Protocol):
    """The parts that are to be done, as they become known."""

    @property
    def ended(self) -> bool:
        """Whether all were taken; an error of the source comes out of `take`."""

    def take(self) -> Task | None:
        """The next one; None where it is not known yet, or at the end. Never waits for long."""
