"""Packs: what the store knows of a folder's files side by side, which must never say anything but what its rows say."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.processes import start_python
from support.vectors import vector

from zsclip.images.folders import Walk
from zsclip.images.siblings import Siblings, SiblingStamps
from zsclip.store import maintenance, schema
from zsclip.store.database import FILENAME, Store
from zsclip.store.records import Found
from zsclip.unit_vectors import Embedding, Quality

DIMENSION = 32
Change = Callable[["Folder"], object]


class Folder:
    """A folder of files and a store that knows their vectors; vectors by digest are told from a seed."""

    def __init__(self, path: Path, count: int, quality: Quality = Quality.HALF) -> None:
        path.mkdir()
        self.path = path
        for number in range(count):
            (path / f"{number:05}.png").touch()
        self.store = Store(path.parent / "cache")
        self.put({name: number for number, name in enumerate(self.siblings().names)}, quality)
        self.store.pack(DIMENSION)

    def siblings(self) -> Siblings:
        pieces = [piece for piece in Walk(self.path).pieces() if isinstance(piece, Siblings)]
        return Siblings(f"{self.path}/", [name for piece in pieces for name in piece.names])

    def put(self, seeds: dict[str, int], quality: Quality = Quality.HALF, identity: str = "model") -> None:
        stamps = Siblings(f"{self.path}/", list(seeds)).stamps()
        files = [(stamps.stamp(place), digest(seed)) for place, seed in enumerate(seeds.values())]
        made = {digest(seed): Embedding(vector(seed), quality) for seed in seeds.values()}
        self.store.put(identity, made, [(stamp, of) for stamp, of in files if stamp])

    def find(self, least: Quality = Quality.HALF, identity: str = "model") -> Found:
        return self.store.get_siblings(identity, self.siblings().stamps(), DIMENSION, least=least)

    def packed(self) -> int:
        """How many files are in packs."""
        with self.store.guard() as connection:
            assert connection
            return int(connection.execute("SELECT total(count) FROM packs").fetchone()[0])

    def by_rows(self, stamps: SiblingStamps, least: Quality) -> dict[int, tuple[bytes, int]]:
        """What the rows say of the files, which packs have nothing to do with."""
        of = {stamp: place for place in range(len(stamps.names)) if (stamp := stamps.stamp(place))}
        known = self.store.get_files("model", list(of), DIMENSION, least=least)
        return {of[stamp]: (one.vector.tobytes(), int(one.quality)) for stamp, one in known.items()}

    def assert_as_rows(self) -> None:
        stamps = self.siblings().stamps()
        for least in Quality:
            for part in (stamps, SiblingStamps(stamps.folder, stamps.names[5:70], stamps.numbers[5:70])):
                found = self.store.get_siblings("model", part, DIMENSION, least=least)
                rows = zip(found.places.tolist(), found.vectors, found.qualities.tolist(), strict=True)
                assert {place: (one.tobytes(), quality) for place, one, quality in rows} == self.by_rows(part, least)


def digest(seed: int) -> bytes:
    return seed.to_bytes(32, "big")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    made = Folder(tmp_path / "photos", 100)
    yield made
    made.store.close()


def test_a_folder_is_packed_and_found_as_it_was_put(folder: Folder) -> None:
    found = folder.find()
    assert folder.packed() == 100
    assert found.places.tolist() == list(range(100))
    expected = np.stack([Embedding(vector(n), Quality.HALF).as_stored().vector for n in range(100)])
    assert np.array_equal(found.vectors, expected)
    assert folder.find(Quality.EXACT).places.tolist() == []
    assert folder.find(identity="another").places.tolist() == []
    folder.assert_as_rows()


def change(path: Path) -> None:
    path.write_bytes(b"changed")


CHANGES: dict[str, Change] = {
    "changed": lambda folder: change(folder.path / "00007.png"),
    "removed": lambda folder: (folder.path / "00007.png").unlink(),
    "added": lambda folder: (folder.path / "00007a.png").touch(),
    "linked": lambda folder: os.link(folder.path / "00007.png", folder.path / "00007b.png"),
    "replaced": lambda folder: os.replace(folder.path / "00007.png", folder.path / "00008.png"),
    "known otherwise": lambda folder: folder.put({"00007.png": 1007}),
    "better": lambda folder: folder.put({"00007.png": 7}, Quality.EXACT),
    "a better copy elsewhere": lambda folder: folder.store.put("model", {digest(7): Embedding(vector(7))}),
    "a new one": lambda folder: ((folder.path / "x.png").touch(), folder.put({"x.png": 1007})),
    "restamped": lambda folder: folder.store.restamp(
        [(one, one._replace(ctime_ns=5)) for one in [Siblings(f"{folder.path}/", ["00007.png"]).stamps().stamp(0)] if one]
    ),
    "pruned": lambda folder: ((folder.path / "00007.png").unlink(), maintenance.prune(folder.store)),
    "pruned to a size": lambda folder: maintenance.prune(folder.store, 1000),
    "cleared": lambda folder: maintenance.clear(folder.store),
    "cleared of the model": lambda folder: maintenance.clear(folder.store, "model"),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_whatever_happens_a_pack_says_what_the_rows_say(folder: Folder, name: str) -> None:
    CHANGES[name](folder)
    for _ in range(3):  # the second time, what was found by rows is packed again
        folder.assert_as_rows()
        folder.store.pack(DIMENSION)


def test_exactly_what_changed_is_not_known(folder: Folder) -> None:
    (folder.path / "00010.png").write_bytes(b"changed")
    (folder.path / "00020.png").unlink()
    (folder.path / "00030a.png").touch()
    names = folder.siblings().names
    unknown = set(range(len(names))) - set(folder.find().places.tolist())
    assert {names[place] for place in unknown} == {"00010.png", "00030a.png"}
    assert folder.packed() == 100  # which needed no new pack


def test_the_best_vector_is_taken_whatever_is_packed(folder: Folder) -> None:
    folder.put({"00003.png": 3}, Quality.EXACT)
    folder.put({"00004.png": 4}, Quality.REDUCED)
    for _ in range(2):
        assert folder.find(Quality.EXACT).places.tolist() == [3]
        assert folder.find(Quality.REDUCED).places.tolist() == [3, 4]
        found = folder.find()
        assert np.array_equal(found.vectors[3], vector(3))
        assert found.qualities[[2, 3, 4]].tolist() == [Quality.HALF, Quality.EXACT, Quality.REDUCED]
        folder.store.pack(DIMENSION)
        assert folder.packed() == 100


def test_of_copies_the_better_vector_counts_for_all(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "photos", 64)
    folder.put(dict.fromkeys(folder.siblings().names[:40], 1))
    folder.find()
    folder.store.pack(DIMENSION)
    assert folder.packed() == 64
    folder.put({"00063.png": 1}, Quality.EXACT)
    assert folder.find(Quality.EXACT).places.tolist() == [*range(40), 63]
    folder.store.close()


def test_a_single_new_file_does_not_have_a_folder_packed_again(folder: Folder) -> None:
    def packs() -> list[int]:
        with folder.store.guard() as connection:
            assert connection
            return [number for (number,) in connection.execute("SELECT id FROM packs ORDER BY id")]

    before = packs()
    for number in range(100, 140):
        (folder.path / f"{number:05}.png").touch()
        folder.put({f"{number:05}.png": number})
        assert folder.find().places.tolist() == list(range(number + 1))
        folder.store.pack(DIMENSION)
    after = packs()
    assert len(after) == 1
    assert after[0] - before[0] < 3
    folder.assert_as_rows()


@pytest.mark.slow
def test_a_folder_of_many_files_is_packed_in_parts(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "photos", 2500)
    pieces = [piece for piece in Walk(folder.path).pieces() if isinstance(piece, Siblings)]
    assert [len(piece) for piece in pieces] == [1024, 1024, 452]
    found = [folder.store.get_siblings("model", one.stamps(), DIMENSION, least=Quality.HALF) for one in pieces]
    assert [part.places.tolist() for part in found] == [list(range(1024)), list(range(1024)), list(range(452))]
    (folder.path / "00000a.png").touch()  # parts and packs are no longer the same
    folder.put({"01500.png": 1500}, Quality.EXACT)
    with folder.store.guard() as connection:
        assert connection
        assert [count for (count,) in connection.execute("SELECT count FROM packs ORDER BY first")] == [1024, 452]
    seen = []
    for piece in Walk(folder.path).pieces():
        assert isinstance(piece, Siblings)
        found_now = folder.store.get_siblings("model", piece.stamps(), DIMENSION, least=Quality.HALF)
        seen += [piece.names[place] for place in found_now.places.tolist()]
    assert seen == [f"{number:05}.png" for number in range(2500)]
    folder.store.close()


def test_few_files_are_not_packed(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "photos", 20)
    assert folder.packed() == 0
    folder.assert_as_rows()
    folder.store.close()


@pytest.mark.skipif(os.name != "posix", reason="names of bytes that are no text")
def test_names_that_are_no_utf_8_are_found(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "photos", 40)
    strange = [b"\xff.png", b"\xfe\n.png", "ü \U0001f408.png".encode(), b"a\xc3.png"]
    try:
        for name in strange:
            (tmp_path / "photos" / os.fsdecode(name)).touch()
    except OSError:
        pytest.skip("the file system has no such names")
    folder.put({os.fsdecode(name): 1000 + number for number, name in enumerate(strange)})
    folder.find()
    for _ in range(2):
        names = [os.fsencode(name) for name in folder.siblings().names]
        assert names == sorted(names)
        found = folder.find()
        assert found.places.tolist() == list(range(44))
        for number, name in enumerate(strange):
            one = Embedding(vector(1000 + number), Quality.HALF).as_stored().vector
            assert np.array_equal(found.vectors[names.index(name)], one)
        with folder.store.guard() as connection:
            assert connection
            connection.execute("DELETE FROM packs")
        folder.find()
        folder.store.pack(DIMENSION)
        assert folder.packed() == 44
    folder.store.close()


@pytest.mark.parametrize(
    "damage",
    [
        "vectors = zeroblob(length(vectors))",
        "vectors = zeroblob(7)",
        "stamps = x''",
        "qualities = x'00'",
        "names = x''",
    ],
)
def test_a_pack_that_cannot_be_right_is_not_taken(folder: Folder, damage: str) -> None:
    with closing(sqlite3.connect(folder.path.parent / "cache" / FILENAME)) as connection:
        connection.execute(f"UPDATE packs SET {damage}")
        connection.commit()
    folder.assert_as_rows()
    assert len(folder.find().places) == 100


def test_a_store_of_version_2_is_taken_over_with_every_row(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "photos", 100)
    folder.put({"00001.png": 1}, Quality.EXACT)
    folder.store.close()
    file = tmp_path / "cache" / FILENAME
    tables = ("folders", "items", "contents", "models", "vectors")

    def rows() -> list[list[tuple[object, ...]]]:
        with closing(sqlite3.connect(file)) as connection:
            return [connection.execute(f"SELECT * FROM {table}").fetchall() for table in tables]

    with closing(sqlite3.connect(file)) as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        connection.execute("DROP TABLE packs")
        connection.execute("PRAGMA user_version = 2")
        connection.commit()
    before = rows()
    folder.store = Store(tmp_path / "cache")
    assert rows() == before
    folder.assert_as_rows()
    folder.store.pack(DIMENSION)
    assert folder.packed() == 100
    folder.assert_as_rows()
    assert rows() == before
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (schema.VERSION,)
    folder.store.close()


@pytest.mark.slow
def test_processes_that_put_and_pack_at_once_lose_nothing(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "photos", 400)
    script = (
        "import sys; sys.path.insert(0, sys.argv[3]); from pathlib import Path\n"
        "from test_packs import *\n"
        "folder = object.__new__(Folder)\n"
        "folder.path, folder.store = Path(sys.argv[1]), Store(Path(sys.argv[1]).parent / 'cache')\n"
        "names = folder.siblings().names; rng = random.Random(sys.argv[2])\n"
        "for turn in range(8):\n"
        "    some = rng.sample(range(400), 60)\n"
        "    folder.put({names[n]: n for n in some}, rng.choice([Quality.HALF, Quality.EXACT]))\n"
        "    assert folder.find().places.tolist() == list(range(400))\n"
        "    folder.store.pack(DIMENSION)\n"
        "assert folder.store.usable\n"
    )
    runs = [start_python(script, folder.path, str(n), Path(__file__).parent, stderr=subprocess.PIPE) for n in range(3)]
    assert [run.communicate()[1] for run in runs] == [""] * 3
    folder.assert_as_rows()
    folder.store.close()


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(st.randoms(use_true_random=False))
def test_packs_say_what_the_rows_say_after_any_sequence_of_changes(rng: random.Random) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        folder = Folder(Path(place) / "photos", 120)
        for _ in range(12):
            names = folder.siblings().names
            some = rng.sample(names, rng.choice([1, 5, 50]))
            match rng.choice(["put", "touch", "remove", "add", "pack", "prune"]):
                case "put":
                    folder.put({name: rng.randrange(150) for name in some}, rng.choice(list(Quality)))
                case "touch":
                    for name in some:
                        (folder.path / name).write_bytes(b"x")
                case "remove":
                    for name in some[:20]:
                        (folder.path / name).unlink()
                case "add":
                    for number in range(20):
                        (folder.path / f"new-{rng.random()}-{number}.png").touch()
                case "pack":
                    folder.find()
                    folder.store.pack(DIMENSION)
                case "prune":
                    maintenance.prune(folder.store)
            folder.assert_as_rows()
        folder.store.close()


def test_prune_to_a_size_takes_packs_before_vectors(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "photos", 1200)
    assert folder.packed() == 1200
    assert maintenance.prune(folder.store, folder.store.size()) == 0
    assert folder.packed() == 1200
    assert maintenance.prune(folder.store, folder.store.size() - 1) == 0
    assert folder.packed() == 0
    assert len(folder.find().places) == 1200
    folder.store.pack(DIMENSION)
    assert folder.packed() == 1200
    folder.store.close()
