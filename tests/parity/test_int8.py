"""int8 on demand: calibrated on the first pictures, measured on the next, kept, and never taken for more than it is."""

from __future__ import annotations

import json
import math
import os
import shutil
from importlib.util import find_spec
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
from support.cli import Cli
from support.processes import on_terminal, run_and_list_modules

from zsclip import Classifier
from zsclip.errors import ModelError
from zsclip.unit_vectors import Quality, normalise

if find_spec("openvino") is None or find_spec("nncf") is None:
    pytest.skip("OpenVINO or NNCF has no wheel for this platform", allow_module_level=True)

from zsclip.engines.openvino import int8
from zsclip.engines.openvino.int8 import CALIBRATED_ON, MEASURED_ON, Cost, Int8Engine, UncalibratedEngine

pytestmark = pytest.mark.slow

ENOUGH = CALIBRATED_ON + MEASURED_ON


@pytest.fixture
def own(isolated: Path) -> Path:
    """A folder of what engines make, of the test's own."""
    exports = isolated / "cache" / "exports"
    exports.unlink()
    exports.mkdir()
    return exports


@pytest.fixture(scope="module")
def long_run(
    noisy_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, CompletedProcess[str], set[str]]:
    """A run over 192 pictures in int8 with a store of its own: the store, what came of it, and the modules that it imported."""
    store = tmp_path_factory.mktemp("int8") / "cache"
    return store, *run_and_list_modules(*command(noisy_folder, store), "--batch-size", "16")


def command(folder: Path, store: Path, precision: str = "int8") -> tuple[str | Path, ...]:
    chosen = ("-m", "demo", "--precision", precision, "--cache-dir", store)
    return ("classify", folder, "-l", "red star,blue ring", "-f", "csv", *chosen)


def test_a_long_run_calibrates_tells_the_cost_and_goes_on_in_int8(
    long_run: tuple[Path, CompletedProcess[str], set[str]], noisy_folder: Path, cli: Cli, tmp_path: Path
) -> None:
    store, run, _ = long_run
    assert "pictures that int8 was not calibrated on" in run.stderr
    assert "The first of 2 labels stays for" in run.stderr
    exact = cli(*command(noisy_folder, tmp_path / "cache", "fp32"), "--batch-size", "16").out
    rows, expected = (text.splitlines() for text in (run.stdout, exact))
    assert len(rows) == 193  # nothing but rows on stdout
    assert rows[: ENOUGH + 1] == expected[: ENOUGH + 1]  # computed in fp32
    assert rows[ENOUGH + 33 :] != expected[ENOUGH + 33 :]
    found, wanted = ([float(row.split(",")[3]) for row in rows[1:]] for rows in (rows, expected))
    np.testing.assert_allclose(found, wanted, atol=0.1)
    (kept,) = (store / "exports").glob("*-int8")
    assert json.loads((kept / "int8.json").read_text())["cost"]["pictures"] == MEASURED_ON


