"""Parquet written: rows of classify and search, vectors of embed, and who reads them."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.cli import Cli

from zsclip import Classifier, __version__

pa = pytest.importorskip("pyarrow")
import pyarrow.parquet as pq  # noqa: E402

LABELS = ("-l", "red star,blue ring,green cross")


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Thirty pictures, an empty file, and a name that is not UTF-8."""
    monkeypatch.setenv("ZSCLIP_MODEL", "demo")
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(30):
        Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8)).save(folder / f"{number:02}.png")
    (folder / "07.png").write_bytes(b"")
    os.rename(folder / "09.png", os.fsencode(folder) + b"/09\xff.png")
    return folder


def words(document: dict[str, Any]) -> Any:
    """What a row of JSON Lines or Parquet says in words."""
    predicted = [one["label"] for one in document["predictions"] or ()]
    return document["label"], document.get("labels") or None, predicted, document["error"]


def numbers(documents: list[dict[str, Any]]) -> list[tuple[float, float]]:
    """Probabilities and similarities."""
    return [(one["probability"], one["similarity"]) for row in documents for one in row["predictions"] or ()]


@pytest.mark.parametrize(
    "options", [(), ("--multi-label", "--min-probability", "0.001"), ("--min-margin", "0.9", "-k", "2")]
)
def test_rows_are_those_of_json_lines_with_types(
    cli: Cli, photos: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    run = cli("classify", photos, *LABELS, *options, "-o", tmp_path / "rows.parquet")
    assert run.code == 3
    lines = cli("classify", photos, *LABELS, *options, "-f", "jsonl").out.splitlines()
    table = pq.read_table(tmp_path / "rows.parquet")
    rows, documents = table.to_pylist(), [json.loads(line) for line in lines]
    assert [words(row) for row in rows] == [words(document) for document in documents]
    assert np.allclose(numbers(rows), numbers(documents), rtol=0, atol=1e-6)
    names = [os.fsdecode(row["path_bytes"] or row["path"]) for row in rows]
    assert names == [document["path"] for document in documents]
    assert [row["error_kind"] for row in rows if row["error"]] == ["damaged"]
    assert rows[9]["path"].endswith("09\ufffd.png")
    assert [row["path_bytes"] is not None for row in rows].count(True) == 1
    first = rows[0]["predictions"][0]
    best = rows[0]["best_label"] if options else rows[0]["label"]
    assert (best, rows[0]["probability"], rows[0]["similarity"]) == (
        first["label"],
        first["probability"],
        first["similarity"],
    )
    types = {field.name: str(field.type) for field in table.schema}
    assert (types["path"], types["probability"]) == ("string", "float")
    assert types["predictions"] == "list<element: struct<label: string, probability: float, similarity: float>>"
    assert types.get("labels") == ("list<element: string>" if "--multi-label" in options else None)


def test_a_file_says_once_what_made_it_and_a_pipe_gets_the_same(cli: Cli, photos: Path, tmp_path: Path) -> None:
    arguments = ("classify", str(photos), *LABELS, "--template", "a <label>")
    cli(*arguments, "-o", tmp_path / "rows.parquet")
    piped = subprocess.run(
        [sys.executable, "-m", "zsclip", *arguments, "-f", "parquet"], capture_output=True, timeout=60
    )
    assert piped.returncode == 3
    assert pq.read_table(io.BytesIO(piped.stdout)).equals(pq.read_table(tmp_path / "rows.parquet"))
    first, second = (json.loads(pq.read_metadata(file).metadata[b"zsclip"]) for file in
                     (tmp_path / "rows.parquet", io.BytesIO(piped.stdout)))  # fmt: skip
    assert first == {**second, "precision": "fp32"}, "in the second run nothing was computed"
    assert (first["version"], second["precision"]) == (__version__, None)
    with Classifier.load("demo") as classifier:
        assert first["weights"] == json.loads(classifier.model.identity)["weights"]
    cli(*arguments[:-1], "the <label>", "-o", tmp_path / "other.parquet")
    other = json.loads(pq.read_metadata(tmp_path / "other.parquet").metadata[b"zsclip"])
    assert (other["labels"], other["weights"]) == (first["labels"], first["weights"])
    assert other["prompts"] != first["prompts"]


def test_search_and_only_write_parquet_too(cli: Cli, photos: Path, tmp_path: Path) -> None:
    assert cli("search", photos, "--text", "red", "-k", "5", "-o", tmp_path / "m.parquet").code == 3
    lines = [
        json.loads(line) for line in cli("search", photos, "--text", "red", "-k", "5", "-f", "jsonl").out.splitlines()
    ]
    rows = pq.read_table(tmp_path / "m.parquet").to_pylist()
    assert [(row["path"], row["error"]) for row in rows] == [(line["path"], line["error"]) for line in lines]
    assert np.allclose([row["similarity"] for row in rows[:5]], [line["similarity"] for line in lines[:5]], atol=1e-6)
    assert (rows[5]["similarity"], rows[5]["error_kind"]) == (None, "damaged")
    assert cli("classify", photos, *LABELS, "--only", "red star", "-o", tmp_path / "o.parquet").code == 3
    assert set(pq.read_table(tmp_path / "o.parquet")["label"].to_pylist()) <= {"red star"}
    (tmp_path / "list").touch()
    assert cli("search", photos, "--text", "red", "--min-similarity", "1", "-o", tmp_path / "n.parquet").code == 3
    assert pq.read_table(tmp_path / "n.parquet").num_rows == 1
    missing = cli("classify", photos, *LABELS, "-o", tmp_path / "nowhere" / "x.parquet")
    assert (missing.code, "there is no folder" in missing.err) == (1, True)


def test_vectors_are_half_precision_without_a_dictionary_and_read_elsewhere(
    cli: Cli, photos: Path, tmp_path: Path
) -> None:
    pandas, polars, duckdb = map(pytest.importorskip, ("pandas", "polars", "duckdb"))
    file = tmp_path / "v.parquet"
    assert cli("embed", photos, "-o", file).code == 3
    with Classifier.load("demo") as classifier:
        expected = np.concatenate([vectors for _, vectors, _ in classifier.embed(sorted(map(str, photos.iterdir())))])
    half = expected.astype(np.float16)
    table = pq.read_table(file)
    assert str(table.schema.field("vector").type) == "fixed_size_list<element: halffloat>[128]"
    assert np.array_equal(table["vector"].combine_chunks().flatten().to_numpy().reshape(29, 128), half)
    column = pq.read_metadata(file).row_group(0).column(2)
    assert (column.has_dictionary_page, column.compression, column.path_in_schema) == (
        False,
        "UNCOMPRESSED",
        "vector.list.element",
    )
    assert np.array_equal(np.stack(pandas.read_parquet(file)["vector"]), half)
    assert np.array_equal(polars.read_parquet(file)["vector"].to_numpy(), half)
    found = duckdb.sql(f"SELECT vector::FLOAT[128] AS v FROM '{file}'").fetchnumpy()["v"]
    assert np.array_equal(np.stack(list(found)), half.astype(np.float32))
    assert cli("embed", photos, "-o", file, "--exact").code == 3
    exact = pq.read_table(file)["vector"].combine_chunks().flatten()
    assert (str(exact.type), np.array_equal(exact.to_numpy(), expected.ravel())) == ("float", True)


def test_what_embed_cannot_read_is_in_a_file_of_its_own_which_does_not_outlive_its_cause(
    cli: Cli, photos: Path, tmp_path: Path
) -> None:
    errors = tmp_path / "v.errors.parquet"
    assert cli("embed", photos, "-o", tmp_path / "v.parquet").code == 3
    assert pq.read_table(errors).to_pylist() == [
        {"path": str(photos / "07.png"), "path_bytes": None, "error": "the file is empty", "error_kind": "damaged"}
    ]
    table = pq.read_table(tmp_path / "v.parquet")
    assert (table.num_rows, table["vector"].null_count) == (29, 0)
    assert [os.fsencode(photos) + b"/09\xff.png"] == [name for name in table["name_bytes"].to_pylist() if name]
    (photos / "07.png").unlink()
    assert cli("embed", photos, "-o", tmp_path / "v.parquet").code == 0
    assert not errors.exists()
    errors.write_bytes((photos / "01.png").read_bytes())
    assert cli("embed", errors, "-o", tmp_path / "v.parquet").code == 1, "an input that would be removed"
    assert errors.exists()
    (tmp_path / "texts.txt").write_text("a red star\n")
    assert cli("embed", "--texts", tmp_path / "texts.txt", "-o", tmp_path / "v.parquet").code == 0
    assert errors.exists(), "texts have no errors"
