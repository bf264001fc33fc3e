"""`zsclip evaluate` with several models: every pair of model and prompt set on the same pictures."""

from __future__ import annotations

import gc
import json
import os
import shutil
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.cli import Cli, rows_of
from support.hostile_archives import tar

from zsclip import Classifier, PromptSet, PromptSetError
from zsclip.engines import choice
from zsclip.evaluation import grid, metrics
from zsclip.evaluation.comparison import holm
from zsclip.evaluation.dataset import from_folder
from zsclip.evaluation.embedded import embed
from zsclip.evaluation.evaluate import evaluate
from zsclip.evaluation.speed import LEAST, ComparedModel


@pytest.fixture(autouse=True)
def shared_store(one_store: Path, monkeypatch: pytest.MonkeyPatch, isolated: Path) -> None:
    """The same images all the time: embedded once by each model."""
    monkeypatch.setenv("ZSCLIP_CACHE_DIR", str(one_store))


@pytest.fixture
def own_store(isolated: Path, shared_store: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty store."""
    monkeypatch.setenv("ZSCLIP_CACHE_DIR", str(isolated / "cache"))
    return isolated / "cache"


OF_THE_COMPARISON = {
    "model", "baseline", "difference", "difference_low", "difference_high", "gained", "lost", "p_value", "p_adjusted",
    "verdict", "images_per_second", "images_computed",
}  # fmt: skip


@pytest.mark.slow
def test_every_pair_has_the_figures_of_its_own_run_and_differences_on_the_same_images(
    cli: Cli, noisy_folder: Path, rough_demo: str
) -> None:
    from scipy.stats import binomtest

    base = (
        "evaluate",
        noisy_folder,
        "-p",
        "plain",
        "-p",
        "photo",
        "--weight-templates",
        "zpe",
        "-f",
        "json",
        "--errors",
        "999",
    )
    run = cli(*base, "-m", "demo", "-m", rough_demo, "--baseline", f"{rough_demo}/photo")
    assert run.code == 0, run.err
    document = json.loads(run.out)
    assert [(one["model"], one["title"]) for one in document["models"]] == [("demo", "demo"), (rough_demo, rough_demo)]
    assert "model" not in document
    names = ["plain", "plain + zpe", "photo", "photo + zpe"]
    assert [(one["model"], one["prompts"]) for one in document["prompts"]] == [
        (model, name) for model in ("demo", rough_demo) for name in names
    ]
    wrong: dict[tuple[str, str], set[str]] = {}
    for model in ("demo", rough_demo):
        alone = json.loads(cli(*base, "-m", model).out)
        assert (alone["model"], alone["chosen_on"]) == (model, document["chosen_on"])
        assert "models" not in alone
        of_model = [one for one in document["prompts"] if one["model"] == model]
        for one, same in zip(of_model, alone["prompts"], strict=True):
            assert {name: one[name] for name in one if name not in OF_THE_COMPARISON} == {
                name: same[name] for name in same if name not in OF_THE_COMPARISON
            }
        for one in of_model:
            mistakes = [error for error in alone["errors"] if error["prompts"] == one["prompts"]]
            wrong[model, one["prompts"]] = {error["path"] for error in mistakes}
            assert [
                error for error in document["errors"] if (error["model"], error["prompts"]) == (model, one["prompts"])
            ] == [{"model": model, **error} for error in mistakes]
    baseline = wrong[rough_demo, "photo"]
    compared = [one for one in document["prompts"] if one["difference"] is not None]
    assert len(compared) == 7
    for one in compared:
        mine = wrong[one["model"], one["prompts"]]
        assert (one["gained"], one["lost"]) == (len(baseline - mine), len(mine - baseline))
        assert one["difference"] == pytest.approx((len(baseline) - len(mine)) / document["images"])
        differing = one["gained"] + one["lost"]
        assert one["p_value"] == pytest.approx(binomtest(one["gained"], differing).pvalue if differing else 1)
    assert [one["p_adjusted"] for one in compared] == pytest.approx(holm([one["p_value"] for one in compared]))
    assert all(one["difference"] > 0.05 for one in compared if one["model"] == "demo")


@pytest.mark.slow
def test_formats_name_the_model_where_there_are_several(
    cli: Cli, noisy_folder: Path, rough_demo: str, tmp_path: Path
) -> None:
    two = ("evaluate", noisy_folder, "-m", "demo", "-m", rough_demo, "-p", "plain", "-p", "photo")
    everything = ("--per-class", "--per-template", "--confusion", "--errors", "2")
    run = cli(*two, *everything, "-f", "table", "--min-probability", "0.3")
    assert run.code == 0, run.err
    for said in (
        "192 images, 64 labels, 2 models. Shares",
        "Against demo/plain, image by image:",
        f"{rough_demo}/photo: confusion",
    ):
        assert said in run.out
    comparison = run.out.partition("red circle")[0].splitlines()
    assert max(map(len, (line for line in comparison if rough_demo not in line))) <= 80
    assert next(line for line in comparison if line.startswith("  p")).startswith("  plain    2")
    assert sum(line.startswith(rough_demo) for line in comparison) == 3  # figures, abstention, differences
    rows = rows_of(cli(*two, "-f", "csv").out)
    one = rows_of(cli("evaluate", noisy_folder, "-m", "demo", "-p", "plain", "-p", "photo", "-f", "csv").out)
    assert list(rows[0]) == ["model", *one[0], "images_per_second", "images_computed"]
    assert [{name: row[name] for name in one[0] if name not in ("baseline", "p_adjusted")} for row in rows[:2]] == [
        {name: row[name] for name in row if name not in ("baseline", "p_adjusted")} for row in one
    ]
    for table in everything[:3]:
        assert next(iter(rows_of(cli(*two, table, "-f", "csv").out)[0])) == "model"
    names = sorted(path.name for path in noisy_folder.iterdir())
    colours = dict.fromkeys(name.split()[0] for name in names)
    nested = {colour: {name: [name] for name in names if name.startswith(colour)} for colour in colours}
    (tmp_path / "levels.yaml").write_text(json.dumps(nested))
    levels = rows_of(cli(*two, "-L", tmp_path / "levels.yaml", "--per-level", "-f", "csv").out)
    assert list(levels[0])[:3] == ["model", "prompts", "level"]
    assert [(row["model"], row["prompts"]) for row in levels[::3]] == [
        (model, name) for model in ("demo", rough_demo) for name in ("plain", "photo")
    ]
    head = cli(*two, "--errors", "1", "-f", "csv").out.splitlines()[0]
    assert head == "model,prompts,path,label,predicted,probability"
    assert cli(*two, "-q", "--report", tmp_path / "r.html", "-o", tmp_path / "x.csv").code == 0
    assert "Models and prompts judged on" in (tmp_path / "r.html").read_text()


@pytest.mark.slow
def test_speed_is_told_of_images_that_were_computed_and_of_no_others(
    cli: Cli, noisy_folder: Path, demo_folder: Path, rough_demo: str, own_store: Path
) -> None:
    base = ("evaluate", noisy_folder, "-p", "plain", "-m", rough_demo)
    assert cli(*base).code == 0
    first = rows_of(cli(*base, "-m", "demo", "-f", "csv").out)
    assert [(row["images_computed"], bool(row["images_per_second"])) for row in first] == [("0", False), ("192", True)]
    assert float(first[1]["images_per_second"]) > 0
    assert "demo: all images known" in cli(*base, "-m", "demo", "-f", "table").out
    few = cli("evaluate", demo_folder / "scenes", "-p", "plain", "-m", rough_demo, "-m", "demo", "-f", "table").out
    assert "demo: 64 new images, too few for a speed" in few
    assert ComparedModel("x", "x", LEAST, 5, 20.0).images_per_second == LEAST / 20
    assert ComparedModel("x", "x", LEAST - 1, 5, 20.0).images_per_second is None


def test_a_baseline_is_a_pair_or_the_first_that_its_half_names() -> None:
    models, sets = ["demo", "ViT-B-32:openai", "photo"], ["plain", "photo"]

    def pair(baseline: str | None) -> tuple[str, str]:
        return grid.baseline_pair(models, sets, baseline)

    assert pair(None) == ("demo", "plain")
    assert pair("ViT-B-32:openai/photo") == ("ViT-B-32:openai", "photo")
    assert pair("ViT-B-32:openai") == ("ViT-B-32:openai", "plain")
    assert pair("plain") == ("demo", "plain")
    with pytest.raises(PromptSetError, match=r"is a model and a prompt set\. Name one as MODEL/SET"):
        pair("photo")
    with pytest.raises(PromptSetError, match="no such pair among those compared: demo/plain, demo/photo"):
        pair("ViT-B-32")


def test_images_that_one_model_cannot_read_are_left_out_of_all_figures(noisy_folder: Path, rough_demo: str) -> None:
    data = from_folder(noisy_folder)
    rng = np.random.default_rng(0)
    kept = [rng.random(len(data.paths)) > 0.1, rng.random(len(data.paths)) > 0.3]
    sets = [PromptSet.load("plain"), PromptSet.load("photo")]
    judged, whole = [], []
    for name, read in zip(("demo", rough_demo), kept, strict=True):
        with Classifier.load(name) as classifier:
            images = embed(classifier, data)
            assert images.places.tolist() == list(range(len(data.paths)))
            unread = tuple(
                (path, "no") for path, is_read in zip(images.paths, read.tolist(), strict=True) if not is_read
            )
            found = evaluate(classifier, images[read], sets)
            whole.append(evaluate(classifier, images[kept[0] & kept[1]], sets))
        model = ComparedModel(name, name, 0, len(read), 1.0)
        judged.append(grid.ModelJudged(model, replace(found, unreadable=unread), images[read].places))
    found = grid.compared(judged, ("demo", "photo"))
    both, some = kept[0] & kept[1], kept[0] | kept[1]
    assert len(found.paths) == both.sum() == found.baseline.summary.images
    assert found.paths == whole[0].paths == whole[1].paths
    assert found.left_out == (some & ~both).sum()
    assert f"Left out, for only some of the models can read them: {found.left_out} images." in found.notes
    assert [one.summary for one in found.sets] == [one.summary for run in whole for one in run.sets]
    assert found.baseline.name == "demo/photo"
    right = [one.predictions.correct for run in whole for one in run.sets]
    assert [(one.gained, one.lost) for one in found.comparisons] == [
        (int((right[n] & ~right[1]).sum()), int((right[1] & ~right[n]).sum())) for n in (0, 2, 3)
    ]
    errors = dict(found.unreadable)
    assert len(errors) == (~both).sum()
    by_none = {path for path, read in zip(data.paths, some.tolist(), strict=True) if not read}
    assert {path for path, error in errors.items() if error == "no"} == by_none
    assert {error for path, error in errors.items() if path not in by_none} == {"no (demo)", f"no ({rough_demo})"}


def test_halves_are_those_of_all_labelled_images_whoever_reads_them(noisy_folder: Path) -> None:
    data = from_folder(noisy_folder)
    with Classifier.load("demo") as classifier:
        images = embed(classifier, data)
    whole = grid.half_of(data, images, 4)
    assert whole.tolist() == metrics.halves(images.truth, 4).tolist()
    read = np.arange(len(data.paths)) % 5 > 0
    assert grid.half_of(data, images[read], 4).tolist() == whole[read].tolist()


@pytest.mark.slow
def test_archives_are_read_by_every_model(cli: Cli, noisy_folder: Path, rough_demo: str, tmp_path: Path) -> None:
    members: dict[str, bytes] = {}
    for number, path in enumerate(sorted(noisy_folder.rglob("*.png"))[:60]):
        members |= {f"{number:03}.png": path.read_bytes() if number % 20 else b"damaged"}
        members |= {f"{number:03}.txt": path.parent.name.encode()} if number % 9 else {}  # some without a label
    (tmp_path / "s.tar").write_bytes(tar(members))
    base = ("evaluate", tmp_path / "s.tar", "--label-from", "txt", "-p", "plain", "-f", "csv", "--no-cache")
    run = cli(*base, "-m", "demo", "-m", rough_demo)
    assert run.code == 3
    assert "3 images could not be read" in run.err
    alone = [rows_of(cli(*base, "-m", model).out)[0] for model in ("demo", rough_demo)]
    rows = rows_of(run.out)
    assert [(row["images"], row["top1"], row["nll"]) for row in rows] == [
        (row["images"], row["top1"], row["nll"]) for row in alone
    ]
    assert rows[0]["top1"] != rows[1]["top1"]


@pytest.mark.slow
def test_a_model_is_let_go_before_the_next_is_loaded(
    cli: Cli, noisy_folder: Path, rough_demo: str, monkeypatch: pytest.MonkeyPatch, sharp_demo: Path
) -> None:
    engines: list[weakref.ref[Any]] = []
    alive: list[int] = []
    original = choice.load

    def load(*arguments: Any) -> Any:
        alive.append(sum(one() is not None for one in engines))
        engine = original(*arguments)
        engines.append(weakref.ref(engine))
        return engine

    monkeypatch.setattr(choice, "load", load)
    gc.disable()  # what only a collection would free is not let go
    try:
        run = cli(
            "evaluate", noisy_folder, "-m", "demo", "-m", rough_demo, "-m", f"local-dir:{sharp_demo}", "--no-cache"
        )
    finally:
        gc.enable()
    assert run.code == 0, run.err
    assert alive == [0, 0, 0]


def test_what_cannot_be_of_several_models_is_refused_with_the_reason(
    cli: Cli, noisy_folder: Path, tmp_path: Path
) -> None:
    two = ("evaluate", noisy_folder, "-p", "plain", "-m", "demo", "-m", "ViT-B-32:openai")
    for more, code, message in (
        (("--pretrained", "openai"), 2, "Write them after a colon: -m ViT-B-32:openai"),
        (("--calibrate", tmp_path / "c.yaml"), 2, "this is of one model, and several are given"),
        (("--select-templates", "--save-prompts", tmp_path / "s.yaml"), 2, "this is of one model, and several are given"),
        (("--vectors", tmp_path), 2, "--vectors: this is of one model, and several are given"),
        (("--multi-label",), 2, "--multi-label: this is of one model, and several are given"),
        (("--baseline", "photo"), 1, "--baseline photo: there is no such pair among those compared: demo/plain, ViT-B-32:openai/plain."),
        (("-m", "demo"), 1, "demo is given twice"),
    ):  # fmt: skip
        run = cli(*two, *more)
        assert (run.code, run.out) == (code, ""), run.err
        assert message in " ".join(run.err.replace("│", " ").split())
    run = cli("evaluate", noisy_folder, "-m", "ViT-B-32", "-m", "demo", "-m", "ViT-B-32:datacomp_xl_s13b_b90k")
    assert (run.code, run.out) == (1, "")
    assert "ViT-B-32 (datacomp_xl_s13b_b90k) is given twice" in run.err


def test_models_that_are_not_here_are_refused_together_before_the_first_computes(
    cli: Cli, noisy_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[object] = []
    monkeypatch.setattr(choice, "load", lambda *arguments: loaded.append(arguments))
    run = cli(
        *(
            "evaluate",
            noisy_folder,
            "--offline",
            "-m",
            "demo",
            "-m",
            "ViT-B-32:laion400m_e31",
            "-m",
            "hf-hub:no-one/nothing",
        ),
        *("-m", "RN50:cc12m", "-m", "local-dir:nowhere"),
    )
    assert (run.code, run.out) == (1, "")
    assert run.err.count("zsclip: error") == 1
    for said in ("4 of the 5 models cannot be used", "ViT-B-32 (laion400m_e31): its weights", "hf-hub:no-one/nothing: its",
                 "RN50 (cc12m): its weights", "local-dir:nowhere: there is no folder nowhere", "zsclip models pull MODEL"):  # fmt: skip
        assert said in run.err
    single = cli("evaluate", noisy_folder, "--offline", "-m", "demo", "-m", "RN50:cc12m")
    assert "zsclip: error: RN50 (cc12m): its weights" in single.err
    assert not loaded


def test_the_environments_model_is_one_whatever_its_name(
    cli: Cli, noisy_folder: Path, rough_demo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my models").mkdir()
    os.symlink(rough_demo.removeprefix("local-dir:"), tmp_path / "my models" / "a:b")
    name = f"local-dir:{tmp_path}/my models/a:b"
    monkeypatch.setenv("ZSCLIP_MODEL", name)
    monkeypatch.setenv("ZSCLIP_PRETRAINED", "openai")  # which is for architectures
    assert json.loads(cli("evaluate", noisy_folder, "-p", "plain", "-f", "json").out)["model"] == name
    rows = rows_of(cli("evaluate", noisy_folder, "-p", "plain", "-m", "demo", "-m", rough_demo, "-f", "csv").out)
    assert [row["model"] for row in rows] == ["demo", rough_demo]
    weights = tmp_path / "w.csv"
    shutil.copy(noisy_folder.parent / "labels.txt", weights)
    refused = cli("classify", noisy_folder, "-l", "a,b", "-m", f"ViT-B-32:{weights}", "-o", weights)
    assert (refused.code, "is also an input" in refused.err) == (1, True)
