"""The files of a part: its pictures with their vectors, and those that could not be read. Each says in its metadata what is in it.

`part-00042.parquet` is written last: a part that has it is done.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from zsclip.cluster.results import ResultFolder
from zsclip.errors import InputError
from zsclip.output.failed import PASSING
from zsclip.output.parquet import METADATA_KEY, ErrorColumns

if TYPE_CHECKING:
    from types import TracebackType

    import pyarrow
    import pyarrow.parquet

    from zsclip.errors import ErrorKind

_PART = re.compile(r"part-(\d{5,})\.parquet")
_GROUP_BYTES = 32 << 20
_ROWS_AT_ONCE = 16_384


def part_name(number: int) -> str:
    """The file of a part's rows."""
    return f"part-{number:05d}.parquet"


def errors_name(number: int) -> str:
    """The file of what could not be read of a part; there is none where all could."""
    return f"errors-{number:05d}.parquet"


def done_parts(results: ResultFolder) -> Iterator[int]:
    """The numbers of the parts that are there."""
    for name in results.names():
        if found := _PART.fullmatch(name):
            yield int(found[1])


@dataclass(frozen=True)
class Tally:
    """What is in a part: rows, errors by kind, and a digest of names and vectors (without these, labels)."""

    rows: int
    errors: Mapping[str, int] = field(default_factory=dict)
    digest: str = ""

    @property
    def may_pass(self) -> int:
        """How many of its errors may have passed."""
        return sum(count for kind, count in self.errors.items() if kind in PASSING)


@dataclass(frozen=True, slots=True)
class Error:
    """A picture of a part that could not be read."""

    place: int
    path: str
    error: str
    kind: ErrorKind | None


