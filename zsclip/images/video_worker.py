"""Videos decoded in a worker process, one each: a decoder that crashes or hangs takes the process with it, and the video gets its error.

The worker opens no file. What it wants to read of the video it asks the parent for, which has it open, wherever it is:

    first question:  JSON of what is wanted and how long the file is, its own length before it (8 bytes)
    answers:         b"r" offset and length (8 bytes each), to be answered with as many bytes, or fewer at the end, their number before
                     them (8 bytes); b"f" a frame: its time, width and height (8 bytes each) and RGB pixels, or the error in their place;
                     b"e" the error that ends the video (its kind, a NUL and its text); b"z" that it is at its end
    after a frame:   b"g", when the next one is wanted

The time limit is one frame's, and counts what is read for it.
"""

from __future__ import annotations

import dataclasses
import io
import json
import os
import struct
import time
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any, BinaryIO, cast

from PIL import Image

from zsclip.errors import ImageError
from zsclip.images.video_frames import Frame, Sampling, frames
from zsclip.images.worker_process import EndedError, Worker, alarm, answer, begin, cause

if TYPE_CHECKING:
    from zsclip.errors import ErrorKind

_READ, _FRAME, _ERROR, _END, _GO = b"r", b"f", b"e", b"z", b"g"
_MOST_READ = 1 << 24


def isolated_frames(file: BinaryIO, sampling: Sampling, max_pixels: int, seconds: float) -> Iterator[Frame]:
    """As `video_frames.frames`, in a process of its own, each frame within `seconds`; raises `InputError` if none can be started."""
    worker = Worker(__name__, {"max_pixels": max_pixels, "seconds": seconds})
    try:
        length = file.seek(0, os.SEEK_END)
        asked = json.dumps({**dataclasses.asdict(sampling), "length": length}).encode()
        question, last = struct.pack("<Q", len(asked)) + asked, 0
        while True:
            try:
                kind, payload = _next(worker, file, question, seconds)
            except EndedError as end:
                after = f" after {last / 1_000_000:.3f} s" if last else ""
                if end.timed_out:
                    raise ImageError(
                        f"decoding a frame{after} took longer than {seconds:g} s", kind="timeout"
                    ) from None
                raise ImageError(f"its decoder crashed{after} ({cause(end.code)})") from None
            if kind == _END:
                return
            if kind == _ERROR:
                error_kind, _, text = payload.decode().partition("\0")
                raise ImageError(text, kind=cast("ErrorKind", error_kind))
            frame = _frame(payload)
            last, question = frame.time, _GO
            yield frame
    finally:
        worker.kill()


def _next(worker: Worker, file: BinaryIO, question: bytes, seconds: float) -> tuple[bytes, bytes]:
    """The next answer that is no wish to read."""
    until = time.monotonic() + seconds
    while True:
        kind, payload = worker.exchange(max(until - time.monotonic(), 0.001), question)
        if kind != _READ:
            return kind, payload
        offset, length = struct.unpack("<QQ", payload)
        file.seek(min(offset, (1 << 63) - 1))
        data = file.read(min(length, _MOST_READ))
        question = struct.pack("<Q", len(data)) + data


def _frame(payload: bytes) -> Frame:
    at, width, height = struct.unpack_from("<QQQ", payload)
    rest = payload[24:]
    if not width:
        return Frame(at, None, rest.decode())
    return Frame(at, Image.frombuffer("RGB", (width, height), rest, "raw", "RGB", 0, 1))


class _Asked(io.RawIOBase):
    """In the worker: the file, as the parent reads it."""

    def __init__(self, questions: IO[bytes], answers: IO[bytes], length: int) -> None:
        self._questions, self._answers = questions, answers
        self._length, self._at = length, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._length}[whence]
        self._at = max(0, start + offset)
        return self._at

    def read(self, size: int = -1, /) -> bytes:
        wanted = min(max(0, self._length - self._at), _MOST_READ if size < 0 else size)
        if not wanted:
            return b""
        answer(self._answers, _READ, struct.pack("<QQ", self._at, wanted))
        data = _received(self._questions)
        self._at += len(data)
        return data


def _received(questions: IO[bytes]) -> bytes:
    head = questions.read(8)
    if len(head) < 8:
        os._exit(0)  # the parent is gone
    (length,) = struct.unpack("<Q", head)
    return questions.read(length)


def serve(max_pixels: int, seconds: float, lifeline: int) -> None:
    """A worker's life: one video."""
    try:
        questions, answers = begin(lifeline)
        asked: dict[str, Any] = json.loads(_received(questions))
        times, length = asked.pop("times"), asked.pop("length")
        sampling = Sampling(**asked, times=None if times is None else tuple(times))
        limit = seconds + 10  # the parent is faster, if there is one
        alarm(limit)
        try:
            for frame in frames(cast("BinaryIO", _Asked(questions, answers, length)), sampling, max_pixels):
                alarm(0)
                answer(answers, _FRAME, _packed(frame))
                if questions.read(1) != _GO:
                    os._exit(0)
                alarm(limit)
            answer(answers, _END)
        except ImageError as error:
            answer(answers, _ERROR, f"{error.kind}\0{error}".encode("utf-8", "backslashreplace"))
        except MemoryError:
            answer(answers, _ERROR, b"too_large\0too large for the memory there is")
        questions.read(1)  # until the parent ends it
    except OSError:
        pass  # the parent is gone
    os._exit(0)


def _packed(frame: Frame) -> bytes:
    if frame.image is None:
        return struct.pack("<QQQ", frame.time, 0, 0) + frame.error.encode("utf-8", "backslashreplace")
    return struct.pack("<QQQ", frame.time, *frame.image.size) + frame.image.tobytes()
