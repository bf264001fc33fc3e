"""`evaluate --multi-label`, the thresholds that it chooses, and what `classify` and `sort` do with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from support.cli import Cli, rows_of

from zsclip import CalibrationError
from zsclip.scoring.calibration import read_file

LABELS = ("red", "green", "blue", "cyan", "circle", "ring", "star", "heart")
ASKED = ("-l", ",".join(LABELS), "-p", "plain")


@pytest.fixture(autouse=True)
def demo_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZSCLIP_MODEL", "demo")


@pytest.fixture(autouse=True)
def shared_store(one_store: Path, monkeypatch: pytest.MonkeyPatch, isolated: Path) -> None:
    monkeypatch.setenv("ZSCLIP_CACHE_DIR", str(one_store))


@pytest.fixture
def manifest(noisy_folder: Path, tmp_path: Path) -> Path:
    """192 pictures, each with its colour and its shape where these are among the labels: two, one or none of them."""
    lines = ["path,labels"]
    for path in sorted(noisy_folder.rglob("*.png")):
        lines.append(f"{path},{';'.join(one for one in path.parent.name.split() if one in LABELS)}")
    file = tmp_path / "m.csv"
    file.write_text("\n".join(lines) + "\n")
    return file


@pytest.fixture
def made(cli: Cli, manifest: Path, tmp_path: Path) -> Path:
    file = tmp_path / "c.yaml"
    run = cli("evaluate", "--manifest", manifest, "--multi-label", *ASKED, "--calibrate", file, "-f", "csv")
    assert run.code == 0, run.err
    assert "micro F1" in run.err
    return file


def said_by_classify(cli: Cli, noisy_folder: Path, *options: str | Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Truth, probabilities and what holds, of images and labels, from classify's own output."""
    run = cli("classify", noisy_folder, "--multi-label", *ASKED, "-k", "all", "-f", "jsonl", *options)
    results = [json.loads(line) for line in run.out.splitlines()]
    truth, probability, holds = (np.zeros((len(results), len(LABELS)), kind) for kind in (bool, float, bool))
    for row, result in enumerate(results):
        truth[row] = [label in Path(result["path"]).parent.name.split() for label in LABELS]
        holds[row] = [label in result["labels"] for label in LABELS]
        for one in result["predictions"]:
            probability[row, LABELS.index(one["label"])] = one["probability"]
    return truth, probability, holds


@pytest.mark.slow
def test_figures_are_what_scikit_learn_makes_of_classifys_rows(cli: Cli, noisy_folder: Path, manifest: Path) -> None:
    from sklearn import metrics as sk

    options = ("--min-probability", "0.2")
    judge = ("evaluate", "--manifest", manifest, "--multi-label", *ASKED, *options)
    document = json.loads(cli(*judge, "-p", "photo", "--per-class", "-f", "json").out)
    truth, probability, holds = said_by_classify(cli, noisy_folder, *options)
    one, other = document["prompts"]
    assert one["micro_f1"] == pytest.approx(sk.f1_score(truth, holds, average="micro"))
    assert one["macro_f1"] == pytest.approx(sk.f1_score(truth, holds, average="macro", zero_division=0))
    assert one["macro_recall"] == pytest.approx(sk.recall_score(truth, holds, average="macro"))
    # printed probabilities have six digits, so that some images become equal
    assert one["map"] == pytest.approx(sk.average_precision_score(truth, probability, average="macro"), abs=0.01)
    of_plain = [row for row in document["per_class"] if row["prompts"] == "plain"]
    assert [row["label"] for row in of_plain] == list(LABELS)
    assert [row["images"] for row in of_plain] == truth.sum(axis=0).tolist()
    for row, n in zip(of_plain, range(len(LABELS)), strict=True):
        assert row["f1"] == pytest.approx(sk.f1_score(truth[:, n], holds[:, n], zero_division=0))
        assert row["f1_low"] <= row["f1"] <= row["f1_high"]
        assert row["average_precision_low"] <= row["average_precision"] <= row["average_precision_high"]
    assert one["map_low"] < one["map"] < one["map_high"]
    assert (one["verdict"], other["baseline"], one["standing"]) == (None, "plain", "above chance")
    assert other["difference"] == pytest.approx(other["map"] - one["map"])
    assert other["difference_low"] <= other["difference"] <= other["difference_high"]
    assert other["verdict"] in ("better", "worse", "unclear")
    assert document["chance"] == pytest.approx(truth.mean())
    again = json.loads(cli(*judge, "-p", "photo", "--per-class", "-f", "json").out)
    assert again == document  # resamples are the same ones


