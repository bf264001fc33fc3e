"""Reading manifests: CSV, TSV or JSON Lines with paths and labels."""

from __future__ import annotations

import csv
import io
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zsclip.errors import InputError
from zsclip.text.wording import counted

logger = logging.getLogger("zsclip")

_MOST_BYTES = 500_000_000  # some millions of rows


class Manifest:
    """A manifest as it is read, counting what it leaves out."""

    def __init__(self, path: Path, unknown: str | None) -> None:
        self.path = path
        self._unknown = unknown
        self._keys: set[str] = set()  # the columns found
        self._errors = self._unlabelled = self._undecided = self._repeated = 0

    def pairs(self) -> list[tuple[str, str]]:
        """Paths and labels, without those left out; raises `InputError`."""
        text = read_text(self.path, "manifest")
        rows = self._json_rows(text) if text.lstrip()[:1] == "{" else self._table_rows(text)
        seen: dict[str, tuple[str, str, int]] = {}
        for line, path, label, error in rows:
            if error:
                self._errors += 1
            elif not path:
                raise InputError(f"{self.path}:{line}: manifest: no path in this row.")
            elif not label:
                self._unlabelled += 1
            elif label == self._unknown:
                self._undecided += 1
            elif (key := os.path.normpath(path)) not in seen:
                seen[key] = (path, label, line)
            elif seen[key][1] == label:
                self._repeated += 1
            else:
                _, other, where = seen[key]
                raise InputError(
                    f"{self.path}:{line}: manifest: {path} is {label!r} here and {other!r} on line {where}. "
                    f"Leave one of them."
                )
        if self._keys & {"probability", "predictions"} and "checked" not in self._keys:
            logger.warning("%s: its labels are predictions: sets that agree with them look right.", self.path)
        return [(path, label) for path, label, _ in seen.values()]

    def notes(self) -> list[str]:
        """What was left out."""
        counts = (
            (self._errors, "with an error"),
            (self._unlabelled, "without a label"),
            (self._undecided, f"labelled {self._unknown!r}"),
            (self._repeated, "repeated"),
        )
        left_out = [f"{counted(count, 'row')} {what}" for count, what in counts if count]
        return [f"Left out of {self.path.name}: {', '.join(left_out)}."] if left_out else []

    def _json_rows(self, text: str) -> Iterator[tuple[int, str, str, str]]:
        for number, line in enumerate(text.split("\n"), 1):
            if not line.strip():
                continue
            try:
                document: Any = json.loads(line)
            except (ValueError, RecursionError) as fault:
                raise InputError(f"{self.path}:{number}: manifest: not JSON: {fault}.") from None
            if not isinstance(document, dict) or "path" not in document or "label" not in document:
                raise InputError(f'{self.path}:{number}: manifest: expected {{"path": …, "label": …}} on each line.')
            self._keys |= document.keys()
            path, label, error = (document.get(name) for name in ("path", "label", "error"))
            if not isinstance(path, str) or not isinstance(label, (str, type(None))):
                raise InputError(f"{self.path}:{number}: manifest: path and label must be texts.")
            yield number, path, (label or "").strip(), str(error or "")

    def _table_rows(self, text: str) -> Iterator[tuple[int, str, str, str]]:
        head = text.split("\n", 1)[0]
        rows = csv_rows(self.path, text, "\t" if "\t" in head else ",")
        _, header = next(rows, (1, []))
        columns = [cell.strip().lower() for cell in header]
        self._keys |= set(columns)
        if "path" not in columns or "label" not in columns:
            for delimiter in (";", "|"):
                if {"path", "label"} <= {cell.strip().strip('"').lower() for cell in head.split(delimiter)}:
                    raise InputError(
                        f"{self.path}: manifest: its columns are separated by {delimiter!r}. Write it with commas or tabs."
                    )
            raise InputError(
                f"{self.path}: manifest: the first line must name the columns, with path and label among them, "
                f"not: {head.strip()[:80]}"
            )
        place = {name: columns.index(name) for name in ("path", "label", "error") if name in columns}
        for line, row in rows:
            cells = {name: row[at] if at < len(row) else "" for name, at in place.items()}
            yield line, cells["path"], cells["label"].strip(), cells.get("error", "").strip()


def csv_rows(path: Path, text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Rows that are not empty, with the number of their last line; raises `InputError`."""
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        for row in rows:
            if any(cell.strip() for cell in row):
                yield rows.line_num, row
    except csv.Error as error:
        raise InputError(f"{path}:{rows.line_num}: not CSV: {error}.") from None


def read_text(path: Path, what: str) -> str:
    """A file's text; bytes that are not UTF-8 stay what they are, for they occur in paths. Raises `InputError`."""
    try:
        with open(path, "rb") as file:  # a pipe has no size to ask for
            is_larger = os.fstat(file.fileno()).st_size > _MOST_BYTES
            data = b"" if is_larger else file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path}: {what}: {error.strerror}.") from None
    if is_larger or len(data) > _MOST_BYTES:
        raise InputError(f"{path}: {what}: larger than {_MOST_BYTES // 10**6} MB. Split it.")
    return data.decode("utf-8-sig", "surrogateescape")