def test_a_run_that_asks_for_more_computes_again_and_one_that_does_not_takes_what_is_better(
    long_run: tuple[Path, CompletedProcess[str], set[str]], noisy_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(long_run[0], tmp_path / "cache")
    pictures = sorted(noisy_folder.rglob("*.png"))
    with Classifier.load(
        "demo", cache_dir=tmp_path / "cache"
    ) as classifier:  # what `auto` computes is half precision at least
        again = [one.embedding for part in classifier.embed_images(pictures) for one in part if one.embedding]
        assert classifier.counts.computed > 0
        assert all(one.quality >= Quality.HALF for one in again)
    with Classifier.load("demo", precision="int8", cache_dir=tmp_path / "cache") as classifier:
        assert len([one for part in classifier.embed_images(pictures) for one in part]) == 192
        assert classifier.counts.computed == 0


def test_what_was_calibrated_is_used_without_nncf_and_without_pytorch(
    long_run: tuple[Path, CompletedProcess[str], set[str]], noisy_folder: Path
) -> None:
    run, modules = run_and_list_modules(*command(noisy_folder, long_run[0]), "--no-cache")
    assert len(run.stdout.splitlines()) == 193
    assert "calibrated" not in run.stderr
    assert "openvino" in modules
    assert not modules & {"nncf", "torch", "open_clip"}


def test_nothing_is_told_to_its_makers(long_run: tuple[Path, CompletedProcess[str], set[str]]) -> None:
    assert "nncf" in long_run[2]
    assert not long_run[2] & {"openvino_telemetry", "torch"}


def test_a_short_run_is_computed_in_fp32(own: Path, demo_folder: Path, cli: Cli) -> None:
    run = cli("classify", demo_folder / "scenes", "-l", "red star,blue ring", "-m", "demo", "--precision", "int8")
    assert "calibrated on the first 100 new pictures" in run.err
    assert "Calibrating" not in run.err
    assert not list(own.glob("*-int8"))
    with Classifier.load("demo", precision="fp32") as classifier:
        list(classifier.embed_images(demo_folder / "scenes"))
        assert classifier.counts.computed == 0


@pytest.mark.skipif(os.name != "posix", reason="a terminal of POSIX")
def test_rows_reach_a_terminal_while_it_calibrates(own: Path, noisy_folder: Path) -> None:
    """NNCF's bars are Rich's, which takes stdout for as long as one is shown."""
    code, shown = on_terminal(
        f"zsclip classify '{noisy_folder}' -l 'red star,blue ring' -m demo --precision int8 -f csv --no-cache -q",
        columns=300,
    )
    assert code == 0
    assert shown.count(b"/001.png,") == 64
    assert shown.count(b".png,") == 192


def test_costs_are_what_they_are_called() -> None:
    rng = np.random.default_rng(0)
    fp32 = normalise(rng.normal(size=(200, 32)).astype(np.float32))
    moved = normalise((fp32 + rng.normal(size=fp32.shape) * 0.03).astype(np.float32))
    labels = normalise(rng.normal(size=(7, 32)).astype(np.float32))
    cost = Cost.of(fp32, moved, labels, 100.0, 0.0)
    logits = [100 * one.astype(float) @ labels.T.astype(float) for one in (fp32, moved)]
    chances = [np.exp(one) / np.exp(one).sum(1, keepdims=True) for one in logits]
    first = logits[0].argmax(1)
    cosines = (fp32.astype(float) * moved).sum(1)
    assert (cost.pictures, cost.labels) == (200, 7)
    assert cost.same == int((first == logits[1].argmax(1)).sum())
    assert math.isclose(cost.low_cosine, np.quantile(cosines, 0.05), abs_tol=1e-6)
    shifts = np.abs(chances[0] - chances[1])[np.arange(200), first]
    assert math.isclose(cost.probability_shift, np.quantile(shifts, 0.95), abs_tol=1e-6)
    assert not cost.holds  # noise of that size costs a cosine of 0.985


@pytest.mark.parametrize("other", [{"engine": "torch"}, {"device": "cuda"}, {"exact": True}])
def test_it_runs_on_a_cpu_by_openvino_and_is_never_exact(other: dict[str, str]) -> None:
    with pytest.raises(ModelError, match=r"int8 runs on the CPU, by OpenVINO|`exact` computes in fp32"):
        Classifier.load("demo", precision="int8", **other).model.load()  # type: ignore[arg-type]


def test_without_nncf_it_says_what_to_install(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(int8, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"pip install 'zsclip\[int8\]'"):
        Classifier.load("demo", precision="int8").model.load()


def test_threads_calibrate_once_and_what_costs_too_much_is_warned_of(
    own: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(int8, "LEAST_COSINE", 1.1)
    from concurrent.futures import ThreadPoolExecutor

    rng = np.random.default_rng(0)
    with Classifier.load("demo", precision="int8", use_cache=False) as classifier:
        engine = classifier.model.load()
        assert isinstance(engine, UncalibratedEngine)
        pixels = rng.integers(0, 256, (ENOUGH, *classifier.model.spec.preprocessing.size, 3), np.uint8)
        engine.encode_images(pixels)
        with ThreadPoolExecutor(4) as pool:
            settled = list(pool.map(lambda _: engine.settled(), range(4)))
        assert len({id(one) for one in settled}) == 1
        assert isinstance(settled[0], Int8Engine)
        assert "int8 costs more than zsclip advises" in caplog.text
        assert "Consider `precision=" in caplog.text
