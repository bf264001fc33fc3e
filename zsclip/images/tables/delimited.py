"""Lists of paths or addresses: CSV, TSV and JSON Lines, read as they come."""

from __future__ import annotations

import csv
import json
from abc import abstractmethod
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing
from io import BufferedReader, TextIOWrapper
from itertools import chain
from typing import Any, BinaryIO, TextIO, cast

from zsclip.errors import ImageError
from zsclip.images.item import Member
from zsclip.images.tables.columns import Column, column_called, picture_column
from zsclip.images.tables.table import Table

_MOST_IN_A_LINE = 10_000_000  # characters
_MARKS = ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"), (b"\xef\xbb\xbf", "utf-8-sig"))


class PictureList(Table):
    """A table of text, in which pictures are named. What it names has stamps of its own: no list of it is kept."""

    def rows(self, wanted: Collection[int] | None = None) -> Iterator[Member]:
        """See `Table`. Text is UTF-8 or, with its byte order mark, UTF-16; bytes that are not UTF-8 stay what they are, as
        they occur in paths."""
        with closing(self.place.open()) as binary:
            stream = _text(binary)
            try:
                yield from self._rows(self.records(stream), wanted)
            except UnicodeError as error:
                raise ImageError(f"its text cannot be read: {error}") from None

    @abstractmethod
    def records(self, stream: TextIO) -> Iterator[Mapping[str, Any] | str]:
        """The rows by column, or what is wrong with one. Raises `ImageError` where there can be no next."""

    def _rows(self, records: Iterator[Mapping[str, Any] | str], wanted: Collection[int] | None) -> Iterator[Member]:
        before: list[str] = []  # what is wrong with the rows before the first that tells the columns
        for first in records:
            if not isinstance(first, str):
                break
            before.append(first)
        else:
            yield from (self.fault(position, "", why) for position, why in enumerate(before))
            return
        picture, ids, labels = self._chosen(first)
        for position, record in enumerate(chain(before, [first], records)):
            if wanted is not None and position not in wanted:
                continue
            if isinstance(record, str):
                yield self.fault(position, "", record)
                continue
            where = record.get(picture)
            if where is not None and not isinstance(where, str):
                yield self.fault(position, _name(record, ids), f"{picture}: neither a path nor an address")
                continue
            yield self.row(position, _name(record, ids), _name(record, labels) or None, None, where)

    def _chosen(self, first: Mapping[str, Any]) -> tuple[str, str | None, str | None]:
        columns = [
            Column(name, _type(value), "text" if isinstance(value, str) else "other") for name, value in first.items()
        ]
        asked = self.columns
        if asked.picture is None and len(columns) == 1 and columns[0].kind == "text":
            picture = columns[0].name
        elif asked.picture is not None and first.get(asked.picture, "") is None:
            picture = asked.picture  # of which the first row happens to have none
        else:
            picture = picture_column(self.table, columns, asked.picture).name
        for named, setting in ((asked.ids, "id_column"), (asked.labels, "label_column")):
            if named is not None:
                column_called(self.table, columns, named, setting)
        return picture, asked.ids, asked.labels


class DelimitedList(PictureList):
    """CSV and TSV. The first line names the columns; rows are counted without it and without empty lines."""

    def records(self, stream: TextIO) -> Iterator[Mapping[str, Any] | str]:
        """See `PictureList`."""
        head = stream.readline(_MOST_IN_A_LINE)
        tab = self.table.lower().partition("?")[0].endswith(".tsv")
        rows = csv.reader(chain([head], _bounded(stream)), delimiter="\t" if tab else _delimiter(head))
        try:
            header = [cell.strip() for cell in next(rows, [])]
            first = {name: place for place, name in reversed(list(enumerate(header)))}  # of a name that is there twice
            for row in rows:
                if row:
                    yield {name: row[place] if place < len(row) else "" for name, place in first.items()}
        except csv.Error as error:
            raise ImageError(f"line {rows.line_num}: not CSV: {error}") from None


class JsonList(PictureList):
    """JSON Lines: an object a line. Empty lines do not count."""

    def records(self, stream: TextIO) -> Iterator[Mapping[str, Any] | str]:
        """See `PictureList`."""
        for number, line in enumerate(_bounded(stream), 1):
            if not line.strip():
                continue
            try:
                document = json.loads(line)
            except (ValueError, RecursionError) as fault:
                yield f"line {number}: not JSON: {fault}"
                continue
            yield document if isinstance(document, dict) else f"line {number}: not a JSON object"


def _text(binary: BinaryIO) -> TextIO:
    reader = binary if isinstance(binary, BufferedReader) else BufferedReader(cast(Any, binary))
    start = reader.peek(4)[:4]
    encoding = next((name for mark, name in _MARKS if start.startswith(mark)), "utf-8")
    errors = "surrogateescape" if encoding.startswith("utf-8") else "strict"
    return TextIOWrapper(reader, encoding, errors, newline="")


def _bounded(stream: TextIO) -> Iterator[str]:
    """Lines, none of which fills the memory."""
    number = 0
    while line := stream.readline(_MOST_IN_A_LINE):
        number += 1
        if len(line) == _MOST_IN_A_LINE and not line.endswith("\n"):
            raise ImageError(f"line {number}: longer than {_MOST_IN_A_LINE // 10**6} million characters")
        yield line


def _delimiter(head: str) -> str:
    """What separates the columns, as the header shows: a comma where it has any."""
    return next((one for one in ",;\t" if one in head), ",")


def _name(record: Mapping[str, Any], column: str | None) -> str:
    value = record.get(column) if column is not None else None
    return "" if value is None or isinstance(value, (dict, list)) else str(value).strip()


def _type(value: object) -> str:
    return {str: "text", dict: "object", list: "list", type(None): "null"}.get(type(value), type(value).__name__)
