"""Calibration: a temperature, fitted on one half and measured on the other, for one model, its labels and its prompts."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from support.cli import Cli, rows_of

from zsclip import Calibration, CalibrationError, LabelSet, PromptSet
from zsclip.evaluation.calibration import fitted_temperature
from zsclip.scoring.calibration import Binding, read_file


@pytest.fixture(autouse=True)
def demo_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZSCLIP_MODEL", "demo")


@pytest.fixture(autouse=True)
def shared_store(one_store: Path, monkeypatch: pytest.MonkeyPatch, isolated: Path) -> None:
    monkeypatch.setenv("ZSCLIP_CACHE_DIR", str(one_store))


@pytest.fixture
def made(cli: Cli, noisy_folder: Path, tmp_path: Path) -> Path:
    file = tmp_path / "demo.yaml"
    run = cli("evaluate", noisy_folder, "-p", "plain", "--calibrate", file, "-f", "json")
    assert run.code == 0, run.err
    assert "ECE" in run.err
    assert json.loads(run.out)["calibration"]["temperature"] == yaml.safe_load(file.read_text())["temperature"]
    return file


def labels_of(folder: Path) -> str:
    return ",".join(sorted(path.name for path in folder.iterdir()))


@pytest.mark.slow
def test_it_is_the_minimum_of_scikit_learns_loss_and_lowers_the_error(made: Path, noisy_folder: Path, cli: Cli) -> None:
    from scipy import optimize
    from sklearn.metrics import log_loss

    from zsclip import Classifier
    from zsclip.evaluation import metrics
    from zsclip.evaluation.dataset import from_folder
    from zsclip.evaluation.embedded import embed

    document = yaml.safe_load(made.read_text())
    data = from_folder(noisy_folder)
    with Classifier.load("demo") as classifier:
        images = embed(classifier, data)
        classes = classifier.class_vectors(data.labels, "plain")
    first = metrics.halves(images.truth, 0)
    logits = classes.logit_scale * images.vectors.astype(float) @ np.concatenate(classes.vectors).astype(float).T

    def loss(half: np.ndarray, temperature: float) -> float:
        weights = np.exp((logits[half] - logits[half].max(1, keepdims=True)) / temperature)
        return float(log_loss(images.truth[half], weights / weights.sum(1, keepdims=True), labels=range(64)))

    best = optimize.minimize_scalar(lambda t: loss(first, t), bounds=(0.05, 20), method="bounded").x
    assert document["temperature"] == pytest.approx(best, rel=1e-3)
    assert document["before"]["nll"] == pytest.approx(loss(~first, 1.0))
    assert document["after"]["nll"] == pytest.approx(loss(~first, document["temperature"]))
    assert document["temperature"] > 1.2  # noise makes the demo model too sure of itself
    assert document["after"]["ece"] < document["before"]["ece"]
    assert document["after"]["nll"] < document["before"]["nll"]
    assert (document["fitted_on"], document["measured_on"]) == (96, 96)


def test_thresholds_tell_coverage_and_accuracy_on_the_other_half(made: Path, noisy_folder: Path, cli: Cli) -> None:
    from zsclip.evaluation import metrics

    thresholds = yaml.safe_load(made.read_text())["thresholds"]
    assert thresholds
    half = ~metrics.halves(np.repeat(np.arange(64), 3), 0)
    for one in thresholds:
        run = cli(
            *(
                "classify",
                noisy_folder,
                "-l",
                labels_of(noisy_folder),
                "-p",
                "plain",
                "--calibration",
                made,
                "-f",
                "jsonl",
            ),
            *("--min-probability", str(one["min_probability"])),
        )
        results = [json.loads(line) for line, chosen in zip(run.out.splitlines(), half, strict=True) if chosen]
        decided = [result for result in results if result["label"] != "unknown"]
        right = sum(result["label"] == Path(result["path"]).parent.name for result in decided)
        assert one["coverage"] == pytest.approx(len(decided) / len(results))
        assert one["accuracy"] == pytest.approx(right / len(decided))
    assert [one["coverage"] for one in thresholds] == sorted((one["coverage"] for one in thresholds), reverse=True)


@pytest.mark.slow
@pytest.mark.parametrize("option", [("--background", "FILE"), ("--min-margin", "0.3"), ("--min-similarity", "0.35")])
def test_thresholds_tell_what_classify_does_with_the_other_reasons_to_abstain(
    noisy_folder: Path, cli: Cli, tmp_path: Path, option: tuple[str, str]
) -> None:
    from zsclip.evaluation import metrics

    (tmp_path / "b.txt").write_text("a picture of a square.\nred\n")
    option = (option[0], option[1].replace("FILE", str(tmp_path / "b.txt")))
    file = tmp_path / "c.yaml"
    # a least probability of one's own does not count: the table is what it is chosen by
    run = cli("evaluate", noisy_folder, "-p", "plain", *option, "--min-probability", "0.9", "--calibrate", file)
    assert run.code == 0, run.err
    thresholds = yaml.safe_load(file.read_text())["thresholds"]
    assert thresholds
    half = ~metrics.halves(np.repeat(np.arange(64), 3), 0)
    base = ("classify", noisy_folder, "-l", labels_of(noisy_folder), "-p", "plain", *option, "--calibration", file)
    for one in thresholds:
        out = cli(*base, "--min-probability", str(one["min_probability"]), "-f", "jsonl").out
        results = [json.loads(line) for line, chosen in zip(out.splitlines(), half, strict=True) if chosen]
        decided = [result for result in results if result["label"] != "unknown"]
        right = sum(result["label"] == Path(result["path"]).parent.name for result in decided)
        assert one["coverage"] == pytest.approx(len(decided) / len(results))
        assert one["accuracy"] == pytest.approx(right / len(decided))
    without = cli(*base, "-f", "jsonl").out.splitlines()
    assert any(json.loads(line)["label"] == "unknown" for line in without)  # the option alone withholds some


def test_classify_uses_its_temperature(made: Path, noisy_folder: Path, cli: Cli) -> None:
    base = ("classify", noisy_folder, "-l", labels_of(noisy_folder), "-p", "plain")
    temperature = yaml.safe_load(made.read_text())["temperature"]
    calibrated = cli(*base, "--calibration", made)
    assert calibrated.code == 0
    assert calibrated.out == cli(*base, "--temperature", temperature).out
    assert calibrated.out != cli(*base).out
    backwards = ",".join(reversed(labels_of(noisy_folder).split(",")))
    again = cli("classify", noisy_folder, "-l", backwards, "-p", "plain", "--calibration", made)
    assert again.code == 0
    first, second = (rows_of(run.out)[0] for run in (calibrated, again))
    assert first["probability"] == second["probability"]


def test_sort_files_as_classify_says_with_it(made: Path, noisy_folder: Path, cli: Cli) -> None:
    base = (
        noisy_folder,
        "-l",
        labels_of(noisy_folder),
        "-p",
        "plain",
        "--calibration",
        made,
        "--min-probability",
        "0.9",
    )
    said = {row["path"]: row["label"] for row in rows_of(cli("classify", *base, "-f", "csv").out)}
    planned = rows_of(cli("sort", *base, "--into", made.parent / "sorted", "--dry-run").out)
    assert {row["from"]: row["label"] for row in planned} == said
    without = cli("sort", *base[:5], *base[7:], "--into", made.parent / "sorted", "--dry-run")
    assert {row["from"]: row["label"] for row in rows_of(without.out)} != said
    for_others = cli("sort", noisy_folder, "-l", "red star,blue ring", *base[5:], "--into", made.parent / "x")
    assert (for_others.code, for_others.out) == (1, "")
    assert "made for other labels" in for_others.err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (("-l", "red star,blue ring", "-p", "plain"), "made for other labels, names, background"),
        (("-l", "SAME", "-p", "photo"), "made for other prompts (plain)"),
        (("-l", "SAME", "-p", "plain", "--template", "a <label>"), "made for other prompts"),
        (("-l", "SAME", "-p", "plain", "--combine", "max"), "made for other labels, names, background or --combine"),
        (("-l", "SAME", "-p", "plain", "--background", "curated"), "made for other labels, names, background"),
        (("-l", "SAME", "-p", "plain", "--model", "OTHER"), "made for another model (demo)"),
        (("-l", "SAME,a label more", "-p", "photo", "--model", "OTHER"), "another model (demo) and other labels"),
    ],
)  # fmt: skip
def test_one_for_something_else_is_refused(
    made: Path, noisy_folder: Path, cli: Cli, sharp_demo: Path, changed: tuple[str, ...], message: str
) -> None:
    replaced = [
        one.replace("SAME", labels_of(noisy_folder)).replace("OTHER", f"local-dir:{sharp_demo}") for one in changed
    ]
    run = cli("classify", noisy_folder, *replaced, "--calibration", made)
    assert (run.code, run.out) == (1, "")
    assert message in run.err


@pytest.mark.parametrize("option", [("--temperature", "2"), ("--temperature", "1")])
def test_what_does_not_go_with_it(made: Path, noisy_folder: Path, cli: Cli, option: tuple[str, ...]) -> None:
    run = cli("classify", noisy_folder, "-l", labels_of(noisy_folder), "-p", "plain", "--calibration", made, *option)
    assert run.code == 2
    assert "--calibration" in run.err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temperature": -1}, "must be above 0"),
        ({"temperature": "warm"}, "temperature must be a number, not 'warm'"),
        ({"temperature": float("nan")}, "must be a number"),
        ({"binding": {"model": "x"}}, "binding has no labels"),
        ({"before": None}, "expected a mapping"),
        ({"seed": None}, "seed must be a number"),
        (None, "expected what zsclip evaluate `calibrate` writes"),
    ],
)
def test_files_that_cannot_be_read(made: Path, change: dict[str, object] | None, message: str) -> None:
    document = yaml.safe_load(made.read_text())
    made.write_text(yaml.safe_dump({**document, **change} if change else [1, 2]))
    with pytest.raises(CalibrationError, match=message):
        read_file(made)


def test_a_file_is_read_as_it_was_written(made: Path, noisy_folder: Path) -> None:
    document, read = yaml.safe_load(made.read_text()), read_file(made)
    assert isinstance(read, Calibration)
    assert read.temperature == document["temperature"]
    assert vars(read.binding) == document["binding"]
    read.require(Binding(**document["binding"]), made)


def test_a_binding_knows_names_and_weights() -> None:
    labels = LabelSet.of(["cat", "dog"])
    plain, weighted = (
        PromptSet("a", ("a <label>", "the <label>")),
        PromptSet("b", ("a <label>", "the <label>"), weights=(1, 2)),
    )
    turned = PromptSet("c", ("the <label>", "a <label>"))
    one = Binding.of("m", labels, [plain])
    assert one == Binding.of("m", LabelSet.of(["dog", "cat"]), [turned])
    assert one != Binding.of("m", labels, [weighted])
    assert one != Binding.of("m", LabelSet.of(["cat", "dogs"]), [plain])
    assert one != Binding.of("n", labels, [plain])


def test_what_it_is_not_for_is_said_in_neutral_words(made: Path) -> None:
    read = read_file(made)
    other = replace(read.binding, labels="x", prompts="y")
    with pytest.raises(CalibrationError, match=r"made for other labels.* and other prompts") as caught:
        read.require(other)
    assert caught.value.where == "`calibration`"
    assert "--" not in str(caught.value)


@pytest.mark.slow
def test_nothing_to_learn_from_is_said(cli: Cli, demo_folder: Path, tmp_path: Path) -> None:
    run = cli("evaluate", demo_folder / "scenes", "-p", "plain", "--calibrate", tmp_path / "c.yaml")
    assert "Do not trust it" in run.err
    for label in ("red star", "blue ring"):
        shutil.copytree(demo_folder / "scenes" / label, tmp_path / "few" / label)
    run = cli("evaluate", tmp_path / "few", "-p", "plain", "--calibrate", tmp_path / "c.yaml")
    assert "Few images to fit a temperature on: 1." in run.err


@pytest.mark.parametrize(("direction", "bound"), [(1, 0.01), (-1, 100)])
def test_a_temperature_at_the_edge_is_said(caplog: pytest.LogCaptureFixture, direction: int, bound: float) -> None:
    assert fitted_temperature(lambda t: direction * t) == pytest.approx(bound, rel=0.01)
    assert "at the edge of what is searched, 0.01 to 100" in caplog.text


def test_a_temperature_within_is_not(caplog: pytest.LogCaptureFixture) -> None:
    assert fitted_temperature(lambda t: (t - 2) ** 2) == pytest.approx(2, rel=1e-3)
    assert caplog.text == ""


@pytest.mark.slow
def test_a_set_that_was_chosen_on_these_images_is_said_to_be(cli: Cli, noisy_folder: Path, tmp_path: Path) -> None:
    saved = tmp_path / "saved.yaml"
    run = cli("evaluate", noisy_folder, "-p", "photo", "--select-templates", "--save-prompts", saved)
    assert "if they are among these" not in run.err  # these figures are of the other half
    run = cli("evaluate", noisy_folder, "-p", "plain", "-p", saved, "-f", "json")
    said = "saved was chosen on 96 images, with their labels: if they are among these, its figures are too good."
    assert said in json.loads(run.out)["notes"]
    assert said in run.err
    run = cli("evaluate", noisy_folder, "-p", saved, "--calibrate", tmp_path / "c.yaml", "-q")
    assert "saved was chosen on 96 images, with their labels: if they are among these" in run.err
    assert "calibration is too good" in run.err
