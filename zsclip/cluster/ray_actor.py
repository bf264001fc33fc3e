"""What runs on a machine of a Ray cluster: a worker in an actor, and the pieces of a file that others lack."""

from __future__ import annotations

import logging
import pickle
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zsclip import __version__
from zsclip.cluster.job import Outcome, Resources, Task
from zsclip.errors import ZsclipError

if TYPE_CHECKING:
    from zsclip.cluster.job import Worker

_LOG = logging.getLogger("zsclip")
PIECE = 8 << 20  # bytes of a file at a time


@dataclass(frozen=True)
class Opened:
    """A worker is ready."""


@dataclass(frozen=True)
class Lacking:
    """The machine needs the weights, which somebody must offer it."""


@dataclass(frozen=True)
class Refused:
    """A `ZsclipError`, in facts, so that it can be read by another version."""

    what: str
    where: str = ""
    remedy: str = ""

    def error(self) -> ZsclipError:
        """It, made again."""
        return ZsclipError(self.what, where=self.where, remedy=self.remedy)


@dataclass(frozen=True)
class Failed:
    """Any other exception, in a line."""

    why: str


class Actor:
    """A `job.Worker` behind calls. No call raises, for exceptions would travel with their tracebacks and need their modules."""

    def __init__(self) -> None:
        self._worker: Worker | None = None

    def versions(self) -> tuple[str, str]:
        """Those of zsclip and Python, before anything is unpacked that may need them."""
        return __version__, platform.python_version()

    def open(self, payload: bytes, key: str | None, resources: Resources, pieces: Any = None) -> object:
        """Make the worker of a pickled job; `key` is what its weights are known by, and `pieces` an actor that has them."""
        try:
            job = pickle.loads(payload)  # noqa: S301 - from the driver, which may run anything here
            if key is not None and job.weights is not None:
                from zsclip.cluster.shipping import weights_here

                path = weights_here(job.weights, key, None if pieces is None else _Offer(pieces))
                if path is None:
                    return Lacking()
                if path != job.weights:
                    job = job.at(path)
            self._worker = job.open(resources)
        except BaseException as error:
            return _told(error)
        return Opened()

    def run(self, task: Task) -> Outcome | Refused | Failed:
        """Do a part."""
        assert self._worker is not None
        try:
            return self._worker.run(task)
        except BaseException as error:
            return _told(error)

    def ping(self) -> None:
        """Answer, which tells that it is there."""


class Pieces:
    """Reads files of the driver's machine, piece by piece, for those that lack them. No more than what was asked for is in memory."""

    def names(self, checkpoint: str) -> list[tuple[str, int]]:
        """The files of weights, the one that others are named in last, and their sizes in bytes."""
        from zsclip.models.weights import parts

        files = [*(file for file in parts(Path(checkpoint)) if file != Path(checkpoint)), Path(checkpoint)]
        return [(file.name, file.stat().st_size) for file in files]

    def piece(self, checkpoint: str, name: str, start: int) -> bytes:
        """`PIECE` bytes of one of them, or what is left."""
        with Path(checkpoint).with_name(name).open("rb") as file:
            file.seek(start)
            return file.read(PIECE)


class _Offer:
    """`shipping.Offer` over an actor of `Pieces`. Pieces travel through the object store, the next while one is written."""

    def __init__(self, pieces: Any) -> None:
        self._pieces = pieces

    def names(self, checkpoint: Path) -> list[tuple[str, int]]:
        import ray

        return list(ray.get(self._pieces.names.remote(str(checkpoint))))

    def read(self, checkpoint: Path, name: str, size: int) -> Iterator[bytes]:
        import ray

        def ask(start: int) -> Any:
            return self._pieces.piece.remote(str(checkpoint), name, start)

        coming = ask(0)
        for start in range(0, size, PIECE):
            following = ask(start + PIECE) if start + PIECE < size else None
            yield ray.get(coming)
            coming = following


def _told(error: BaseException) -> Refused | Failed:
    if isinstance(error, ZsclipError):
        return Refused(error.what, error.where, error.remedy)
    _LOG.error("", exc_info=error)  # in Ray's log of this process
    if isinstance(error, MemoryError):
        return Failed("not enough memory")
    said = str(error).strip().split("\n")
    if isinstance(error, ModuleNotFoundError):
        return Refused(f"this machine lacks a package: {said[0]}.", remedy="Install the same packages on all machines.")
    return Failed(f"{type(error).__name__}: {said[-1]}")
