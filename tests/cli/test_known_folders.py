"""Folders whose pictures are known side by side: the same rows, and the same is read again, as picture by picture."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from support.cli import Cli, rows_of
from support.processes import start_zsclip

from zsclip.images.files import File
from zsclip.store.database import FILENAME

LABELS = ("-l", "red star,blue star,red heart,green ring")


@pytest.fixture(autouse=True)
def demo_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZSCLIP_MODEL", "demo")


@pytest.fixture
def photos(tmp_path: Path, demo_folder: Path) -> Path:
    """Sixty different pictures, some of them in a folder that stands between the others."""
    folder = tmp_path / "photos"
    (folder / "30").mkdir(parents=True)
    for number, label in enumerate(sorted(path.name for path in (demo_folder / "scenes").iterdir())[:60]):
        target = folder / "30" if 20 <= number < 24 else folder
        shutil.copy(demo_folder / "scenes" / label / "001.png", target / f"{number:02}.png")
    return folder


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are read."""
    names: list[str] = []
    original = File.read
    monkeypatch.setattr(File, "read", lambda self, limit: names.append(Path(self.name).name) or original(self, limit))
    return names


def packed(cache: Path) -> int:
    with closing(sqlite3.connect(cache / FILENAME)) as connection:
        return int(connection.execute("SELECT total(count) FROM packs").fetchone()[0])


def assert_alike(one: str, other: str) -> None:
    """The same rows, numbers but for what another batch changes in the last digit."""
    rows, others = rows_of(one), rows_of(other)
    for number in [column for column in rows[0] if column.startswith(("probability", "similarity"))]:
        for row, another in zip(rows, others, strict=True):
            here, there = row.pop(number), another.pop(number)
            assert here == there or float(here) == pytest.approx(float(there), abs=2e-6)
    assert rows == others


@pytest.mark.slow
def test_rows_are_the_same_before_and_after_a_folder_is_packed(
    cli: Cli, photos: Path, isolated: Path, read: list[str]
) -> None:
    kinds = ((), ("-k", "1"), ("-f", "jsonl"), ("--min-probability", "0.4", "-f", "tsv"))
    asked = [("classify", photos, *LABELS, *more) for more in (*kinds, ("--only", "red star"), ("-f", "paths"))]
    asked += [
        ("search", photos, "--text", "a star", *more) for more in ((), ("-k", "all"), ("--min-similarity", "0.1"))
    ]
    first = [cli(*asked[0]).out, *(cli(*one, "--no-cache").out for one in asked[7:8])]
    assert len(read) == 120
    assert packed(isolated / "cache") == 56  # the four in the folder are too few
    packs = [cli(*one).out for one in asked]
    assert len(read) == 120
    assert packs[0] == first[0]
    assert_alike(packs[7], first[1])
    with closing(sqlite3.connect(isolated / "cache" / FILENAME)) as connection:
        connection.execute("CREATE TRIGGER none AFTER INSERT ON packs BEGIN DELETE FROM packs; END")
        connection.execute("DELETE FROM packs")
        connection.commit()
    assert [cli(*one).out for one in asked] == packs  # by rows
    assert (packed(isolated / "cache"), len(read)) == (0, 120)
    names = [row["path"] for row in rows_of(packs[0])]
    assert names == sorted(names, key=lambda name: Path(name).parts)
    assert len(names) == 60


