"""Where outputs go: standard output, or a target at which an output is complete or not there at all."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import BinaryIO, Protocol, TextIO, cast

from zsclip import atomic
from zsclip.errors import InputError
from zsclip.images.remote.addresses import address_of
from zsclip.output.cells import printable


class Target(Protocol):
    """A place for one output."""

    def open(self) -> AbstractContextManager[BinaryIO]:
        """A stream whose bytes are the output once the block ends well, and are nowhere else; raises `InputError`."""


@dataclass(frozen=True)
class FileTarget:
    """A file, which is replaced; a pipe or a device, which takes bytes as they come. `setting` named it."""

    path: Path
    setting: str = "output"

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """See `Target`."""
        try:
            with ExitStack() as stack:
                try:
                    stream = stack.enter_context(self._opened())
                except OSError as error:
                    raise self._refusal(error) from None
                yield stream
        except OSError as error:
            if error.filename is None and error.errno is not None:  # else it is about some other file
                raise self._refusal(error) from None
            raise

    def _opened(self) -> AbstractContextManager[BinaryIO]:
        mode = self.path.stat().st_mode if self.path.exists() else stat.S_IFREG
        if stat.S_ISDIR(mode):
            raise InputError("that is a folder.", where=self._where, remedy="Name a file in it.")
        # What a link leads to is replaced, not the link.
        return atomic.new_file(Path(os.path.realpath(self.path))) if stat.S_ISREG(mode) else self.path.open("wb")

    def _refusal(self, error: OSError) -> InputError:
        if isinstance(error, FileNotFoundError):
            missing = f"there is no folder {Path(os.path.realpath(self.path)).parent}."
            return InputError(missing, where=self._where, remedy="Make it first.")
        return InputError(f"cannot be written: {error.strerror}.", where=self._where)

    @property
    def _where(self) -> str:
        return f"`{self.setting}={self.path}`"


def target(output: Path, setting: str = "output") -> Target:
    """The target that an output's name stands for; `setting` is what named it, for messages."""
    if address := address_of(output):
        from zsclip.output.bucket_target import BucketTarget

        return BucketTarget(address, setting)
    return FileTarget(output, setting)


@contextmanager
def open_output(output: Path | None, setting: str = "output") -> Iterator[TextIO]:
    """Standard output for None and `-`, else a target's text; raises `InputError`."""
    if output is not None and str(output) != "-":
        with target(output, setting).open() as binary, text_stream(binary) as stream:
            yield stream
        return
    yield cast("TextIO", _Terminal(sys.stdout)) if sys.stdout.isatty() else sys.stdout
    sys.stdout.flush()


@contextmanager
def text_stream(binary: BinaryIO) -> Iterator[TextIO]:
    """Text as UTF-8, in which bytes of paths that are not UTF-8 come out as they were."""
    stream = TextIOWrapper(binary, encoding="utf-8", errors="surrogateescape", newline="")
    yield stream
    stream.flush()
    stream.detach()


class _Terminal:
    """A terminal on which a file's name cannot move the cursor: control characters come out escaped."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return self._stream.write("".join(c if c in "\n\t" else printable(c) for c in text))

    def flush(self) -> None:
        self._stream.flush()