def test_tables_and_formats(cli: Cli, manifest: Path, tmp_path: Path) -> None:
    judge = ("evaluate", "--manifest", manifest, "--multi-label", *ASKED, "--template", "a blue ring and a <label>.")
    table = cli(*judge, "--per-class", "-f", "table")
    assert table.code == 0, table.err
    assert max(map(len, table.out.splitlines())) <= 80
    said = " ".join(table.out.split())
    for words in ("192 images (48 with none), 8 labels, each on its own, demo", "mAP [95 %]", "worse", "AP [95 %]"):
        assert words in said
    rows = rows_of(cli(*judge, "-f", "csv").out)
    assert [row["verdict"] for row in rows] == ["", "worse"]
    assert float(rows[1]["difference_high"]) < 0
    labels = rows_of(cli(*judge, "--per-class", "-o", tmp_path / "x.csv").out or (tmp_path / "x.csv").read_text())
    assert [row["label"] for row in labels] == [*LABELS, *LABELS]
    turned = rows_of(cli(*judge, "--baseline", "a blue ring and a <label>.", "-f", "csv").out)
    assert [row["verdict"] for row in turned] == ["better", ""]
    assert float(turned[0]["difference"]) == pytest.approx(-float(rows[1]["difference"]))


def test_a_label_of_no_image_is_left_out_of_means_and_named(cli: Cli, manifest: Path) -> None:
    judge = ("evaluate", "--manifest", manifest, "--multi-label", "-p", "plain", "-f", "json")
    document = json.loads(cli(*judge, "-l", ",".join(LABELS)).out)
    run = cli(*judge, "-l", ",".join((*LABELS, "banana")))
    more = json.loads(run.out)
    assert more["labels_without_images"] == ["banana"]
    assert more["prompts"][0]["map"] == document["prompts"][0]["map"]
    assert "No image has 'banana'" in run.err
    assert any("No image has 'banana'" in note for note in more["notes"])


def test_what_cannot_be_read_counts_for_nothing_and_known_vectors_do_as_well(
    cli: Cli, noisy_folder: Path, manifest: Path, tmp_path: Path
) -> None:
    judge = ("evaluate", "--manifest", manifest, "--multi-label", *ASKED, "-f", "json")
    whole = json.loads(cli(*judge).out)
    assert cli("embed", noisy_folder, "--into", tmp_path / "vectors").code == 0
    known = cli(*judge, "--vectors", tmp_path / "vectors")
    assert known.code == 0, known.err
    assert json.loads(known.out)["prompts"][0]["map"] == pytest.approx(whole["prompts"][0]["map"], abs=0.01)
    (tmp_path / "broken.png").write_bytes(b"nothing")
    with open(manifest, "a") as file:
        file.write(f"{tmp_path / 'broken.png'},red;star\n")
    run = cli(*judge)
    assert run.code == 3
    document = json.loads(run.out)
    assert document["unreadable"] == [
        {"path": str(tmp_path / "broken.png"), "error": "not an image in a format that is known here"}
    ]
    assert document["prompts"] == whole["prompts"]


def test_classifys_own_rows_agree_with_it_and_are_taken_only_if_asked_for(
    cli: Cli, noisy_folder: Path, tmp_path: Path
) -> None:
    for form in ("csv", "tsv", "jsonl"):
        rows = tmp_path / f"rows.{form}"
        assert cli("classify", noisy_folder, "--multi-label", *ASKED, "-o", rows).code == 0
        judge = ("evaluate", "--manifest", rows, "--multi-label", *ASKED, "-f", "csv")
        refused = cli(*judge)
        assert (refused.code, "its labels are predictions" in refused.err) == (1, True)
        run = cli(*judge, "--allow-predictions")
        assert run.code == 0, run.err
        (row,) = rows_of(run.out)
        assert (row["images"], row["predicted_labels"], row["micro_f1"], row["map"]) == ("192", "192", "1", "1")
        assert "Labels of 192 rows are predictions that nobody checked" in run.err


