"""Parts: the same pictures with the same numbers as in one run, whole or not at all, and read again where that may help."""

from __future__ import annotations

import errno
import os
import pickle
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from zsclip import Classifier
from zsclip.cli.parts import _anywhere, _typed_in
from zsclip.cluster.job import Resources, Task, Way
from zsclip.cluster.part_file import Error, PartWriter, done_parts, read_part, read_tally, vectors_of
from zsclip.cluster.parts import PartJob
from zsclip.cluster.plan import Plan, cut
from zsclip.cluster.results import LocalFolder, result_folder
from zsclip.cluster.rows import Labelling
from zsclip.engines.base import Computing
from zsclip.errors import InputError, ModelError
from zsclip.images.sources import Finder
from zsclip.models.weights import fingerprint
from zsclip.output.parquet import vector_column
from zsclip.scoring.results import ImageResult
from zsclip.scoring.rules import Rules

LABELS = ("red circle", "blue star", "green square")
FP32 = Computing(precision="fp32")


@pytest.fixture(scope="module")
def classifier() -> Iterator[Classifier]:
    with Classifier.load("demo", precision="fp32", use_cache=False) as loaded:
        yield loaded


@pytest.fixture
def photos(demo_folder: Path, tmp_path: Path) -> Path:
    """Nine pictures, of which one is damaged, one is not UTF-8 by name and the last is in a folder."""
    folder = tmp_path / "photos"
    (folder / "inside").mkdir(parents=True)
    for number, picture in enumerate(sorted((demo_folder / "scenes").rglob("*.png"))[:8]):
        shutil.copy(picture, folder / ("inside/last.png" if number == 7 else f"{number}.png"))
    (folder / "3.png").rename(folder / os.fsdecode(b"3\xff.png"))
    (folder / "4 damaged.png").write_bytes((folder / "0.png").read_bytes()[:500])
    return folder


def plan(classifier: Classifier, into: Path, *paths: str, part_size: int = 4, half: bool = False) -> PartJob:
    """A planned run, and the job that does its parts."""
    Plan(LocalFolder(str(into))).write(cut(Finder(list(paths)), part_size), part_size, lambda count: None, pytest.fail)
    model, rules = classifier.model, Rules(min_probability=0.6)
    labelling = Labelling(classifier.class_vectors(LABELS), rules, 2, "unknown")
    computing = Computing(engine="torch", precision="bf16") if half else FP32  # which computes in it on any processor
    return PartJob(str(into), model.spec, model.identity, model.weights, computing, labelling=labelling)


def rows(into: Path) -> list[dict[str, Any]]:
    """All rows and errors in the order of parts and places."""
    found = []
    for number in sorted(done_parts(LocalFolder(str(into)))):
        table, errors = read_part(LocalFolder(str(into)), number)
        of_part = table.to_pylist() + [{"path": one.path, "place": one.place, "error": one.error} for one in errors]
        found += sorted(of_part, key=lambda row: row["place"])
        assert [row["place"] for row in found[-len(of_part) :]] == list(range(len(of_part)))
    for row in found:
        if exact := row.get("path_bytes"):
            row["path"] = exact.decode("utf-8", "surrogateescape")
    return found


def require_same(rows: list[dict[str, Any]], results: list[ImageResult]) -> None:
    assert [row["path"] for row in rows] == [result.path for result in results]
    for row, result in zip(rows, results, strict=True):
        assert row.get("error") == result.error
        if result.error is None:
            assert row["label"] == ("unknown" if result.abstained else result.label)
            assert row["best_label"] == result.predictions[0].label
            np.testing.assert_allclose(
                [(one["probability"], one["similarity"]) for one in row["predictions"]],
                [(one.probability, one.similarity) for one in result.predictions], atol=1e-5,
            )  # fmt: skip


def test_parts_have_the_rows_of_one_run(classifier: Classifier, photos: Path, tmp_path: Path) -> None:
    archive = tmp_path / "a.tar"
    with tarfile.open(archive, "w") as tar:
        for name in ("0.png", "1.png"):
            tar.add(photos / name, name)
    listed = tmp_path / "list.csv"
    listed.write_text("path\nphotos/2.png\nphotos/gone.png\n", encoding="utf-8")
    table = tmp_path / "t.parquet"
    data = [(photos / f"{number}.png").read_bytes() for number in (0, 1, 2)]
    pyarrow.parquet.write_table(pyarrow.table({"image": data}), table, row_group_size=2)
    named = [str(photos), str(archive), str(listed), str(table)]
    job = plan(classifier, tmp_path / "out", *named)
    job = pickle.loads(pickle.dumps(job))
    with job.open(Resources(cpus=1)) as worker:
        outcomes = [
            worker.run(Task(number)) for number in range(Plan(LocalFolder(str(tmp_path / "out"))).extent().parts)
        ]
    in_one = list(classifier.classify(
        iter(Finder(named)), LABELS, top_k=2, rules=Rules(min_probability=0.6)
    ))  # fmt: skip
    found = rows(tmp_path / "out")
    order = {name: number for number, name in enumerate(row["path"] for row in found)}
    assert len(order) == len(in_one) == 16
    require_same(found, sorted(in_one, key=lambda result: order[result.path]))
    assert sum(outcome.rows for outcome in outcomes) == 14
    assert sum(outcome.errors.get("damaged", 0) for outcome in outcomes) == 1
    assert sum(outcome.errors.get("not_found", 0) for outcome in outcomes) == 1
    results = result_folder(tmp_path / "out")
    for outcome in outcomes:
        tally = read_tally(results, outcome.part)
        assert (tally.rows, tally.errors, tally.digest) == (outcome.rows, outcome.errors, outcome.digest)


