"""Which files are tables, by their names, and how each kind is read."""

from __future__ import annotations

import os
from collections.abc import Iterator

from zsclip.images.folders import PassedOver, Search, Walk
from zsclip.images.opening import Opening
from zsclip.images.places import place
from zsclip.images.tables.delimited import DelimitedList, JsonList
from zsclip.images.tables.parquet import ParquetTable
from zsclip.images.tables.table import Table, split_row

# What the parts of a table in a folder are called.
PARTS = frozenset({".parquet"})
_KINDS: dict[str, type[Table]] = {
    **dict.fromkeys(PARTS, ParquetTable),
    ".csv": DelimitedList,
    ".tsv": DelimitedList,
    ".jsonl": JsonList,
    ".ndjson": JsonList,
}


def is_table(path: str) -> bool:
    """Whether that is the name of a table."""
    return _kind(path) is not None


def is_row(path: str) -> bool:
    """Whether a path is that of a row of a table that is there (`train.parquet#17`), and of no file."""
    name, row = _table_and_row(path)
    return row is not None and ("://" in name or os.path.lexists(name))


def open_table(path: str, opening: Opening, *, typed: bool = True) -> Table:
    """The table of that name, or the row of one; nothing is read yet. `typed`: the name comes from the user and not out of data."""
    name, row = _table_and_row(path)
    return (_kind(name) or ParquetTable)(name, opening, row, place(name, opening, typed=typed))


def parts_in(folder: str, search: Search, opening: Opening) -> Iterator[Table]:
    """The Parquet files in a folder that is searched like any other, in order: the parts of a data set."""
    for piece in Walk(folder, search, PassedOver(), PARTS).pieces():
        for path in [piece] if isinstance(piece, str) else piece.paths:
            yield ParquetTable(path, opening)


def _kind(name: str) -> type[Table] | None:
    if "://" in name:
        name = name.partition("?")[0]
    return _KINDS.get(os.path.splitext(name)[1].lower())


def _table_and_row(path: str) -> tuple[str, int | None]:
    """A file that is called so itself comes first."""
    name, row = split_row(path)
    if row is not None and _kind(name) is not None and not os.path.lexists(path):
        return name, row
    return path, None
