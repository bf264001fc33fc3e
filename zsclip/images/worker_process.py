"""Processes that decode: this one starts them, asks and waits; and what one of them does with its own life.

A process is a function of a module (`serve`), run by the same Python with the same `sys.path`. It is asked on its standard input and
answers on its standard output; an answer is a kind (1 byte), a length (8 bytes) and as many bytes.

However the parent ends, kill -9 included, its workers end: an idle one reads the end of its standard input; a busy one is
killed by the kernel when the other end of its lifeline closes (Linux), or when it wakes up, or by its alarm.
"""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import IO, Any, TypeVar

from zsclip.errors import InputError

T = TypeVar("T")

_START_SECONDS = 60.0
_READY = b"r"
# Not -m, which would look for modules in the current folder first: nothing that lies beside the pictures may run.
_BOOT = """
import json, sys
settings = json.loads(sys.argv[1])
sys.path[:] = settings.pop("path")
from {module} import serve
serve(**settings)
"""


class EndedError(Exception):
    """A worker gave no answer, with its exit code."""

    def __init__(self, timed_out: bool, code: int | None) -> None:
        super().__init__(timed_out, code)
        self.timed_out = timed_out
        self.code = code


class Worker:
    """One process, which runs `serve` of that module with these settings. Raises `InputError` if it does not start."""

    def __init__(self, module: str, settings: dict[str, Any]) -> None:
        lifeline, self._lifeline = os.pipe() if os.name == "posix" else (-1, -1)
        boot = _BOOT.format(module=module)
        command = [sys.executable, "-c", boot, json.dumps({**settings, "path": sys.path, "lifeline": lifeline})]
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
            if isinstance(error, EndedError):
                code = self._process.returncode
                raise InputError(f"a worker process ended at its start ({cause(code)}).", where="`isolate`") from None
            raise

    def exchange(self, seconds: float, *questions: bytes) -> tuple[bytes, bytes]:
        """The kind and payload of the answer; raises `EndedError` if there is none within `seconds`."""
        return self._within(seconds, lambda: self._exchange(*questions))

    def _exchange(self, *questions: bytes) -> tuple[bytes, bytes]:
        try:
            for part in questions:
                self._questions.write(part)
            self._questions.flush()
        except OSError:
            raise EndedError(False, None) from None
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
            received = work()
        except EndedError:
            raise EndedError(late.is_set(), self._exit_code()) from None
        finally:
            watch.cancel()
        if late.is_set():  # it was ended while it answered, and can take no more
            raise EndedError(True, self._exit_code())
        return received

    def _exit_code(self) -> int:
        try:
            return self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def _receive(self, length: int) -> bytes:
        received = self._answers.read(length)
        if len(received) != length:
            raise EndedError(False, None)
        return received

    def _close_lifeline(self) -> None:
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1


def cause(code: int | None) -> str:
    """What an exit code says of the end of a worker."""
    if code is not None and code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        return f"{name}, perhaps for want of memory" if name == "SIGKILL" else name
    return f"exit code {code}"


def begin(lifeline: int) -> tuple[IO[bytes], IO[bytes]]:
    """A worker's first deed: the streams of its questions and its answers."""
    _end_with_parent(lifeline)
    _be_the_first_to_go()
    questions, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a library that prints must not garble the answers
    answers.write(_READY)
    answers.flush()
    return questions, answers


def answer(answers: IO[bytes], kind: bytes, payload: bytes = b"") -> None:
    """Let a worker answer."""
    answers.write(struct.pack("<cQ", kind, len(payload)) + payload)
    answers.flush()


def alarm(seconds: float) -> None:
    """Let a worker be killed by the kernel after so long: Python's own signals would wait for the decoder."""
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
