"""Parquet tables, read row group by row group and page by page: no more than some pictures are in memory."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO

from zsclip.errors import ImageError, missing_extra
from zsclip.images.item import Member, Stamp
from zsclip.images.tables.cells import ChosenColumns
from zsclip.images.tables.table import Table

if TYPE_CHECKING:
    import pyarrow
    import pyarrow.parquet

_BYTES_AT_ONCE = 8_000_000  # of a batch of rows, by what the file says of its columns
_ROWS_AT_ONCE = 1024
_BUFFER = 1 << 20


class ParquetTable(Table):
    """A Parquet file that has pictures in it, or that says where they are.

    Rows that cannot be read say so; those before them and those of other row groups are there.
    """

    def stamp(self) -> Stamp | None:
        """See `Container`."""
        return self.place.stamp()

    def labelled(self) -> Iterator[tuple[str, str | None]]:
        """See `Container`. Pictures are not read."""
        return ((row.name, row.label) for row in self._read(None, with_pictures=False))

    def rows(self, wanted: Collection[int] | None = None) -> Iterator[Member]:
        """See `Table`."""
        return self._read(wanted)

    def row_groups(self) -> list[int]:
        """See `Table`. Raises `InputError` where no column of pictures can be told."""
        with closing(self.place.open_seekable()) as stream, closing(_opened(stream)) as file:
            size = stream.seek(0, 2)
            ChosenColumns.of(self.table, file.schema_arrow, self.columns)
            groups = [_Group(file, number, 0, size) for number in range(file.num_row_groups)]
            # What a group claims beyond all reason is not planned: reading it says so.
            return [len(group.rows) if group.is_credible else 1 for group in groups]

    def _read(self, wanted: Collection[int] | None, *, with_pictures: bool = True) -> Iterator[Member]:
        with closing(self.place.open_seekable()) as stream, closing(_opened(stream)) as file:
            size = stream.seek(0, 2)
            chosen, first = ChosenColumns.of(self.table, file.schema_arrow, self.columns), 0
            chosen = chosen if with_pictures else chosen.beside or chosen
            for number in range(file.num_row_groups):
                group = _Group(file, number, first, size)
                first = group.rows.stop
                if wanted is None or group.has_any(wanted):
                    yield from self._rows_of(group, chosen, wanted)

    def _rows_of(self, group: _Group, chosen: ChosenColumns, wanted: Collection[int] | None) -> Iterator[Member]:
        """The rows of a row group. Where a batch cannot be read, its rows are tried one by one, up to the one that is damaged."""
        at, why = group.rows.start, ""
        for batch_size in (group.batch_size, 1):
            try:
                for start, batch in group.batches(chosen.paths, batch_size):
                    for cells in chosen.cells(batch, at - start) if at < start + len(batch) else ():
                        if wanted is None or at in wanted:
                            yield self.row(at, cells.id or "", cells.label, cells.data, cells.where)
                        at += 1
                if at == group.rows.stop:
                    return
                why = "it ends there"
            except _faults() as error:
                why = _said(error)
        if not group.is_credible:  # else each gets a row that says so
            raise ImageError(
                f"row group {group.number} claims to have {len(group.rows):,} rows, and ends after {at - group.rows.start:,}"
            )
        ids = group.ids(chosen)
        for position in range(at, group.rows.stop):
            if wanted is None or position in wanted:
                why_here = f"row group {group.number} cannot be read from row {at} on: {why}"
                yield self.fault(position, ids.get(position, ""), why_here)


class _Group:
    """A row group, with the positions of its rows.

    What pyarrow's metadata says of its columns is not asked: a file can be such that the process ends there (std::terminate).
    """

    def __init__(self, file: pyarrow.parquet.ParquetFile, number: int, first: int, file_size: int) -> None:
        self._file, self.number = file, number
        metadata = file.metadata.row_group(number)
        if metadata.num_rows < 0:
            raise ImageError(f"row group {number} claims to have {metadata.num_rows:,} rows")
        self.rows = range(first, first + metadata.num_rows)
        self.is_credible = len(self.rows) <= file_size
        # So that the rows of a batch are not too large together.
        self.batch_size = min(
            max(1, _BYTES_AT_ONCE * len(self.rows) // max(1, metadata.total_byte_size)), _ROWS_AT_ONCE
        )

    def has_any(self, wanted: Collection[int]) -> bool:
        """Whether some of the wanted positions are in it."""
        if isinstance(wanted, range):
            return wanted.start < self.rows.stop and self.rows.start < wanted.stop
        return any(position in self.rows for position in wanted)

    def ids(self, chosen: ChosenColumns) -> dict[int, str]:
        """The ids of the rows, by position, as far as they can be read by themselves."""
        found: dict[int, str] = {}
        if chosen.ids is not None:
            alone = replace(chosen, picture=None, labels=None, paths=(chosen.ids.name,))
            with suppress(*_faults()):
                for start, batch in self.batches(alone.paths, _ROWS_AT_ONCE):
                    found.update(enumerate((cells.id or "" for cells in alone.cells(batch)), start))
        return found

    def batches(self, paths: Collection[str], size: int) -> Iterator[tuple[int, pyarrow.RecordBatch]]:
        """Batches of so many rows with some columns, and the position of the first of each."""
        start = self.rows.start
        for batch in self._file.iter_batches(size, [self.number], list(paths), use_threads=False):
            if start + len(batch) > self.rows.stop:
                raise ValueError("it has more rows than it claims")
            yield start, batch
            start += len(batch)


def _opened(stream: BinaryIO) -> pyarrow.parquet.ParquetFile:
    try:
        import pyarrow.parquet
    except ImportError:
        raise missing_extra("Parquet", "pyarrow", "parquet") from None
    try:
        # Without a buffer of its own, a column of a row group is read whole.
        return pyarrow.parquet.ParquetFile(
            stream, pre_buffer=False, buffer_size=_BUFFER, page_checksum_verification=True
        )
    except _faults() as error:
        raise ImageError(f"not a Parquet file that can be read: {_said(error)}") from None


def _faults() -> tuple[type[Exception], ...]:
    """What pyarrow raises for a file that is not as it should be."""
    import pyarrow

    return (pyarrow.ArrowException, OSError, ValueError, MemoryError, OverflowError)


def _said(error: Any) -> str:
    """What pyarrow says, in a line."""
    text = " ".join(str(error).split()).rstrip(".")
    return text if len(text) <= 200 else f"{text[:199]}…"
