"""A run in parts: the same command goes on, another one is refused, and what is there is not done again."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from zsclip.cluster.account import Account, MostErrors, read_whole
from zsclip.cluster.identity import remove, settle
from zsclip.cluster.job import Advance, Job, Outcome, Resources, Task, Tasks, no_advance
from zsclip.cluster.part_file import Error, PartWriter, Tally, part_name, read_part
from zsclip.cluster.plan import Part, Plan, Slice
from zsclip.cluster.pool import Done, Event
from zsclip.cluster.results import LocalFolder
from zsclip.cluster.run import Settings, run, work_here
from zsclip.cluster.tasks import PartTasks, PlannedTasks
from zsclip.errors import InputError
from zsclip.output.parquet import vector_column
from zsclip.unit_vectors import Floats

DECIDES = {"model": "m", "precision": "fp32", "labels": ["cat", "dog"]}


@dataclass
class Copying:
    """A job whose rows are the slices' paths; `done` are the parts, in order. One that is called `bad` has a passing error."""

    results: LocalFolder
    done: list[Task] = field(default_factory=list)
    opened: int = 0
    weights: Path | None = None
    weights_key: str = ""

    def at(self, weights: Path) -> Copying:
        return self

    def open(self, resources: Resources) -> Copying:
        self.opened += 1
        return self

    def run(self, task: Task, advance: Advance = no_advance) -> Outcome:
        import numpy as np

        names = [one.path for one in Plan(self.results).part(task.part)]
        good = [(place, name) for place, name in enumerate(names) if name != "bad" or task.failed]
        vectors: Floats = np.eye(4, dtype=np.float32)[[place % 4 for place, _ in good]]
        columns = {
            "path": pyarrow.array([name for _, name in good], pyarrow.string()),
            "path_bytes": pyarrow.nulls(len(good), pyarrow.binary()),
            "place": pyarrow.array([place for place, _ in good], pyarrow.int32()),
            "vector": vector_column(vectors, np.float32),
        }
        batch = pyarrow.RecordBatch.from_pydict(columns)
        with PartWriter(self.results, task.part, {}) as writer:
            writer.add(batch)
            writer.add_errors([Error(0, "bad", "it did not answer", "timeout")] * (len(names) - len(good)))
            tally = writer.close(batch.schema)
        self.done.append(task)
        return Outcome(task.part, tally.rows, tally.errors, 0, tally.digest)

    def close(self) -> None:
        self.opened -= 1


@pytest.fixture
def results(tmp_path: Path) -> LocalFolder:
    return LocalFolder(str(tmp_path / "out"))


def parts(count: int, bad: int = -1) -> Iterator[Part]:
    return ([Slice("bad" if number == bad else f"{number}.jpg")] for number in range(count))


def go_on(results: LocalFolder, listed: Iterator[Part], most: int = 10**9, **how: Any) -> tuple[Copying, PlannedTasks]:
    job, tasks = Copying(results), PlannedTasks(results, listed, 1, **how)
    for number, _ in enumerate(work_here(job, tasks), 1):
        if number == most:
            break
    return job, tasks


def test_a_run_goes_on_where_it_was_and_does_nothing_twice(results: LocalFolder) -> None:
    before, _ = go_on(results, parts(20), most=7)
    assert [task.part for task in before.done] == list(range(7))
    assert before.opened == 0, "what was interrupted let go of its model"
    results.remove(part_name(3))
    after, tasks = go_on(results, parts(20))
    assert [task.part for task in after.done] == [3, *range(7, 20)]
    assert (tasks.were_done, tasks.known, tasks.ended) == (6, 20, True)
    last, _ = go_on(results, iter(()))
    assert last.done == []
    assert last.opened == 0


def test_a_listing_that_fails_ends_the_run_after_what_was_planned(results: LocalFolder) -> None:
    def broken() -> Iterator[Part]:
        yield from parts(5)
        raise InputError("the server went away")

    with pytest.raises(InputError, match="went away"):
        go_on(results, broken())
    job, _ = go_on(results, parts(6))
    assert {task.part for task in job.done} >= {4, 5}, "what the listing did not reach is done now"
    assert sum(1 for _ in results.names()) == 6


