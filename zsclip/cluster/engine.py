"""What a pool needs of an engine: workers that it starts, gives parts and ends, and what the engine tells of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from zsclip.cluster.job import Outcome, Task

# What an engine tells. A `worker` is what `Engine.start` gave.


@dataclass(frozen=True)
class Ready:
    """The worker has its model and takes parts."""

    worker: int


@dataclass(frozen=True)
class NotReady:
    """The worker could not start and is gone; a `ZsclipError` says what its machine lacks, which does not pass."""

    worker: int
    error: Exception


@dataclass(frozen=True)
class Finished:
    """The worker did its part and takes another."""

    worker: int
    outcome: Outcome


@dataclass(frozen=True)
class Raised:
    """The worker's part raised; a `ZsclipError` is not the part's fault. The worker takes another."""

    worker: int
    error: Exception


@dataclass(frozen=True)
class Died:
    """The worker is gone, and with it what it did. With `node`: since its node is."""

    worker: int
    why: str
    node: bool = False


Happening: TypeAlias = "Ready | NotReady | Finished | Raised | Died"


class Engine(Protocol):
    """Starts and ends processes that do parts. What it is asked for happens; what comes of it is told by `wait`."""

    def places(self) -> Mapping[str, str]:
        """Where a worker should be now: a key, the same for as long as the place is there, and the name of its node.

        Raises `ZsclipError` if there will never be one.
        """

    def start(self, place: str) -> int:
        """Start a worker at a place."""

    def give(self, worker: int, task: Task) -> None:
        """Let a ready worker do a part."""

    def wait(self, seconds: float) -> Sequence[Happening]:
        """What happened; returns after `seconds` if nothing did. Raises `ZsclipError` if the engine is gone."""

    def end(self, worker: int) -> None:
        """End it at once, whatever it is doing. Nothing more is told of it."""

    def close(self) -> None:
        """End all workers at once."""
