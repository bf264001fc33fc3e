"""A run in parts, in this process: what is planned and not there yet, one part after the other, and what says that it is whole."""

from __future__ import annotations

import json
import time
from array import array
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from zsclip import __version__
from zsclip.cluster.identity import FORMAT, MANIFEST, SUCCESS
from zsclip.cluster.job import Job, Outcome, Resources, Task, Tasks
from zsclip.cluster.part_file import Tally, read_tally
from zsclip.cluster.results import LocalFolder, ResultFolder
from zsclip.errors import InputError

_WAIT_SECONDS = 0.02


@contextmanager
def alone(results: ResultFolder) -> Iterator[None]:
    """Nobody else works in the folder while the block runs; raises `InputError` where somebody does.

    The system takes the lock back from a process that ended in whatever way.
    """
    from filelock import FileLock, Timeout

    if not isinstance(results, LocalFolder):
        raise InputError(
            "a run in parts cannot keep others out of a bucket yet.",
            where=f"`into={results.name}`",
            remedy="Name a folder.",
        )
    path = Path(results.path("_zsclip/lock"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path, timeout=0)
        lock.acquire()
    except Timeout:
        raise InputError(
            "another zsclip is at work in it.",
            where=f"`into={results.name}`",
            remedy="Wait until it is done, or name another folder.",
        ) from None
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}.", where=f"`into={results.name}`") from None
    try:
        results.tidy()
        yield
    finally:
        lock.release()


def work_here(job: Job, tasks: Tasks) -> Iterator[Outcome]:
    """Do parts in this process, one after the other. The model is loaded once there is one to do. Raises `ZsclipError`."""
    task = _next(tasks)
    if task is None:
        return
    with closing(job.open(Resources())) as worker:
        while task is not None:
            yield worker.run(task)
            task = _next(tasks)


def _next(tasks: Tasks) -> Task | None:
    while (task := tasks.take()) is None:
        if tasks.ended:
            return None
        time.sleep(_WAIT_SECONDS)
    return task


class Account:
    """What is in all parts: some ten bytes of each, and their digests."""

    def __init__(self) -> None:
        self._rows, self._unread = array("q"), array("q")
        self._digests = bytearray()
        self.errors: Counter[str] = Counter()
        self.pictures = 0

    def add(self, part: int, tally: Tally) -> None:
        """Add a part, once."""
        missing = part + 1 - len(self._rows)
        if missing > 0:
            self._rows.extend([-1] * missing)
            self._unread.extend([0] * missing)
            self._digests.extend(bytes(32 * missing))
        unread = sum(tally.errors.values())
        self._rows[part], self._unread[part] = tally.rows, unread
        self._digests[32 * part : 32 * part + 32] = bytes.fromhex(tally.digest)
        self.errors.update(tally.errors)
        self.pictures += tally.rows + unread

    def finish(self, results: ResultFolder, parts: int) -> None:
        """Write the manifest of all parts, of which those that were not added are read, and then what says that the run is whole."""
        import pyarrow
        import pyarrow.parquet

        for number in range(parts):
            if number >= len(self._rows) or self._rows[number] < 0:
                self.add(number, read_tally(results, number))
        digests = [self._digests[32 * part : 32 * part + 32].hex() for part in range(parts)]
        table = pyarrow.table({
            "part": pyarrow.array(range(parts), pyarrow.int64()),
            "rows": pyarrow.array(self._rows, pyarrow.int64()),
            "errors": pyarrow.array(self._unread, pyarrow.int64()),
            "digest": digests,
        })  # fmt: skip
        with results.write(MANIFEST) as stream:
            pyarrow.parquet.write_table(table, stream, compression="zstd")
        said = {
            "format": FORMAT, "version": __version__, "parts": parts, "pictures": self.pictures,
            "errors": dict(sorted(self.errors.items())), "manifest": MANIFEST,
        }  # fmt: skip
        results.put(SUCCESS, json.dumps(said, indent=1).encode())
