"""`zsclip evaluate` as people and scripts use it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.cli import Cli, rows_of
from support.processes import run_and_list_modules

from zsclip import Classifier, LabelSet, PromptSet, PromptSetError, Rules
from zsclip.evaluation import evaluate as evaluation_module
from zsclip.evaluation.dataset import from_folder
from zsclip.evaluation.embedded import embed
from zsclip.evaluation.evaluate import named_apart
from zsclip.evaluation.tables import COLUMNS
from zsclip.evaluation.template_weights import weigh_by_zpe

MISLEADING = "a blue ring and a <label>."


@pytest.fixture(autouse=True)
def demo_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZSCLIP_MODEL", "demo")


@pytest.fixture(autouse=True)
def shared_store(one_store: Path, monkeypatch: pytest.MonkeyPatch, isolated: Path) -> None:
    """The same images all the time: embedded once."""
    monkeypatch.setenv("ZSCLIP_CACHE_DIR", str(one_store))


@pytest.mark.slow
def test_the_table_is_what_scikit_learn_makes_of_classifys_rows(cli: Cli, noisy_folder: Path) -> None:
    """From the outside: classify's own output, judged by scikit-learn, is what evaluate says."""
    from scipy import stats
    from sklearn import metrics as sk

    labels = sorted(path.name for path in noisy_folder.iterdir())
    run = cli("evaluate", noisy_folder, "-p", "plain", "-p", "photo", "--template", MISLEADING, "-f", "json")
    assert run.code == 0
    document = json.loads(run.out)
    assert [one["prompts"] for one in document["prompts"]] == ["plain", "photo", MISLEADING]
    right = {}
    for one, option in zip(
        document["prompts"], (("-p", "plain"), ("-p", "photo"), ("--template", MISLEADING)), strict=True
    ):
        lines = cli(
            "classify", noisy_folder, "-l", ",".join(labels), *option, "-k", "all", "-f", "jsonl"
        ).out.splitlines()
        results = [json.loads(line) for line in lines]
        truth = [labels.index(Path(result["path"]).parent.name) for result in results]
        probability = np.zeros((len(results), len(labels)))
        for row, result in zip(probability, results, strict=True):
            for said in result["predictions"]:
                row[labels.index(said["label"])] = said["probability"]
        said = probability.argmax(1)
        right[one["prompts"]] = said == truth
        every = np.arange(len(labels))
        assert one["images"] == len(results) == 192
        assert one["top1"] == pytest.approx(sk.accuracy_score(truth, said))
        assert one["top5"] == pytest.approx(sk.top_k_accuracy_score(truth, probability, k=5, labels=every), abs=0.006)
        assert one["mean_recall"] == pytest.approx(sk.balanced_accuracy_score(truth, said))
        assert one["macro_f1"] == pytest.approx(sk.f1_score(truth, said, average="macro", labels=every))
        probability /= probability.sum(1, keepdims=True)
        assert one["nll"] == pytest.approx(sk.log_loss(truth, np.clip(probability, 1e-7, 1), labels=every), rel=0.02)
        interval = stats.binomtest(int(right[one["prompts"]].sum()), 192).proportion_ci(method="wilson")
        assert (one["top1_low"], one["top1_high"]) == pytest.approx((interval.low, interval.high))
    assert 0.3 < right["plain"].mean() < 0.95
    for one in document["prompts"][1:]:
        gained = int((right[one["prompts"]] & ~right["plain"]).sum())
        lost = int((right["plain"] & ~right[one["prompts"]]).sum())
        assert (one["gained"], one["lost"]) == (gained, lost)
        assert one["p_value"] == pytest.approx(stats.binomtest(gained, gained + lost).pvalue if gained + lost else 1)
        assert one["difference_low"] <= one["difference"] <= one["difference_high"]
        assert one["p_adjusted"] >= one["p_value"]
    assert document["prompts"][2]["verdict"] == "worse"
    assert "different numbers of templates" in document["notes"][0]
    assert "different numbers of templates" in run.err


