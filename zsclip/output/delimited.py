"""CSV and TSV: the one place that knows how to write them so that every field reads back equal."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from _csv import Writer


class _LineFeeds:
    """Lets rows end in a line feed. Told to the `csv` module, that end would leave a carriage return in a field unquoted,
    and a reader would take it for the end of the row (before Python 3.13)."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, row: str) -> None:
        self._stream.write(row.removesuffix("\r\n") + "\n")


def delimited_rows(stream: TextIO, delimiter: str = ",") -> Writer:
    """A writer of rows that read back equal, whatever is in them."""
    return csv.writer(_LineFeeds(stream), delimiter=delimiter, lineterminator="\r\n")


class _Lines(list[str]):
    """Rows as the `csv` module writes them. With no step of Python's own between: there may be millions."""

    write = list.append


def delimited_text(rows: Iterable[Sequence[str]], delimiter: str = ",") -> str:
    """Rows as text that reads back equal, whatever is in them."""
    lines = _Lines()
    csv.writer(lines, delimiter=delimiter, lineterminator="\r\n").writerows(rows)
    return "".join([line[:-2] + "\n" for line in lines])


def write_csv(stream: TextIO, rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> None:
    """A header and a row each; what is not known is empty. `columns` are the header's where there is no row."""
    out = delimited_rows(stream)
    names = list(rows[0] if rows else columns)
    out.writerow(names)
    out.writerows([f"{row[name]:.6g}" if isinstance(row[name], float) else row[name] for name in names] for row in rows)
