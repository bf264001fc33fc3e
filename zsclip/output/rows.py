"""Records (results, matches) as rows in any format, one at a time as they come: the tables `LAYOUTS` x `FORMATS`.

A new kind of record needs a `Layout`, a new format a class with `write` in `FORMATS`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TextIO, TypeVar

from zsclip.output.delimited import delimited_rows
from zsclip.scoring.results import ImageResult, Match

R = TypeVar("R", bound=ImageResult | Match)
R_contra = TypeVar("R_contra", bound=ImageResult | Match, contravariant=True)


class Writer(Protocol[R_contra]):
    """Takes records one by one and writes them at once."""

    def write(self, record: R_contra, /) -> None:
        """Write one record."""


@dataclass(frozen=True)
class Layout(Generic[R]):
    """How records are laid out: the names of their columns, a record's cells as text, and its JSON object."""

    columns: Sequence[str]
    cells: Callable[[R], Sequence[str]]
    document: Callable[[R], dict[str, Any]]


def result_layout(top_k: int, unknown: str | None = None, *, several: bool = False) -> Layout[ImageResult]:
    """Path, label, the best label with its numbers, the runners-up up to `top_k`, error.

    `unknown` is what an abstention is called, if there may be any: only then has the best label a column of its own. With
    `several`, `labels` are all that hold.
    """
    columns = ["path", "label", *([] if unknown is None else ["best_label"]), *(["labels"] if several else [])]
    columns += ["probability", "similarity"]
    for rank in range(2, top_k + 1):
        columns += [f"label_{rank}", f"probability_{rank}", f"similarity_{rank}"]
    columns.append("error")

    def cells(result: ImageResult) -> list[str]:
        row = [result.path, *([] if unknown is None else [shown_label(result, unknown) or ""])]
        for label, probability, similarity in result.predictions[:top_k]:
            row += (label, f"{probability:.6f}", f"{similarity:.6f}")
        if several and result.predictions:
            row.insert(columns.index("labels"), joined_labels(result.labels))
        row += [""] * (len(columns) - 1 - len(row))
        return [*row, result.error or ""]

    def document(result: ImageResult) -> dict[str, Any]:
        return {
            "path": result.path,
            "label": shown_label(result, unknown),
            **({"labels": list(result.labels)} if several else {}),
            "predictions": [
                {"label": p.label, "probability": round(p.probability, 6), "similarity": round(p.similarity, 6)}
                for p in result.predictions
            ],
            "error": result.error,
        }

    return Layout(columns, cells, document)


def _match_cells(match: Match) -> list[str]:
    return [match.path, "" if match.similarity is None else f"{match.similarity:.6f}", match.error or ""]


def _match_document(match: Match) -> dict[str, Any]:
    similarity = None if match.similarity is None else round(match.similarity, 6)
    return {"path": match.path, "similarity": similarity, "error": match.error}


MATCH_LAYOUT: Layout[Match] = Layout(("path", "similarity", "error"), _match_cells, _match_document)


def joined_labels(labels: Sequence[str]) -> str:
    """Labels in one cell, separated by `;`. A `;` or a backslash in a label has a backslash before it."""
    return ";".join(label.replace("\\", "\\\\").replace(";", "\\;") for label in labels)


def shown_label(result: ImageResult, unknown: str | None) -> str | None:
    """The label, with the word for an abstention; None for an image that could not be read."""
    return unknown if result.abstained else result.label


class _DelimitedWriter(Generic[R]):
    """A header, then a row a record; a field with the delimiter, a quote or a line break in it is quoted."""

    def __init__(self, stream: TextIO, layout: Layout[R], delimiter: str) -> None:
        self._rows, self._cells = delimited_rows(stream, delimiter), layout.cells
        self._rows.writerow(layout.columns)

    def write(self, record: R) -> None:
        self._rows.writerow(self._cells(record))


class _JsonlWriter(Generic[R]):
    """One JSON object a line. Bytes of a path that are not UTF-8 come out as lone surrogate escapes (`\\udcff`)."""

    def __init__(self, stream: TextIO, layout: Layout[R]) -> None:
        self._stream, self._document = stream, layout.document

    def write(self, record: R) -> None:
        self._stream.write(json_line(self._document(record)))


class _PathsWriter(Generic[R]):
    """The paths of the images that could be read, one a line or NUL-separated."""

    def __init__(self, stream: TextIO, null: bool) -> None:
        self._stream, self._end = stream, "\0" if null else "\n"

    def write(self, record: R) -> None:
        if record.error is None:
            self._stream.write(record.path + self._end)


FORMATS: dict[str, Callable[[TextIO, Layout[Any], bool], Writer[Any]]] = {
    "csv": lambda stream, layout, null: _DelimitedWriter(stream, layout, ","),
    "tsv": lambda stream, layout, null: _DelimitedWriter(stream, layout, "\t"),
    "jsonl": lambda stream, layout, null: _JsonlWriter(stream, layout),
    "paths": lambda stream, layout, null: _PathsWriter(stream, null),
}
EXTENSIONS = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl"}


def row_writer(format: str, stream: TextIO, layout: Layout[R], *, null: bool = False) -> Writer[R]:
    """A writer of one of the `FORMATS`; with `null`, paths end in NUL."""
    return FORMATS[format](stream, layout, null)


def choose_format(asked: str | None, output: Path | None, on_terminal: bool) -> str:
    """The format asked for; else by the output's extension; else a table on a terminal and CSV elsewhere."""
    if asked:
        return asked
    if output is not None:
        return EXTENSIONS.get(output.suffix.lower(), "csv")
    return "table" if on_terminal else "csv"


def json_line(document: object) -> str:
    """One line of JSON in UTF-8; escaped throughout if there are bytes in it that are no UTF-8, or other ends of lines."""
    line = json.dumps(document, ensure_ascii=False)
    if any("\ud800" <= character <= "\udfff" or character in "\x85\u2028\u2029" for character in line):
        line = json.dumps(document)
    return line + "\n"
