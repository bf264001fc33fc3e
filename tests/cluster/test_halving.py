"""Parts that end the processes which read them: only the guilty pictures have errors, and the rest is as ever."""

from __future__ import annotations

import os
import pickle
import shutil
import tarfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import support
from support.processes import start_python

from zsclip.classifier import Classifier
from zsclip.cluster.job import Outcome, Resources, Task, Way
from zsclip.cluster.part_file import read_part, vectors_of
from zsclip.cluster.parts import PartJob
from zsclip.cluster.plan import Plan, cut
from zsclip.cluster.results import LocalFolder
from zsclip.engines.base import Computing
from zsclip.images.reading import Reading
from zsclip.images.sources import Finder

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="dies of signals")]

CRASHED = "it ended the process that read it (SIGSEGV)"


@pytest.fixture(autouse=True)
def fatal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some names of pictures end every process but the test's own."""
    folder = Path(support.__file__).parent / "fatal_site"
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
    computing = Computing(engine="openvino", precision="fp32")
    return PartJob(str(into), model.spec, model.identity, model.weights, computing, **settings)


def done(
    job: PartJob, way: Way, *, failed: bool = False
) -> tuple[Outcome, dict[int, Any], dict[int, tuple[str, str, str | None]]]:
    """What came of the part: vectors and errors by place."""
    with job.open(Resources()) as worker:
        outcome = worker.run(Task(0, way, failed))
    table, errors = read_part(LocalFolder(job.results), 0)
    rows = table.combine_chunks().to_batches()
    vectors = np.concatenate([vectors_of(one) for one in rows]) if rows else np.empty((0, 1))
    names = zip(table.column("path").to_pylist(), vectors, strict=True)
    found = dict(zip(table.column("place").to_pylist(), names, strict=True))
    return outcome, found, {one.place: (os.path.basename(one.path), one.error, one.kind) for one in errors}


