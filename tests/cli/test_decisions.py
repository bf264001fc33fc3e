"""Abstention, backgrounds, independent labels and labels of several names."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.cli import Cli, rows_of
from support.small_models import save_transformers

from zsclip import Classifier, InputError, LabelError, LabelSet, Rules
from zsclip.scoring.classes import ClassVectors
from zsclip.scoring.decisions import Scores, decide
from zsclip.scoring.results import ImageResult, Prediction
from zsclip.scoring.rules import require_choice
from zsclip.unit_vectors import normalise, unit_mean

SCALE = 100.0


def vectors(rng: np.random.Generator, count: int) -> np.ndarray:
    """Unit vectors that are about as near to each other as CLIP's are."""
    return normalise((np.ones(24) + 0.6 * rng.standard_normal((count, 24))).astype(np.float32))


def classes(seed: int, sizes: list[int], background: int = 0) -> tuple[np.ndarray, ClassVectors]:
    rng = np.random.default_rng(seed)
    names = tuple(f"label {n}" for n in range(len(sizes)))
    beside = vectors(rng, background) if background else None
    made = ClassVectors(names, tuple(vectors(rng, size) for size in sizes), SCALE, 0.0, beside)
    return vectors(rng, 6), made


def table(scored: list, made: ClassVectors) -> np.ndarray:
    """Probabilities in the order of the labels."""
    rows = [{p.label: p.probability for p in one.predictions} for one in scored]
    return np.array([[row[name] for name in made.names] for row in rows])


SIZES = st.lists(st.integers(1, 4), min_size=2, max_size=5)


@settings(deadline=None)
@given(st.integers(0, 1000), SIZES, st.integers(0, 3))
def test_the_best_name_counts_for_max(seed: int, sizes: list[int], background: int) -> None:
    from scipy.special import softmax

    images, made = classes(seed, sizes, background)
    ours = table(made.score(images, 9, Rules(combine="max")), made)
    best = np.stack([(images.astype(float) @ v.T.astype(float)).max(1) for v in made.vectors], 1)
    beside = np.empty((6, 0)) if made.background is None else images.astype(float) @ made.background.T.astype(float)
    theirs = softmax(SCALE * np.concatenate([best, beside], 1), axis=1)[:, : len(sizes)]
    np.testing.assert_allclose(ours, theirs, atol=1e-10)


@settings(deadline=None)
@given(st.integers(0, 1000), SIZES)
def test_sum_adds_the_names_probabilities(seed: int, sizes: list[int]) -> None:
    from scipy.special import softmax

    images, made = classes(seed, sizes)
    ours = table(made.score(images, 9, Rules(combine="sum")), made)
    everything = softmax(SCALE * images.astype(float) @ np.concatenate(made.vectors).T.astype(float), axis=1)
    ends = np.cumsum(sizes)
    theirs = np.stack([everything[:, end - size : end].sum(1) for size, end in zip(sizes, ends, strict=True)], 1)
    np.testing.assert_allclose(ours, theirs, atol=1e-10)
    np.testing.assert_allclose(ours.sum(1), 1)


def test_independent_labels_are_a_sigmoid_of_the_lead_over_the_background() -> None:
    from scipy.special import expit

    images, made = classes(3, [1, 1, 1], background=5)
    ours = table(made.score(images, 9, Rules(multi_label=True)), made)
    assert made.background is not None
    mean = made.background.mean(0) / np.linalg.norm(made.background.mean(0))
    lead = images @ np.concatenate(made.vectors).T - (images @ mean)[:, None]
    np.testing.assert_allclose(ours, expit(SCALE * lead), atol=1e-4)
    # a gap of 0.05 at scale 100 is already nearly certain, which is why these are no calibrated probabilities
    assert expit(100 * 0.05) == pytest.approx(0.993, abs=5e-4)


def test_a_model_with_a_bias_of_its_own_needs_no_background() -> None:
    from scipy.special import expit

    images, made = classes(4, [1, 1])
    siglip = ClassVectors(made.names, made.vectors, 110.0, -12.9)
    ours = table(siglip.score(images, 9, Rules(multi_label=True)), siglip)
    np.testing.assert_allclose(ours, expit(110.0 * (images @ np.concatenate(made.vectors).T) - 12.9), atol=1e-4)


