"""The command line in this process, and what it prints."""

from __future__ import annotations

import csv
import io
import logging
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Outcome:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str


class Cli:
    """Runs the command line in this process (torch is imported once), through its real entry point."""

    def __init__(self, capture: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self._capture = capture
        self._monkeypatch = monkeypatch
        self._folder = folder

    def __call__(self, *arguments: str | Path, stdin: bytes = b"") -> Outcome:
        from zsclip.cli import main

        source = self._folder / "stdin"
        source.write_bytes(stdin)
        self._capture.readouterr()
        self._monkeypatch.setattr(sys, "argv", ["zsclip", *map(str, arguments)])
        logger = logging.getLogger("zsclip")
        before = logger.handlers, logger.propagate, logger.level
        with source.open() as file:
            self._monkeypatch.setattr(sys, "stdin", file)
            try:
                main()
                code = 0
            except SystemExit as end:
                code = int(end.code or 0)
            finally:
                logger.handlers, logger.propagate = before[0], before[1]
                logger.setLevel(before[2])
        out, err = self._capture.readouterr()
        return Outcome(code, out.decode("utf-8", "surrogateescape"), err.decode("utf-8", "surrogateescape"))


def rows_of(text: str, delimiter: str = ",") -> list[dict[str, str]]:
    """The rows of CSV or TSV by column."""
    return list(csv.DictReader(io.StringIO(text), delimiter=delimiter))