def test_what_changed_in_a_known_folder_is_read_and_nothing_else(
    cli: Cli, photos: Path, tmp_path: Path, isolated: Path, read: list[str]
) -> None:
    cli("classify", photos, *LABELS)
    assert packed(isolated / "cache") == 56
    shutil.copyfile(photos / "03.png", photos / "02.png")  # changed
    (photos / "05.png").unlink()  # removed
    shutil.copy(photos / "06.png", photos / "05a.png")  # added
    os.link(photos / "07.png", tmp_path / "elsewhere.png")  # linked: its change time is another
    (photos / "08.png").rename(photos / "renamed.png")
    (photos / "09.png").write_bytes(b"")  # cannot be read any more
    (photos / "10a.png").symlink_to(photos / "11.png")
    (photos / "12a.png").symlink_to(photos / "nowhere.png")
    read.clear()
    run = cli("classify", photos, *LABELS)
    changed = ["02.png", "05a.png", "07.png", "09.png", "10a.png", "12a.png", "renamed.png"]
    assert sorted(read) == changed
    assert run.code == 3
    assert "60 of 60 images were in the store already" in run.err
    read.clear()
    assert cli("classify", photos, *LABELS).out == run.out
    assert sorted(read) == ["09.png", "12a.png"]
    assert_alike(run.out, cli("classify", photos, *LABELS, "--no-cache").out)
    errors = {Path(row["path"]).name: row["error"] for row in rows_of(run.out) if row["error"]}
    assert errors == {"09.png": "the file is empty", "12a.png": "No such file or directory"}
    read.clear()
    assert cli("classify", photos, *LABELS, "--rehash").out == run.out
    assert len(read) == 62


def test_a_picture_rewritten_with_its_stamp_kept_is_found_by_rehash_and_known_from_then_on(
    cli: Cli, photos: Path, isolated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = rows_of(cli("classify", photos, *LABELS).out)
    assert packed(isolated / "cache") == 56
    with closing(sqlite3.connect(isolated / "cache" / FILENAME)) as connection:
        # What a file system would do that keeps all of a stamp: the rows of two pictures have each other's content.
        triggers = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for name, _ in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        contents = dict(connection.execute("SELECT name, content FROM items"))
        for name, other in ((b"00.png", b"01.png"), (b"01.png", b"00.png")):
            connection.execute("UPDATE items SET content = ? WHERE name = ?", (contents[other], name))
        connection.execute("DELETE FROM packs")
        for _, sql in triggers:
            connection.execute(sql)
        connection.commit()
    for _ in range(2):  # by rows, and packed
        wrong = rows_of(cli("classify", photos, *LABELS).out)
        assert [row["similarity"] for row in wrong[:2]] == [row["similarity"] for row in first[1::-1]]
    assert packed(isolated / "cache") == 56
    assert rows_of(cli("classify", photos, *LABELS, "--rehash").out) == first
    for _ in range(2):
        assert rows_of(cli("classify", photos, *LABELS).out) == first
    assert packed(isolated / "cache") == 56


@pytest.mark.slow
def test_an_exact_run_takes_only_exact_vectors_of_a_pack(
    cli: Cli, photos: Path, tmp_path: Path, isolated: Path
) -> None:
    def embedded(*more: str | Path) -> tuple[np.ndarray, str]:
        run = cli("embed", *more, "--engine", "torch", "-o", tmp_path / "vectors.npz")
        with np.load(tmp_path / "vectors.npz") as content:
            return content["vectors"], run.err

    half, _ = embedded(photos, "--precision", "bf16")
    exact, _ = embedded(*(photos / f"{n:02}.png" for n in range(5)), "--exact")
    for _ in range(3):
        mixed, said = embedded(photos, "--precision", "bf16")
        assert "60 of 60 images were in the store already" in said
        assert np.array_equal(mixed, np.concatenate([exact, half[5:]]))
        assert not np.array_equal(mixed, half)
    assert packed(isolated / "cache") == 56
    first, said = embedded(photos, "--exact")
    assert "5 of 60 images were in the store already" in said
    assert np.array_equal(first, embedded(photos, "--exact")[0])
    np.testing.assert_allclose(first, embedded(photos, "--exact", "--no-cache")[0], atol=1e-6)


@pytest.mark.slow
def test_two_processes_at_once_print_what_one_prints(photos: Path, tmp_path: Path, cli: Cli) -> None:
    expected = cli("classify", photos, *LABELS).out
    cache = tmp_path / "cache"
    for run in range(2):  # computing and packing at once, and known
        outputs = [tmp_path / f"{run}-{n}.csv" for n in range(2)]
        started = [
            start_zsclip("classify", photos, *LABELS, "--cache-dir", cache, "-o", output, text=True)
            for output in outputs
        ]
        assert not any("locked" in one.communicate(timeout=120)[1] for one in started)
        assert [one.returncode for one in started] == [0, 0]
        for output in outputs:
            assert_alike(output.read_text(), expected)
    assert packed(cache) == 56
