"""Records (results, matches) as rows in any format, some at a time as they come: a `Layout` x the table `FORMATS`.

A new kind of record needs a `Layout`, a new format a class with `write` and `close` in `FORMATS`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any, Generic, Protocol, TextIO, TypeVar

from zsclip.output.delimited import delimited_text
from zsclip.output.parquet import Columns, MatchColumns, ParquetRows, ResultColumns, Said, require_pyarrow
from zsclip.scoring.batches import ImageResults
from zsclip.scoring.decisions import Decisions
from zsclip.scoring.results import ImageResult, Match

# What comes at once: results of some images, or some matches.
B = TypeVar("B", bound=ImageResults | Sequence[Match])
B_contra = TypeVar("B_contra", bound=ImageResults | Sequence[Match], contravariant=True)


class Writer(Protocol[B_contra]):
    """Takes some records at a time and writes them at once."""

    def write(self, records: B_contra, /) -> None:
        """Write them."""

    def close(self) -> None:
        """All are written: end the output, whose stream stays open."""


@dataclass(frozen=True)
class Layout(Generic[B]):
    """How records are laid out: the names of their columns, their rows as text, the JSON object of each, and typed columns."""

    columns: Sequence[str]
    rows: Callable[[B], Iterable[Sequence[str]]]
    documents: Callable[[B], Iterable[dict[str, Any]]]
    typed: Callable[[], Columns[B]]


def result_layout(
    top_k: int, unknown: str | None = None, *, several: bool = False, timed: bool = False, nested: bool = False
) -> Layout[ImageResults]:
    """Path, label, the best label with its numbers, the runners-up up to `top_k`, error.

    `unknown` is what an abstention is called, if there may be any: only then has the best label a column of its own. With
    `several`, `labels` are all that hold; `timed`, `time` is that of a pooled video's best frame; `nested`, `level` is that of the label.
    """
    columns = ["path", "label", *([] if unknown is None else ["best_label"]), *(["labels"] if several else [])]
    columns += [*(["level"] if nested else []), "probability", "similarity"]
    for rank in range(2, top_k + 1):
        columns += [f"label_{rank}", f"probability_{rank}", f"similarity_{rank}"]
    columns += ["time", "error"] if timed else ["error"]

    def rows(results: ImageResults) -> Iterable[Sequence[str]]:
        decided = _decision_columns(results.decisions, top_k, unknown, several=several)
        if timed:
            read = (place for place in range(len(results.paths)) if place not in results.errors)
            decided.append([_seconds(results.times.get(place)) for place in read])
        if not results.errors:
            return zip(results.paths, *decided, repeat(""))
        cells = zip(*decided, strict=True)
        return [
            (path, *next(cells), "")
            if place not in results.errors
            else (path, *[""] * len(decided), results.errors[place][0])
            for place, path in enumerate(results.paths)
        ]

    def document(result: ImageResult) -> dict[str, Any]:
        return {
            "path": result.path,
            "label": shown_label(result, unknown),
            **({"labels": list(result.labels)} if several else {}),
            **(_level(result) if nested else {}),
            "predictions": [
                {"label": p.label, "probability": round(p.probability, 6), "similarity": round(p.similarity, 6)}
                for p in result.predictions
            ],
            **({"time": result.time} if timed else {}),
            "error": result.error,
            "error_kind": result.error_kind,
        }

    typed = partial(ResultColumns, unknown, several=several, timed=timed, nested=nested)
    return Layout(columns, rows, lambda results: map(document, results), typed)


def _level(result: ImageResult) -> dict[str, Any]:
    chance = result.level_probability
    return {"level": result.level, "level_probability": None if chance is None else round(chance, 6)}


def _decision_columns(decisions: Decisions, top_k: int, unknown: str | None, *, several: bool) -> list[Sequence[str]]:
    """The columns between path and error, as text: whole columns, for thousands of known images come at once."""
    ranks = [[decisions.names[n] for n in decisions.ranked[:, rank].tolist()] for rank in range(top_k)]
    columns: list[Sequence[str]] = []
    if unknown is not None:
        shown = zip(decisions.decided, decisions.abstained.tolist(), strict=True)
        columns.append([unknown if abstained else decided for decided, abstained in shown])
    for rank, labels in enumerate(ranks):
        columns.append(labels)
        if rank == 0 and several:
            columns.append([joined_labels(labels) for labels in decisions.labels])
        if rank == 0 and decisions.levels is not None:
            columns.append([str(level or "") for level in decisions.levels.level.tolist()])
        columns.append([f"{probability:.6f}" for probability in decisions.probability[:, rank].tolist()])
        columns.append([f"{similarity:.6f}" for similarity in decisions.similarity[:, rank].tolist()])
    return columns


def _seconds(time: float | None) -> str:
    return "" if time is None else f"{time:.3f}"


def match_layout(*, timed: bool = False) -> Layout[Sequence[Match]]:
    """Path, similarity, error; `timed`, before the last, the time of a pooled video's best frame."""

    def cells(match: Match) -> list[str]:
        similarity = "" if match.similarity is None else f"{match.similarity:.6f}"
        return [match.path, similarity, *([_seconds(match.time)] if timed else []), match.error or ""]

    def document(match: Match) -> dict[str, Any]:
        similarity = None if match.similarity is None else round(match.similarity, 6)
        time = {"time": match.time} if timed else {}
        said = {"error": match.error, "error_kind": match.error_kind}
        return {"path": match.path, "similarity": similarity, **time, **said}

    columns = ("path", "similarity", *(["time"] if timed else []), "error")
    return Layout(
        columns,
        lambda matches: map(cells, matches),
        lambda matches: map(document, matches),
        partial(MatchColumns, timed=timed),
    )


