"""Pictures that are parts of something: lists of members, kept so that what is as it was is not opened again."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zsclip import Classifier
from zsclip.embedding.records import ImageEmbedding
from zsclip.errors import ImageError
from zsclip.images.container import Container
from zsclip.images.files import File
from zsclip.images.item import Contents, Member, Stamp
from zsclip.store.database import Store


class _Part(Member):
    def __init__(self, container: Folder, position: int, inner: str, data: bytes) -> None:
        super().__init__(container.row_name(position, inner), position, inner)
        self._data = data
        self.held = len(data)

    def read(self, max_pixels: int) -> Contents:
        data, self._data = self._data, b""
        return Contents(data)


class Folder(Container):
    """The files of a folder as a container that is stamped by a file, and breaks before `breaks_at`."""

    def __init__(self, folder: Path, stamped: Path, breaks_at: int = -1) -> None:
        super().__init__(str(folder))
        self._stamped = stamped
        self._breaks_at = breaks_at
        self.given: list[int] = []

    def stamp(self) -> Stamp:
        return Stamp.of_file(self.name, os.stat(self._stamped))

    def members(self, wanted: Collection[int] | None = None) -> Iterator[Member]:
        for position, name in enumerate(sorted(os.listdir(self.name))):
            if position == self._breaks_at:
                raise ImageError(f"broken at member {position}")
            if wanted is None or position in wanted:
                self.given.append(position)
                yield _Part(self, position, name, Path(self.name, name).read_bytes())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(40):
        Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8)).save(folder / f"{number:02}.png")
    (folder / "07.png").write_bytes(b"no picture")
    (tmp_path / "stamp").write_bytes(b"1")
    return folder


def embed(container: Container, tmp_path: Path) -> tuple[list[ImageEmbedding], Classifier]:
    with Classifier.load("demo", cache_dir=tmp_path / "store", device="cpu") as classifier:
        return [one for batch in classifier.embed_images([container]) for one in batch], classifier


def vectors(found: list[ImageEmbedding]) -> dict[str, bytes]:
    return {os.path.basename(one.path): one.embedding.vector.tobytes() for one in found if one.embedding}


def test_members_give_the_rows_of_the_same_files(folder: Path, tmp_path: Path) -> None:
    found, _ = embed(Folder(folder, tmp_path / "stamp"), tmp_path)
    assert [one.path for one in found] == [f"{folder}/{number:02}.png" for number in range(40)]
    assert [one.path for one in found if one.error] == [f"{folder}/07.png"]
    with Classifier.load("demo", cache_dir=tmp_path / "other", device="cpu") as classifier:
        files = [one for part in classifier.embed_images(map(File, sorted(map(str, folder.iterdir())))) for one in part]
    assert vectors(found) == vectors(files)
    assert [one.error for one in found] == [one.error for one in files]


def test_what_is_as_it_was_is_opened_for_what_could_not_be_read_only(folder: Path, tmp_path: Path) -> None:
    first, _ = embed(Folder(folder, tmp_path / "stamp"), tmp_path)
    again = Folder(folder, tmp_path / "stamp")
    second, classifier = embed(again, tmp_path)
    assert again.given == [7]
    assert (classifier.counts.found, classifier.counts.computed, classifier.counts.unread) == (39, 0, 1)
    assert vectors(first) == vectors(second)
    assert [(one.path, one.error) for one in first] == [(one.path, one.error) for one in second]


def test_what_changed_is_read_again_and_computed_where_it_is_new(folder: Path, tmp_path: Path) -> None:
    embed(Folder(folder, tmp_path / "stamp"), tmp_path)
    (folder / "03.png").write_bytes((folder / "04.png").read_bytes())
    Image.new("RGB", (64, 64), "red").save(folder / "07.png")
    (tmp_path / "stamp").write_bytes(b"other")
    again = Folder(folder, tmp_path / "stamp")
    found, classifier = embed(again, tmp_path)
    assert again.given == list(range(40))
    assert (classifier.counts.found, classifier.counts.computed) == (39, 1)
    assert vectors(found)["03.png"] == vectors(found)["04.png"]
    last = Folder(folder, tmp_path / "stamp")
    embed(last, tmp_path)
    assert last.given == []


def test_another_way_of_reading_has_a_list_of_its_own(folder: Path, tmp_path: Path) -> None:
    embed(Folder(folder, tmp_path / "stamp"), tmp_path)
    other = Folder(folder, tmp_path / "stamp")
    other.reading = "other"
    embed(other, tmp_path)
    assert len(other.given) == 40


def test_of_one_that_breaks_all_before_is_kept_and_a_row_says_where(folder: Path, tmp_path: Path) -> None:
    found, _ = embed(Folder(folder, tmp_path / "stamp", breaks_at=20), tmp_path)
    assert [one.path for one in found[:20]] == [f"{folder}/{number:02}.png" for number in range(20)]
    assert [(one.path, one.error) for one in found[20:]] == [(str(folder), "broken at member 20")]
    whole = Folder(folder, tmp_path / "stamp")
    _, classifier = embed(whole, tmp_path)
    assert len(whole.given) == 40, "a list that is not complete is not kept"
    assert (classifier.counts.found, classifier.counts.computed) == (19, 20)


def test_of_one_that_breaks_when_it_is_opened_again_each_missing_member_says_so(folder: Path, tmp_path: Path) -> None:
    embed(Folder(folder, tmp_path / "stamp"), tmp_path)
    with Store(tmp_path / "store") as store, store.writing() as connection:
        assert connection
        connection.execute(
            "DELETE FROM vectors WHERE content IN (SELECT content FROM members WHERE position >= 30 AND name <> CAST('39.png' AS BLOB))"
        )
    again = Folder(folder, tmp_path / "stamp", breaks_at=35)
    found, _ = embed(again, tmp_path)
    assert again.given == [7, *range(30, 35)]
    assert [os.path.basename(one.path) for one in found] == [f"{number:02}.png" for number in range(40)]
    errors = {os.path.basename(one.path): one.error for one in found if one.error}
    assert {name: errors.get(name) for name in ("34.png", "35.png", "38.png", "39.png")} == {
        "34.png": None, "35.png": "broken at member 35", "38.png": "broken at member 35", "39.png": None,
    }  # fmt: skip


def test_members_that_are_read_again_are_paired_by_their_positions(folder: Path, tmp_path: Path) -> None:
    """Of those that are the same, one may be known by the time that another is looked for; and some may be gone."""
    for number in range(0, 40, 2):
        (folder / f"{number:02}.png").write_bytes((folder / "01.png").read_bytes())
    first, _ = embed(Folder(folder, tmp_path / "stamp"), tmp_path)

    class WithoutSome(Folder):
        def members(self, wanted: Collection[int] | None = None) -> Iterator[Member]:
            return (one for one in super().members(wanted) if one.position not in (11, 12))

    for kind, lost in ((Folder, []), (WithoutSome, ["11.png", "12.png"])):
        with Store(tmp_path / "store") as store, store.writing() as connection:
            assert connection
            connection.execute("DELETE FROM vectors WHERE content IN (SELECT content FROM members)")
        found, _ = embed(kind(folder, tmp_path / "stamp"), tmp_path)
        assert [one.path for one in found] == [one.path for one in first]
        assert [os.path.basename(one.path) for one in found if one.error] == sorted(["07.png", *lost])
        assert vectors(found).items() <= vectors(first).items()


def test_a_list_that_is_not_complete_leaves_nothing_behind(folder: Path, tmp_path: Path) -> None:
    for _ in range(2):
        embed(Folder(folder, tmp_path / "stamp", breaks_at=20), tmp_path)
    with Store(tmp_path / "store") as store, store.guard() as connection:
        assert connection
        assert connection.execute("SELECT count(*) FROM members").fetchone() == (0,)


def test_an_interrupted_run_leaves_no_list(folder: Path, tmp_path: Path) -> None:
    with Classifier.load("demo", cache_dir=tmp_path / "store", device="cpu", batch_size=4) as classifier:
        batches = classifier.embed_images([Folder(folder, tmp_path / "stamp")])
        next(iter(batches))
        batches.close()  # type: ignore[attr-defined]
    again = Folder(folder, tmp_path / "stamp")
    embed(again, tmp_path)
    assert len(again.given) == 40


def test_containers_and_files_keep_the_order_of_the_input(folder: Path, tmp_path: Path) -> None:
    single = str(folder / "00.png")
    with Classifier.load("demo", cache_dir=tmp_path / "store", device="cpu") as classifier:
        mixed = [File(single), Folder(folder, tmp_path / "stamp"), File(single), Folder(folder, tmp_path / "stamp")]
        for _ in range(2):
            found = [one.path for batch in classifier.embed_images(mixed) for one in batch]
            names = [f"{folder}/{number:02}.png" for number in range(40)]
            assert found == [single, *names, single, *names]