def test_a_background_that_is_given_replaces_the_bias() -> None:
    from scipy.special import expit

    images, made = classes(4, [1, 1], background=3)
    assert made.background is not None
    siglip = ClassVectors(made.names, made.vectors, 110.0, -12.9, made.background)
    ours = table(siglip.score(images, 9, Rules(multi_label=True)), siglip)
    lead = images @ np.concatenate(made.vectors).T - (images @ unit_mean(made.background))[:, None]
    np.testing.assert_allclose(ours, expit(110.0 * lead), atol=1e-4)


@pytest.mark.slow
def test_a_sigmoid_model_honours_a_background_and_needs_none(cli: Cli, red_star: Path, tmp_path: Path) -> None:
    save_transformers("siglip", tmp_path / "siglip")
    (tmp_path / "background.txt").write_text("a photo of a wall\n")
    arguments = ("classify", red_star, "-m", f"local-dir:{tmp_path / 'siglip'}", "-l", "cat,dog", "--multi-label")

    def probability(*more: str | Path) -> list[float]:
        run = cli(*arguments, *more, "-f", "jsonl", "-k", "all")
        assert run.code == 0, run.err
        return [one["probability"] for one in json.loads(run.out)["predictions"]]

    assert probability() != probability("--background", tmp_path / "background.txt")
    with Classifier.load(f"local-dir:{tmp_path / 'siglip'}") as classifier:
        classes = classifier.class_vectors(["cat", "dog"])
        (batch,) = classifier.embed_images([red_star])
    assert classes.logit_bias
    logits = classes.logit_scale * batch[0].embedding.vector @ np.concatenate(classes.vectors).T + classes.logit_bias
    np.testing.assert_allclose(sorted(probability()), sorted(1 / (1 + np.exp(-logits))), atol=2e-6)


@given(st.integers(0, 500), st.integers(1, 5), st.none() | st.floats(0, 1), st.none() | st.floats(0.5, 1))
def test_every_independent_label_that_holds_has_its_numbers(
    seed: int, top_k: int, probability: float | None, similarity: float | None
) -> None:
    images, made = classes(seed, [1] * 5, background=2)
    rules = Rules(multi_label=True, min_probability=probability, min_similarity=similarity)
    for one in made.score(images, top_k, rules):
        told = {said.label: said for said in one.predictions}
        assert set(one.labels) <= set(told)
        assert len(told) >= top_k
        least = 0.5 if probability is None else probability
        holding = [
            said.label
            for said in told.values()
            if said.probability >= least and (similarity is None or said.similarity >= similarity)
        ]
        assert sorted(holding) == sorted(one.labels)
        assert one.abstained is (not one.labels)


@settings(deadline=None)
@given(st.integers(0, 500), st.floats(0, 1), st.floats(0, 1), st.floats(-1, 1))
def test_each_threshold_withholds_the_decision(seed: int, probability: float, margin: float, similarity: float) -> None:
    images, made = classes(seed, [1, 1, 1])
    plain = made.score(images, 3)
    for one, ruled in zip(plain, made.score(images, 1, Rules(min_probability=probability)), strict=True):
        assert ruled.abstained == (one.predictions[0].probability < probability)
        assert ruled.predictions == one.predictions[:1]  # the numbers stay those of the best label
    for one, ruled in zip(plain, made.score(images, 1, Rules(min_margin=margin)), strict=True):
        lead = one.predictions[0].probability - one.predictions[1].probability
        assert ruled.abstained == (lead < margin)
    for one, ruled in zip(plain, made.score(images, 1, Rules(min_similarity=similarity)), strict=True):
        assert ruled.abstained == (one.predictions[0].similarity < similarity)


def test_a_background_that_wins_leaves_no_label() -> None:
    images, made = classes(7, [1, 1])
    winning = ClassVectors(made.names, made.vectors, SCALE, 0.0, images[:1])
    scored = winning.score(images, 2)
    assert scored[0].abstained
    assert sum(p.probability for p in scored[0].predictions) < 0.5
    assert scored[0].predictions[0].label in made.names
    assert scored[0].labels == ()


