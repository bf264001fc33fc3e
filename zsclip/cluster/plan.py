"""The plan of a run: its pictures cut into numbered parts while they are listed, kept as Parquet beside the results.

Parts stand in segments, a part a row group: 1, 1, 2, 4, ... 128 parts, then 256 each, so that work begins with the first
pictures that are listed and a hundred thousand parts are four hundred files. A segment is there whole or not at all; `plan.json`, written
last, says that the plan is complete.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

from zsclip.cluster.results import ResultFolder
from zsclip.errors import ImageError, InputError
from zsclip.images.container import Container
from zsclip.images.listing import Piece
from zsclip.images.siblings import Siblings
from zsclip.images.sources import Finder, Source
from zsclip.images.tables.rows import Elsewhere, NoPicture
from zsclip.images.tables.table import Table
from zsclip.images.videos import Video

if TYPE_CHECKING:
    import pyarrow
    import pyarrow.parquet

    from zsclip.errors import ErrorKind

PLAN = "_zsclip/plan"
COMPLETE = "_zsclip/plan.json"
_MOST_IN_SEGMENT = 256
_VIDEOS = 16  # in a part: each is many pictures
_LARGE_ROW_GROUPS = 4  # parts; a larger one is cut


@dataclass(frozen=True, slots=True)
class Slice:
    """Some pictures of a part that follow each other: one picture, or a container (archive, table, video) or some rows of a table.

    `path` leads to it like an input; `typed` says that the user typed it, so that it may lead into private networks. A picture that a
    table names has a `name` of its own. A picture that cannot be had has an `error`.
    """

    path: str
    typed: bool = False
    name: str | None = None
    rows: tuple[int, int] | None = None  # the first, and the one after the last
    error: tuple[str, ErrorKind] | None = None


Part = list[Slice]


@dataclass(frozen=True)
class Extent:
    """How much was planned."""

    parts: int
    slices: int
    part_size: int


def cut(finder: Finder, part_size: int) -> Iterator[Part]:
    """The pictures that a finder finds as parts: archives and row groups of tables by themselves, else `part_size` pictures or 16
    videos together. Raises `InputError` where a table has no column of pictures.
    """
    waiting, room = Part(), 1.0
    for path, source, piece in finder.found():
        for some, share in _slices(path, source, piece, finder.is_typed(path), part_size):
            if share >= 1:
                yield [some]
                continue
            waiting.append(some)
            room -= share
            if room < share / 2:
                yield waiting
                waiting, room = Part(), 1.0
    if waiting:
        yield waiting


def _slices(path: str, source: Source, piece: Piece, typed: bool, part_size: int) -> Iterator[tuple[Slice, float]]:
    """A piece as slices, each with its share of a part."""
    one = 1 / part_size
    if isinstance(piece, Siblings):
        yield from ((Slice(file, typed), one) for file in piece.paths)
        return
    is_large = isinstance(piece, Container) and not source.is_one
    # What was found in a folder or under a prefix is called by its name, what was named itself by what was typed: that may have
    # secrets, which names have not.
    where = path if source.is_one or (is_large and not source.of_files) else piece.name
    if is_large and isinstance(piece, Table):
        yield from _of_table(where, piece, typed, part_size)
    elif is_large and isinstance(piece, Video):
        yield Slice(where, typed), max(one, 1 / _VIDEOS)
    else:
        yield Slice(where, typed), 1.0 if is_large else one


def _of_table(path: str, table: Table, typed: bool, part_size: int) -> Iterator[tuple[Slice, float]]:
    """The rows of a table: in ranges where it can be read from any row group on, else where each of their pictures is."""
    try:
        spans = table.row_groups()
        if spans is not None:
            yield from ((Slice(path, typed, rows=rows), 1.0) for rows in _together(spans, part_size))
            return
        with closing(cast("Any", table.members())) as members:
            for member in members:
                if isinstance(member, Elsewhere):
                    yield Slice(member.where, name=member.name), 1 / part_size
                else:
                    assert isinstance(member, NoPicture)
                    error = member.error
                    yield Slice(path, typed, member.name, error=(str(error), error.kind)), 1 / part_size
    except ImageError as error:
        yield Slice(path, typed, table.name, error=(str(error), error.kind)), 1 / part_size


def _together(spans: Iterable[int], part_size: int) -> Iterator[tuple[int, int]]:
    """Row groups of so many rows as ranges of about a part: small ones together, large ones cut."""
    start = end = 0
    for rows in spans:
        if rows > _LARGE_ROW_GROUPS * part_size:
            if end > start:
                yield start, end
            for first in range(end, end + rows, part_size):
                yield first, min(first + part_size, end + rows)
            start = end = end + rows
            continue
        if end > start and end - start + rows > part_size:
            yield start, end
            start = end
        end += rows
    if end > start:
        yield start, end


def segment_of(part: int) -> tuple[int, int, int]:
    """The number of the segment with a part, the first part in it, and how many it can have."""
    if part < _MOST_IN_SEGMENT:
        number = part.bit_length()
        first = 1 << (number - 1) if number else 0
        return number, first, max(1, first)
    number = part // _MOST_IN_SEGMENT
    return number + _MOST_IN_SEGMENT.bit_length() - 1, number * _MOST_IN_SEGMENT, _MOST_IN_SEGMENT


class Plan:
    """The plan in a folder of results, read and written a segment at a time."""

    def __init__(self, results: ResultFolder) -> None:
        self._results = results
        self._opened: tuple[int, pyarrow.parquet.ParquetFile] | None = None

    def extent(self) -> Extent | None:
        """How much was planned; None while the plan is not complete."""
        data = self._results.read(COMPLETE)
        return None if data is None else Extent(**json.loads(data))

    def part(self, number: int) -> Part:
        """A part; raises `InputError` where it cannot be read."""
        segment, first, _ = segment_of(number)
        try:
            if self._opened is None or self._opened[0] != segment:
                self._opened = segment, self._open(segment)
            table = self._opened[1].read_row_group(number - first, use_threads=False)
        except (OSError, ValueError, IndexError) as error:
            raise InputError(
                f"part {number} of the plan cannot be read: {error}.", where=self._results.path(_file(segment)),
                remedy="`restart` begins anew.",
            ) from None  # fmt: skip
        return _as_part(table)

    def write(
        self, parts: Iterable[Part], part_size: int, planned: Callable[[int], None], redo: Callable[[int], None]
    ) -> Extent:
        """Write a plan of all parts, however much of one is there. `planned` is told how many parts can be begun.

        Where a part is another than an interrupted listing made of it, `redo` is called with its number, before it is replaced.
        """
        source, number, slices, self._opened = iter(parts), 0, 0, None
        ahead = 0  # the first part of the next segment
        while number == ahead:
            segment, first, most = segment_of(number)
            made = self._write_segment(segment, first, islice(source, most), redo)
            if not made:
                break
            number, slices, ahead = number + len(made), slices + sum(made), first + most
            planned(number)
        self._remove_from(ahead, redo)
        extent = Extent(number, slices, part_size)
        self._results.put(COMPLETE, json.dumps(extent.__dict__).encode())
        return extent

    def _write_segment(self, segment: int, first: int, parts: Iterator[Part], redo: Callable[[int], None]) -> list[int]:
        """Write a segment; how many slices each part has. Nothing is written without any part."""
        import pyarrow.parquet

        head = next(parts, None)
        if head is None:
            return []
        former = self._digests(segment)
        sizes, digests = list[int](), list[str]()
        with self._results.write(_file(segment)) as stream:
            with pyarrow.parquet.ParquetWriter(stream, _schema(), compression="zstd") as writer:
                part: Part | None = head
                while part is not None:
                    table, digest = _as_table(part)
                    writer.write_table(table, row_group_size=1 << 30)
                    sizes.append(len(part))
                    digests.append(digest)
                    part = next(parts, None)
                writer.add_key_value_metadata({"zsclip": json.dumps(digests)})
            for place in range(max(len(former), len(digests))) if former else ():
                if former[place : place + 1] != digests[place : place + 1]:
                    redo(first + place)
        return sizes

    def _remove_from(self, part: int, redo: Callable[[int], None]) -> None:
        """Remove the segments from a part on, of an interrupted listing that found more. The last goes first: what is there of a plan is
        there from its beginning.
        """
        former = list[tuple[int, int, int]]()
        while count := len(self._digests(segment_of(part)[0])):
            segment, first, most = segment_of(part)
            former.append((segment, first, count))
            part = first + most
        for segment, first, count in reversed(former):
            for place in range(count):
                redo(first + place)
            self._results.remove(_file(segment))

    def _digests(self, segment: int) -> list[str]:
        try:
            with closing(self._open(segment)) as file:
                return list(json.loads(file.metadata.metadata[b"zsclip"]))
        except FileNotFoundError:
            return []
        except (OSError, ValueError, KeyError):  # not of ours any more: whatever was made by it is made again
            return [""] * _MOST_IN_SEGMENT

    def _open(self, segment: int) -> pyarrow.parquet.ParquetFile:
        import pyarrow.parquet

        return pyarrow.parquet.ParquetFile(self._results.open(_file(segment)), pre_buffer=False)


def _file(segment: int) -> str:
    return f"{PLAN}/segment-{segment:05d}.parquet"


def _schema() -> pyarrow.Schema:
    import pyarrow

    return pyarrow.schema([
        ("path", pyarrow.binary()),  # need not be UTF-8
        ("typed", pyarrow.bool_()),
        ("name", pyarrow.binary()),
        ("first", pyarrow.int64()),
        ("stop", pyarrow.int64()),
        ("error", pyarrow.string()),
        ("error_kind", pyarrow.string()),
    ])  # fmt: skip


def _as_table(part: Part) -> tuple[pyarrow.Table, str]:
    """A part as a table, and its digest."""
    import pyarrow

    columns: list[list[Any]] = [
        [_encoded(one.path) for one in part],
        [one.typed for one in part],
        [None if one.name is None else _encoded(one.name) for one in part],
        [one.rows and one.rows[0] for one in part],
        [one.rows and one.rows[1] for one in part],
        [one.error and one.error[0].encode("utf-8", "replace").decode() for one in part],
        [one.error and one.error[1] for one in part],
    ]
    digest = hashlib.sha256(repr(columns).encode()).hexdigest()[:32]
    return pyarrow.table([pyarrow.array(values, field.type) for values, field in zip(columns, _schema(), strict=True)],
                         schema=_schema()), digest  # fmt: skip


def _as_part(table: pyarrow.Table) -> Part:
    columns = [column.to_pylist() for column in table.columns]
    return [
        Slice(
            _decoded(path), typed, None if name is None else _decoded(name),
            None if first is None else (first, stop), None if error is None else (error, kind),
        )
        for path, typed, name, first, stop, error, kind in zip(*columns, strict=True)
    ]  # fmt: skip


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _decoded(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
