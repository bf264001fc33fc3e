"""Unit vectors written for other tools: NumPy's npz, Parquet, JSON Lines. Vectors are not held in memory, but for npz the names are."""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

import numpy as np

from zsclip.errors import InputError
from zsclip.unit_vectors import Floats

if TYPE_CHECKING:
    import pyarrow.parquet


class VectorWriter(Protocol):
    """Takes names (paths or texts) with their unit vectors."""

    def write(self, names: list[str], vectors: Floats) -> None:
        """Write some rows: `vectors` are float32 (n, d)."""

    def close(self) -> None:
        """Finish the file."""


class NpzWriter:
    """`names` (n,) as text and `vectors` (n, d) float32, read by `numpy.load`."""

    def __init__(self, stream: BinaryIO, dimension: int) -> None:
        self._stream, self._dimension = stream, dimension
        self._names: list[str] = []
        # The number of rows comes before the rows, and is known last.
        self._rows = tempfile.TemporaryFile()  # noqa: SIM115

    def write(self, names: list[str], vectors: Floats) -> None:
        """See `VectorWriter`."""
        self._names += names
        self._rows.write(vectors.astype("<f4").tobytes())

    def close(self) -> None:
        """See `VectorWriter`."""
        with zipfile.ZipFile(self._stream, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            names = BytesIO()
            np.save(names, np.array(self._names, dtype=np.str_))
            archive.writestr("names.npy", names.getvalue())
            header = {"descr": "<f4", "fortran_order": False, "shape": (len(self._names), self._dimension)}
            with archive.open("vectors.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array_header_1_0(member, header)
                self._rows.seek(0)
                while block := self._rows.read(1 << 20):
                    member.write(block)
        self._rows.close()


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


class ParquetWriter:
    """Columns `name` and `vector` (a list of float32 of fixed length); needs the extra `parquet`."""

    def __init__(self, stream: BinaryIO, dimension: int) -> None:
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError:
            raise InputError("Parquet needs pyarrow. Install it with: pip install 'zsclip[parquet]'") from None
        self._dimension = dimension
        self._schema = pyarrow.schema(
            [("name", pyarrow.string()), ("vector", pyarrow.list_(pyarrow.float32(), dimension))]
        )
        self._writer: pyarrow.parquet.ParquetWriter = pyarrow.parquet.ParquetWriter(stream, self._schema)

    def write(self, names: list[str], vectors: Floats) -> None:
        """See `VectorWriter`. Bytes of a name that are not UTF-8 become question marks: Parquet's text is UTF-8."""
        import pyarrow

        flat = pyarrow.array(np.ascontiguousarray(vectors, np.float32).ravel())
        column = pyarrow.FixedSizeListArray.from_arrays(flat, self._dimension)
        safe = [name.encode("utf-8", "replace").decode() for name in names]
        self._writer.write_table(pyarrow.Table.from_arrays([pyarrow.array(safe), column], schema=self._schema))

    def close(self) -> None:
        """See `VectorWriter`."""
        self._writer.close()


VECTOR_WRITERS: dict[str, Callable[[BinaryIO, int], VectorWriter]] = {
    ".npz": NpzWriter,
    ".parquet": ParquetWriter,
    ".jsonl": lambda stream, dimension: JsonlVectorWriter(stream),
}


def vector_writer(output: Path) -> Callable[[BinaryIO, int], VectorWriter]:
    """The writer for a file's extension; raises `InputError` for others."""
    writer = VECTOR_WRITERS.get(output.suffix.lower())
    if writer is None:
        raise InputError(f"the name must end in one of {', '.join(VECTOR_WRITERS)}.", where=f"`output={output}`")
    return writer