MATCH_LAYOUT = match_layout()


def joined_labels(labels: Sequence[str]) -> str:
    """Labels in one cell, separated by `;`. A `;` or a backslash in a label has a backslash before it."""
    return ";".join(label.replace("\\", "\\\\").replace(";", "\\;") for label in labels)


def shown_label(result: ImageResult, unknown: str | None) -> str | None:
    """The label, with the word for an abstention; None for an image that could not be read."""
    return unknown if result.abstained else result.label


class _TextWriter(Generic[B]):
    """Text that is complete after each row."""

    def close(self) -> None:
        """See `Writer`."""


class _DelimitedWriter(_TextWriter[B]):
    """A header, then a row a record; a field with the delimiter, a quote or a line break in it is quoted."""

    def __init__(self, stream: TextIO, layout: Layout[B], delimiter: str) -> None:
        self._stream, self._rows, self._delimiter = stream, layout.rows, delimiter
        stream.write(delimited_text([layout.columns], delimiter))

    def write(self, records: B) -> None:
        self._stream.write(delimited_text(self._rows(records), self._delimiter))


class _JsonlWriter(_TextWriter[B]):
    """One JSON object a line. Bytes of a path that are not UTF-8 come out as lone surrogate escapes (`\\udcff`)."""

    def __init__(self, stream: TextIO, layout: Layout[B]) -> None:
        self._stream, self._documents = stream, layout.documents

    def write(self, records: B) -> None:
        self._stream.write("".join(map(json_line, self._documents(records))))


class _PathsWriter(_TextWriter[B]):
    """The paths of the images that could be read, one a line or NUL-separated."""

    def __init__(self, stream: TextIO, null: bool) -> None:
        self._stream, self._end = stream, "\0" if null else "\n"

    def write(self, records: B) -> None:
        self._stream.write("".join(record.path + self._end for record in records if record.error is None))


def _parquet_writer(stream: TextIO, layout: Layout[B], provenance: Said | None) -> Writer[B]:
    require_pyarrow()
    stream.flush()
    return ParquetRows(stream.buffer, layout.typed(), provenance)


FORMATS: dict[str, Callable[[TextIO, Layout[Any], bool, Said | None], Writer[Any]]] = {
    "csv": lambda stream, layout, null, provenance: _DelimitedWriter(stream, layout, ","),
    "tsv": lambda stream, layout, null, provenance: _DelimitedWriter(stream, layout, "\t"),
    "jsonl": lambda stream, layout, null, provenance: _JsonlWriter(stream, layout),
    "parquet": lambda stream, layout, null, provenance: _parquet_writer(stream, layout, provenance),
    "paths": lambda stream, layout, null, provenance: _PathsWriter(stream, null),
}
EXTENSIONS = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}


def row_writer(
    format: str, stream: TextIO, layout: Layout[B], *, null: bool = False, provenance: Said | None = None
) -> Writer[B]:
    """A writer of one of the `FORMATS`; with `null`, paths end in NUL. Parquet says `provenance` in its metadata."""
    return FORMATS[format](stream, layout, null, provenance)


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
