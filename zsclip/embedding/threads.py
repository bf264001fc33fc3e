"""Pools of threads that end with the run."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from zsclip.engines.hardware import available_cores


def decoders(workers: int | None) -> int:
    """How many threads decode: that many, or one a core up to 16."""
    return workers or min(16, available_cores())


@contextmanager
def threads(count: int, name: str) -> Iterator[ThreadPoolExecutor]:
    """Threads whose waiting work is dropped at the end; what they are at is waited for."""
    pool = ThreadPoolExecutor(count, thread_name_prefix=name)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def abandoned_threads(count: int, name: str) -> Iterator[Executor]:
    """Threads whose waiting work is dropped at the end, and which are left alone with what they are at: a server that is silent.

    Nor does the process wait for them when it ends, as it would for those of a `ThreadPoolExecutor`.
    """
    pool = _Abandoned(count, name)
    try:
        yield pool
    finally:
        pool.shutdown()


class _Abandoned(Executor):
    def __init__(self, count: int, name: str) -> None:
        self._count, self._name = count, name
        self._started = 0
        self._waiting: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()

    def submit(self, work: Callable[..., Any], /, *args: Any, **settings: Any) -> Future[Any]:
        """See `Executor`. Called by one thread."""
        future: Future[Any] = Future()
        self._waiting.put((future, lambda: work(*args, **settings)))
        if self._started < self._count:
            self._started += 1
            threading.Thread(target=self._run, daemon=True, name=f"{self._name}_{self._started}").start()
        return future

    def shutdown(self, wait: bool = False, *, cancel_futures: bool = True) -> None:  # noqa: ARG002
        """See `Executor`."""
        while True:
            try:
                dropped = self._waiting.get_nowait()
            except queue.Empty:
                break
            if dropped:
                dropped[0].cancel()
        for _ in range(self._started):
            self._waiting.put(None)

    def _run(self) -> None:
        while (task := self._waiting.get()) is not None:
            future, work = task
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(work())
                except BaseException as error:
                    future.set_exception(error)
            del future, work, task
