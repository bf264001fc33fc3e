"""`--vectors`: other labels, a search and an evaluation of what a run in parts computed, as if the pictures were looked at again."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import pyarrow.parquet
import pytest
from support.cli import Cli

DEMO = ("-m", "demo")


@pytest.fixture
def vectors(cli: Cli, demo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A run in parts over a folder of two labels, one name of which is not UTF-8; a picture is damaged, a part is all errors."""
    monkeypatch.chdir(tmp_path)
    for label in ("red circle", "blue star"):
        shutil.copytree(demo_folder / "scenes" / label, f"photos/{label}")
    for number in range(4):
        Path(f"photos/blue star/00{number}.png").write_bytes(b"no picture")
    shutil.copy("photos/red circle/001.png", b"photos/red circle/\xff.png")
    assert cli("embed", "photos", *DEMO, "--into", "vectors", "--part-size", "3").code == 3
    return "vectors"


def rows(text: str) -> list[list[str]]:
    return [
        [one if "." not in one[:3] else f"{float(one):.4f}" for one in row] for row in csv.reader(io.StringIO(text))
    ]


def test_labels_search_and_evaluation_say_what_the_pictures_say(cli: Cli, vectors: str) -> None:
    labels = ("-l", "red circle,blue star,a cat", "-f", "csv", "--min-probability", "0.5")
    again = cli("classify", "--vectors", vectors, *DEMO, *labels)
    plain = cli("classify", "photos", *DEMO, *labels, "--no-cache")
    assert again.code == plain.code == 3
    assert rows(again.out) == rows(plain.out)
    query = ("--text", "a star", *DEMO, "-f", "csv", "-k", "4")
    assert rows(cli("search", "--vectors", vectors, *query).out) == rows(cli("search", "photos", *query).out)
    judged = ("evaluate", "photos", *DEMO, "-f", "json", "--errors", "9")
    again, plain = cli(*judged, "--vectors", vectors), cli(*judged)
    assert again.code == plain.code == 3
    one, other = (json.loads(run.out, parse_float=lambda text: f"{float(text):.4f}") for run in (again, plain))
    assert one == other


def test_pictures_that_are_not_among_the_vectors_are_told(cli: Cli, vectors: str) -> None:
    shutil.copytree("photos/red circle", "photos/a cat")
    run = cli("evaluate", "photos", *DEMO, "-f", "csv", "--vectors", vectors)
    assert run.code == 3
    assert "photos/a cat/001.png could not be read: not among the vectors." in run.err


def test_other_labels_are_written_in_parts_and_go_on(cli: Cli, vectors: str) -> None:
    command = ("classify", "--vectors", vectors, *DEMO, "-l", "red circle,blue star", "--into", "labels")
    run = cli(*command)
    assert run.code == 3
    assert (run.out, "could not be read" in run.err) == ("", True)
    names = sorted(path.name for path in Path(vectors).glob("*.parquet"))
    assert sorted(path.name for path in Path("labels").glob("*.parquet")) == names
    made = pyarrow.parquet.read_table([f"labels/{name}" for name in names if name.startswith("part")])
    assert made.column_names == ["path", "path_bytes", "place", "label", "probability", "similarity", "predictions"]
    anew = cli("classify", "photos", *DEMO, "-l", "red circle,blue star", "--into", "anew", "--part-size", "3")
    assert anew.code == 3
    wanted = pyarrow.parquet.read_table([f"anew/{name}" for name in names if name.startswith("part")])
    for column in ("path", "path_bytes", "place", "label"):
        assert made.column(column).to_pylist() == wanted.column(column).to_pylist()
    for name in names:
        if name.startswith("errors"):
            assert pyarrow.parquet.read_table(f"labels/{name}") == pyarrow.parquet.read_table(f"anew/{name}")
    Path("labels/part-00001.parquet").unlink()
    assert f"of which {len(list(Path('labels').glob('part*')))} were there" in cli(*command).err
    # Vectors that became others make other labels.
    assert cli("embed", "photos", *DEMO, "--into", vectors, "--part-size", "2", "--restart").code == 3
    assert "differs in digest of the vectors" in cli(*command).err


def test_what_has_no_vectors_of_this_model_is_refused(cli: Cli, vectors: str, sharp_demo: Path) -> None:
    labels = ("-l", "red,blue")
    other = cli("classify", "--vectors", vectors, "-m", f"local-dir:{sharp_demo}", *labels)
    assert "the vectors were made with demo, or with other weights. Name the same --model" in other.err
    assert "there is no run in parts in it" in cli("search", "--vectors", "photos", *DEMO, "--text", "a cat").err
    assert cli("classify", "--vectors", vectors, *DEMO, *labels, "--into", "labels").code == 3
    assert "it has labels alone" in cli("search", "--vectors", "labels", *DEMO, "--text", "a cat").err
    same = cli("classify", "--vectors", vectors, *DEMO, *labels, "--into", f"./{vectors}")
    assert (same.code, "that is where the vectors are" in " ".join(same.err.split())) == (2, True)
    Path(vectors, "part-00001.parquet").unlink()
    partly = cli("search", "--vectors", vectors, *DEMO, "--text", "a cat", "-f", "csv")
    assert "the run is not whole" in partly.err
    assert len(partly.out.splitlines()) > 3
    refused = cli("classify", "--vectors", vectors, *DEMO, "-l", "red,green", "--into", "labels2")
    assert (refused.code, "the run is not whole. Go on with it first" in refused.err) == (1, True)
    assert not Path("labels2").exists()
