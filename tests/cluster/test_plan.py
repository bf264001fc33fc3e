"""The plan of a run in parts: every picture in one part, parts that work can begin with, listings that were interrupted."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import s3_server

from zsclip.cluster.plan import Extent, Part, Plan, Slice, cut, segment_of
from zsclip.cluster.results import LocalFolder, result_folder
from zsclip.errors import InputError
from zsclip.images.sources import Finder


def planned(plan: Plan, extent: Extent) -> list[Part]:
    return [plan.part(number) for number in range(extent.parts)]


def write(plan: Plan, parts: list[Part], part_size: int = 4) -> tuple[Extent, list[int], list[int]]:
    known, redone = list[int](), list[int]()
    return plan.write(iter(parts), part_size, known.append, redone.append), known, redone


def of(*names: str) -> Part:
    return [Slice(name) for name in names]


def table(path: Path, groups: list[int]) -> None:
    with pyarrow.parquet.ParquetWriter(path, pyarrow.schema([("image", pyarrow.binary())])) as writer:
        for rows in groups:
            writer.write_table(pyarrow.table({"image": [b"x"] * rows}), row_group_size=1 << 20)


def test_pictures_are_cut_by_number_and_archives_and_row_groups_are_parts_of_their_own(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(10):
        (photos / f"{number}.jpg").touch()
    archive, rows = tmp_path / "a.tar", tmp_path / "t.parquet"
    tarfile.open(archive, "w").close()
    table(rows, [3, 3, 3, 20, 2])
    parts = list(cut(Finder([str(photos), str(archive), str(rows), str(photos / "gone.jpg")]), 4))
    assert [[slice_.path for slice_ in part] for part in parts[:2]] == [
        [str(photos / f"{number}.jpg") for number in numbers] for numbers in ((0, 1, 2, 3), (4, 5, 6, 7))
    ]
    assert parts[2] == [Slice(str(archive), True)]
    # Small row groups together, a large one cut.
    assert [part[0].rows for part in parts[3:-1]] == [
        (0, 3), (3, 6), (6, 9), (9, 13), (13, 17), (17, 21), (21, 25), (25, 29), (29, 31)
    ]  # fmt: skip
    assert [Path(one.path).name for one in parts[-1]] == ["8.jpg", "9.jpg", "gone.jpg"]


def test_small_row_groups_are_one_part(tmp_path: Path) -> None:
    table(tmp_path / "t.parquet", [2, 2, 2, 1])
    assert [part[0].rows for part in cut(Finder([str(tmp_path / "t.parquet")]), 4)] == [(0, 4), (4, 7)]


def test_a_list_of_paths_is_cut_by_its_rows_and_says_what_cannot_be_had(tmp_path: Path) -> None:
    listed = tmp_path / "list.csv"
    listed.write_text("id,path\nfirst,one.jpg\nsecond,\nthird,/two.jpg\n", encoding="utf-8")
    finder = Finder([str(listed)])
    finder.opening = type(finder.opening)(tables=type(finder.opening.tables)("path", "id"))
    (part,) = cut(finder, 4)
    assert [one.name for one in part] == ["first", "second", "third"]
    assert [one.path for one in part] == [str(tmp_path / "one.jpg"), str(listed), "/two.jpg"]
    assert [one.error and one.error[0] for one in part] == [None, "no picture in this row", None]
    assert not any(one.typed for one in part if one.error is None), "what stands in data was not typed"


def test_a_table_that_cannot_be_read_has_a_row_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "t.parquet").write_bytes(b"no table")
    ((only,),) = cut(Finder([str(tmp_path / "t.parquet")]), 4)
    assert only.error is not None
    assert "Parquet" in only.error[0]


@given(st.integers(0, 100_000))
def test_a_segment_holds_its_parts_and_the_next_begins_where_it_ends(part: int) -> None:
    segment, first, most = segment_of(part)
    assert first <= part < first + most
    assert segment_of(first + most)[0] == segment + 1
    assert most <= 256


def test_a_plan_comes_back_as_it_was_written(tmp_path: Path) -> None:
    plan = Plan(LocalFolder(str(tmp_path)))
    odd = Slice(os.fsdecode(b"\xff.jpg"), True, os.fsdecode(b"id \xfe"), (3, 9), ("damaged \ufffd", "network"))
    parts = [of("a", "b"), [odd], *(of(str(number)) for number in range(700))]
    extent, known, redone = write(plan, parts)
    assert planned(Plan(LocalFolder(str(tmp_path))), extent) == parts
    assert extent == plan.extent() == Extent(702, 703, 4)
    assert known == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 702]
    assert not redone


def test_work_begins_while_the_listing_goes_on(tmp_path: Path) -> None:
    plan, seen = Plan(LocalFolder(str(tmp_path))), list[Part]()

    def parts() -> Iterator[Part]:
        yield of("first")
        yield of("second")
        assert seen == [of("first"), of("second")], "they are known before the third is listed"
        yield of("third")

    plan.write(parts(), 4, lambda count: seen.append(plan.part(count - 1)), pytest.fail)
    assert seen == [of("first"), of("second"), of("third")]


def test_a_listing_that_was_interrupted_is_made_again_and_only_what_changed_is_redone(tmp_path: Path) -> None:
    results = LocalFolder(str(tmp_path))
    plan = Plan(results)

    def broken() -> Iterator[Part]:
        yield from (of(str(number)) for number in range(13))
        raise InputError("the server went away")

    with pytest.raises(InputError):
        plan.write(broken(), 4, lambda count: None, pytest.fail)
    assert plan.extent() is None
    assert plan.part(7) == of("7")
    changed = [of(str(number)) for number in range(6)] + [of("another")] + [of(str(number)) for number in range(7, 13)]
    plan = Plan(results)
    extent, _, redone = write(plan, changed)
    assert redone == [6]
    assert planned(Plan(results), extent) == changed
    # And one that finds less: what was planned beyond its end is taken away.
    results.remove("_zsclip/plan.json")
    redone = []

    def interrupted(part: int) -> None:
        if part == 4:
            raise KeyboardInterrupt
        redone.append(part)

    with pytest.raises(KeyboardInterrupt):
        plan.write(iter(changed[:3]), 4, lambda count: None, interrupted)
    assert redone == [3, *range(8, 13)]
    extent, _, redone = write(plan, changed[:3])
    assert redone == list(range(4, 8))
    assert planned(Plan(results), extent) == changed[:3]
    with pytest.raises(InputError, match="part 5 of the plan cannot be read"):
        Plan(results).part(5)


def test_no_pictures_are_no_parts(tmp_path: Path) -> None:
    extent, known, _ = write(Plan(LocalFolder(str(tmp_path))), [])
    assert (extent.parts, known) == (0, [])


def test_results_are_files_or_objects_and_nothing_else(tmp_path: Path) -> None:
    folder = result_folder(tmp_path / "out")
    assert folder.read("_zsclip/run.json") is None
    assert not list(folder.names())
    with suppress(ZeroDivisionError), folder.write("half.parquet") as stream:
        stream.write(b"half")
        raise ZeroDivisionError
    assert not list(folder.names()), "half a file is none"
    folder.put("a/whole", b"all")
    assert folder.read("a/whole") == b"all"
    assert list(chain(folder.names(), folder.names("a"))) == ["whole"]
    folder.remove("a/whole")
    folder.remove("a/whole")
    with pytest.raises(InputError, match="cannot be written there"):
        result_folder("https://host/out")


@pytest.mark.slow
def test_results_in_a_bucket_are_as_those_in_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("obstore", reason="buckets need obstore")
    pytest.importorskip("moto", reason="the bucket is moto's")
    with s3_server.serve(monkeypatch) as bucket:
        folder = result_folder("s3://pictures/out")
        assert folder.read("_zsclip/run.json") is None
        assert not list(folder.names())
        with suppress(ZeroDivisionError), folder.write("half.parquet") as stream:
            stream.write(b"half")
            raise ZeroDivisionError
        assert bucket.listed() == []
        bucket.put("outside", b"")
        plan = Plan(folder)
        extent, _, redone = write(plan, [of(str(number)) for number in range(5)])
        assert planned(Plan(folder), extent) == [of(str(number)) for number in range(5)]
        folder.put("whole", b"all")
        assert list(folder.names()) == ["whole"]
        assert list(folder.names("_zsclip/plan")) == [f"segment-{number:05d}.parquet" for number in range(4)]
        extent, _, redone = write(plan, [of("0"), of("other")])
        assert sorted(redone) == [1, 2, 3, 4]
        assert list(folder.names("_zsclip/plan")) == ["segment-00000.parquet", "segment-00001.parquet"]
        folder.remove("whole")
        folder.remove("whole")
        assert folder.read("whole") is None
