"""Reading manifests: CSV, TSV or JSON Lines with paths and labels, one of a picture or several."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zsclip.errors import InputError
from zsclip.text.wording import counted, listed

_MOST_BYTES = 500_000_000  # some millions of rows


@dataclass(frozen=True)
class LabelledRow:
    """A row of a manifest, and the line it is on. `checked` says whether somebody looked at the labels."""

    line: int
    path: str
    labels: tuple[str, ...]
    error: str = ""
    checked: bool = False

    @property
    def label(self) -> str:
        """The label where there is but one; empty where there is none."""
        return self.labels[0] if self.labels else ""


class Manifest:
    """A manifest as it is read, counting what it leaves out.

    Labels may be somebody's or predictions. Where there is a column `checked`, those are somebody's that were checked; in
    any other file with probabilities none is. Predictions are left out, or refused, unless `allow_predictions`. With `several`
    a picture may have several labels, in a column `labels` or `label` (of text joined by `;`, of JSON a list) or in several rows, and none.
    """

    def __init__(
        self, path: Path, unknown: str | None, *, allow_predictions: bool = False, several: bool = False
    ) -> None:
        self.path = path
        self.predicted = 0  # labels that are predictions, and taken
        self._unknown = unknown
        self._allow_predictions = allow_predictions
        self._several = several
        self._keys: set[str] = set()  # the columns found
        self._left_out: Counter[str] = Counter()

    def rows(self) -> list[LabelledRow]:
        """The rows that have a label to judge by; raises `InputError`."""
        text = read_text(self.path, "manifest")
        rows = list(self._json_rows(text) if text.lstrip()[:1] == "{" else self._table_rows(text))
        labelled = [row for row in rows if self._is_labelled(row)]
        if "checked" in self._keys:
            predicted = [row for row in labelled if not row.checked]
        elif found := self._keys & {"probability", "predictions"}:
            predicted = labelled
            if not self._allow_predictions:
                raise InputError(
                    f"manifest: its labels are predictions (it has {listed(sorted(found))}): judged by them, prompts look "
                    f"the better the more they agree with what predicted.",
                    where=str(self.path),
                    remedy="Check some in a gallery (`report`) and take its labels.csv; remove the probabilities from a "
                    "file that people labelled; or, to measure agreement: `allow_predictions`.",
                )
        else:
            predicted = []
        if self._allow_predictions:
            self.predicted = len(predicted)
            return labelled
        self._left_out["not checked"] = len(predicted)
        return [row for row in labelled if row.checked] if predicted else labelled

    def distinct(self, rows: Sequence[LabelledRow], start: Path) -> list[tuple[str, str]]:
        """Paths that are taken from `start`, with their labels, each file once.

        Raises `InputError` for a file with two labels.
        """
        seen: dict[str, LabelledRow] = {}
        pairs = []
        for row in rows:
            path = os.path.join(start, row.path) if str(start) != "." else row.path
            first = seen.setdefault(os.path.abspath(path), row)
            if first is row:
                pairs.append((path, row.label))
            elif first.label == row.label:
                self._left_out["repeated"] += 1
            else:
                raise InputError(
                    f"{self.path}:{row.line}: manifest: {row.path} is {row.label!r} here and {first.label!r} on line "
                    f"{first.line}. Leave one of them."
                )
        return pairs

    def joined(self, rows: Sequence[LabelledRow], start: Path) -> dict[str, list[str]]:
        """Paths that are taken from `start`, each file once, with all labels that its rows have."""
        spelled: dict[str, str] = {}
        labels: dict[str, list[str]] = {}
        for row in rows:
            path = os.path.join(start, row.path) if str(start) != "." else row.path
            labels.setdefault(spelled.setdefault(os.path.abspath(path), path), []).extend(row.labels)
        return {path: list(dict.fromkeys(of)) for path, of in labels.items()}

    def notes(self) -> list[str]:
        """What was left out."""
        left_out = [f"{counted(count, 'row')} {why}" for why, count in self._left_out.items() if count]
        return [f"Left out of {self.path.name}: {', '.join(left_out)}."] if left_out else []

    @property
    def remedy(self) -> str:
        """What to do where nothing is left."""
        if not self._left_out["not checked"]:
            return ""
        return "Check some labels in the gallery, or measure agreement with predictions: `allow_predictions`."

    def _is_labelled(self, row: LabelledRow) -> bool:
        if row.error:
            why = "with an error"
        elif not row.path:
            raise InputError(f"{self.path}:{row.line}: manifest: no path in this row.")
        elif not (row.labels or self._several):
            why = "without a label"
        elif self._unknown is not None and self._unknown in row.labels:
            why = f"labelled {self._unknown!r}"
        else:
            return True
        self._left_out[why] += 1
        return False

    def _json_rows(self, text: str) -> Iterator[LabelledRow]:
        for number, line in enumerate(text.split("\n"), 1):
            if not line.strip():
                continue
            try:
                document: Any = json.loads(line)
            except (ValueError, RecursionError) as fault:
                raise InputError(f"{self.path}:{number}: manifest: not JSON: {fault}.") from None
            keys = {key.lower() for key in document} if isinstance(document, dict) else set()
            column = self._column(keys)
            if "path" not in keys or column is None:
                raise InputError(f'{self.path}:{number}: manifest: expected {{"path": …, "label": …}} on each line.')
            document = {key.lower(): value for key, value in document.items()}
            self._keys |= document.keys()
            path, given, error = (document.get(name) for name in ("path", column, "error"))
            labels = given if isinstance(given, list) and self._several else [given or ""]
            if not all(isinstance(one, str) for one in (path, *labels)):
                kind = "its labels" if self._several else "label"
                raise InputError(f"{self.path}:{number}: manifest: path and {kind} must be texts.")
            checked = _is_yes(str(document.get("checked")))
            yield LabelledRow(number, path or "", _named(labels), str(error or ""), checked)

    def _table_rows(self, text: str) -> Iterator[LabelledRow]:
        head = text.split("\n", 1)[0]
        rows = csv_rows(self.path, text, "\t" if "\t" in head else ",")
        _, header = next(rows, (1, []))
        columns = [cell.strip().lower() for cell in header]
        self._keys |= set(columns)
        column = self._column(columns)
        if "path" not in columns or column is None:
            for delimiter in (";", "|"):
                if {"path", "label"} <= {cell.strip().strip('"').lower() for cell in head.split(delimiter)}:
                    raise InputError(
                        f"{self.path}: manifest: its columns are separated by {delimiter!r}. Write it with commas or tabs."
                    )
            raise InputError(
                f"{self.path}: manifest: the first line must name the columns, with path and label among them, "
                f"not: {head.strip()[:80]}"
            )
        place = {name: columns.index(name) for name in ("path", column, "error", "checked") if name in columns}
        for line, row in rows:
            cells = {name: row[at] if at < len(row) else "" for name, at in place.items()}
            error, checked = (cells.get(name, "").strip() for name in ("error", "checked"))
            labels = split_labels(cells[column]) if self._several else [cells[column]]
            yield LabelledRow(line, cells["path"], _named(labels), error, _is_yes(checked))

    def _column(self, columns: Collection[str]) -> str | None:
        """The column of labels."""
        return next((name for name in ("labels", "label")[not self._several :] if name in columns), None)


def split_labels(text: str) -> list[str]:
    r"""The labels in one cell, as `classify` joins them: by `;`, with a backslash before what is none of them.

    >>> split_labels(r"cat;black\;white")
    ['cat', 'black;white']
    """
    return [re.sub(r"\\(.)", r"\1", one) for one in re.findall(r"(?:[^;\\]|\\.|\\$)+", text, re.DOTALL)]


def _named(labels: Iterable[str]) -> tuple[str, ...]:
    stripped = (label.strip() for label in labels)
    return tuple(label for label in stripped if label)


def _is_yes(text: str) -> bool:
    return text.strip().lower() in ("yes", "true", "y", "1")


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
