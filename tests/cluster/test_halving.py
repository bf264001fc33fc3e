"""Parts that end the processes which read them: only the guilty pictures have errors, and the rest is as ever."""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from zsclip.classifier import Classifier
from zsclip.cluster.job import Outcome, Resources, Task, Way
from zsclip.cluster.part_file import read_part, vectors_of
from zsclip.cluster.parts import PartJob
from zsclip.cluster.plan import Plan, cut
from zsclip.cluster.results import LocalFolder
from zsclip.engines.base import Computing
from zsclip.images.sources import Finder

pytestmark = pytest.mark.skipif(os.name != "posix", reason="dies of signals")

# Run at the start of every Python but the test's own: some names end the process that opens them, or hold it up.
FATAL = """
import ctypes, os, sys, time, zipfile

def meet(path):
    name = os.path.basename(os.fsdecode(path))
    if name.startswith("crash"):
        ctypes.string_at(0)
    if name.startswith("exit"):
        os._exit(7)
    if name.startswith("killed"):
        os.kill(os.getpid(), 9)
    if name.startswith("hang"):
        time.sleep(600)

def look(event, facts):
    if event == "open" and isinstance(facts[0], (str, bytes)):
        meet(facts[0])

sys.addaudithook(look)
open_member = zipfile.ZipFile.open

def opened(self, info, *rest, **settings):
    meet(getattr(info, "filename", info))
    return open_member(self, info, *rest, **settings)

zipfile.ZipFile.open = opened
"""
CRASHED = "it ended the process that read it (SIGSEGV)"


@pytest.fixture(autouse=True)
def fatal(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path_factory.mktemp("site")
    (folder / "sitecustomize.py").write_text(FATAL)
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)


@pytest.fixture(scope="module")
def classifier() -> Iterator[Classifier]:
    with Classifier.load("demo", precision="fp32", use_cache=False) as loaded:
        yield loaded


@pytest.fixture(scope="module")
def scenes(demo_folder: Path) -> list[Path]:
    return sorted((demo_folder / "scenes").rglob("*.png"))[:12]


def job(classifier: Classifier, into: Path, *paths: Path, **settings: Any) -> PartJob:
    """What does all pictures of some paths as one part."""
    part = [one for some in cut(Finder([str(path) for path in paths]), 1000) for one in some]
    Plan(LocalFolder(str(into))).write([part], 1000, lambda count: None, pytest.fail)
    model = classifier.model
    computing = Computing(engine="torch", precision="fp32")
    return PartJob(str(into), model.spec, model.identity, model.weights, computing, **settings)


def done(job: PartJob, way: Way) -> tuple[Outcome, dict[int, Any], dict[int, tuple[str, str, str | None]]]:
    """What came of the part: vectors and errors by place."""
    with job.open(Resources()) as worker:
        outcome = worker.run(Task(0, way))
    table, errors = read_part(LocalFolder(job.results), 0)
    rows = table.combine_chunks().to_batches()
    vectors = np.concatenate([vectors_of(one) for one in rows]) if rows else np.empty((0, 1))
    names = zip(table.column("path").to_pylist(), vectors, strict=True)
    found = dict(zip(table.column("place").to_pylist(), names, strict=True))
    return outcome, found, {one.place: (os.path.basename(one.path), one.error, one.kind) for one in errors}


def require_same_but(found: dict[int, Any], plain: dict[int, Any], guilty: set[int]) -> None:
    assert set(found) == set(plain) - guilty
    for place, (name, vector) in found.items():
        assert name == plain[place][0]
        np.testing.assert_allclose(vector, plain[place][1], atol=1e-6)


def test_pictures_that_end_the_process_are_found_wherever_they_are(
    classifier: Classifier, scenes: list[Path], tmp_path: Path
) -> None:
    photos, archive, table = tmp_path / "photos", tmp_path / "a.zip", tmp_path / "t.parquet"
    photos.mkdir()
    for number, scene in enumerate(scenes):
        shutil.copy(scene, photos / ("crash.png" if number == 4 else f"a{number:02}.png"))
    (photos / "b damaged.png").write_bytes(b"no picture")
    with zipfile.ZipFile(archive, "w") as made:
        for number, scene in enumerate(scenes[:10]):
            made.write(scene, {3: "exit.png", 8: "killed.png"}.get(number, f"{number}.png"))
    shutil.copy(scenes[0], tmp_path / "crash.png")
    named = [f"photos/a{number:02}.png" for number in (0, 1, 2)] + ["crash.png", "photos/a05.png"]
    pyarrow.parquet.write_table(pyarrow.table({"path": named}), table, row_group_size=2)
    work = job(classifier, tmp_path / "out", photos, archive, table)
    plain, rows, _ = done(work, Way.PLAIN)
    assert plain.errors == {"other": 1}
    outcome, found, errors = done(work, Way.HALVED)
    assert (outcome.rows, outcome.errors) == (plain.rows - 4, {"damaged": 4, "other": 1})
    by_name = {name: (place, error) for place, (name, error, _) in errors.items()}
    assert {name: error for name, (_, error) in by_name.items() if name != "b damaged.png"} == {
        "crash.png": CRASHED,
        "exit.png": "it ended the process that read it (exit code 7)",
        "killed.png": "it ended the process that read it (SIGKILL, perhaps for want of memory)",
        "t.parquet#3": CRASHED,
    }
    guilty = {place for name, (place, _) in by_name.items() if name != "b damaged.png"}
    require_same_but(found, rows, guilty)