@pytest.mark.slow
def test_images_are_embedded_once_for_all_sets(
    cli: Cli, demo_folder: Path, monkeypatch: pytest.MonkeyPatch, default_engine: type[Any]
) -> None:
    calls: list[int] = []
    original = default_engine.encode_images
    monkeypatch.setattr(
        default_engine, "encode_images", lambda self, pixels: calls.append(len(pixels)) or original(self, pixels)
    )
    run = cli("evaluate", demo_folder / "scenes", "-p", "plain", "-p", "photo", "-p", "art", "--no-cache", "-f", "csv")
    assert run.code == 0
    assert sum(calls) == 64


@pytest.mark.slow
def test_neither_classify_nor_help_import_scikit_learn(noisy_folder: Path, one_store: Path) -> None:
    for arguments in (["evaluate", "--help"], ["classify", noisy_folder, "-l", "red star,blue ring"]):
        assert not run_and_list_modules(*arguments)[1] & {"sklearn", "scipy"}


@pytest.mark.slow
def test_a_second_run_loads_no_model(noisy_folder: Path, cli: Cli) -> None:
    arguments = ["evaluate", str(noisy_folder), "-p", "plain", "-f", "csv"]
    first = cli(*arguments).out
    run, modules = run_and_list_modules(*arguments)
    assert "torch" not in modules
    assert run.stdout == first


@pytest.mark.slow
def test_the_other_tables(cli: Cli, noisy_folder: Path) -> None:
    base = ("evaluate", noisy_folder, "-p", "plain", "-p", "photo")
    by_class = rows_of(cli(*base, "--per-class", "-f", "csv").out)
    assert len(by_class) == 128
    assert list(by_class[0]) == ["prompts", "label", "precision", "recall", "f1", "images", "confused_with", "confused"]
    assert all(row["images"] == "3" for row in by_class)
    cells = rows_of(cli(*base, "--confusion", "-f", "csv").out)
    assert sum(int(row["images"]) for row in cells if row["prompts"] == "photo") == 192
    for row in by_class:
        hits = [
            int(cell["images"])
            for cell in cells
            if (cell["prompts"], cell["label"], cell["predicted"]) == (row["prompts"], row["label"], row["label"])
        ]
        assert float(row["recall"]) == pytest.approx(sum(hits) / 3, abs=1e-5)
    templates = rows_of(cli(*base, "--per-template", "-f", "csv").out)
    assert [row["prompts"] for row in templates] == ["plain"] * 2 + ["photo"] * 10
    of_photo = [float(row["top1"]) for row in templates[2:]]
    assert of_photo == sorted(of_photo, reverse=True)
    alone = rows_of(cli("evaluate", noisy_folder, "--template", templates[5]["template"], "-f", "csv").out)[0]
    assert (alone["top1"], alone["nll"]) == (templates[5]["top1"], templates[5]["nll"])
    errors = rows_of(cli(*base, "--errors", "4", "-f", "csv").out)
    assert len(errors) == 8
    assert all(Path(row["path"]).parent.name == row["label"] != row["predicted"] for row in errors)
    sure = [float(row["probability"]) for row in errors[:4]]
    assert sure == sorted(sure, reverse=True)


def test_formats(cli: Cli, noisy_folder: Path, tmp_path: Path) -> None:
    base = ("evaluate", noisy_folder, "-p", "plain", "--template", MISLEADING)
    everything = ("--per-class", "--per-template", "--confusion", "--errors", "2")
    table = cli(*base, *everything, "-f", "table")
    assert table.code == 0
    assert max(len(line) for line in table.out.splitlines() if not line.endswith(".png")) <= 80
    for said in (
        "192 images, 64 labels, demo",
        "top-1 [95 %]",
        "worse",
        "each template by itself",
        "most confident of",
    ):
        assert said in table.out
    run = cli(*base, *everything, "-f", "csv")
    assert run.code == 2
    assert "CSV holds one table" in run.err
    assert cli(*base, "-o", tmp_path / "x.json", *everything).code == 0
    document = json.loads((tmp_path / "x.json").read_text())
    assert {"per_class", "per_template", "confusion", "errors", "methods", "rules"} <= set(document)
    assert cli(*base, "-o", tmp_path / "x.csv").code == 0
    assert (tmp_path / "x.csv").read_text() == cli(*base).out
    said_of_jsonl = cli(*base, "-o", tmp_path / "x.jsonl").err.replace("│", " ")
    assert "must end in one of .csv, .json, .txt" in " ".join(said_of_jsonl.split())


