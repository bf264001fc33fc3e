"""Decoding in worker processes: a decoder that crashes or hangs takes its worker with it, and the file gets its error.

A worker is this module, run by the same Python with the same `sys.path`. It is asked on its standard input and answers on its
standard output, one image at a time:

    question: length (8 bytes), the file's bytes
    answer:   kind (1 byte), length (8 bytes), payload: b"p" whether reduced (1 byte) and pixels, or b"e" the error's
              kind, a NUL and its text

Before it decodes a big image it answers b"t" without a payload and waits for b"g": big images take turns among all
workers and the threads of the parent, and the time that one waits for its turn is not counted.

However the parent ends, kill -9 included, its workers end: an idle one reads the end of its standard input; a busy one is
killed by the kernel when the other end of its lifeline closes (Linux), or when it wakes up, or by its alarm.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from zsclip.closing import Closing
from zsclip.errors import ImageError, InputError
from zsclip.images.decoding import DEFAULT_MAX_PIXELS, pixels, turn_of_big_images
from zsclip.images.preprocessing import Preprocessing

if TYPE_CHECKING:
    from zsclip.errors import ErrorKind

T = TypeVar("T")

DEFAULT_SECONDS = 60.0
MOST_SECONDS = 86_400.0  # a day; timers bear no more than some hundred years
_START_SECONDS = 60.0
_READY, _GO = b"r", b"g"
_IS_BIG = b"t"
# Not -m, which would look for modules in the current folder first: nothing that lies beside the pictures may run.
_BOOT = """
import json, sys
settings = json.loads(sys.argv[1])
sys.path[:] = settings.pop("path")
from zsclip.images.worker_pool import serve
serve(**settings)
"""


class _EndedError(Exception):
    """A worker that gave no answer, with its exit code."""

    def __init__(self, timed_out: bool, code: int | None) -> None:
        super().__init__(timed_out, code)
        self.timed_out = timed_out
        self.code = code


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
        self._idle: list[_Worker] = []
        self._closed = False

    def __call__(self, data: bytes) -> tuple[NDArray[np.uint8], bool]:
        """A file's bytes as uint8 (height, width, 3), and whether they were decoded at a reduced scale."""
        # Twice, for what breaks a worker may have been the image before.
        for is_last in (False, True):
            worker = self._take()
            try:
                kind, payload = worker.ask(data, self._seconds)
            except _EndedError as end:
                worker.kill()
                if end.timed_out:
                    raise ImageError(f"decoding took longer than {self._seconds:g} s", kind="timeout") from None
                if is_last:
                    raise ImageError(f"its decoder crashed ({_cause(end.code)})") from None
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

    def _take(self) -> _Worker:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return _Worker(self._settings)

    def _give_back(self, worker: _Worker) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append(worker)
                return
        worker.kill()