def children_of(parent: int) -> list[int]:
    """The processes that do parts for a process."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            is_ours = entry.name.isdigit() and b"zsclip.cluster.halving" in (entry / "cmdline").read_bytes()
            if is_ours and (entry / "stat").read_text().rsplit(")", 1)[1].split()[1] == str(parent):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


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
    assert sorted(error[:2] for error in errors.values())[1:] == [
        ("crash.png", CRASHED),
        ("exit.png", "it ended the process that read it (exit code 7)"),
        ("killed.png", "it ended the process that read it (SIGKILL, perhaps for want of memory)"),
        ("t.parquet#3", CRASHED),
    ]
    require_same_but(found, rows, {place for place, error in errors.items() if error[2] == "damaged"})


def test_a_part_in_which_nothing_is_wrong_is_as_ever(
    classifier: Classifier, scenes: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "photos").mkdir()
    for number, scene in enumerate(scenes[:9]):
        shutil.copy(scene, tmp_path / "photos" / os.fsdecode(b"%d\xff.png" % number))
    for name, mode in (("a.tar", "w"), ("b.tar.gz", "w:gz")):
        with tarfile.open(tmp_path / name, mode) as made:  # type: ignore[call-overload]
            for number, scene in enumerate(scenes[:6]):
                made.add(scene, f"{number}.png")
            made.add(__file__, "notes.txt")
    with (tmp_path / "b.tar.gz").open("r+b") as file:
        file.truncate(file.seek(0, os.SEEK_END) - 3000)
    (tmp_path / "list.csv").write_text("path\na.tar/1.png\ngone.png\n", encoding="utf-8")
    work = job(classifier, tmp_path / "out", *(tmp_path / name for name in ("photos", "a.tar", "b.tar.gz", "list.csv")))
    plain, rows, unread = done(work, Way.PLAIN)
    assert len(unread) >= 2, "the cut archive, and what is gone"
    outcome, found, errors = done(work, Way.HALVED)
    assert (outcome.rows, outcome.errors, errors) == (plain.rows, plain.errors, unread)
    require_same_but(found, rows, set())


def test_what_ends_the_process_when_it_is_opened_has_an_error_for_what_was_planned_of_it(
    classifier: Classifier, scenes: list[Path], tmp_path: Path
) -> None:
    for name in ("good.zip", "crash.zip", "z.zip"):
        with zipfile.ZipFile(tmp_path / name, "w") as made:
            made.write(scenes[0], "a.png")
            made.write(scenes[1], "b.png")
    pyarrow.parquet.write_table(pyarrow.table({"path": ["a.png", "b.png"]}), tmp_path / "crash.parquet")
    names = ("good.zip", "crash.zip", "crash.parquet", "z.zip")
    work = job(classifier, tmp_path / "out", *(tmp_path / name for name in names))
    _, found, errors = done(work, Way.HALVED)
    of_table = {3 + row: (f"crash.parquet#{row}", CRASHED, "damaged") for row in range(2)}
    assert errors == {2: ("crash.zip", CRASHED, "damaged"), **of_table}
    with work.open(Resources()) as worker:
        as_ever = worker.run(Task(0)).digest
        worker.run(Task(0, Way.HALVED))
        assert worker.run(Task(0)).digest == as_ever
    assert [os.path.relpath(found[place][0], tmp_path) for place in sorted(found)] == [
        "good.zip/a.png", "good.zip/b.png", "z.zip/a.png", "z.zip/b.png"
    ]  # fmt: skip


def test_what_hangs_or_meets_a_bug_has_an_error_and_is_read_again_alone(
    classifier: Classifier, scenes: list[Path], tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for number, name in enumerate(("0.png", "1.png", "bug.png", "3.png", "hang.png", "5.png")):
        shutil.copy(scenes[number], photos / name)
    work = job(classifier, tmp_path / "out", photos, reading=Reading(decode_timeout=1), silence_seconds=1)
    _, rows, _ = done(work, Way.PLAIN)
    _, found, errors = done(work, Way.HALVED)
    bug = ("bug.png", "it ended the process that read it (RuntimeError: a bug)", "damaged")
    assert sorted(errors.values()) == [bug, ("hang.png", "reading it took longer than 2 s", "timeout")]
    require_same_but(found, rows, set(errors))
    (photos / "hang.png").unlink()
    _, again, errors = done(work, Way.HALVED, failed=True)
    assert sorted(errors.values()) == [bug, ("hang.png", "No such file or directory", "not_found")]
    require_same_but(again, rows, set(errors))


def test_damage_in_a_table_is_told_as_ever(classifier: Classifier, scenes: list[Path], tmp_path: Path) -> None:
    for number in range(10):
        shutil.copy(scenes[number], tmp_path / ("crash.png" if number == 1 else f"{number}.png"))
    names = ["crash.png" if number == 1 else f"{number}.png" for number in range(10)]
    table = tmp_path / "t.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"path": names}), table, row_group_size=2, use_dictionary=False)
    start = pyarrow.parquet.ParquetFile(table).metadata.row_group(3).column(0).data_page_offset
    with table.open("r+b") as file:
        file.seek(start)
        file.write(b"\xff" * 30)
    work = job(classifier, tmp_path / "out", table)
    plain, rows, broken = done(work, Way.PLAIN)
    assert (plain.rows, sorted(broken)) == (8, [6, 7])
    _, found, errors = done(work, Way.HALVED)
    assert errors == {1: ("t.parquet#1", CRASHED, "damaged"), **broken}
    require_same_but(found, rows, {1})
    table.write_bytes(b"PAR1" + bytes(100) + b"PAR1")
    _, _, broken = done(work, Way.PLAIN)
    assert len(broken) == 1
    assert done(work, Way.HALVED)[1:] == ({}, broken)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks into /proc")
def test_children_end_with_a_parent_that_is_killed(classifier: Classifier, scenes: list[Path], tmp_path: Path) -> None:
    shutil.copy(scenes[0], tmp_path / "hang.png")
    work = job(classifier, tmp_path / "out", tmp_path / "hang.png")
    pickled = tmp_path / "job"
    pickled.write_bytes(pickle.dumps(work))
    code = (
        "import pickle, sys; from zsclip.cluster.job import *\n"
        "with pickle.load(open(sys.argv[1], 'rb')).open(Resources()) as worker: worker.run(Task(0, Way.HALVED))"
    )
    with start_python(code, pickled) as parent:
        children = list[int]()
        while parent.poll() is None and not children:
            time.sleep(0.05)
            children = children_of(parent.pid)
        assert children
        parent.kill()
    until = time.monotonic() + 30
    while any(map(is_running, children)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(map(is_running, children))