class PartWriter:
    """Writes a part as it is made; `close` commits it, and leaving the block without it leaves nothing.

    `said` is the metadata that all parts of a run have. `again`: the part is there, with other errors perhaps.
    """

    def __init__(self, results: ResultFolder, number: int, said: Mapping[str, Any], *, again: bool = False) -> None:
        self._results, self._number, self._said, self._again = results, number, said, again
        # Apart, for batches are of other sizes each time.
        self._names, self._told = hashlib.sha256(), hashlib.sha256()
        self._rows = 0
        self._is_closed = False
        self._errors: list[Error] = []
        self._waiting: list[pyarrow.Table] = []
        self._writer: pyarrow.parquet.ParquetWriter | None = None
        self._stack = ExitStack()

    def __enter__(self) -> PartWriter:
        self._stream = self._stack.enter_context(self._results.write(part_name(self._number)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._is_closed:
            self._stack.__exit__(kind or RuntimeError, error or RuntimeError("the part was not closed"), trace)

    def add(self, batch: pyarrow.RecordBatch) -> None:
        """Rows in order: `path`, `path_bytes`, `place` and what else there is, with `vector` last, or without it."""
        import pyarrow

        self._rows += len(batch)
        names = [name.encode("utf-8", "surrogateescape") for name in names_of(batch)]
        self._names.update(b"\0".join([*names, b""]))
        if "vector" in batch.schema.names:
            self._told.update(vectors_of(batch).data)
        else:
            self._told.update("\0".join([*batch.column("label").to_pylist(), ""]).encode())
        self._waiting.append(pyarrow.Table.from_batches([batch]))
        if sum(table.nbytes for table in self._waiting) >= _GROUP_BYTES:
            self._write_group()

    def add_errors(self, errors: list[Error]) -> None:
        """What could not be read."""
        self._errors += errors

    def close(self, schema: pyarrow.Schema) -> Tally:
        """Write both files, the errors first. `schema` is that of the rows, of which there may be none."""
        if self._writer is None and not self._waiting:
            self._waiting.append(schema.empty_table())
        self._write_group()
        assert self._writer is not None
        by_kind = Counter(one.kind or "other" for one in self._errors)
        digest = hashlib.sha256(self._names.digest() + self._told.digest()).hexdigest()
        tally = Tally(self._rows, dict(sorted(by_kind.items())), digest)
        said = {**self._said, "part": self._number, **tally.__dict__}
        self._writer.add_key_value_metadata({METADATA_KEY: json.dumps(said)})
        self._writer.close()
        if self._again:  # its rows beside the new errors would pass for a part that is done
            self._results.remove(part_name(self._number))
        self._write_errors(said)
        self._is_closed = True
        self._stack.close()
        return tally

    def _write_group(self) -> None:
        import pyarrow
        import pyarrow.parquet

        if not self._waiting:
            return
        table = pyarrow.concat_tables(self._waiting)
        if self._writer is None:
            # Unit vectors have nothing that would compress or repeat.
            plain = {"vector.list.element": "none"} if "vector" in table.schema.names else {}
            self._writer = pyarrow.parquet.ParquetWriter(
                self._stream, table.schema,
                use_dictionary=[name for name in ("label", "best_label") if name in table.schema.names],
                compression={**dict.fromkeys(_leaves(table.schema), "zstd"), **plain},
            )  # fmt: skip
        self._writer.write_table(table, row_group_size=1 << 30)
        self._waiting = []

    def _write_errors(self, said: Mapping[str, Any]) -> None:
        import pyarrow
        import pyarrow.parquet

        if not self._errors:
            self._results.remove(errors_name(self._number))
            return
        batch = ErrorColumns().batch([(one.path, one.error, one.kind) for one in self._errors])
        places = pyarrow.array([one.place for one in self._errors], pyarrow.int32())
        table = pyarrow.Table.from_batches([batch]).add_column(2, "place", places)
        table = table.replace_schema_metadata({METADATA_KEY: json.dumps(said)})
        with self._results.write(errors_name(self._number)) as stream:
            pyarrow.parquet.write_table(table, stream, compression="zstd")


def vectors_of(batch: pyarrow.RecordBatch) -> np.ndarray[Any, Any]:
    """The column of vectors as it is kept: float32 or float16 (n, d)."""
    column = batch.column("vector")
    flat = column.flatten().to_numpy(zero_copy_only=False)
    return np.ascontiguousarray(flat).reshape(len(batch), column.type.list_size)


def read_tally(results: ResultFolder, number: int) -> Tally:
    """What a part says of itself; raises `InputError` where it is none."""
    with closing(_open(results, part_name(number))) as file:
        return _tally(results, number, file)


def read_part(results: ResultFolder, number: int) -> tuple[pyarrow.Table, list[Error]]:
    """A part's rows and its errors; raises `InputError`.

    Where the part was done again and that was killed between its two files, the errors are not those of the rows, or are none.
    """
    with closing(_open(results, part_name(number))) as file:
        return file.read(use_threads=False), read_errors(results, number)


def read_errors(results: ResultFolder, number: int) -> list[Error]:
    """What could not be read of a part, in order; raises `InputError`."""
    if not read_tally(results, number).errors or errors_name(number) not in results:
        return []
    with closing(_open(results, errors_name(number))) as file:
        table = file.read(use_threads=False)
    others = (table.column(name).to_pylist() for name in ("place", "error", "error_kind"))
    return [Error(place, path, error, kind) for path, place, error, kind in zip(names_of(table), *others, strict=True)]


def read_rows(results: ResultFolder, number: int, columns: Sequence[str]) -> Iterator[pyarrow.RecordBatch]:
    """Some columns of a part's rows, some rows at a time, in order; raises `InputError`. The next are read on a thread meanwhile."""
    with closing(_read_rows(results, number, columns)) as rows, ThreadPoolExecutor(1, "rows") as thread:
        coming = thread.submit(next, rows, None)
        while (batch := coming.result()) is not None:
            coming = thread.submit(next, rows, None)
            yield batch


def _read_rows(
    results: ResultFolder, number: int, columns: Sequence[str]
) -> Generator[pyarrow.RecordBatch, None, None]:
    import pyarrow

    with closing(_open(results, part_name(number))) as file:
        try:
            yield from file.iter_batches(_ROWS_AT_ONCE, columns=list(columns), use_threads=False)
        except (OSError, pyarrow.ArrowException) as error:
            raise InputError(f"cannot be read: {error}.", where=results.path(part_name(number))) from None


def read_schema(results: ResultFolder, number: int) -> pyarrow.Schema:
    """The columns of a part's rows; raises `InputError`."""
    with closing(_open(results, part_name(number))) as file:
        return file.schema_arrow


def names_of(rows: pyarrow.RecordBatch | pyarrow.Table) -> list[str]:
    """The pictures' names, exactly."""
    names: list[str] = rows.column("path").to_pylist()
    exact = rows.column("path_bytes")
    if exact.null_count < len(rows):
        for place, name in enumerate(exact.to_pylist()):
            if name is not None:
                names[place] = name.decode("utf-8", "surrogateescape")
    return names


def _tally(results: ResultFolder, number: int, file: pyarrow.parquet.ParquetFile) -> Tally:
    try:
        said = json.loads(file.metadata.metadata[METADATA_KEY.encode()])
        return Tally(said["rows"], said["errors"], said["digest"])
    except (KeyError, TypeError, ValueError):
        raise InputError("not a part that zsclip wrote.", where=results.path(part_name(number))) from None


def _open(results: ResultFolder, name: str) -> pyarrow.parquet.ParquetFile:
    import pyarrow
    import pyarrow.parquet

    try:
        return pyarrow.parquet.ParquetFile(results.open(name), pre_buffer=False)
    except (OSError, pyarrow.ArrowException) as error:
        raise InputError(f"cannot be read: {error}.", where=results.path(name)) from None


def _leaves(schema: pyarrow.Schema) -> list[str]:
    """The columns as Parquet names them."""
    import pyarrow

    named = []
    for field_ in schema:
        if field_.name == "vector":
            continue
        if pyarrow.types.is_list(field_.type):
            inner = field_.type.value_type
            start = f"{field_.name}.list.element"
            named += [f"{start}.{one.name}" for one in inner] if pyarrow.types.is_struct(inner) else [start]
        else:
            named.append(field_.name)
    return named