def test_a_result_has_a_label_unless_it_abstained_or_could_not_be_read() -> None:
    found = (Prediction("cat", 0.7, 0.3), Prediction("dog", 0.3, 0.2))
    assert ImageResult("a.jpg", found, labels=("cat",)).label == "cat"
    withheld = ImageResult("a.jpg", found, abstained=True)
    assert (withheld.label, withheld.best_label) == (None, "cat")
    unreadable = ImageResult("a.jpg", error="the file is empty", error_kind="damaged")
    assert (unreadable.label, unreadable.best_label, unreadable.labels) == (None, None, ())


def test_independent_labels_that_hold_are_all_told_in_the_order_of_the_labels() -> None:
    scores = Scores(np.array([[0.6, 0.2, 0.9], [0.1, 0.2, 0.3]]), np.zeros((2, 3)), np.array([False, True]))
    first, second = decide(("a", "b", "c"), scores, 1, Rules(multi_label=True))
    assert ([said.label for said in first.predictions], first.labels, first.abstained) == (
        ["c", "a"],
        ("a", "c"),
        False,
    )
    assert (second.predictions[0].label, second.labels, second.abstained) == ("c", (), True)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"temperature": 0}, "above 0"),
        ({"combine": "median"}, "no combine='median'"),
        ({"multi_label": True, "combine": "sum"}, "needs a softmax"),
        ({"multi_label": True, "min_margin": 0.1}, "compete"),
        ({"min_probability": 1.5}, "between 0 and 1"),
        ({"min_margin": -0.1}, "between 0 and 1"),
        ({"min_similarity": 2}, "between -1 and 1"),
    ],
)
def test_rules_that_make_no_sense_are_refused(values: dict[str, float], message: str) -> None:
    with pytest.raises((LabelError, InputError), match=message):
        Rules(**values)


def test_when_one_label_is_a_question() -> None:
    one = LabelSet.of(["dog"])
    for rules, background in (
        (Rules(multi_label=True), None),
        (Rules(), ["a photo."]),
        (Rules(min_similarity=0.2), None),
    ):
        require_choice(one.names, rules, background)
    for rules in (Rules(), Rules(min_probability=0.5), Rules(min_margin=0.1)):
        with pytest.raises(LabelError, match="`multi_label` or `background`"):
            require_choice(one.names, rules, None)


def test_no_label_may_be_called_what_the_absence_of_one_is() -> None:
    labels = ("cat", "unknown")
    require_choice(labels, Rules(), None, unknown="unknown")
    with pytest.raises(LabelError, match="`unknown_label"):
        require_choice(labels, Rules(min_margin=0.1), None, unknown="unknown")
    require_choice(labels, Rules(min_margin=0.1), None, unknown="?")


@pytest.fixture(autouse=True)
def demo_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZSCLIP_MODEL", "demo")


def near(vector: np.ndarray, distance: float, seed: int = 0) -> np.ndarray:
    """A unit vector at about this distance from another."""
    aside = np.random.default_rng(seed).standard_normal(vector.shape)
    aside -= (aside @ vector) * vector
    return normalise((vector + distance * aside / np.linalg.norm(aside)).astype(np.float32))


@pytest.mark.parametrize(("distance", "is_told"), [(0.0, True), (0.009, True), (0.011, False), (0.1, False)])
def test_labels_are_alike_if_no_picture_makes_their_logits_differ_by_one(distance: float, is_told: bool) -> None:
    images, made = classes(1, [1, 1])
    twin = near(made.vectors[0][0], distance)[None]
    three = ClassVectors(("a", "b", "c"), (*made.vectors, twin), SCALE)
    assert three.alike() == ([("a", "c")] if is_told else [])
    worst = normalise((three.vectors[0] - twin).astype(np.float32)) if distance else images[:1]
    gap = float(SCALE * (worst @ (three.vectors[0] - twin).T)[0, 0])
    assert (gap < 1) is is_told


def test_labels_of_the_same_names_are_alike_however_they_are_combined() -> None:
    names = vectors(np.random.default_rng(2), 3)
    made = ClassVectors(("a", "b", "c"), (names, names[::-1], names[:2]), SCALE)
    assert made.alike() == [("a", "b")]


def test_of_many_labels_that_are_alike_each_is_told_once() -> None:
    one = vectors(np.random.default_rng(3), 1)
    made = ClassVectors(tuple(map(str, range(3000))), (one,) * 3000, SCALE)
    assert made.alike() == [("0", str(n)) for n in range(1, 3000)]


