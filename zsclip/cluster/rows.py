"""The rows of a part: names, places in it, labels if there are any, vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from zsclip.cluster.part_file import Error, vectors_of
from zsclip.embedding.records import ImageEmbeddings
from zsclip.output.parquet import ResultColumns, name_columns, name_fields, vector_column
from zsclip.scoring.decisions import Scorer
from zsclip.scoring.rules import Rules
from zsclip.unit_vectors import Floats

if TYPE_CHECKING:
    import pyarrow


@dataclass(frozen=True)
class Labelling:
    """How pictures get their labels: the same class vectors and rules for all parts. `unknown` is what an abstention is called,
    `nested` says that the labels stand in levels.
    """

    classes: Scorer
    rules: Rules
    top_k: int
    unknown: str | None = None
    nested: bool = False


class _Labels:
    """The columns of labels; none without a labelling."""

    def __init__(self, labelling: Labelling | None) -> None:
        self._labelling = labelling
        self._columns = (
            None
            if labelling is None
            else ResultColumns(labelling.unknown, several=labelling.rules.multi_label, nested=labelling.nested)
        )
        self.fields = list(self._columns.decided) if self._columns else []

    def of(self, vectors: Floats) -> list[pyarrow.Array]:
        if self._columns is None or self._labelling is None:
            return []
        how = self._labelling
        return self._columns.of_decisions(how.classes.score(vectors, how.top_k, how.rules))


class PartRows:
    """Rows with vectors of some precision and dimension, and with labels if there is a labelling."""

    def __init__(self, labelling: Labelling | None, dtype: type[np.floating[Any]], dimension: int) -> None:
        import pyarrow

        self._labels, self._dtype = _Labels(labelling), dtype
        self.schema = pyarrow.schema([
            *name_fields(), ("place", pyarrow.int32()), *self._labels.fields,
            pyarrow.field("vector", pyarrow.list_(pyarrow.from_numpy_dtype(dtype), dimension)),
        ])  # fmt: skip

    def of(self, batch: ImageEmbeddings, places: Sequence[int]) -> tuple[pyarrow.RecordBatch, list[Error]]:
        """Pictures at their places as rows, and those that could not be read."""
        import pyarrow

        errors = [Error(places[n], batch.paths[n], *error) for n, error in batch.errors.items()]
        read = [place for n, place in enumerate(places) if n not in batch.errors]
        # Labels come from what is kept, so that other labels for the same vectors say the same.
        vectors = batch.vectors.astype(self._dtype).astype(np.float32)
        columns = [
            *name_columns(batch.read), pyarrow.array(read, pyarrow.int32()), *self._labels.of(vectors),
            vector_column(vectors, self._dtype),
        ]  # fmt: skip
        return pyarrow.RecordBatch.from_arrays(columns, schema=self.schema), errors


class LabelRows:
    """Rows with labels and without vectors, made of rows that have these."""

    def __init__(self, labelling: Labelling) -> None:
        import pyarrow

        self._labels = _Labels(labelling)
        self.schema = pyarrow.schema([*name_fields(), ("place", pyarrow.int32()), *self._labels.fields])

    def of(self, rows: pyarrow.RecordBatch) -> pyarrow.RecordBatch:
        """The same pictures with labels."""
        import pyarrow

        columns = [rows.column(name) for name in ("path", "path_bytes", "place")]
        labels = self._labels.of(vectors_of(rows).astype(np.float32, copy=False))
        return pyarrow.RecordBatch.from_arrays([*columns, *labels], schema=self.schema)
