"""The cells of a Parquet table that make a row: picture or place, id, label."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from zsclip.images.tables.columns import Column, TableColumns, column_called, picture_column
from zsclip.images.tables.schema import columns_of

if TYPE_CHECKING:
    import pyarrow


@dataclass(frozen=True)
class Cells:
    """What a row says: the bytes of a picture or where it is, its id and its label, as far as there are any."""

    data: bytes | None
    where: str | None
    id: str | None
    label: str | None


@dataclass(frozen=True)
class ChosenColumns:
    """The columns of pictures, ids and labels; `paths` are these, or of a struct the parts that are needed, as Parquet names them."""

    picture: Column | None
    ids: Column | None
    labels: Column | None
    paths: tuple[str, ...]

    @classmethod
    def of(cls, table: str, schema: pyarrow.Schema, asked: TableColumns) -> ChosenColumns:
        """Those that are asked for, and the pictures' in any case; raises `InputError`."""
        columns = columns_of(schema)
        picture = picture_column(table, columns, asked.picture)
        ids = asked.ids and column_called(table, columns, asked.ids, "id_column")
        labels = asked.labels and column_called(table, columns, asked.labels, "label_column")
        paths = [f"{picture.name}.{part}" for part in picture.parts] or [picture.name]
        paths += [one.name for one in (ids, labels) if one]
        return cls(picture, ids or None, labels or None, tuple(dict.fromkeys(paths)))

    @property
    def beside(self) -> ChosenColumns | None:
        """The same without pictures, if anything is left."""
        paths = tuple(dict.fromkeys(one.name for one in (self.ids, self.labels) if one))
        return replace(self, picture=None, paths=paths) if paths else None

    def cells(self, batch: pyarrow.RecordBatch, skipped: int = 0) -> Iterator[Cells]:
        """The cells of each row but the first ones. Bytes are copied a row at a time."""
        data, where = self._pictures(batch)
        places, ids, labels = _texts(where), _texts(_of(batch, self.ids)), self._labels(batch)
        for row in range(skipped, len(batch)):
            yield Cells(
                None if data is None else data[row].as_py(),
                places[row] if places else None,
                ids[row] if ids else None,
                labels[row] if labels else None,
            )

    def _pictures(self, batch: pyarrow.RecordBatch) -> tuple[pyarrow.Array | None, pyarrow.Array | None]:
        """The bytes of pictures, and where they are."""
        if self.picture is None:
            return None, None
        column = batch.column(self.picture.name)
        if self.picture.kind != "struct":
            return (column, None) if self.picture.kind == "bytes" else (None, column)
        # Flattened, a part is null where the struct is.
        parts = dict(zip((field.name for field in column.type), column.flatten(), strict=True))
        return parts.get("bytes"), parts.get("path")

    def _labels(self, batch: pyarrow.RecordBatch) -> list[str | None]:
        if self.labels is None:
            return []
        column, classes = batch.column(self.labels.name), self.labels.classes
        if not classes:
            return _texts(column)
        # A number that is no class's stands for none: -1 in `datasets`.
        return [
            classes[number] if isinstance(number, int) and 0 <= number < len(classes) else None
            for number in column.to_pylist()
        ]


def _of(batch: pyarrow.RecordBatch, column: Column | None) -> pyarrow.Array | None:
    return None if column is None else batch.column(column.name)


def _texts(column: pyarrow.Array | None) -> list[str | None]:
    """Cells as text. Bytes that are not UTF-8, which the format forbids and some writers write, stay what they are."""
    import pyarrow

    if column is None:
        return []
    if pyarrow.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pyarrow.types.is_string(column.type):
        column = column.cast(pyarrow.binary())
    elif pyarrow.types.is_large_string(column.type) or pyarrow.types.is_string_view(column.type):
        column = column.cast(pyarrow.large_binary())
    return [
        cell.decode("utf-8", "surrogateescape") if isinstance(cell, bytes) else None if cell is None else str(cell)
        for cell in column.to_pylist()
    ]
