"""Results read back: what could not be read for a reason that may have passed."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from zsclip.errors import InputError

PASSING = frozenset({"network", "timeout"})


def failed(path: Path) -> list[str]:
    """The names in a file of rows (CSV, TSV, JSON Lines, Parquet) that have an error which may pass, in order.

    Where no column says of which kind an error is, all of them are taken. Raises `InputError`.
    """
    where = f"`retry={path}`"
    read = {".parquet": _parquet, ".jsonl": _jsonl, ".ndjson": _jsonl, ".tsv": _tsv}.get(path.suffix.lower(), _csv)
    names, rows = [], 0
    try:
        for row in read(path):
            rows += 1
            if row["error"] and (row.get("error_kind") or "network") in PASSING:
                names.append(str(row["path"]))
    except KeyError as missing:
        raise InputError(f"it has no column {missing}.", where=where, remedy="Name a file of results.") from None
    except OSError as error:
        raise InputError(f"{error.strerror or error}.", where=where) from None
    except (ValueError, csv.Error) as error:
        raise InputError(f"it cannot be read ({error}).", where=where, remedy="Name a file of results.") from None
    if not names:
        raise InputError(f"none of its {rows:,} rows has an error that may have passed.", where=where)
    return names


def _csv(path: Path) -> Iterator[dict[str, Any]]:
    return _delimited(path, ",")


def _tsv(path: Path) -> Iterator[dict[str, Any]]:
    return _delimited(path, "\t")


def _delimited(path: Path, delimiter: str) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        yield from csv.DictReader(file, delimiter=delimiter)


def _jsonl(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        for line in filter(str.strip, file):
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError("a line is no object")
            yield row


def _parquet(path: Path) -> Iterable[dict[str, Any]]:
    try:
        from pyarrow import parquet
    except ImportError:
        raise InputError("Parquet needs pyarrow. Install it with: pip install 'zsclip[parquet]'") from None
    file = parquet.ParquetFile(path)
    columns = [name for name in ("path", "error", "error_kind") if name in file.schema_arrow.names]
    for batch in file.iter_batches(columns=columns):
        yield from batch.to_pylist()
