"""The console script and `python -m zsclip`. What ends a run is listened to before anything is imported that takes time.

Ctrl-C, SIGTERM and SIGHUP end the process at once, wherever it is: unfinished outputs are taken away, the terminal's cursor
comes back, the exit code is 130, 143 or 129. No exception is raised for that: raised at a random place, in an import, a
callback or at the end of Python itself, it would come out as a traceback or not at all. What else lies about is made to be
left at any moment: the store (SQLite), moves (`zsclip.output.folders`), worker processes (`zsclip.images.worker_pool`).
"""

import atexit
import gc
import os
import signal
import sys
import threading
import time

TYPE_CHECKING = False  # not from `typing` at run time, which takes longer to import than all that is needed here
if TYPE_CHECKING:
    from collections.abc import Callable

_ending: list[int] = []  # the threads that were told to end the process; the first does
_SIGNALS: list[int] = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


def main() -> None:
    """Run the command line."""
    numbers = _listen()
    # Imports and results make many objects without cycles. Looking for cycles among them took a tenth of the shortest runs and a
    # seventh of one over 100,000 images.
    gc.set_threshold(50_000, 20, 20)
    try:
        _command_line()()
    except SystemExit as end:
        _exit_now(end.code)
        raise
    finally:
        _stop_listening(numbers)


def _command_line() -> "Callable[[], None]":
    try:
        from zsclip.cli import main as run
    except SystemExit as end:
        sys.exit(f"zsclip: error: A library ended the program while it was imported (exit code {end.code}).")
    return run


def _exit_now(code: object) -> None:
    """Run the atexit functions, flush, and end the process without the interpreter's own end, which takes a tenth of a second.

    Returns if Python has something to say there: a message for a code, that its output cannot be written, or a profile.
    """
    if not (code is None or isinstance(code, int)) or sys.getprofile() or sys.gettrace():
        return
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):
        return
    os._exit(code or 0)


def _listen() -> list[int]:
    # What was to be ignored (nohup, a job in the background) stays ignored.
    numbers = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    for number in numbers:
        signal.signal(number, _end)
    if os.name == "posix" and numbers:
        _listen_on_a_thread(numbers)
    return numbers


def _stop_listening(numbers: list[int]) -> None:
    """Let signals end the process by themselves: the thread must not wake up while Python takes itself apart, which crashed.

    Outputs are whole by now.
    """
    for number in numbers:
        signal.signal(number, signal.SIG_DFL)
    if os.name == "posix" and numbers:
        signal.set_wakeup_fd(-1)


def _listen_on_a_thread(numbers: list[int]) -> None:
    """Python's handlers wait until the main thread comes back from what it calls: a forward pass, a lock, a download."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)

    def wait() -> None:
        while True:
            for number in os.read(reader, 16):
                if number in numbers:
                    _end(number)

    threading.Thread(target=wait, daemon=True, name="signals").start()


def _end(number: int, _frame: object = None) -> None:
    me = threading.get_ident()
    _ending.append(me)
    while _ending[0] != me:
        time.sleep(1)
    if _ending.count(me) > 1:
        return  # a second Ctrl-C, in the middle of what follows
    # What is still being imported has nothing to put in order.
    for module, name in (("zsclip.cli.messages", "leave"), ("zsclip.atomic", "remove_unfinished")):
        if put_in_order := getattr(sys.modules.get(module), name, None):
            put_in_order()
    os._exit(128 + number)


if __name__ == "__main__":
    main()