@pytest.mark.slow
@pytest.mark.parametrize("width", [60, 70, 80, 120])
def test_tables_fit_the_terminal(
    cli: Cli, noisy_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    names = [path.name for path in noisy_folder.iterdir()]
    (tmp_path / "n.csv").write_text("".join(f"{name},{name} {'unbroken' * 12}\n" for name in names))
    run = cli(
        *("evaluate", noisy_folder, "-p", "plain", "-p", "photo", "--template", "a <label>", "--template", MISLEADING),
        *("--class-names", tmp_path / "n.csv", "--per-class", "--confusion", "--errors", "3", "-f", "table"),
    )
    assert run.code == 0, run.err
    lines = run.out.splitlines()
    paths = [line for line in lines if line.endswith(".png")]
    assert len(paths) == 12
    assert all(str(noisy_folder) in line for line in paths)  # whole, to be copied
    headings = [line for line in lines if "most confident of" in line]  # wrapped by the terminal
    assert max(len(line) for line in lines if line not in paths + headings) <= width
    assert sum(line.startswith(("plain ", "photo ")) for line in lines) == 3
    assert sum(line.startswith("red sta") for line in lines if "  3  " in line) == 4  # a line a label, in each table
    assert ("F1" in lines[2]) == (width >= 80)


def test_a_baseline_of_ones_own(cli: Cli, noisy_folder: Path) -> None:
    rows = rows_of(cli("evaluate", noisy_folder, "-p", "plain", "--template", MISLEADING, "--baseline", MISLEADING).out)
    assert (rows[0]["verdict"], rows[1]["verdict"]) == ("better", "")
    run = cli("evaluate", noisy_folder, "-p", "plain", "--baseline", "photo")
    assert run.code == 1
    assert "no such set among those compared: plain" in run.err


def test_sets_and_templates_stand_in_the_order_they_were_typed_in(cli: Cli, noisy_folder: Path) -> None:
    typed = ("--template", MISLEADING, "-p", "plain", "--template=a <label>", "-pphoto")
    rows = rows_of(cli("evaluate", noisy_folder, *typed, "-f", "csv").out)
    assert [row["prompts"] for row in rows] == [MISLEADING, "plain", "a <label>", "photo"]
    assert {row["baseline"] for row in rows} == {MISLEADING}  # the first
    assert rows[1]["verdict"] == "better"


def test_a_set_that_is_made_here_may_be_the_baseline(cli: Cli, noisy_folder: Path, tmp_path: Path) -> None:
    base = ("evaluate", noisy_folder, "-p", "photo", "--baseline", "photo + zpe")
    rows = rows_of(cli(*base, "--weight-templates", "zpe", "--save-prompts", tmp_path / "s.yaml").out)
    assert [row["baseline"] for row in rows] == ["photo + zpe"] * 2
    assert [bool(row["verdict"]) for row in rows] == [True, False]
    assert PromptSet.load(tmp_path / "s.yaml").description == "The templates of photo, weighed."
    run = cli(*base, "--select-templates")
    assert run.code == 1
    assert "no such set among those compared: photo, photo + selected." in run.err


def test_labels_that_no_picture_tells_apart_are_named_once(cli: Cli, demo_folder: Path, tmp_path: Path) -> None:
    for folder, label in (("cat", "red star"), ("dog", "blue ring")):
        shutil.copytree(demo_folder / "scenes" / label, tmp_path / folder)
    run = cli("evaluate", tmp_path, "-p", "plain", "-p", "photo", "-f", "json", "-q")
    assert run.err.count("No picture can tell 'cat' from 'dog'") == 1
    assert any("No picture can tell 'cat' from 'dog'" in note for note in json.loads(run.out)["notes"])


@pytest.fixture
def mislabelled(demo_folder: Path, tmp_path: Path) -> Path:
    """Pictures of four shapes in folders of other shapes, and prompts that always answer the same."""
    shapes = ("circle", "ring", "heart", "star")
    for n, shape in enumerate(shapes):
        (tmp_path / "wrong" / shape).mkdir(parents=True)
        for scene in (demo_folder / "scenes").glob(f"* {shapes[n - 1]}"):
            shutil.copy(scene / "001.png", tmp_path / "wrong" / shape / f"{scene.name}.png")
    (tmp_path / "constant.yaml").write_text("labels:\n" + "".join(f"  {shape}: [a star]\n" for shape in shapes))
    return tmp_path


def test_better_than_another_set_is_not_better_than_guessing(cli: Cli, mislabelled: Path) -> None:
    base = ("evaluate", mislabelled / "wrong", "-p", "plain", "-p", mislabelled / "constant.yaml", "-q")
    run = cli(*base, "-f", "json")
    document = json.loads(run.out)
    assert (document["chance"], document["commonest"]) == (0.25, {"label": "circle", "share": 0.25})
    assert [one["standing"] for one in document["prompts"]] == ["below chance", "not above chance"]
    assert document["prompts"][1]["verdict"] == "better"
    for told in (run.err, " ".join(document["notes"]), " ".join(cli(*base, "-f", "table").out.split())):
        assert "plain is worse than guessing" in told
        assert "constant is no better than guessing" in told
    assert "Chance is 25.0" in cli(*base, "-f", "table").out
    rows = rows_of(cli(*base, "-f", "csv").out)
    assert [(row["chance"], row["commonest"], row["standing"]) for row in rows] == [
        ("0.25", "0.25", "below chance"),
        ("0.25", "0.25", "not above chance"),
    ]


def test_no_mistakes(cli: Cli, demo_folder: Path) -> None:
    base = ("evaluate", demo_folder / "scenes", "-p", "plain", "--errors", "5")
    assert cli(*base, "-f", "csv").out == "prompts,path,label,predicted,probability\n"
    assert "plain: No mistakes." in cli(*base, "-f", "table").out


def test_a_header_is_the_same_with_rows_and_without(cli: Cli, noisy_folder: Path) -> None:
    for table, option in (("errors", ("--errors", "1")), ("per_template", ("--per-template",))):
        head = cli("evaluate", noisy_folder, "-p", "plain", *option, "-f", "csv").out.splitlines()[0]
        assert head == ",".join(COLUMNS[table])


@pytest.mark.slow
def test_abstention_is_told_as_coverage(cli: Cli, noisy_folder: Path) -> None:
    labels = ",".join(sorted(path.name for path in noisy_folder.iterdir()))
    (plain,) = rows_of(cli("evaluate", noisy_folder, "-p", "plain").out)
    assert "coverage" not in plain
    for option in (("--min-probability", "0.9"), ("--min-margin", "0.5"), ("--min-similarity", "0.4")):
        (row,) = rows_of(cli("evaluate", noisy_folder, "-p", "plain", *option).out)
        lines = cli("classify", noisy_folder, "-l", labels, "-p", "plain", *option, "-f", "jsonl").out.splitlines()
        decided = [one for one in map(json.loads, lines) if one["label"] != "unknown"]
        right = sum(one["label"] == Path(one["path"]).parent.name for one in decided)
        assert 0 < len(decided) < 192, option
        assert float(row["coverage"]) == pytest.approx(len(decided) / 192, abs=1e-5)
        assert float(row["covered_accuracy"]) == pytest.approx(right / len(decided), abs=1e-5)
        assert row["top1"] == plain["top1"]
    (none,) = rows_of(cli("evaluate", noisy_folder, "-p", "plain", "--min-similarity", "1").out)
    assert (none["coverage"], none["covered_accuracy"]) == ("0", "")
    assert "–" in cli("evaluate", noisy_folder, "-p", "plain", "--min-similarity", "1", "-f", "table").out


def test_a_background_takes_its_share(cli: Cli, noisy_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("a picture of a square.\nred\n")
    (row,) = rows_of(cli("evaluate", noisy_folder, "-p", "plain", "--background", tmp_path / "b.txt").out)
    (plain,) = rows_of(cli("evaluate", noisy_folder, "-p", "plain").out)
    assert row["top1"] == plain["top1"]
    assert float(row["nll"]) > float(plain["nll"])
    assert 0 < float(row["coverage"]) <= 1


def test_classifys_own_output_is_refused_as_truth_and_taken_only_if_asked_for(
    cli: Cli, noisy_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    labels = "red star,blue ring,green heart"
    for form in ("csv", "jsonl", "tsv"):
        manifest = tmp_path / f"m.{form}"
        written = cli(
            *("classify", noisy_folder, tmp_path / "broken.jpg", "-l", labels, "-p", "plain", "-f", form),
            *("--min-probability", "0.9", "-o", manifest),
        )
        assert written.code == 3
        judge = ("evaluate", "--manifest", manifest, "-l", labels, "-p", "plain")
        refused = cli(*judge)
        assert (refused.code, refused.out) == (1, "")
        assert "its labels are predictions" in refused.err
        assert "--allow-predictions" in refused.err
        run = cli(*judge, "--allow-predictions", "-f", "csv")
        assert run.code == 0, run.err
        (row,) = rows_of(run.out)
        assert (row["top1"], row["predicted_labels"]) == ("1", row["images"])
        assert f"{row['images']} labels are predictions that nobody checked" in run.err
        document = json.loads(cli(*judge, "--allow-predictions", "-f", "json").out)
        assert str(document["predicted_labels"]) == row["images"]
        assert "are predictions that nobody checked" in document["notes"][0]
        table = cli(*judge, "--allow-predictions", "-f", "table", "-q").out
        assert f"{row['images']} labels are predictions that nobody checked" in " ".join(table.split())
        assert "with an error" in run.err
        assert "labelled 'unknown'" in run.err


def test_what_cannot_be_read_is_neither_right_nor_wrong(cli: Cli, demo_folder: Path, tmp_path: Path) -> None:
    for label in ("red star", "blue ring"):
        shutil.copytree(demo_folder / "scenes" / label, tmp_path / label)
    (tmp_path / "red star" / "broken.png").write_bytes(b"nothing")
    run = cli("evaluate", tmp_path, "-f", "json")
    assert run.code == 3
    document = json.loads(run.out)
    assert document["images"] == 2
    assert document["unreadable"] == [
        {"path": str(tmp_path / "red star" / "broken.png"), "error": "not an image in a format that is known here"}
    ]
    assert "neither as right nor as wrong" in run.err
    for path in tmp_path.glob("*/001.png"):
        path.write_bytes(b"nothing either")
    run = cli("evaluate", tmp_path)
    assert run.code == 1
    assert "None of the 3 images can be read" in run.err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "or --manifest FILE"),
        (("nowhere",), 1, "there is no such folder"),
        (("--manifest", "nowhere.csv"), 1, "No such file"),
        (("SCENES", "-p", "plain", "-p", "plain"), 1, "'plain' is given twice"),
        (("SCENES", "-l", "cat,dog"), 1, "not among the labels"),
        (("SCENES/red star",), 1, "no labelled images found"),
        (("SCENES", "--save-prompts", "x.yaml"), 2, "--weight-templates zpe or --select-templates"),
        (("SCENES", "--save-prompts", "x.txt", "--select-templates"), 1, "must end in .yaml or .yml"),
        (("SCENES", "--calibrate", "x.yaml", "-p", "plain", "-p", "photo"), 2, "give one prompt set"),
        (("SCENES", "--temperature", "0"), 2, "above 0"),
        (("SCENES", "--min-probability", "0.5", "-p", "nothing-such"), 1, "no prompt set 'nothing-such'"),
        (("SCENES", "--template", "no place"), 1, "has no <label>"),
        (
            ("SCENES", "--report", "/nowhere/x.html"),
            1,
            "--report /nowhere/x.html: there is no folder /nowhere. Make it first.",
        ),
        (
            ("SCENES", "-p", "plain", "--calibrate", "/nowhere/x.yaml"),
            1,
            "--calibrate /nowhere/x.yaml: there is no folder",
        ),
        (("SCENES", "--embed-thumbnails"), 2, "does nothing without --report"),
        (("SCENES", "--allow-predictions"), 2, "does nothing without --manifest"),
    ],
)
def test_wrong_input(cli: Cli, noisy_folder: Path, arguments: tuple[str, ...], code: int, message: str) -> None:
    run = cli("evaluate", *(argument.replace("SCENES", str(noisy_folder)) for argument in arguments))
    assert (run.code, run.out) == (code, "")
    assert message in " ".join(run.err.replace("│", " ").split())