def test_labels_that_no_picture_tells_apart_are_named(cli: Cli, red_star: Path, tmp_path: Path) -> None:
    run = cli("classify", red_star, "-l", "red star,Red Star,blue ring", "-f", "csv")
    assert run.code == 0
    assert run.err.count("warning") == 1
    assert "No picture can tell 'red star' from 'Red Star'" in run.err
    run = cli(
        "sort", red_star, "-l", "cat,dog,bird,tree,house,boat,car,blue ring", "--into", tmp_path, "--dry-run", "-q"
    )
    assert run.err.count("warning") == 1
    assert "No picture can tell 'cat' from 'dog'" in run.err
    assert "and 1 more" in run.err
    assert "No picture" not in cli("classify", red_star, "-l", "red star,blue ring", "-f", "csv").err


@pytest.mark.slow
def test_formats_with_abstention(cli: Cli, red_star: Path) -> None:
    arguments = (
        "classify",
        red_star,
        "-l",
        "blue ring,green heart",
        "--min-similarity",
        "0.3",
        "--unknown-label",
        "none",
    )
    run = cli(*arguments, "-f", "csv")
    assert run.out.splitlines()[0] == (
        "path,label,best_label,probability,similarity,label_2,probability_2,similarity_2,error"
    )
    (row,) = rows_of(run.out)
    assert row["label"] == "none"
    assert {row["best_label"], row["label_2"]} == {"blue ring", "green heart"}
    document = json.loads(cli(*arguments, "-f", "jsonl").out)
    assert list(document) == ["path", "label", "predictions", "error", "error_kind"]
    assert (document["label"], document["predictions"][0]["label"]) == ("none", row["best_label"])
    assert "none" in cli(*arguments, "-f", "table").out
    assert "none" in cli("classify", red_star, red_star, *arguments[2:], "-f", "table").out
    assert cli(*arguments, "-f", "paths", "--only", "none").out == f"{red_star}\n"
    assert cli(*arguments, "-f", "paths", "--only", row["best_label"]).out == ""


@pytest.mark.slow
def test_is_there_a_star(cli: Cli, demo_folder: Path) -> None:
    """One label, as a rule of moderation: with texts of the demo's own world for the background."""
    background = demo_folder.parent / "background.txt"
    background.write_text(
        "a picture of a circle.\na picture of a ring.\na picture of a heart.\na picture of a cross.\n"
    )
    scenes = [
        demo_folder / "scenes" / name / "001.png" for name in ("red star", "blue star", "red ring", "green heart")
    ]
    for how in (("--multi-label", "--background", background), ("--background", background)):
        run = cli("classify", *scenes, "-l", "star", *how, "-f", "paths", "--only", "star")
        assert run.code == 0
        assert run.out.splitlines() == [str(path) for path in scenes[:2]]


def test_independent_labels_may_hold_together(cli: Cli, red_star: Path, tmp_path: Path) -> None:
    background = tmp_path / "background.yaml"
    background.write_text("".join(f"- a picture of a {shape}.\n" for shape in ("circle", "ring", "heart", "cross")))
    for label, holds in (("red", True), ("star", True), ("blue", False), ("ring", False)):
        run = cli(
            *("classify", red_star, "-l", "red,star,blue,ring", "--multi-label", "--background", background),
            *("-f", "paths", "--only", label),
        )
        assert (run.out == f"{red_star}\n") is holds, label


@pytest.fixture
def shapes(tmp_path: Path) -> Path:
    background = tmp_path / "background.yaml"
    background.write_text("".join(f"- a picture of a {shape}.\n" for shape in ("circle", "ring", "heart", "cross")))
    return background


