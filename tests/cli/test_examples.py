"""`--examples`, `--save-classifier`, `--classifier`: from a few right answers to a better second run."""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path

import pytest
from support.cli import Cli, rows_of

LABELS = "red star,red circle,blue star,blue circle,green cross,green ring,purple square,purple star"


@pytest.fixture
def halves(noisy_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of eight labels two noisy scenes each as examples and one to be judged; the current folder."""
    for label in LABELS.split(","):
        pictures = sorted((noisy_folder / label).iterdir())
        for n, picture in enumerate(pictures):
            to = tmp_path / ("judged" if n == 2 else "examples") / label
            to.mkdir(parents=True, exist_ok=True)
            shutil.copy(picture, to / picture.name)
    monkeypatch.setenv("ZSCLIP_MODEL", "demo")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def right(out: str) -> int:
    return sum(Path(row["path"]).parent.name == row["label"] for row in rows_of(out))


def test_examples_teach_and_a_saved_classifier_says_the_same(cli: Cli, halves: Path) -> None:
    without = cli("classify", "judged", "-l", LABELS)
    taught = cli("classify", "judged", "-l", LABELS, "--examples", "examples", "--save-classifier", "c.json")
    assert taught.code == 0, taught.err
    assert right(taught.out) >= right(without.out)
    assert taught.out != without.out
    assert "Taught by 16 examples. Held out, " in taught.err
    assert "Wrote c.json. Use it with: zsclip classify … --classifier c.json" in taught.err
    again = cli("classify", "judged", "--classifier", "c.json")
    assert (again.code, again.out) == (0, taught.out)
    document = json.loads((halves / "c.json").read_text())
    assert document["examples"] == dict.fromkeys(LABELS.split(","), 2)
    assert [one["path"] for one in document["labels"]] == [[label] for label in LABELS.split(",")]
    sorted_ = cli("sort", "judged", "--classifier", "c.json", "--into", "sorted", "--dry-run")
    assert {row["from"]: row["label"] for row in rows_of(sorted_.out)} == {
        row["path"]: row["label"] for row in rows_of(taught.out)
    }
    by_examples = cli("sort", "judged", "-l", LABELS, "--examples", "examples", "--into", "sorted", "--dry-run")
    assert by_examples.out == sorted_.out


def test_a_gallerys_corrections_are_examples_and_predictions_are_none(cli: Cli, halves: Path) -> None:
    rows = [
        {"path": str(path), "label": path.parent.name, "checked": "yes"}
        for path in sorted(Path("examples").rglob("*.png"))
    ]
    rows[3]["checked"], rows[3]["label"] = "", "red star"
    with open("labels.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, ["path", "label", "checked"])
        writer.writeheader()
        writer.writerows(rows)
    taught = cli("classify", "judged", "-l", LABELS, "--examples", "labels.csv")
    assert taught.code == 0, taught.err
    assert "Taught by 15 examples." in taught.err
    Path("rows.csv").write_text(cli("classify", "examples", "-l", LABELS).out)
    refused = cli("classify", "judged", "-l", LABELS, "--examples", "rows.csv")
    assert refused.code == 1
    assert "predictions" in refused.err


def test_what_is_left_out_is_told(cli: Cli, halves: Path) -> None:
    shutil.rmtree("examples/red star")
    (halves / "examples" / "red circle" / "broken.png").write_bytes(b"no picture")
    shutil.copy("examples/blue star/001.png", "examples/blue star/copy.png")
    labels = LABELS.removesuffix(",purple star")
    taught = cli("classify", "judged", "examples/blue star", "-l", labels, "--examples", "examples")
    assert taught.code == 0, taught.err
    for said in (
        "Left out, for their labels are not asked for: 2 examples: 'purple star' (2).",
        "Without examples, and known by their texts: red star.",
        "1 example cannot be read. The first, examples/red circle/broken.png: ",
        "1 example is a copy of another, or nearly so, which makes the figures held out too good: examples/blue star/001.png and ",
        "3 images of those labelled are examples",
    ):
        assert said in taught.err, taught.err
    none = cli("classify", "judged", "-l", "cat,dog", "--examples", "examples")
    assert none.code == 1
    assert "and none of these is asked for" in none.err
    one = cli("classify", "judged", "-l", "blue star,cat", "--examples", "examples")
    assert one.code == 1
    assert "Examples must be of two labels at least" in one.err


def test_mislabelled_examples_are_named(cli: Cli, halves: Path) -> None:
    os.rename("examples/red star/001.png", "examples/green ring/000.png")
    taught = cli("classify", "judged", "-l", LABELS, "--examples", "examples")
    assert "examples/green ring/000.png ('green ring', looks like 'red star')" in taught.err


@pytest.mark.slow
def test_another_model_is_refused_and_wrong_use_explained(cli: Cli, halves: Path, sharp_demo: Path) -> None:
    cli("classify", "judged", "-l", LABELS, "--examples", "examples", "--save-classifier", "c.json")
    other = cli("classify", "judged", "--classifier", "c.json", "-m", f"local-dir:{sharp_demo}")
    assert other.code == 1
    assert "--classifier c.json: it was taught with another model (demo)" in other.err
    for options, said in (
        (["--classifier", "c.json", "-l", "cat"], "a classifier brings its labels"),
        (["-l", LABELS, "--save-classifier", "d.json"], "--save-classifier does nothing without --examples"),
        (["-l", LABELS, "--examples", "examples", "--save-classifier", "d.zsc"], "the name must end in .json"),
        (["-l", LABELS, "--examples", "none"], "none"),
        (["--classifier", "c.json", "--multi-label"], "examples teach labels that compete"),
        (["-l", LABELS, "--examples", "examples", "--into", "parts"], "save a classifier"),
    ):
        ended = cli("classify", "judged", *options)
        assert ended.code in (1, 2), options
        assert said in " ".join(ended.err.replace("│", " ").split()), ended.err


@pytest.mark.slow
def test_a_run_in_parts_takes_a_saved_classifier(cli: Cli, halves: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow.parquet")
    cli("classify", "judged", "-l", LABELS, "--examples", "examples", "--save-classifier", "c.json")
    rows = rows_of(cli("classify", "judged", "--classifier", "c.json").out)
    done = cli("classify", "judged", "--classifier", "c.json", "--into", "parts")
    assert done.code == 0, done.err
    (part,) = Path("parts").rglob("part-*.parquet")
    table = pyarrow.read_table(part).to_pylist()
    assert [row["label"] for row in table] == [row["label"] for row in rows]
    cli("classify", "judged", "-l", LABELS, "--examples", "judged", "--save-classifier", "c.json")
    other = cli("classify", "judged", "--classifier", "c.json", "--into", "parts")
    assert other.code == 1
    assert "classifier" in other.err


def test_evaluate_judges_what_examples_bring_on_other_images(cli: Cli, halves: Path) -> None:
    asked = ("evaluate", "judged", "-p", "plain", "-f", "json")
    found = json.loads(cli(*asked, "--examples", "examples").out)
    plain, taught = found["prompts"]
    assert (plain["prompts"], plain["kind"]) == ("plain", "given")
    assert (taught["prompts"], taught["kind"], taught["baseline"]) == ("plain+examples", "taught", "plain")
    assert plain["top1"] == json.loads(cli(*asked).out)["prompts"][0]["top1"]
    rows = rows_of(cli("classify", "judged", "-l", LABELS, "-p", "plain", "--examples", "examples").out)
    assert taught["top1"] == sum(Path(row["path"]).parent.name == row["label"] for row in rows) / 8
    assert taught["difference"] == pytest.approx(taught["top1"] - plain["top1"])
    for label in ("red star", "blue star"):
        shutil.copy(f"examples/{label}/001.png", f"judged/{label}/again.png")
    again = cli(
        "evaluate", "judged", "-p", "plain", "-f", "json", "--examples", "examples", "--baseline", "plain+examples"
    )
    assert json.loads(again.out)["images"] == 8
    assert "Left out, for they are examples: 2 labelled images." in again.err
    assert json.loads(again.out)["prompts"][0]["difference"] == pytest.approx(-taught["difference"])
    Path("e.csv").write_text("path,label\nexamples/red star/001.png,red star\nexamples/blue star/001.png,blue star\n")
    kept = cli("evaluate", "judged", "--examples", "e.csv", "-o", "e.csv")
    assert (kept.code, Path("e.csv").read_text()[:11]) == (1, "path,label\n")
    none = cli("evaluate", "examples", "--examples", "examples")
    assert (none.code, none.out) == (1, "")
    assert "All labelled images are examples" in none.err


@pytest.mark.slow
def test_a_learning_curve_never_judges_what_taught(
    cli: Cli, noisy_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ZSCLIP_MODEL", "demo")
    folder = tmp_path / "labelled"
    shutil.copytree(noisy_folder, folder)
    shutil.copy(folder / "red star" / "001.png", folder / "red star" / "copy.png")
    shown = cli("evaluate", folder, "-p", "plain", "-p", "photo", "--shots", "4,1", "--seeds", "3", "-f", "json")
    rows = json.loads(shown.out)["learning"]
    assert [(row["prompts"], row["shots"]) for row in rows] == [("plain", 1), ("plain", 4), ("photo", 1), ("photo", 4)]
    assert {(row["examples"], row["judged"], row["seeds"]) for row in rows} == {(64.0, 128.0, 3)}, (
        "half of three images is one"
    )
    for row in rows:
        assert row["difference"] == pytest.approx(row["taught"] - row["zero_shot"])
        assert 0 <= row["taught_low"] < row["taught"] < row["taught_high"] <= 1
        assert row["difference_low"] > -0.01
    table = " ".join(cli("evaluate", folder, "-p", "plain", "--shots", "1", "-f", "table").out.split())
    assert "plain: learning curve" in table
    assert "Left out as copies of others: 1 image." in table
    assert rows_of(cli("evaluate", folder, "-p", "plain", "--shots", "1").out)[0]["shots"] == "1"
    wrong = cli("evaluate", folder, "--shots", "1,x")
    assert wrong.code == 2
    assert "is no list of numbers" in wrong.err