def test_only_parts_with_errors_that_may_have_passed_are_retried(results: LocalFolder) -> None:
    go_on(results, parts(4, bad=2))
    job, tasks = go_on(results, parts(4), failed=True)
    assert job.done == [Task(2, failed=True)]
    assert (tasks.were_done, tasks.known) == (3, 4)
    assert list(results.names()) == [part_name(number) for number in range(4)]


class Unmended:
    """A job that finds half of 200 errors in a part of 4,000 pictures as they were. Tells nobody."""

    weights: Path | None = None
    weights_key: str = ""

    def open(self, resources: Resources) -> Unmended:
        return self

    def at(self, weights: Path) -> Unmended:
        return self

    def run(self, task: Task, advance: Advance = no_advance) -> Outcome:
        assert task.failed
        advance(200, [Error(0, "bad", "it did not answer", "timeout")] * 100)
        return Outcome(task.part, 3900, {"timeout": 100})

    def close(self) -> None:
        pass

    def begins(self, tasks: PartTasks) -> None:
        pass

    def advance(self, pictures: int, errors: Sequence[Error]) -> None:
        pass

    def happened(self, event: Event) -> None:
        pass


def test_what_fails_again_is_measured_by_the_pictures_of_its_part(results: LocalFolder) -> None:
    settle(results, DECIDES, {})
    go_on(results, parts(4, bad=2))
    for most in ("5%", "99", "2%"):
        settings = Settings(1, retry_errors=True, most_errors=MostErrors.parse(most))
        again = partial(
            run, results, DECIDES, {}, lambda check: PlannedTasks(results, (), 1, failed=True, check=check), Unmended,
            settings, Unmended(),
        )  # fmt: skip
        if most == "5%":
            assert again().errors == {"timeout": 100}
        else:
            with pytest.raises(InputError, match="100 of 4,000 pictures could not be read"):
                again()


