"""Decoding in worker processes: a decoder that crashes or hangs takes its worker with it, and the file gets its error.

A worker is this module, run by the same Python with the same `sys.path`. It is asked on its standard input and answers on its
standard output, one image at a time:

    question: length (8 bytes), the file's bytes
    answer:   kind (1 byte), length (8 bytes), payload: b"p" whether reduced (1 byte) and pixels, or b"e" the error's
              kind, a NUL and its text

Before it decodes a big image it answers b"t" without a payload and waits for b"g": big images take turns among all
workers and the threads of the parent, and the time that one waits for its turn is not counted.
"""

from __future__ import annotations

import dataclasses
import os
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from zsclip.closing import Closing
from zsclip.errors import ImageError
from zsclip.images.decoding import DEFAULT_MAX_PIXELS, pixels, turn_of_big_images
from zsclip.images.preprocessing import Preprocessing
from zsclip.images.worker_process import EndedError, Worker, alarm, answer, begin, cause

if TYPE_CHECKING:
    from zsclip.errors import ErrorKind

DEFAULT_SECONDS = 60.0
MOST_SECONDS = 86_400.0  # a day; timers bear no more than some hundred years
_GO = b"g"
_IS_BIG = b"t"


class IsolatedDecoder(Closing):
    """What `zsclip.images.decoding.pixels` does, in worker processes; threads may share it, and each gets a worker.

    An image that takes longer than `seconds`, or whose decoder crashes twice, raises `ImageError`; its worker is replaced.
    Raises `InputError` if no worker can be started.
    """

    def __init__(
        self,
        wanted: Preprocessing,
        *,
        full: bool = False,
        max_pixels: int = DEFAULT_MAX_PIXELS,
        seconds: float = DEFAULT_SECONDS,
    ) -> None:
        self._wanted = wanted
        self._seconds = seconds
        self._settings = {
            "wanted": dataclasses.asdict(wanted), "full": full, "max_pixels": max_pixels, "seconds": seconds
        }  # fmt: skip
        self._lock = threading.Lock()
        self._idle: list[Worker] = []
        self._closed = False

    def __call__(self, data: bytes) -> tuple[NDArray[np.uint8], bool]:
        """A file's bytes as uint8 (height, width, 3), and whether they were decoded at a reduced scale."""
        # Twice, for what breaks a worker may have been the image before.
        for is_last in (False, True):
            worker = self._take()
            try:
                kind, payload = _ask(worker, data, self._seconds)
            except EndedError as end:
                worker.kill()
                if end.timed_out:
                    raise ImageError(f"decoding took longer than {self._seconds:g} s", kind="timeout") from None
                if is_last:
                    raise ImageError(f"its decoder crashed ({cause(end.code)})") from None
                continue
            except BaseException:
                worker.kill()
                raise
            self._give_back(worker)
            if kind == b"e":
                error_kind, _, text = payload.decode().partition("\0")
                raise ImageError(text, kind=cast("ErrorKind", error_kind))
            return np.frombuffer(payload, np.uint8, offset=1).reshape(*self._wanted.size, 3), payload[0] == 1
        raise AssertionError

    def close(self) -> None:
        """End the workers; those that are busy end with their image."""
        with self._lock:
            self._closed = True
            workers, self._idle = self._idle, []
        for worker in workers:
            worker.kill()

    def _take(self) -> Worker:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return Worker(__name__, self._settings)

    def _give_back(self, worker: Worker) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append(worker)
                return
        worker.kill()


def _ask(worker: Worker, data: bytes, seconds: float) -> tuple[bytes, bytes]:
    """The answer's kind and payload; raises `EndedError` if there is none within `seconds`."""
    started = time.monotonic()
    kind, payload = worker.exchange(seconds, struct.pack("<Q", len(data)), data)
    if kind != _IS_BIG:
        return kind, payload
    left = seconds - (time.monotonic() - started)
    with turn_of_big_images:
        return worker.exchange(max(left, 0.001), _GO)


def serve(wanted: dict[str, Any], full: bool, max_pixels: int, seconds: float, lifeline: int) -> None:
    """A worker's life: answer until there are no more questions."""
    preprocessing = Preprocessing(**{key: _tuples(value) for key, value in wanted.items()})
    try:
        questions, answers = begin(lifeline)
        while len(head := questions.read(8)) == 8:
            (length,) = struct.unpack("<Q", head)
            data = questions.read(length)
            if len(data) != length:
                break
            limit = seconds + 10  # the parent is faster, if there is one
            alarm(limit)
            try:
                turn = _turn(questions, answers, limit)
                image, reduced = pixels(data, preprocessing, full=full, max_pixels=max_pixels, turn=turn)
                kind, payload = b"p", bytes([reduced]) + image.tobytes()
            except ImageError as error:
                kind, payload = b"e", f"{error.kind}\0{error}".encode("utf-8", "backslashreplace")
            alarm(0)
            answer(answers, kind, payload)
    except OSError:
        pass  # the parent is gone
    os._exit(0)


def _tuples(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


@contextmanager
def _turn(questions: IO[bytes], answers: IO[bytes], seconds: float) -> Iterator[None]:
    """Entered when the parent says that no other big image is being decoded; the image's answer ends it."""
    alarm(0)
    answer(answers, _IS_BIG)
    if questions.read(1) != _GO:
        os._exit(0)  # the parent is gone
    alarm(seconds)
    yield