def test_a_folder_is_judged_as_pictures_with_one_label(cli: Cli, noisy_folder: Path) -> None:
    (row,) = rows_of(cli("evaluate", noisy_folder, "--multi-label", "-p", "plain", "-f", "csv").out)
    assert (row["images"], row["labels"], row["standing"]) == ("192", "64", "above chance")
    assert float(row["chance"]) == pytest.approx(1 / 64, abs=1e-5)


def test_thresholds_bring_on_other_images_what_the_file_says(
    cli: Cli, noisy_folder: Path, made: Path, tmp_path: Path
) -> None:
    from sklearn import metrics as sk

    from zsclip.evaluation.metrics import halves
    from zsclip.evaluation.multi_label.calibration import _rarest, best_threshold

    document = yaml.safe_load(made.read_text())
    truth, _, holds_before = said_by_classify(cli, noisy_folder)
    _, after, holds = said_by_classify(cli, noisy_folder, "--calibration", made)
    other = ~halves(_rarest(truth), 0)
    assert (document["fitted_on"], document["measured_on"]) == ((~other).sum(), other.sum())
    for name, held in (("before", holds_before), ("after", holds)):
        measured = {
            kind: sk.f1_score(truth[other], held[other], average=kind, zero_division=0) for kind in ("micro", "macro")
        }
        assert document[name]["micro_f1"] == pytest.approx(measured["micro"])
        assert document[name]["macro_f1"] == pytest.approx(measured["macro"])
    assert document["after"]["micro_f1"] > document["before"]["micro_f1"] + 0.1
    assert document["after"]["nll"] < document["before"]["nll"]
    of = {one["label"]: one for one in document["label_thresholds"]}
    assert list(of) == list(LABELS)
    for n, label in enumerate(LABELS):
        # A label's probability is one half where it begins to hold; and no threshold is better on the half that chose it.
        assert (holds[:, n] == (after[:, n] >= 0.5)).all()
        mine = sk.f1_score(truth[~other][:, n], holds[~other][:, n])
        best = best_threshold(after[~other][:, n], truth[~other][:, n])
        assert mine >= sk.f1_score(truth[~other][:, n], after[~other][:, n] >= best) - 1e-9
        assert of[label]["positives"] == truth[~other][:, n].sum()
        assert of[label]["f1"] == pytest.approx(sk.f1_score(truth[other][:, n], holds[other][:, n]))


@pytest.mark.slow
def test_parts_and_folders_say_what_rows_say(cli: Cli, noisy_folder: Path, made: Path, tmp_path: Path) -> None:
    import pyarrow.parquet

    base = (noisy_folder, "--multi-label", *ASKED, "--calibration", made)
    rows = rows_of(cli("classify", *base, "-f", "csv", "--no-cache", "--precision", "fp32").out)
    assert any(";" in row["labels"] for row in rows)
    assert any(row["label"] == "unknown" for row in rows)
    assert all(
        row["label"] in row["labels"].split(";") for row in rows if row["label"] != "unknown"
    )  # the best one holds
    into = tmp_path / "parts"
    assert cli("classify", *base, "--into", into, "--part-size", "100").code == 0
    parts = pyarrow.parquet.read_table([str(path) for path in sorted(into.glob("part-*.parquet"))]).to_pylist()
    assert {one["path"]: ";".join(one["labels"]) for one in parts} == {row["path"]: row["labels"] for row in rows}
    document = yaml.safe_load(made.read_text())
    document["label_thresholds"][0]["logit"] += 1
    made.write_text(yaml.safe_dump(document))
    other = cli("classify", *base, "--into", into, "--part-size", "100")
    assert other.code == 1
    assert "differs in label_thresholds" in " ".join(other.err.split())
    rows = rows_of(cli("classify", *base, "-f", "csv").out)
    planned = rows_of(cli("sort", *base, "--into", tmp_path / "sorted", "--dry-run").out)
    assert {row["from"]: row["label"] for row in planned} == {row["path"]: row["label"] for row in rows}