def test_one_label_is_no_question(cli: Cli, demo_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(demo_folder / "scenes" / "red star", tmp_path / "red star")
    run = cli("evaluate", tmp_path)
    assert run.code == 1
    assert "Only one label" in run.err
    assert "--multi-label" not in run.err


@pytest.mark.slow
def test_labels_may_have_synonyms(cli: Cli, noisy_folder: Path, tmp_path: Path) -> None:
    """Folders of eight shapes in eight colours, judged by colour: a label of eight names."""
    names = {path.name: path.name.split()[0] for path in noisy_folder.iterdir()}
    (tmp_path / "n.csv").write_text("".join(f"{name},{colour}\n" for name, colour in names.items()))
    colours = ["red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink"]
    (tmp_path / "l.yaml").write_text(
        "".join(f"{c}: [{', '.join(name for name in names if names[name] == c)}]\n" for c in colours)
    )
    for combine in ("mean", "max", "sum"):
        run = cli(
            *("evaluate", noisy_folder, "--class-names", tmp_path / "n.csv", "-L", tmp_path / "l.yaml"),
            *("--combine", combine, "-p", "plain", "--per-class", "-f", "csv"),
        )
        rows = rows_of(run.out)
        assert [row["label"] for row in rows] == colours
        assert {row["images"] for row in rows} == {"24"}
        assert sum(float(row["recall"]) for row in rows) / 8 > 0.6


def test_sets_of_one_name_are_told_apart(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.yaml").write_text(f"templates: [a <label> {folder}]\n")
    sets = [PromptSet.load(tmp_path / folder / "x.yaml") for folder in ("a", "b")]
    assert [one.name for one in named_apart(sets)] == [str(tmp_path / folder / "x.yaml") for folder in ("a", "b")]
    with pytest.raises(PromptSetError, match="given twice"):
        named_apart([sets[0], sets[0]])


@pytest.mark.slow
def test_zpe_is_the_papers_formula(noisy_folder: Path) -> None:
    """Written down anew with plain loops: the images' mean is taken off, then max over labels, mean over images, softmax."""
    data = from_folder(noisy_folder)
    one = PromptSet("pool", ("a photo of a <label>.", MISLEADING, "<label>", "a sketch of a <label>."))
    with Classifier.load("demo") as classifier:
        images = embed(classifier, data)
        texts = classifier.prompt_vectors(data.labels, [one])
        ours = np.array(weigh_by_zpe(texts, one, data.labels, images.vectors, Rules()).weights)
        scale = classifier.model.facts.logit_scale
        scores = []
        for template in one.templates:
            vectors = classifier.embed_texts([template.replace("<label>", name) for name in data.labels.names])
            logits = scale * images.vectors.astype(float) @ vectors.astype(float).T
            scores.append((logits - logits.mean(0)).max(1).mean())
    theirs = np.exp(scores) / np.exp(scores).sum()
    np.testing.assert_allclose(ours / ours.sum(), theirs, rtol=1e-4)
    assert ours.mean() == pytest.approx(1)


@pytest.mark.slow
def test_chosen_prompts_are_judged_on_the_other_half_and_saved(cli: Cli, noisy_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "pool.yaml").write_text(
        "templates: ['a photo of a <label>.', '<label>', 'a blue ring and a <label>.', 'three <label>s']\n"
    )
    base = ("evaluate", noisy_folder, "-p", tmp_path / "pool.yaml", "--seed", "3")
    document = json.loads(cli(*base, "--weight-templates", "zpe", "--select-templates", "-f", "json").out)
    assert [one["prompts"] for one in document["prompts"]] == ["pool", "pool + zpe", "pool + selected"]
    assert (document["chosen_on"], document["images"]) == (96, 96)
    for method in (("--weight-templates", "zpe"), ("--select-templates",)):
        saved = tmp_path / "saved.yaml"
        run = cli(*base, *method, "--save-prompts", saved, "-f", "json")
        assert run.code == 0
        row = json.loads(run.out)["prompts"][1]
        one = PromptSet.load(saved)
        assert one.chosen["from"] == "pool (4 templates)"
        assert one.chosen["seed"] == "3"
        assert one.chosen["images"].startswith("96")
        assert "chosen method" in cli("prompts", "show", saved).out
        # what is saved is what was judged: on the same half it gives the same figures, by classify's way of reading it
        data = from_folder(noisy_folder)
        with Classifier.load("demo") as classifier:
            images = embed(classifier, data)
            from zsclip.evaluation import metrics

            half = ~metrics.halves(images.truth, 3)
            results = list(
                classifier.classify([p for p, h in zip(data.paths, half, strict=True) if h], data.labels, one)
            )
        truth = [Path(result.path).parent.name for result in results]
        assert np.mean([result.label == true for result, true in zip(results, truth, strict=True)]) == row["top1"]
    assert 1 <= len(one.templates) <= 4


@pytest.mark.slow
def test_selection_takes_what_is_best_by_itself_first(cli: Cli, noisy_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "pool.yaml").write_text(f"templates: ['{MISLEADING}', 'not a red star, a <label>', 'a <label>.']\n")
    cli(*("evaluate", noisy_folder, "-p", tmp_path / "pool.yaml", "--select-templates"),
        *("--save-prompts", tmp_path / "s.yaml"))  # fmt: skip
    assert PromptSet.load(tmp_path / "s.yaml").templates[0] == "a <label>."


@pytest.mark.slow
def test_a_set_without_templates_cannot_be_weighed(cli: Cli, noisy_folder: Path, tmp_path: Path) -> None:
    names = [path.name for path in noisy_folder.iterdir()]
    (tmp_path / "own.yaml").write_text("labels:\n" + "".join(f"  {name}: [a {name}]\n" for name in names))
    assert (
        cli("evaluate", noisy_folder, "-p", tmp_path / "own.yaml", "--per-template", "-f", "json", "-o", "-").code == 0
    )
    run = cli("evaluate", noisy_folder, "-p", tmp_path / "own.yaml", "--weight-templates", "zpe")
    assert (run.code, "nothing to weigh or to select" in run.err) == (1, True)


def test_one_image_a_label_can_be_halved(cli: Cli, demo_folder: Path) -> None:
    run = cli("evaluate", demo_folder / "scenes", "-p", "plain", "--weight-templates", "zpe", "-f", "json")
    assert json.loads(run.out)["images"] == 32


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="a terminal is needed")
def test_paths_and_labels_cannot_move_the_cursor(cli: Cli, demo_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "red star").mkdir()
    shutil.copy(demo_folder / "scenes" / "red star" / "001.png", tmp_path / "red star" / "a\x1b[2J.png")
    shutil.copytree(demo_folder / "scenes" / "blue ring", tmp_path / "blue ring")
    (tmp_path / "m.jsonl").write_text(
        "".join(json.dumps({"path": str(p), "label": "blue ring"}) + "\n" for p in tmp_path.glob("*/*.png"))
    )
    run = cli(*("evaluate", "--manifest", tmp_path / "m.jsonl", "-l", "red star,blue ring,<script>\x1b[2J"),
              *("-f", "table", "--errors", "5", "--per-class", "--confusion"))  # fmt: skip
    assert run.code == 0
    assert "\x1b" not in run.out + run.err


def test_the_library_gives_the_same(noisy_folder: Path, cli: Cli) -> None:
    data = from_folder(noisy_folder)
    with Classifier.load("demo") as classifier:
        images = embed(classifier, data)
        found = evaluation_module.evaluate(classifier, images, [PromptSet.load("plain")])
    (row,) = rows_of(cli("evaluate", noisy_folder, "-p", "plain").out)
    assert float(row["ece"]) == pytest.approx(found.baseline.summary.ece, rel=1e-4)
    assert isinstance(found.labels, LabelSet)
