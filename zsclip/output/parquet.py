"""Rows as Parquet: typed columns, written in row groups as they come; what they were made with is in the file's metadata."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, Generic, Protocol, TypeAlias, TypeVar

import numpy as np

from zsclip.errors import missing_extra

if TYPE_CHECKING:
    import pyarrow

    from zsclip.errors import ErrorKind
    from zsclip.scoring.batches import ImageResults
    from zsclip.scoring.decisions import Decisions
    from zsclip.scoring.results import Match
    from zsclip.unit_vectors import Floats

R_contra = TypeVar("R_contra", contravariant=True)
# What is said in the file's metadata, asked for when all rows are written.
Said: TypeAlias = Callable[[], Mapping[str, object]]

METADATA_KEY = "zsclip"
_ROWS = 16_384  # of a row group
_BYTES = 16_000_000  # at most, before compression
_ERROR_COLUMNS = ("error", "error_kind")


class Columns(Protocol[R_contra]):
    """How records become columns."""

    @property
    def schema(self) -> pyarrow.Schema:
        """The columns and their types."""

    def batch(self, records: R_contra, /) -> pyarrow.RecordBatch:
        """Some records."""


class ParquetRows(Generic[R_contra]):
    """Writes row groups of some ten thousand rows to a stream that need not be able to seek."""

    def __init__(self, stream: BinaryIO, columns: Columns[R_contra], provenance: Said | None = None) -> None:
        require_pyarrow()
        import pyarrow.parquet

        self._columns, self._provenance = columns, provenance
        self._writer = pyarrow.parquet.ParquetWriter(stream, columns.schema, compression="zstd")
        self._waiting: list[pyarrow.RecordBatch] = []

    def write(self, records: R_contra) -> None:
        """See `rows.Writer`."""
        self._waiting.append(self._columns.batch(records))
        if sum(map(len, self._waiting)) >= _ROWS or sum(batch.nbytes for batch in self._waiting) >= _BYTES:
            self._write_group()

    def close(self) -> None:
        """See `rows.Writer`."""
        self._write_group()
        if self._provenance is not None:
            self._writer.add_key_value_metadata({METADATA_KEY: json.dumps(self._provenance())})
        self._writer.close()

    def _write_group(self) -> None:
        import pyarrow

        if self._waiting:
            self._writer.write_table(pyarrow.Table.from_batches(self._waiting), row_group_size=1 << 30)
            self._waiting = []


class ResultColumns:
    """Of results: path, label, the best label where there may be abstentions, its probability and similarity, all predictions.

    `unknown`, `several`, `timed` and `nested` are those of `rows.result_layout`.
    """

    def __init__(self, unknown: str | None, *, several: bool, timed: bool = False, nested: bool = False) -> None:
        import pyarrow

        self._unknown, self._several, self._timed = unknown, several, timed
        text, number = pyarrow.string(), pyarrow.float32()
        prediction = pyarrow.struct([("label", text), ("probability", number), ("similarity", number)])
        self.decided = pyarrow.schema([
            ("label", text),
            *([] if unknown is None else [("best_label", text)]),
            *([("labels", pyarrow.list_(text))] if several else []),
            *([("level", pyarrow.int32()), ("level_probability", number)] if nested else []),
            ("probability", number),
            ("similarity", number),
            ("predictions", pyarrow.list_(prediction)),
        ])  # fmt: skip
        self.schema = pyarrow.schema([
            *name_fields(),
            *self.decided,
            *([("time", pyarrow.float64())] if timed else []),
            *((name, text) for name in _ERROR_COLUMNS),
        ])  # fmt: skip

    def batch(self, results: ImageResults) -> pyarrow.RecordBatch:
        """See `Columns`."""
        import pyarrow

        columns = self.of_decisions(results.decisions)
        if results.errors:
            place, rows = 0, []
            for number in range(len(results)):
                is_read = number not in results.errors
                rows.append(place if is_read else None)
                place += is_read
            chosen = pyarrow.array(rows, pyarrow.int64())
            columns = [column.take(chosen) for column in columns]
        if self._timed:
            columns.append(pyarrow.array([result.time for result in results], pyarrow.float64()))
        errors = [results.errors.get(number, (None, None)) for number in range(len(results))]
        return _record_batch([*name_columns(results.paths), *columns, *error_columns(errors)], self.schema)

    def of_decisions(self, decided: Decisions) -> list[pyarrow.Array]:
        """The columns of `decided`: what is told of pictures that could be read."""
        import pyarrow

        names = pyarrow.array(map(_utf8, decided.names), pyarrow.string())
        best = names.take(pyarrow.array(decided.ranked[:, 0]))
        columns = [best]
        if self._unknown is not None:
            label = best if decided.levels is None else pyarrow.array(map(_utf8, decided.decided), pyarrow.string())
            columns = [pyarrow.compute.if_else(pyarrow.array(decided.abstained), self._unknown, label), best]
        if self._several:
            holds = decided.holds if decided.holds is not None else np.zeros((len(decided), len(names)), bool)
            columns.append(_lists(holds.sum(axis=1), names.take(pyarrow.array(np.nonzero(holds)[1]))))
        if (levels := decided.levels) is not None:
            is_none = levels.level == 0
            columns.append(pyarrow.array(levels.level, pyarrow.int32(), mask=is_none))
            columns.append(pyarrow.array(levels.probability.astype(np.float32), mask=is_none))
        columns += [_floats(decided.probability[:, 0]), _floats(decided.similarity[:, 0])]
        told = decided.told
        kept = np.arange(decided.ranked.shape[1]) < told[:, None]
        predictions = pyarrow.StructArray.from_arrays(
            [
                names.take(pyarrow.array(decided.ranked[kept])),
                _floats(decided.probability[kept]),
                _floats(decided.similarity[kept]),
            ],
            ["label", "probability", "similarity"],
        )
        columns.append(_lists(told, predictions))
        return columns


class MatchColumns:
    """Of matches: path and similarity, and if `timed` the time of a video's best frame."""

    def __init__(self, *, timed: bool = False) -> None:
        import pyarrow

        self._timed = timed
        time = [("time", pyarrow.float64())] if timed else []
        columns = [("similarity", pyarrow.float32()), *time, *((name, pyarrow.string()) for name in _ERROR_COLUMNS)]
        self.schema = pyarrow.schema([*name_fields(), *columns])

    def batch(self, matches: Sequence[Match]) -> pyarrow.RecordBatch:
        """See `Columns`."""
        import pyarrow

        similarity = pyarrow.array([match.similarity for match in matches], pyarrow.float32())
        time = [pyarrow.array([match.time for match in matches], pyarrow.float64())] if self._timed else []
        errors = error_columns([(match.error, match.error_kind) for match in matches])
        return _record_batch(
            [*name_columns([match.path for match in matches]), similarity, *time, *errors], self.schema
        )


