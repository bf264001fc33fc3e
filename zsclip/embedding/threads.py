"""Pools of threads that end with the run."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

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