def test_a_node_that_writes_into_a_folder_of_its_own_ends_the_run(
    results: LocalFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zsclip.cluster.run._SEEN_AFTER", (0,))

    def elsewhere(job: Job, tasks: Tasks, advance: Advance) -> Generator[Event, None, None]:
        for event in work_here(job, tasks, advance):
            assert isinstance(event, Done)
            os.rename(results.path(part_name(event.outcome.part)), tmp_path / "theirs.parquet")
            yield replace(event, node="b")

    with pytest.raises(InputError, match=r"b wrote part-00000\.parquet, which is not in this machine's folder"):
        run(
            results, DECIDES, {}, lambda check: PlannedTasks(results, parts(4), 1, check=check),
            lambda: Copying(results), Settings(1), Unmended(), elsewhere,
        )  # fmt: skip
    assert "_SUCCESS" not in results


def test_a_run_that_somebody_took_over_does_not_say_that_it_is_whole(
    results: LocalFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock in a bucket is lost between the last part and the end."""
    done = list[Event]()

    @contextmanager
    def lost(results: LocalFolder) -> Iterator[Callable[[], None]]:
        def check() -> None:
            if done:
                raise InputError("another zsclip took it over.")

        yield check

    def last(job: Job, tasks: Tasks, advance: Advance) -> Generator[Event, None, None]:
        yield from work_here(job, tasks, advance)
        done.append(Done(Outcome(0, 1)))

    monkeypatch.setattr("zsclip.cluster.run.alone", lost)
    with pytest.raises(InputError, match="took it over"):
        run(
            results, DECIDES, {}, lambda check: PlannedTasks(results, parts(2), 1, check=check),
            lambda: Copying(results), Settings(1), Unmended(), last,
        )  # fmt: skip
    assert "_SUCCESS" not in results


def test_a_whole_run_says_so_with_every_part(results: LocalFolder) -> None:
    account = Account()
    job, tasks = Copying(results), PlannedTasks(results, parts(5, bad=1), 1)
    for event in work_here(job, tasks):
        assert isinstance(event, Done)
        outcome = event.outcome
        if outcome.part != 3:  # as if it had been there
            account.add(outcome.part, Tally(outcome.rows, outcome.errors, outcome.digest))
    account.finish(results, 5)
    said = json.loads(results.read("_SUCCESS") or b"")
    assert (said["parts"], said["pictures"], said["errors"]) == (5, 5, {"timeout": 1})
    manifest = pyarrow.parquet.read_table(results.path(said["manifest"])).to_pylist()
    assert [(row["part"], row["rows"], row["errors"]) for row in manifest] == [
        (0, 1, 0), (1, 0, 1), (2, 1, 0), (3, 1, 0), (4, 1, 0)
    ]  # fmt: skip
    assert len({row["digest"] for row in manifest}) == 5


def test_another_run_is_refused_with_what_differs_and_restart_removes_it(results: LocalFolder) -> None:
    assert settle(results, DECIDES, {"title": "M"}) is False
    assert settle(results, DECIDES, {}) is True
    assert json.loads(results.read("_zsclip/run.json") or b"") == {
        "format": 1,
        "decides": DECIDES,
        "said": {"title": "M"},
    }
    go_on(results, parts(3))
    with pytest.raises(
        InputError, match=r'differs in labels \(\["cat", "dog"\], not \["cat"\]\), precision \("fp32", not "bf16"\)'
    ):
        settle(results, {**DECIDES, "labels": ["cat"], "precision": "bf16"}, {})
    assert len(list(results.names())) == 3
    assert settle(results, {**DECIDES, "labels": ["cat"]}, {}, restart=True) is False
    assert list(results.names()) == list(results.names("_zsclip/plan")) == []


@dataclass
class Interrupted(LocalFolder):
    """A folder in which so many files can be removed before Ctrl-C is pressed."""

    name: str
    left: int

    def remove(self, name: str) -> None:
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        super().remove(name)


@pytest.mark.parametrize("removed", range(12))
def test_a_run_that_was_half_removed_goes_on_with_nothing_of_another_listing(
    results: LocalFolder, removed: int
) -> None:
    settle(results, DECIDES, {})
    go_on(results, parts(4, bad=2))
    with pytest.raises(KeyboardInterrupt):
        settle(Interrupted(results.name, removed), DECIDES, {}, restart=True)
    settle(results, DECIDES, {})
    go_on(results, ([Slice(f"new {number}.jpg")] for number in range(4)))
    for number in range(4):
        rows, errors = read_part(results, number)
        names = [*rows.column("path").to_pylist(), *(one.path for one in errors)]
        assert names == [one.path for one in Plan(results).part(number)]


def test_what_is_left_of_a_run_that_nobody_knows_is_not_taken_for_another(results: LocalFolder) -> None:
    go_on(results, parts(2))
    for number in range(2):
        results.remove(part_name(number))
    results.put("_SUCCESS", b"")  # as other tools leave it
    settle(results, DECIDES, {})
    assert Plan(results).extent() is None
    assert read_whole(results) is None


def test_parts_of_nobody_knows_whom_are_left_alone(results: LocalFolder) -> None:
    results.put(part_name(0), b"somebody's")
    for restart in (False, True):
        with pytest.raises(InputError, match="nothing that says of which run"):
            settle(results, DECIDES, {}, restart=restart)
    assert results.read(part_name(0)) == b"somebody's"
    remove(results)
    results.put("_zsclip/run.json", b"{")
    with pytest.raises(InputError, match="damaged"):
        settle(results, DECIDES, {})
    results.put("_zsclip/run.json", b'{"format": 2}')
    with pytest.raises(InputError, match=r"format 2; this version of zsclip knows 1\. Update"):
        settle(results, DECIDES, {})
