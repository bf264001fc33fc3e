"""Unit vectors in Parquet: as `embed` writes them, and in other ways; sizes, and processor time to read them.

    python benchmarks/vectors.py [--rows 1000000] [--runs 3]

Random vectors of 512 numbers, written some thousand at a time, read whole by pyarrow on one thread.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from zsclip.output.vectors import vector_writer

DIMENSION, AT_ONCE = 512, 4096


def parts(rows: int) -> Iterator[tuple[list[str], np.ndarray]]:
    rng = np.random.default_rng(0)
    for start in range(0, rows, AT_ONCE):
        vectors = rng.standard_normal((min(AT_ONCE, rows - start), DIMENSION), np.float32)
        yield (
            [f"{start + n:08}.jpg" for n in range(len(vectors))],
            vectors / np.linalg.norm(vectors, axis=1, keepdims=True),
        )


def as_embed_does(path: Path, rows: int) -> None:
    with path.open("wb") as stream:
        writer = vector_writer(path, exact=False)(stream, DIMENSION)
        for names, vectors in parts(rows):
            writer.write(names, vectors)
        writer.close()


def otherwise(path: Path, rows: int, kind: Any, **options: Any) -> None:
    schema = pa.schema([("name", pa.string()), ("vector", pa.list_(kind, DIMENSION))])
    with pq.ParquetWriter(path, schema, **options) as writer:
        for names, vectors in parts(rows):
            numbers = pa.array(vectors.astype(kind.to_pandas_dtype()).ravel())
            column = pa.FixedSizeListArray.from_arrays(numbers, DIMENSION)
            writer.write_table(pa.Table.from_arrays([pa.array(names), column], schema=schema))


def seconds_to_read(path: Path) -> float:
    before = time.process_time()
    pq.read_table(path, use_threads=False)
    return time.process_time() - before


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    chosen = parser.parse_args()
    split = {"use_dictionary": False, "compression": "zstd", "use_byte_stream_split": ["vector.list.element"]}
    print("| how | GB | CPU seconds to read |\n| --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vectors.parquet"
        for title, write in (
            ("as `embed` writes them", as_embed_does),
            ("float16, pyarrow's defaults (a dictionary)", lambda path, rows: otherwise(path, rows, pa.float16())),
            ("float16, byte-stream split, zstd", lambda path, rows: otherwise(path, rows, pa.float16(), **split)),
            ("float32, pyarrow's defaults", lambda path, rows: otherwise(path, rows, pa.float32())),
        ):
            write(path, chosen.rows)
            read = statistics.median(seconds_to_read(path) for _ in range(chosen.runs))
            print(f"| {title} | {os.path.getsize(path) / 1e9:.2f} | {read:.1f} |", flush=True)


if __name__ == "__main__":
    main()