def test_all_labels_that_hold_are_in_every_format(cli: Cli, red_star: Path, shapes: Path) -> None:
    """However few are asked for, and whatever is in their names."""
    labels = r"blue,red,star;red\star,star"
    arguments = ("classify", red_star, red_star, "-l", labels, "--multi-label", "--background", shapes, "-k", "1")
    for form, delimiter in (("csv", ","), ("tsv", "\t")):
        run = cli(*arguments, "-f", form)
        assert run.out.splitlines()[0].split(delimiter) == [
            *("path", "label", "best_label", "labels", "probability", "similarity", "error"),
        ]
        for row in rows_of(run.out, delimiter):
            assert row["labels"] == r"red;star\;red\\star;star"
    for line in cli(*arguments, "-f", "jsonl").out.splitlines():
        document = json.loads(line)
        assert document["labels"] == ["red", r"star;red\star", "star"]
        assert {said["label"] for said in document["predictions"]} == set(document["labels"])
    assert "red" in cli(*arguments, "-f", "table").out.split("star", 1)[1]
    none = ("classify", red_star, "-l", "blue,ring", "--multi-label", "--background", shapes, "-k", "1")
    (row,) = rows_of(cli(*none, "-f", "csv").out)
    assert (row["label"], row["labels"]) == ("unknown", "")
    assert json.loads(cli(*none, "-f", "jsonl").out)["labels"] == []


def test_only_lists_a_picture_for_each_label_that_holds_and_none_that_is_unknown(
    cli: Cli, red_star: Path, shapes: Path
) -> None:
    base = (
        "classify",
        red_star,
        "-l",
        "blue,red,star",
        "--multi-label",
        "--background",
        shapes,
        "-f",
        "paths",
    )
    for label, is_listed in (("red", True), ("star", True), ("blue", False), ("unknown", False)):
        assert bool(cli(*base, "--only", label).out) is is_listed


def test_a_margin_is_for_labels_that_compete(cli: Cli, red_star: Path, tmp_path: Path) -> None:
    for command in (("classify",), ("sort", "--into", tmp_path / "sorted")):
        run = cli(*command, red_star, "-l", "red,star", "--multi-label", "--min-margin", "0.1")
        assert (run.code, run.out) == (2, "")
        assert "--multi-label and --min-margin" in " ".join(run.err.replace("│", " ").split())


@pytest.mark.slow
def test_the_curated_background_is_shipped(cli: Cli, red_star: Path) -> None:
    assert cli("classify", red_star, "-l", "red star", "--background", "curated").code == 0
    assert "background" not in cli("prompts", "list").out


@pytest.mark.slow
@pytest.mark.parametrize("combine", ["mean", "max", "sum"])
def test_labels_of_several_names(cli: Cli, demo_folder: Path, tmp_path: Path, combine: str) -> None:
    labels = tmp_path / "labels.yaml"
    labels.write_text("warm: [red star, orange star, yellow star]\ncold: [blue star, cyan star]\n")
    scenes = [
        demo_folder / "scenes" / name / "001.png" for name in ("red star", "yellow star", "blue star", "cyan star")
    ]
    rows = rows_of(cli("classify", *scenes, "-L", labels, "--combine", combine, "-f", "csv").out)
    assert [row["label"] for row in rows] == ["warm", "warm", "cold", "cold"]


def test_repeated_labels_add_up(cli: Cli, red_star: Path, tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_text("cross\n")
    run = cli("classify", red_star, "-l", "star,ring", "--labels", "heart", "-L", tmp_path / "more.txt", "-f", "jsonl")
    assert {said["label"] for said in json.loads(run.out)["predictions"]} == {"star", "ring", "heart", "cross"}
    run = cli("classify", red_star, "-l", "star,ring", "-l", "ring")
    assert (run.code, run.out) == (1, "")
    assert "'ring' is given 2 times" in run.err
    assert "a cross" in cli("prompts", "show", "plain", "-l", "star", "-l", "cross").out


@pytest.mark.parametrize("command", [("classify",), ("sort", "--into", "sorted"), ("classify", "--multi-label")])
@pytest.mark.parametrize(
    ("labels", "said"), [(("star", "ring"), "star,ring"), (("star,heart", "ring", "cross"), "star,heart,ring,cross")]
)
def test_labels_without_commas_are_seen_through(
    cli: Cli, red_star: Path, command: tuple[str, ...], labels: tuple[str, ...], said: str
) -> None:
    run = cli(*command, red_star, "--labels", *labels)
    assert (run.code, run.out) == (1, "")
    err = " ".join(run.err.split())
    assert "ring: there is no such file or folder. It was read as a path" in err
    assert f"--labels '{said}'" in err


def test_a_path_that_is_missing_is_no_label(cli: Cli, tmp_path: Path) -> None:
    run = cli("classify", tmp_path / "nowhere", "photo.jpg", "--labels", "star,ring")
    assert run.code == 1
    assert "read as a path" not in run.err