def test_one_for_labels_that_compete_is_not_one_for_labels_on_their_own(
    cli: Cli, noisy_folder: Path, manifest: Path, made: Path, tmp_path: Path
) -> None:
    softmax = tmp_path / "softmax.yaml"
    judged = ("evaluate", noisy_folder, "-p", "plain", "--calibrate", softmax, "-q")
    assert cli(*judged).code == 0
    folders = ",".join(sorted(path.name for path in noisy_folder.iterdir()))
    for command in (("classify",), ("sort", "--into", tmp_path / "sorted", "--min-probability", "0.5")):
        run = cli(*command, noisy_folder, *ASKED, "--calibration", made)
        assert (run.code, run.out) == (1, "")
        assert "made for labels on their own (--multi-label), and these are labels that compete" in run.err
        run = cli(*command, noisy_folder, "-l", folders, "-p", "plain", "--multi-label", "--calibration", softmax)
        assert (run.code, run.out) == (1, "")
        assert "made for labels that compete, and these are labels on their own (--multi-label)" in run.err
    other = cli("classify", noisy_folder, "-l", "red,blue", "-p", "plain", "--multi-label", "--calibration", made)
    assert "made for other labels" in other.err
    backed = cli("classify", noisy_folder, *ASKED, "--multi-label", "--calibration", made, "--background", "curated")
    assert backed.code == 0  # which is what it was made with


def test_labels_with_few_pictures_or_none_are_named(cli: Cli, manifest: Path, tmp_path: Path) -> None:
    labels = (*LABELS, "yellow arrow", "banana")  # of three pictures, one or two in a half, and of none
    text = [f"{line}yellow arrow" if "/yellow arrow/" in line else line for line in manifest.read_text().splitlines()]
    manifest.write_text("\n".join(text) + "\n")
    judge = ("evaluate", "--manifest", manifest, "--multi-label", "-l", ",".join(labels), "-p", "plain")
    run = cli(*judge, "--calibrate", tmp_path / "c.yaml", "-f", "table")
    assert run.code == 0, run.err
    said = " ".join(run.err.split())
    assert "1 label with fewer than 5 images to choose a threshold by: do not trust it: yellow arrow." in said
    assert "1 label with no image to choose a threshold by, and what is best for all labels together: banana." in said
    of = {one.label: one.logit for one in read_file(tmp_path / "c.yaml").label_thresholds}
    assert len(of) == len(labels)
    assert "all labels" in run.out
    assert max(map(len, run.out.splitlines())) <= 80
    results = cli("classify", *labelled(manifest), "--multi-label", "-l", ",".join(labels), "-p", "plain",
                  "--calibration", tmp_path / "c.yaml", "-f", "jsonl").out.splitlines()  # fmt: skip
    assert sum("banana" in json.loads(line)["labels"] for line in results) < len(results) / 4


def labelled(manifest: Path) -> list[str]:
    return [row["path"] for row in rows_of(manifest.read_text())]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label_thresholds": "none"}, "expected a list of labels with their thresholds"),
        ({"label_thresholds": [{"label": "red"}]}, "a threshold has no logit"),
        ({"label_thresholds": [{"label": "red", "logit": "high"}]}, "logit must be a number, not 'high'"),
        ({"label_thresholds": [{"label": "red", "logit": 1}] * 2}, "'red' stands here again"),
    ],
)
def test_files_that_cannot_be_read(made: Path, change: dict[str, Any], message: str) -> None:
    made.write_text(yaml.safe_dump({**yaml.safe_load(made.read_text()), **change}))
    with pytest.raises(CalibrationError, match=message):
        read_file(made)


def test_a_file_without_one_of_the_labels_is_refused(made: Path) -> None:
    read = read_file(made)
    assert len(read.logit_thresholds(LABELS)) == len(LABELS)
    with pytest.raises(CalibrationError, match="it has no threshold of banana"):
        read.logit_thresholds(["red", "banana"])


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--report", "x.html"), 2, "which labels on their own do not have"),
        (("--confusion",), 2, "--multi-label and --confusion: this is of pictures with one label"),
        (("--select-templates",), 2, "templates are chosen by labels that compete"),
        (("--min-margin", "0.1"), 2, "do not lead each other"),
        (("--combine", "sum"), 1, "needs a softmax"),
        (("--baseline", "photo"), 1, "no such set among those compared"),
        (("--seed", "3"), 2, "--seed does nothing without"),
        (("-p", "photo", "--calibrate", "c.yaml"), 2, "give one prompt set"),
    ],
)
def test_what_does_not_go_with_it(
    cli: Cli, manifest: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    run = cli("evaluate", "--manifest", manifest, "--multi-label", *ASKED, *arguments)
    assert (run.code, run.out) == (code, "")
    assert message in " ".join(run.err.replace("│", " ").split())