class _Worker:
    """One process. Raises `InputError` if it does not start."""

    def __init__(self, settings: dict[str, Any]) -> None:
        lifeline, self._lifeline = os.pipe() if os.name == "posix" else (-1, -1)
        command = [sys.executable, "-c", _BOOT, json.dumps({**settings, "path": sys.path, "lifeline": lifeline})]
        try:
            self._process = subprocess.Popen(  # noqa: S603
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                pass_fds=() if lifeline < 0 else (lifeline,),
                start_new_session=True,  # Ctrl-C is the parent's affair
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            )  # fmt: skip
        except OSError as error:
            self._close_lifeline()
            raise InputError(f"no worker process can be started: {error.strerror}.", where="`isolate`") from None
        finally:
            if lifeline >= 0:
                os.close(lifeline)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._questions: IO[bytes] = self._process.stdin
        self._answers: IO[bytes] = self._process.stdout
        try:
            self._within(_START_SECONDS, lambda: self._receive(1))
        except BaseException as error:
            self.kill()
            if isinstance(error, _EndedError):
                code = self._process.returncode
                raise InputError(f"a worker process ended at its start ({_cause(code)}).", where="`isolate`") from None
            raise

    def ask(self, data: bytes, seconds: float) -> tuple[bytes, bytes]:
        """The answer's kind and payload; raises `_EndedError` if there is none within `seconds`."""
        started = time.monotonic()
        kind, payload = self._within(seconds, lambda: self._exchange(struct.pack("<Q", len(data)), data))
        if kind != _IS_BIG:
            return kind, payload
        left = seconds - (time.monotonic() - started)
        with turn_of_big_images:
            return self._within(max(left, 0.001), lambda: self._exchange(_GO))

    def _exchange(self, *questions: bytes) -> tuple[bytes, bytes]:
        try:
            for part in questions:
                self._questions.write(part)
            self._questions.flush()
        except OSError:
            raise _EndedError(False, None) from None
        kind, length = struct.unpack("<cQ", self._receive(9))
        return kind, self._receive(length)

    def kill(self) -> None:
        """End the process, whatever it is doing."""
        self._process.kill()
        self._process.wait()
        self._close_lifeline()
        for pipe in (self._questions, self._answers):
            try:
                pipe.close()
            except OSError:
                continue  # what was not sent yet has no taker

    def _within(self, seconds: float, work: Callable[[], T]) -> T:
        late = threading.Event()

        def end() -> None:
            late.set()
            self._process.kill()

        watch = threading.Timer(seconds, end)
        watch.daemon = True
        watch.start()
        try:
            answer = work()
        except _EndedError:
            raise _EndedError(late.is_set(), self._exit_code()) from None
        finally:
            watch.cancel()
        if late.is_set():  # it was ended while it answered, and can take no more
            raise _EndedError(True, self._exit_code())
        return answer

    def _exit_code(self) -> int:
        try:
            return self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def _receive(self, length: int) -> bytes:
        received = self._answers.read(length)
        if len(received) != length:
            raise _EndedError(False, None)
        return received

    def _close_lifeline(self) -> None:
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1


def _cause(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        return f"{name}, perhaps for want of memory" if name == "SIGKILL" else name
    return f"exit code {code}"


def serve(wanted: dict[str, Any], full: bool, max_pixels: int, seconds: float, lifeline: int) -> None:
    """A worker's life: answer until there are no more questions."""
    _end_with_parent(lifeline)
    _be_the_first_to_go()
    questions, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a library that prints must not garble the answers
    preprocessing = Preprocessing(**{key: _tuples(value) for key, value in wanted.items()})
    try:
        answers.write(_READY)
        answers.flush()
        while len(head := questions.read(8)) == 8:
            (length,) = struct.unpack("<Q", head)
            data = questions.read(length)
            if len(data) != length:
                break
            limit = seconds + 10  # the parent is faster, if there is one
            _alarm(limit)
            try:
                turn = _turn(questions, answers, limit)
                image, reduced = pixels(data, preprocessing, full=full, max_pixels=max_pixels, turn=turn)
                kind, payload = b"p", bytes([reduced]) + image.tobytes()
            except ImageError as error:
                kind, payload = b"e", f"{error.kind}\0{error}".encode("utf-8", "backslashreplace")
            _alarm(0)
            _answer(answers, kind, payload)
    except OSError:
        pass  # the parent is gone
    os._exit(0)


def _tuples(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _answer(answers: IO[bytes], kind: bytes, payload: bytes = b"") -> None:
    answers.write(struct.pack("<cQ", kind, len(payload)) + payload)
    answers.flush()


@contextmanager
def _turn(questions: IO[bytes], answers: IO[bytes], seconds: float) -> Iterator[None]:
    """Entered when the parent says that no other big image is being decoded; the image's answer ends it."""
    _alarm(0)
    _answer(answers, _IS_BIG)
    if questions.read(1) != _GO:
        os._exit(0)  # the parent is gone
    _alarm(seconds)
    yield


def _alarm(seconds: float) -> None:
    """Be killed by the kernel after so long: Python's own signals would wait for the decoder."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)


def _end_with_parent(lifeline: int) -> None:
    if lifeline < 0:
        return
    import fcntl

    if hasattr(fcntl, "F_SETSIG"):  # Linux: the kernel kills, whatever the decoder is doing
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)

    def wait() -> None:
        os.read(lifeline, 1)
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


def _be_the_first_to_go() -> None:
    """Where memory runs out, the system is to end a worker and not the run; and a crash leaves no dump."""
    if os.name != "posix":
        return
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write("1000")
    except OSError:
        pass  # not Linux