def test_a_part_that_is_done_twice_is_the_same_isolated_too(
    classifier: Classifier, photos: Path, tmp_path: Path
) -> None:
    job = plan(classifier, tmp_path / "out", str(photos))
    with job.open(Resources()) as worker:
        once = worker.run(Task(0))
        assert worker.run(Task(0)).digest == once.digest
        assert worker.run(Task(0, Way.ISOLATED)).digest == once.digest


@pytest.mark.parametrize("half", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_vectors_are_kept_as_precisely_as_they_were_computed_and_rows_come_from_them(
    classifier: Classifier, photos: Path, tmp_path: Path, *, half: bool
) -> None:
    job = plan(classifier, tmp_path / "out", str(photos), part_size=100, half=half)
    with job.open(Resources()) as worker:
        worker.run(Task(0))
    table, _ = read_part(LocalFolder(str(tmp_path / "out")), 0)
    vectors = vectors_of(table.combine_chunks().to_batches()[0])
    assert vectors.dtype == (np.float16 if half else np.float32)
    computed = np.concatenate([batch.vectors for batch in classifier.embed_images(iter(Finder([str(photos)])))])
    np.testing.assert_allclose(vectors, computed, atol=0.02 if half else 1e-6)
    assert job.labelling is not None
    decided = job.labelling.classes.score(vectors.astype(np.float32), 1, Rules())
    assert table.column("probability").to_pylist() == decided.probability[:, 0].astype(np.float32).tolist()


def test_only_what_may_have_passed_is_read_again(classifier: Classifier, photos: Path, tmp_path: Path) -> None:
    listed = tmp_path / "list.csv"
    listed.write_text(
        "path\n" + "".join(f"photos/{name}\n" for name in ("0.png", "1.png", "gone.png", "2.png")), encoding="utf-8"
    )
    job, results = plan(classifier, tmp_path / "out", str(listed)), LocalFolder(str(tmp_path / "out"))
    shutil.move(photos / "1.png", tmp_path / "1.png")
    with job.open(Resources()) as worker:
        assert worker.run(Task(0)).errors == {"not_found": 2}
        shutil.move(tmp_path / "1.png", photos / "1.png")
        assert worker.run(Task(0, failed=True)).errors == {"not_found": 2}, "what is not there has not passed"
        # As if the first had been a network's fault, and the others were gone by now.
        errors = pyarrow.parquet.read_table(results.path("errors-00000.parquet"))
        kinds = errors.column("error_kind").to_pylist()
        passing = errors.set_column(errors.column_names.index("error_kind"), "error_kind", [["network", *kinds[1:]]])
        pyarrow.parquet.write_table(passing, results.path("errors-00000.parquet"))
        (photos / "0.png").unlink()
        outcome = worker.run(Task(0, failed=True))
    assert (outcome.rows, outcome.errors) == (3, {"not_found": 1})
    assert [Path(row["path"]).name for row in rows(tmp_path / "out")] == [
        "list.csv#0",
        "list.csv#1",
        "list.csv#2",
        "list.csv#3",
    ]
    assert [row.get("error") is None for row in rows(tmp_path / "out")] == [True, True, False, True]


def test_a_picture_that_became_a_folder_costs_no_other_its_row(
    classifier: Classifier, photos: Path, tmp_path: Path
) -> None:
    job = plan(classifier, tmp_path / "out", str(photos), part_size=9)
    for name in ("1.png", "5.png"):
        (photos / name).unlink()
        (photos / name).mkdir()
    shutil.copy(photos / "0.png", photos / "5.png" / "0.png")
    with job.open(Resources(cpus=1)) as worker:
        worker.run(Task(0))
    found = rows(tmp_path / "out")
    assert [Path(row["path"]).name for row in found] == [
        "0.png", "1.png", "2.png", os.fsdecode(b"3\xff.png"), "4 damaged.png", "4.png", "5.png", "6.png", "last.png",
    ]  # fmt: skip
    assert [Path(row["path"]).name for row in found if "error" in row] == ["1.png", "4 damaged.png", "5.png"]


def test_what_ends_a_part_leaves_nothing_and_a_redone_one_no_errors_of_before(
    classifier: Classifier, photos: Path, tmp_path: Path
) -> None:
    job, results = plan(classifier, tmp_path / "out", str(photos), part_size=100), LocalFolder(str(tmp_path / "out"))
    with suppress(ZeroDivisionError), PartWriter(results, 0, {}) as writer:
        writer.add(part_rows(["a"]))
        raise ZeroDivisionError
    assert list(results.names()) == []
    with job.open(Resources()) as worker:
        worker.run(Task(0))
        assert list(results.names()) == ["errors-00000.parquet", "part-00000.parquet"]
        shutil.copy(photos / "0.png", photos / "4 damaged.png")
        worker.run(Task(0))
    assert list(results.names()) == ["part-00000.parquet"]


def test_a_part_is_read_again_whole_where_a_redo_was_killed_between_its_two_files(
    classifier: Classifier, photos: Path, tmp_path: Path
) -> None:
    job, results = plan(classifier, tmp_path / "out", str(photos), part_size=100), LocalFolder(str(tmp_path / "out"))
    with job.open(Resources()) as worker:
        before = worker.run(Task(0))
        for file in ("errors-00000.parquet", "part-00000.parquet"):
            results.remove(file)
            assert worker.run(Task(0, failed=True)).errors == before.errors == {"damaged": 1}
    assert len(rows(tmp_path / "out")) == 9


class FullForRows(LocalFolder):
    """A disk that becomes full with the rows of a part."""

    @contextmanager
    def write(self, name: str) -> Iterator[BinaryIO]:
        with super().write(name) as stream:
            yield stream
            if name.startswith("part-"):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_part_that_is_tried_again_is_not_done_with_the_rows_of_one_try_and_the_errors_of_another(
    tmp_path: Path,
) -> None:
    results = LocalFolder(str(tmp_path))
    with PartWriter(results, 0, {}) as writer:
        writer.add(part_rows(["a"]))
        writer.add_errors([Error(1, "b", "it did not answer", "timeout")])
        writer.close(part_rows([]).schema)

    def try_again() -> None:
        with PartWriter(FullForRows(results.name), 0, {}, again=True) as writer:
            writer.add(part_rows(["a", "b"]))
            writer.close(part_rows([]).schema)

    with pytest.raises(InputError, match="No space"):
        try_again()
    assert list(done_parts(results)) == [], "or b would be in no row, and the run whole"


def part_rows(names: list[str], first: int = 0) -> pyarrow.RecordBatch:
    vectors = np.eye(8, dtype=np.float32)[first : first + len(names)]
    return pyarrow.RecordBatch.from_pydict({
        "path": pyarrow.array(names, pyarrow.string()),
        "path_bytes": pyarrow.nulls(len(names), pyarrow.binary()),
        "place": pyarrow.array(range(first, first + len(names)), pyarrow.int32()),
        "vector": vector_column(vectors, np.float32),
    })  # fmt: skip


def test_a_digest_is_of_what_is_in_a_part_and_not_of_how_it_came(tmp_path: Path) -> None:
    digests = list[str]()
    for number, batches in enumerate((["abc"], ["a", "bc"], ["a", "b", "c"], ["a", "b", "d"])):
        with PartWriter(LocalFolder(str(tmp_path)), number, {}) as writer:
            first = 0
            for names in batches:
                writer.add(part_rows(list(names), first))
                first += len(names)
            digests.append(writer.close(part_rows([]).schema).digest)
    assert digests[0] == digests[1] == digests[2] != digests[3]


def test_a_machine_without_the_folder_or_with_other_weights_says_so(
    classifier: Classifier, photos: Path, tmp_path: Path
) -> None:
    job = plan(classifier, tmp_path / "out", str(photos))
    with pytest.raises(InputError, match="no such folder, in which the command was typed"):
        replace(job, typed_in=str(tmp_path / "elsewhere")).open(Resources())
    with pytest.raises(ModelError, match="others than those that the run was planned with"):
        replace(job, identity=job.identity.replace("sample:", "sample:0")).open(Resources())


def test_a_machine_needs_the_folder_only_for_paths_that_depend_on_it(
    classifier: Classifier, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = plan(classifier, tmp_path / "out", str(photos))
    monkeypatch.chdir(photos)
    assert _typed_in(["s3://bucket/photos/", str(photos)]) is None
    assert _typed_in(["."]) == _typed_in([str(photos), "-"]) == str(photos)
    assert _anywhere("out") == str(photos / "out")
    with replace(job, typed_in=None).open(Resources()) as worker:
        assert worker.run(Task(0)).rows == 4
    assert os.getcwd() == str(photos)


def test_a_job_uses_what_it_is_given_and_weights_that_are_elsewhere(
    classifier: Classifier, photos: Path, tmp_path: Path
) -> None:
    job = plan(classifier, tmp_path / "out", str(photos))
    assert job.weights_key == fingerprint(job.weights).key
    assert job.weights_key in job.identity
    moved = Path(shutil.copy(job.weights, tmp_path / job.weights.name))
    job = job.at(moved)
    assert job.weights == moved
    given = replace(job, computing=replace(job.computing, device="auto"))
    with given.open(Resources(cpus=1, gpus=())) as worker:
        assert (worker._job.computing.device, worker._job.computing.threads) == ("cpu", 1)
        assert worker._job.reading.workers == 1
        assert worker.run(Task(0)).rows == 4
