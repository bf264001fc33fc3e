"""Text files read with line numbers, so that a message can say where they were wrong."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from zsclip.errors import ZsclipError

MAX_BYTES = 20_000_000


@dataclass(frozen=True)
class Text:
    """A text in a file, and its line (from 1)."""

    value: str
    line: int

    @property
    def number(self) -> float:
        """The number it is; NaN if it is none."""
        try:
            return float(self.value)
        except ValueError:
            return math.nan


@dataclass(frozen=True)
class TextFile:
    """A file of text. `error` is the class raised for whatever is wrong with it; `what` names it in messages."""

    path: Path
    what: str
    error: type[ZsclipError]

    def fail(self, line: int | None, message: str) -> ZsclipError:
        """The error to raise, with file, line and what the file is."""
        return self.error(f"{self.what}: {message}", where=f"{self.path}:{line}" if line else f"{self.path}")

    def read(self) -> str:
        """The file's text (UTF-8, with or without a byte order mark), at most `MAX_BYTES`; raises `error`."""
        try:
            with open(self.path, "rb") as file:  # a pipe has no size to ask for
                data = file.read(MAX_BYTES + 1)
        except (OSError, ValueError) as error:
            raise self.fail(None, f"{getattr(error, 'strerror', None) or error}.") from None
        if len(data) > MAX_BYTES:
            raise self.fail(None, f"larger than {MAX_BYTES // 1_000_000} MB, which no such file needs.")
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise self.fail(data[: error.start].count(b"\n") + 1, f"not UTF-8 text (byte {error.start}).") from None

    def require_distinct(self, texts: Iterable[Text], what: str) -> None:
        """Raise `error` for an empty text and for a repeated one, with both lines."""
        seen: dict[str, int] = {}
        for text in texts:
            if not text.value:
                raise self.fail(text.line, f"{what} is empty.")
            if text.value in seen:
                raise self.fail(
                    text.line, f"{text.value!r} stands here again; it was on line {seen[text.value]} already."
                )
            seen[text.value] = text.line
