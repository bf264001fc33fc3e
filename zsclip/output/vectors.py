"""Unit vectors written for other tools: NumPy's npz, Parquet, JSON Lines. Vectors are not held in memory, but for npz the names are."""

from __future__ import annotations

import json
import logging
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

import numpy as np

from zsclip.errors import InputError
from zsclip.images.remote.addresses import address_of
from zsclip.output.parquet import name_columns, name_fields, require_pyarrow, vector_column
from zsclip.unit_vectors import Floats

if TYPE_CHECKING:
    import pyarrow.parquet


logger = logging.getLogger("zsclip")

_BLOCK = 1 << 20
_GROUP = 32 << 20  # bytes of a row group, before compression
_MOST_NAMES = 256 << 20  # bytes that `names` may take whatever is in it


class VectorWriter(Protocol):
    """Takes names (paths or texts) with their unit vectors."""

    def write(self, names: list[str], vectors: Floats) -> None:
        """Write some rows: `vectors` are float32 (n, d)."""

    def close(self) -> None:
        """Finish the file."""


class NpzWriter:
    """Read by `numpy.load`, without pickle. `vectors` is float32 (n, d); `names` (n,) is text.

    In `names` each takes the room of the longest. `names_utf8` (uint8) and `name_ends` (int64, n) hold the same names
    one after the other: the i-th ends before `name_ends[i]`. Where a few names are so long that `names` would be gigabytes,
    only those are written, with a warning.
    """

    def __init__(self, stream: BinaryIO, dimension: int, folder: Path) -> None:
        self._stream, self._dimension = stream, dimension
        self._names: list[str] = []
        # The number of rows comes before the rows, and is known last. Beside the output, for there must be room for them;
        # the folder for temporary files may be memory.
        self._rows = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115

    def write(self, names: list[str], vectors: Floats) -> None:
        """See `VectorWriter`."""
        self._names += names
        self._rows.write(vectors.astype("<f4").tobytes())

    def close(self) -> None:
        """See `VectorWriter`."""
        count = len(self._names)
        with zipfile.ZipFile(self._stream, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            ends = np.cumsum([len(_utf8(name)) for name in self._names], dtype="<i8")
            total = int(ends[-1]) if count else 0
            width = max(map(len, self._names), default=0) or 1
            if 4 * width * count <= max(_MOST_NAMES, 16 * total):
                _write_array(archive, "names", f"<U{width}", (count,), self._fixed_width(width))
            else:
                logger.warning(
                    "`names` is left out, for one of them has %s characters, and each would take as much room. They are "
                    "in `names_utf8` and `name_ends`.", f"{width:,}",
                )  # fmt: skip
            _write_array(archive, "names_utf8", "|u1", (total,), map(_utf8, self._names))
            _write_array(archive, "name_ends", "<i8", (count,), [ends.tobytes()])
            self._rows.seek(0)
            blocks = iter(lambda: self._rows.read(_BLOCK), b"")
            _write_array(archive, "vectors", "<f4", (count, self._dimension), blocks)
        self._rows.close()

    def _fixed_width(self, width: int) -> Iterator[bytes]:
        at_once = max(1, _BLOCK // (4 * width))
        for start in range(0, len(self._names), at_once):
            yield np.array(self._names[start : start + at_once], f"<U{width}").tobytes()


def _utf8(name: str) -> bytes:
    """A name's bytes; those of a path that are not UTF-8 as they were."""
    return name.encode("utf-8", "surrogateescape")


def _write_array(
    archive: zipfile.ZipFile, name: str, kind: str, shape: tuple[int, ...], blocks: Iterable[bytes]
) -> None:
    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
        np.lib.format.write_array_header_1_0(member, {"descr": kind, "fortran_order": False, "shape": shape})
        for block in blocks:
            member.write(block)


class JsonlVectorWriter:
    """One JSON object a line: name, vector."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def write(self, names: list[str], vectors: Floats) -> None:
        """See `VectorWriter`. Nine digits give each float32 back exactly."""
        for name, vector in zip(names, vectors.tolist(), strict=True):
            numbers = ", ".join(f"{value:.9g}" for value in vector)
            self._stream.write(f'{{"name": {json.dumps(name)}, "vector": [{numbers}]}}\n'.encode())

    def close(self) -> None:
        """See `VectorWriter`."""


class ParquetVectorWriter:
    """Columns `name`, `name_bytes` (of names that are not UTF-8) and `vector`: a list of fixed length of float16, or of float32
    if `exact`. Needs the extra `parquet`.

    Vectors have no dictionary, of which they would share nothing and which takes four times as long to read, and are not compressed.
    Their bytes could be stored apart (BYTE_STREAM_SPLIT), which makes zstd save a fifth: DuckDB does not read that of float16.
    """

    def __init__(self, stream: BinaryIO, dimension: int, *, exact: bool) -> None:
        require_pyarrow()
        import pyarrow
        import pyarrow.parquet

        self._dtype = np.float32 if exact else np.float16
        number = pyarrow.from_numpy_dtype(self._dtype)
        self._schema = pyarrow.schema([*name_fields("name"), ("vector", pyarrow.list_(number, dimension))])
        self._writer: pyarrow.parquet.ParquetWriter = pyarrow.parquet.ParquetWriter(
            stream, self._schema, use_dictionary=False,
            compression={"name": "zstd", "name_bytes": "zstd", "vector.list.element": "none"},
        )  # fmt: skip
        self._waiting: list[pyarrow.RecordBatch] = []

    def write(self, names: list[str], vectors: Floats) -> None:
        """See `VectorWriter`."""
        import pyarrow

        if not names:
            return
        columns = [*name_columns(names), vector_column(vectors, self._dtype)]
        self._waiting.append(pyarrow.RecordBatch.from_arrays(columns, schema=self._schema))
        if sum(batch.nbytes for batch in self._waiting) >= _GROUP:
            self._write_group()

    def close(self) -> None:
        """See `VectorWriter`."""
        self._write_group()
        self._writer.close()

    def _write_group(self) -> None:
        import pyarrow

        if self._waiting:
            self._writer.write_table(pyarrow.Table.from_batches(self._waiting), row_group_size=1 << 30)
            self._waiting = []


VECTOR_WRITERS: dict[str, Callable[[BinaryIO, int, Path, bool], VectorWriter]] = {
    ".npz": lambda stream, dimension, folder, exact: NpzWriter(stream, dimension, folder),
    ".parquet": lambda stream, dimension, folder, exact: ParquetVectorWriter(stream, dimension, exact=exact),
    ".jsonl": lambda stream, dimension, folder, exact: JsonlVectorWriter(stream),
}


def vector_writer(output: Path, *, exact: bool = False) -> Callable[[BinaryIO, int], VectorWriter]:
    """The writer for a file's extension; raises `InputError` for others, and for Parquet without pyarrow.

    Vectors are written as float32, but in Parquet as float16 unless they are to be `exact`: that is how precisely others are kept.
    """
    writer = VECTOR_WRITERS.get(output.suffix.lower())
    if writer is None:
        raise InputError(f"the name must end in one of {', '.join(VECTOR_WRITERS)}.", where=f"`output={output}`")
    if output.suffix.lower() == ".parquet":
        require_pyarrow()
    found, folder = writer, Path(tempfile.gettempdir()) if address_of(output) else output.resolve().parent
    return lambda stream, dimension: found(stream, dimension, folder, exact)
