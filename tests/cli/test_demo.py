"""The demo model on scenes it has not seen, through the product."""

from __future__ import annotations

import json
import random
import zlib
from pathlib import Path

import numpy as np
import pytest
from support.cli import Cli

import zsclip.demo
from zsclip import Classifier, InputError
from zsclip.demo import draw_folder
from zsclip.demo.scenes import COLOURS, PAIRS, SEEN_PAIRS, SHAPES, UNSEEN_PAIRS, Scene, draw, random_scene

MODEL = Path(zsclip.demo.__file__).parent / "model"


def test_the_split_is_the_one_fixed_before_training() -> None:
    assert len(PAIRS) == 64
    assert len(SEEN_PAIRS) == 52
    assert sorted(UNSEEN_PAIRS) == [
        ("blue", "circle"),
        ("cyan", "circle"),
        ("cyan", "heart"),
        ("green", "square"),
        ("orange", "star"),
        ("pink", "cross"),
        ("purple", "cross"),
        ("purple", "triangle"),
        ("red", "ring"),
        ("red", "star"),
        ("yellow", "arrow"),
        ("yellow", "square"),
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "pairs"), [("unseen", sorted(UNSEEN_PAIRS)), ("seen", SEEN_PAIRS[::4])])
def test_it_tells_scenes_apart_that_it_has_not_seen(kind: str, pairs: list[tuple[str, str]]) -> None:
    """The lower end of the 95 % interval lies above the aim of 93 %."""
    from scipy.stats import binomtest

    rng = random.Random(11)
    wanted = [pair for pair in pairs for _ in range(20)]
    scenes = [draw(random_scene(rng, pair), rng, (240, 200)) for pair in wanted]
    with Classifier.load("demo") as classifier:
        results = list(classifier.classify(scenes, [" ".join(pair) for pair in PAIRS]))
    right = sum(result.label == " ".join(pair) for result, pair in zip(results, wanted, strict=True))
    assert binomtest(right, len(wanted)).proportion_ci(method="wilson").low > 0.93


@pytest.mark.slow
@pytest.mark.parametrize("names", [COLOURS, SHAPES])
def test_it_knows_colours_and_shapes_by_themselves(names: tuple[str, ...]) -> None:
    rng = random.Random(12)
    pairs = [PAIRS[n % 64] for n in range(128)]
    scenes = [draw(random_scene(rng, pair), rng) for pair in pairs]
    with Classifier.load("demo") as classifier:
        results = list(classifier.classify(scenes, names, "photo"))
    right = sum(result.label in pair for result, pair in zip(results, pairs, strict=True))
    assert right / len(pairs) > 0.93


@pytest.mark.slow
def test_it_adds_at_most_three_megabytes_to_the_wheel() -> None:
    assert sum(len(zlib.compress(file.read_bytes())) for file in MODEL.iterdir()) <= 3_000_000


def test_its_scale_is_one_that_training_found() -> None:
    with Classifier.load("demo") as classifier:
        scale = classifier.model.facts.logit_scale
    assert scale not in (100.0, 1 / 0.07)
    assert 15 < scale < 100


def test_it_is_an_ordinary_open_clip_folder() -> None:
    assert set(json.loads((MODEL / "open_clip_config.json").read_text())) == {"model_cfg", "preprocess_cfg"}


@pytest.mark.slow
def test_the_same_seed_draws_the_same_scenes(tmp_path: Path) -> None:
    first, second, other = (
        draw_folder(tmp_path / name, images=1, seed=seed) for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert first.count == 64
    assert first.example.read_bytes() == second.example.read_bytes() != other.example.read_bytes()
    assert first.labels.read_text().split("\n")[:2] == ["red circle", "red ring"]


@pytest.mark.parametrize(("colour", "hue"), [("red", 0), ("yellow", 55), ("green", 120), ("blue", 225), ("pink", 332)])
def test_a_scene_shows_its_colour(colour: str, hue: int) -> None:
    scene = Scene(colour, "heart", "large", 1, "plain", "white")
    hsv = np.asarray(draw(scene, random.Random(5)).convert("HSV")).astype(float)
    coloured = hsv[hsv[..., 1] > 60]
    assert 0.1 < len(coloured) / hsv[..., 0].size < 0.8
    distance = np.abs((coloured[:, 0] * 360 / 255 - hue + 180) % 360 - 180)
    assert np.median(distance) < 15


def test_nothing_of_the_users_is_overwritten(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    with pytest.raises(InputError, match="is there already"):
        draw_folder(tmp_path)
    run = cli("demo", tmp_path)
    assert run.code == 1
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.slow
def test_the_commands_it_shows_work(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shlex

    monkeypatch.chdir(tmp_path)
    shown = cli("demo", tmp_path / "my demo", "--images", "1")
    commands = [line.strip() for line in shown.out.splitlines() if line.startswith("  zsclip ")]
    assert len(commands) == 6
    for command in commands:
        assert cli(*shlex.split(command)[1:]).code == 0, command
    assert len((tmp_path / "results.jsonl").read_text().splitlines()) == 64
