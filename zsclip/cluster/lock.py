"""One driver a folder of results: the system's lock on a disk; in a bucket an object that its owner keeps renewing.

That object is only ever written on a condition: that there is none, or that it is still the one that was seen. Nobody compares clocks: an
owner is dead once its object has not changed while somebody watched it for `patience` seconds, and an owner that could not renew it for
nearly as long asks before it goes on.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from zsclip.cluster.results import LocalFolder, ResultFolder
from zsclip.errors import ImageError, InputError
from zsclip.images.remote.addresses import shown, split
from zsclip.images.remote.settings import Network
from zsclip.output.failed import PASSING

if TYPE_CHECKING:
    from zsclip.images.remote.buckets import Bucket, Version

T = TypeVar("T")

logger = logging.getLogger("zsclip")

LOCK = "_zsclip/lock"
_NETWORK = Network(connect_seconds=5, silence_seconds=8, total_seconds=12)
_OVERDUE = 0.7  # of the patience that others have


@contextmanager
def alone(
    results: ResultFolder, *, beat: float = 10.0, patience: float = 30.0, outage: float = 120.0
) -> Iterator[Callable[[], None]]:
    """Nobody else works in the folder while the block runs; raises `InputError` where somebody does.

    Gives what is to be called before more is written: it raises `InputError` once somebody else has taken the folder over. In a bucket
    the lock is renewed every `beat` seconds, and one that a killed run left is taken over after `patience` seconds; a server that cannot
    answer is waited for `outage` seconds. On a disk the system takes the lock back from a process that ended in whatever way.
    """
    if isinstance(results, LocalFolder):
        with _locked(results):
            yield _nothing
        return
    lock = _BucketLock(results, beat, patience, outage)
    if not lock.acquire():
        yield _nothing
        return
    try:
        yield lock.check
    finally:
        lock.release()


def _nothing() -> None:
    """The system says nothing more."""


@contextmanager
def _locked(results: LocalFolder) -> Iterator[None]:
    from filelock import FileLock, Timeout

    path = Path(results.path(LOCK))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path, timeout=0)
        lock.acquire()
    except Timeout:
        raise _at_work(results) from None
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}.", where=results.setting) from None
    try:
        results.tidy()
        yield
    finally:
        lock.release()


class _BucketLock:
    """The lock of a folder in a bucket, renewed on a thread."""

    def __init__(self, results: ResultFolder, beat: float, patience: float, outage: float) -> None:
        from zsclip.images.remote.buckets import bucket

        self._results, self._beat, self._patience, self._outage = results, beat, patience, outage
        self._bucket: Bucket = bucket(results.name, _NETWORK)
        self._key = split(results.path(LOCK))[1]
        self._owner = {"host": socket.gethostname(), "process": os.getpid(), "token": secrets.token_hex(16)}
        self._beats = 0
        self._version: Version | None = None
        self._renewed = 0.0
        self._taken_by: dict[str, Any] | None = None
        self._mutex = threading.Lock()
        self._released = threading.Event()

    def acquire(self) -> bool:
        """Take it, perhaps after watching for a while that its owner is dead; False where the bucket has no conditional writes.

        Raises `InputError`.
        """
        try:
            is_safe = self._patiently(self._acquire)
        except NotImplementedError:
            is_safe = False
        except ImageError as error:
            raise InputError(f"cannot be written: {error}.", where=self._results.setting) from None
        if not is_safe:
            logger.warning(
                "%s: the bucket has no conditional writes, so nothing keeps a second run out of it; start none",
                shown(self._results.name),
            )
            with suppress(ImageError):
                self._bucket.delete(self._key)
            return False
        threading.Thread(target=self._keep, daemon=True, name="lock").start()
        return True

    def check(self) -> None:
        """Raise `InputError` if somebody else has it, or if nobody can say that nobody has."""
        if self._taken_by is None and _now() - self._renewed > _OVERDUE * self._patience:
            try:
                self._patiently(self._renew)
            except ImageError as error:
                raise InputError(
                    f"it is not known whether another zsclip took it over: {error}.", where=self._results.setting,
                    remedy="The same command goes on.",
                ) from None  # fmt: skip
        if self._taken_by is not None:
            raise InputError(
                f"another zsclip ({_named(self._taken_by)}) took it over, for this one gave no sign.",
                where=self._results.setting, remedy="Let that one go on.",
            )  # fmt: skip

    def release(self) -> None:
        """Let others in."""
        self._released.set()
        with self._mutex, suppress(ImageError):  # where it fails, the next one waits a little
            if self._taken_by is None and (seen := self._read()) and seen[0].get("token") == self._owner["token"]:
                self._bucket.delete(self._key)

    def _acquire(self) -> bool:
        """Take it; whether the store keeps to conditions: one that takes no notice of them would let everybody in."""
        while not self._write(None):
            if (seen := self._read()) is not None:
                self._take_over(*seen)
                break
            time.sleep(0.1)  # it was removed meanwhile
        return self._bucket.put_if(self._key, b"{}", None) is None

    def _patiently(self, work: Callable[[], T]) -> T:
        """Do it again while the server cannot answer. Raises `ImageError`."""
        since = _now()
        while True:
            try:
                return work()
            except ImageError as error:
                if error.kind not in PASSING or _now() - since >= self._outage:
                    raise
            time.sleep(1)

    def _keep(self) -> None:
        while self._taken_by is None and not self._released.wait(self._beat):
            try:
                self._renew()
            except (ImageError, NotImplementedError) as error:
                logger.debug("the lock cannot be renewed: %s", error)

    def _renew(self) -> None:
        with self._mutex:
            if self._released.is_set() or self._taken_by is not None or self._write(self._version):
                return
            seen = self._read()
            if seen is None:  # removed by somebody who knew better
                self._write(None)
            else:
                self._taken_by = seen[0]

    def _take_over(self, owner: dict[str, Any], version: Version) -> None:
        """Watch the lock of an owner, and take it once that one is seen to be dead."""
        where, watched = shown(self._results.name), _now()
        logger.warning(
            "%s: another zsclip (%s) has a lock on it; waiting for %g s to see whether it is alive",
            where, _named(owner), self._patience,
        )  # fmt: skip
        while _now() - watched < self._patience:
            time.sleep(min(1.0, self._patience / 10))
            seen = self._read()
            if seen is None:
                if self._write(None):
                    return
            elif seen[1] != version:
                raise _at_work(self._results, seen[0])
        if not self._write(version):
            raise _at_work(self._results, (self._read() or (owner, version))[0])

    def _write(self, former: Version | None) -> bool:
        """Write it if there is none, or if it is still the former one; whether it is ours now."""
        started = _now()
        self._beats += 1
        data = json.dumps({**self._owner, "beats": self._beats}).encode()
        version = self._bucket.put_if(self._key, data, former)
        if version is None:
            seen = self._read()
            if seen is None or seen[0].get("token") != self._owner["token"]:
                return False
            version = seen[1]  # the answer to what we wrote was lost, and it was written again
        self._version, self._renewed = version, started
        return True

    def _read(self) -> tuple[dict[str, Any], Version] | None:
        """Who has it, and its version; None where nobody has."""
        found = self._bucket.read(self._key)
        if found is None:
            return None
        try:
            owner = json.loads(found[0])
        except ValueError:
            owner = {}
        return (owner if isinstance(owner, dict) else {}), found[1]


def _now() -> float:
    """Seconds, of which a machine that sleeps loses none, where that can be had."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


def _named(owner: dict[str, Any]) -> str:
    return f"process {owner.get('process', '?')} on {owner.get('host', '?')}"


def _at_work(results: ResultFolder, owner: dict[str, Any] | None = None) -> InputError:
    who = f" ({_named(owner)})" if owner else ""
    return InputError(
        f"another zsclip{who} is at work in it.",
        where=results.setting,
        remedy="Wait until it is done, or name another folder.",
    )