class ErrorColumns:
    """Of pictures that could not be read: path, and the error with its kind."""

    def __init__(self) -> None:
        import pyarrow

        self.schema = pyarrow.schema([*name_fields(), *((name, pyarrow.string()) for name in _ERROR_COLUMNS)])

    def batch(self, errors: Sequence[tuple[str, str, ErrorKind | None]]) -> pyarrow.RecordBatch:
        """See `Columns`."""
        columns = error_columns([(error, kind) for _, error, kind in errors])
        return _record_batch([*name_columns([path for path, _, _ in errors]), *columns], self.schema)


def require_pyarrow() -> None:
    """Raise `InputError` without pyarrow."""
    try:
        import pyarrow.compute
        import pyarrow.parquet  # noqa: F401
    except ImportError:
        raise missing_extra("Parquet", "pyarrow", "parquet") from None


def name_columns(names: Sequence[str]) -> list[pyarrow.Array]:
    """Names as text, and as bytes those that are not UTF-8, which text in Parquet must be: there they have replacement characters."""
    import pyarrow

    try:
        return [pyarrow.array(names, pyarrow.string()), pyarrow.nulls(len(names), pyarrow.binary())]
    except UnicodeEncodeError:
        pass
    exact = [name.encode("utf-8", "surrogateescape") for name in names]
    text = [data.decode("utf-8", "replace") for data in exact]
    kept = [data if data != shown.encode() else None for data, shown in zip(exact, text, strict=True)]
    return [pyarrow.array(text, pyarrow.string()), pyarrow.array(kept, pyarrow.binary())]


def vector_column(vectors: Floats, dtype: type[np.floating[Any]]) -> pyarrow.Array:
    """Unit vectors (n, d) as a column of lists of fixed length, of numbers of that type."""
    import pyarrow

    flat = pyarrow.array(np.ascontiguousarray(vectors, dtype).ravel())
    return pyarrow.FixedSizeListArray.from_arrays(flat, vectors.shape[1])


def error_columns(errors: Sequence[tuple[str | None, ErrorKind | None]]) -> list[pyarrow.Array]:
    """Errors and their kinds; null where there is none."""
    import pyarrow

    said = [None if error is None else _utf8(error) for error, _ in errors]
    return [pyarrow.array(said, pyarrow.string()), pyarrow.array([kind for _, kind in errors], pyarrow.string())]


def name_fields(name: str = "path") -> list[tuple[str, Any]]:
    """The columns of names, with their types."""
    import pyarrow

    return [(name, pyarrow.string()), (f"{name}_bytes", pyarrow.binary())]


def _utf8(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _floats(values: np.ndarray[Any, Any]) -> pyarrow.Array:
    import pyarrow

    return pyarrow.array(values.astype(np.float32))


def _lists(lengths: np.ndarray[Any, Any], values: pyarrow.Array) -> pyarrow.Array:
    import pyarrow

    return pyarrow.ListArray.from_arrays(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32), values)


def _record_batch(columns: list[pyarrow.Array], schema: pyarrow.Schema) -> pyarrow.RecordBatch:
    import pyarrow

    return pyarrow.RecordBatch.from_arrays(columns, schema=schema)
