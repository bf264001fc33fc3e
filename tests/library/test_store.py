from __future__ import annotations

import logging
import os
import sqlite3
import stat
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.processes import run_python, start_python
from support.vectors import some, vector

from zsclip.images.item import Stamp
from zsclip.models.spec import ModelFacts
from zsclip.store import maintenance as upkeep
from zsclip.store.database import FILENAME, Store
from zsclip.store.keeping import Keeping
from zsclip.store.records import Kind, split_name, text_digest
from zsclip.unit_vectors import Embedding, Quality

STAMP = ["size", "mtime_ns", "ctime_ns", "inode", "version"]


@pytest.mark.slow
def test_vectors_come_back_as_they_were(tmp_path: Path) -> None:
    made = some(1200)
    with Store(tmp_path) as store:
        store.put("model", made)
    with Store(tmp_path) as store:
        found = store.get("model", [*made, text_digest("unknown")], 32, least=Quality.EXACT)
        assert found.keys() == made.keys()
        assert all(np.array_equal(found[key].vector, made[key].vector) for key in made)
        assert store.get("another model", list(made), 32, least=Quality.HALF) == {}


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000))
def test_a_fast_vector_is_what_it_will_be_when_read(seed: int) -> None:
    one = Embedding(vector(seed), Quality.HALF).as_stored()
    again = one.as_stored()
    assert np.array_equal(one.vector, again.vector)
    assert one.vector @ vector(seed) > 1 - 1e-6
    assert abs(np.linalg.norm(one.vector) - 1) < 1e-6


def test_what_is_read_equals_what_was_used_in_the_run_that_made_it(tmp_path: Path) -> None:
    made = {key: one.as_stored() for key, one in some(50, Quality.HALF).items()}
    with Store(tmp_path) as store:
        store.put("model", made)
        found = store.get("model", list(made), 32, least=Quality.HALF)
    assert all(np.array_equal(found[key].vector, made[key].vector) for key in made)


def test_exact_runs_take_exact_vectors_only_and_keep_theirs(tmp_path: Path) -> None:
    key = text_digest("cat")
    with Store(tmp_path) as store:
        store.put("model", {key: Embedding(vector(1), Quality.HALF)})
        assert store.get("model", [key], 32, least=Quality.EXACT) == {}
        assert key in store.get("model", [key], 32, least=Quality.HALF)
        store.put("model", {key: Embedding(vector(2), Quality.EXACT)})
        store.put("model", {key: Embedding(vector(3), Quality.HALF)})
        assert np.array_equal(store.get("model", [key], 32, least=Quality.HALF)[key].vector, vector(2))


@pytest.mark.parametrize("held", Quality)
@pytest.mark.parametrize("new", Quality)
def test_a_vector_never_replaces_one_of_higher_quality(tmp_path: Path, held: Quality, new: Quality) -> None:
    key = text_digest("cat")
    with Store(tmp_path) as store:
        store.put("model", {key: Embedding(vector(1), held)})
        store.put("model", {key: Embedding(vector(2), new)})
        one = store.get("model", [key], 32, least=Quality.INT8)[key]
        assert one.quality == max(held, new)
        assert one.vector @ vector(2 if new >= held else 1) > 0.999
        for least in Quality:
            assert (key in store.get("model", [key], 32, least=least)) is (max(held, new) >= least)


def test_the_quality_of_a_vector_tells_how_it_was_computed() -> None:
    assert Quality.of("int8") < Quality.of("bf16") < Quality.of("fp32", reduced=True) < Quality.of("fp32")
    assert Quality.of("fp16", reduced=True) is Quality.HALF
    assert [quality for quality in Quality if Embedding(vector(), quality).exact] == [Quality.EXACT]


def test_a_text_is_no_image_though_their_bytes_are_the_same(tmp_path: Path) -> None:
    key = text_digest("cat")
    stamp = Stamp(b"/cat.jpg", 8, 0)
    with Store(tmp_path) as store:
        store.put("model", {key: Embedding(vector(1))}, kind=Kind.TEXT)
        store.put("model", {}, [(stamp, key)])
        assert store.get("model", [key], 32, least=Quality.HALF) == {}
        assert store.get_files("model", [stamp], 32, least=Quality.HALF) == {}
        store.put("model", {key: Embedding(vector(2))})
        for kind, seed in ((Kind.TEXT, 1), (Kind.IMAGE, 2)):
            assert np.array_equal(
                store.get("model", [key], 32, least=Quality.HALF, kind=kind)[key].vector, vector(seed)
            )
        (content,) = upkeep.info(store).models
        assert (content.images, content.texts) == (1, 1)


@pytest.mark.slow
@settings(max_examples=10, deadline=None)
@given(st.sets(st.integers(0, 599)), st.sets(st.integers(0, 599)))
def test_what_prune_leaves_is_as_it_was(gone: set[int], better: set[int]) -> None:
    with tempfile.TemporaryDirectory() as place, Store(Path(place) / "cache") as store:
        made = {number.to_bytes(32, "big"): Embedding(vector(number), Quality.HALF) for number in range(600)}
        files = []
        for number, digest in enumerate(made):
            path = Path(place) / f"{number}.jpg"
            if number not in gone:
                path.touch()
            files.append((Stamp(os.fsencode(path), 0, 0), digest))
        texts = some(10)
        store.put("model", texts, kind=Kind.TEXT)
        store.put("model", made, files)
        again = {digest: Embedding(vector(number)) for number, digest in enumerate(made) if number in better}
        store.put("model", again)
        made |= again
        assert upkeep.prune(store) == len(gone)
        kept = {digest: one for number, (digest, one) in enumerate(made.items()) if number not in gone}
        found = store.get("model", list(made), 32, least=Quality.HALF)
        assert found.keys() == kept.keys()
        assert all(np.array_equal(found[key].vector, one.as_stored().vector) for key, one in kept.items())
        assert store.get("model", list(texts), 32, least=Quality.EXACT, kind=Kind.TEXT).keys() == texts.keys()


def test_prune_keeps_what_is_at_an_address_or_within_a_file_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "shard.tar").touch()
    names = {
        "shard.tar/a/1.jpg": True,
        "gone.tar/a/1.jpg": False,
        "shard.tar#17": True,
        "gone.mp4#t=1.500": False,
    }
    stamps = {Stamp(os.fsencode(tmp_path / name), 0, 0): kept for name, kept in names.items()}
    stamps[Stamp(b"s3://bucket/2024/1.jpg", 0, 0, version="etag")] = True
    made = {bytes([number]) * 32: Embedding(vector(number)) for number in range(len(stamps))}
    with Store(tmp_path / "cache") as store:
        store.put("model", made, list(zip(stamps, made, strict=True)))
        upkeep.prune(store)
        known = store.get_files("model", list(stamps), 32, least=Quality.EXACT)
        assert set(known) == {stamp for stamp, kept in stamps.items() if kept}
        changed = [stamp._replace(version="another") for stamp in known]
        assert store.get_files("model", changed, 32, least=Quality.EXACT) == {}


def test_prune_keeps_archives_that_were_read_and_drops_those_that_are_gone(tmp_path: Path) -> None:
    (tmp_path / "shard.tar").touch()
    made = {bytes([number]) * 32: Embedding(vector(number)) for number in range(4)}
    with Store(tmp_path / "cache") as store, sqlite3.connect(tmp_path / "cache" / FILENAME) as connection:
        store.put("model", made)
        for container, name in enumerate(("shard.tar", "gone.tar")):
            connection.execute(
                "INSERT INTO containers (id, name, size, mtime_ns) VALUES (?, ?, 0, 0)",
                (container, os.fsencode(tmp_path / name)),
            )
        connection.execute("INSERT INTO members SELECT (id - 1) / 2, id, 'name', id FROM contents WHERE id < 4")
        connection.execute("INSERT INTO members VALUES (0, 9, 'not an image', NULL)")
        connection.execute("INSERT INTO thumbnails SELECT id, 320, x'' FROM contents")
        connection.commit()
        assert upkeep.prune(store) == 2
        assert connection.execute("SELECT position FROM members").fetchall() == [(1,), (2,), (9,)]
        assert connection.execute("SELECT content FROM thumbnails").fetchall() == [(1,), (2,)]
        assert upkeep.clear(store) == 2
        assert not any(connection.execute(f"SELECT * FROM {table}").fetchall() for table in ("containers", "members"))


@given(st.binary(max_size=30))
def test_folder_and_name_are_the_whole_name(name: bytes) -> None:
    folder, last = split_name(name)
    assert folder + last == name
    assert b"/" not in last
    assert not folder or folder.endswith((b"/", os.sep.encode()))


def test_what_is_kept_and_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZSCLIP_CACHE_DIR", str(tmp_path / "of the environment"))
    assert Keeping().folder == tmp_path / "of the environment"
    keeping = Keeping(tmp_path / "given", use_cache=False)
    assert keeping.exports == tmp_path / "given" / "exports"
    with keeping.open() as store:
        assert not store.usable
    assert not keeping.folder.exists()
    with Keeping(tmp_path / "given").open() as store:
        assert store.path == tmp_path / "given" / FILENAME


@pytest.mark.parametrize("field", Stamp._fields)
def test_a_file_is_known_only_if_all_of_its_stamp_is_as_it_was(tmp_path: Path, field: str) -> None:
    made, stamp = some(1), Stamp(b"/a/b.png", 1, 2, 3, 4, "five")
    changed = stamp._replace(**{field: b"/a/c.png" if field == "name" else "six" if field == "version" else 6})
    with Store(tmp_path) as store:
        store.put("model", made, [(stamp, next(iter(made)))])
        assert list(store.get_files("model", [stamp], 32, least=Quality.HALF)) == [stamp]
        assert store.get_files("model", [changed], 32, least=Quality.HALF) == {}
        store.restamp([(changed, stamp)])  # of what is not known
        store.restamp([(stamp, changed)])
        assert list(store.get_files("model", [changed], 32, least=Quality.HALF)) == [changed]
        assert bool(store.get_files("model", [stamp], 32, least=Quality.HALF)) is (field == "name")


def test_a_file_that_0_1_knew_is_trusted_without_change_time_and_inode(tmp_path: Path) -> None:
    made, stamp = some(1), Stamp(b"/a/b.png", 1, 2, 3, 4)
    with Store(tmp_path) as store:
        store.put("model", made, [(stamp._replace(ctime_ns=0, inode=0), next(iter(made)))])
        assert list(store.get_files("model", [stamp], 32, least=Quality.HALF)) == [stamp]
        moved = stamp._replace(name=b"/a/moved.png", ctime_ns=9)
        store.restamp([(stamp, moved)])
        assert list(store.get_files("model", [moved], 32, least=Quality.HALF)) == [moved]


def test_the_cut_end_of_a_text_is_kept(tmp_path: Path) -> None:
    key = text_digest("long")
    with Store(tmp_path) as store:
        store.put("model", {key: Embedding(vector(), cut="the end")})
        assert store.get("model", [key], 32, least=Quality.EXACT)[key].cut == "the end"


def test_facts_of_a_model_are_kept(tmp_path: Path) -> None:
    facts = ModelFacts(100.0, -10.0, 512)
    with Store(tmp_path) as store:
        assert store.facts("model") is None
        store.put_facts("model", facts)
        assert store.facts("model") == facts


def test_the_schema_is_the_documented_one(tmp_path: Path) -> None:
    Store(tmp_path).close()
    with sqlite3.connect(tmp_path / FILENAME) as connection:
        tables = {
            name: [row[1] for row in connection.execute(f"PRAGMA table_info({name})")]
            for (name,) in connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
            )
        }
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert 16384 <= connection.execute("PRAGMA page_size").fetchone()[0] <= 65536
    assert tables == {
        "folders": ["id", "path"],
        "items": ["folder", "name", *STAMP, "content"],
        "containers": ["id", "name", "reading", *STAMP],
        "members": ["container", "position", "name", "content"],
        "contents": ["id", "kind", "digest", "phash"],
        "thumbnails": ["content", "size", "jpeg"],
        "weights": ["path", *STAMP, "header", "digest"],
        "models": ["id", "identity", "facts", "weights", "revision"],
        "vectors": ["id", "model", "content", "quality", "cut", "vector"],
        "packs": [
            "id",
            "model",
            "folder",
            "first",
            "last",
            "count",
            "first_content",
            "last_content",
            "names",
            "stamps",
            "qualities",
            "vectors",
        ],
    }


@pytest.mark.skipif(os.name != "posix", reason="POSIX file modes")
def test_nobody_else_may_look_into_the_folder(tmp_path: Path) -> None:
    Store(tmp_path / "cache").close()
    assert stat.S_IMODE((tmp_path / "cache").stat().st_mode) == 0o700


def test_a_damaged_database_is_put_aside_and_a_new_one_made(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / FILENAME).write_bytes(b"this is no database" * 1000)
    with Store(tmp_path) as store:
        assert store.usable
        store.put("model", some(1))
    aside = [path for path in tmp_path.iterdir() if ".damaged-" in path.name]
    assert [path.read_bytes()[:7] for path in aside] == [b"this is"]
    assert "put aside" in caplog.text


def test_a_database_damaged_inside_is_put_aside_when_it_shows(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    made = some(3000)
    with Store(tmp_path) as store:
        store.put("model", made)
    file = tmp_path / FILENAME
    data = bytearray(file.read_bytes())
    data[32768 : len(data)] = b"\xa5" * (len(data) - 32768)
    file.write_bytes(data)
    with Store(tmp_path) as store:
        assert store.get("model", list(made), 32, least=Quality.EXACT) == {}
        assert not store.usable
        store.put("model", made)  # goes on without
    assert any(".damaged-" in path.name for path in tmp_path.iterdir())
    assert "going on without" in caplog.text or "put aside" in caplog.text


def test_a_database_of_a_newer_version_is_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Store(tmp_path).close()
    with sqlite3.connect(tmp_path / FILENAME) as connection:
        connection.execute("PRAGMA user_version = 99")
    before = (tmp_path / FILENAME).read_bytes()
    with Store(tmp_path) as store:
        assert not store.usable
    assert (tmp_path / FILENAME).read_bytes() == before
    assert "format 99, not 3. Use another `cache_dir`, or update zsclip" in caplog.text


def test_an_unusable_folder_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("in the way")
    caplog.set_level(logging.WARNING)
    with Store(tmp_path / "file" / "cache") as store:
        assert not store.usable
        store.put("model", some(1))
        assert store.get("model", list(some(1)), 32, least=Quality.HALF) == {}
    assert "going on without it" in caplog.text


@pytest.mark.slow
def test_many_processes_share_it(tmp_path: Path) -> None:
    script = (
        "import sys; from support.vectors import some; from zsclip.store.database import Store; from pathlib import Path\n"
        "items = list(some(200).items())\n"
        "with Store(Path(sys.argv[1])) as store:\n"
        "    for n in range(0, 200, 10):\n"
        "        store.put('model ' + str(n % 3), dict(items[n:n + 10]))\n"
        "    assert store.usable\n"
    )
    runs = [start_python(script, tmp_path, stderr=subprocess.PIPE) for _ in range(4)]
    errors = [run.communicate()[1] for run in runs]
    assert errors == [""] * 4
    assert [run.returncode for run in runs] == [0] * 4
    with Store(tmp_path) as store:
        found = sum(len(store.get(f"model {n}", list(some(200)), 32, least=Quality.EXACT)) for n in range(3))
    assert found == 200


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE vectors SET vector = x'001122'",
        "UPDATE vectors SET vector = zeroblob(128)",
        "UPDATE vectors SET vector = zeroblob(64)",
    ],
)
def test_vectors_that_cannot_be_right_are_not_taken(tmp_path: Path, damage: str) -> None:
    made = some(5)
    with Store(tmp_path) as store:
        store.put("model", made)
    with sqlite3.connect(tmp_path / FILENAME) as connection:
        connection.execute(damage)
    with Store(tmp_path) as store:
        assert store.get("model", list(made), 32, least=Quality.HALF) == {}
        store.put("model", made)
        assert store.get("model", list(made), 32, least=Quality.HALF).keys() == made.keys()


def test_facts_that_cannot_be_read_are_made_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Store(tmp_path) as store:
        store.put_facts("model", ModelFacts(1.0, 0.0, 32))
    with sqlite3.connect(tmp_path / FILENAME) as connection:
        connection.execute("UPDATE models SET facts = '{'")
    with Store(tmp_path) as store:
        assert store.facts("model") is None
        assert "made again" in caplog.text


@pytest.mark.slow
def test_processes_that_find_it_damaged_at_once_lose_neither_the_old_nor_the_new(tmp_path: Path) -> None:
    damaged = os.urandom(200_000)
    (tmp_path / FILENAME).write_bytes(damaged)
    script = (
        "import sys; from support.vectors import some; from zsclip.store.database import Store; from pathlib import Path\n"
        "with Store(Path(sys.argv[1])) as store:\n"
        "    store.put(sys.argv[2], some(20)); assert store.usable\n"
    )
    runs = [start_python(script, tmp_path, f"model {n}") for n in range(4)]
    assert [run.wait() for run in runs] == [0] * 4
    aside = [
        path for path in tmp_path.iterdir() if ".damaged-" in path.name and not path.name.endswith(("-wal", "-shm"))
    ]
    assert [path.read_bytes() for path in aside] == [damaged]
    with Store(tmp_path) as store:
        assert {model.identity for model in upkeep.info(store).models} == {f"model {n}" for n in range(4)}


@pytest.mark.slow
def test_it_may_be_closed_while_threads_are_asking(tmp_path: Path) -> None:
    """In a process of its own: SQLite crashes where this is wrong."""
    script = (
        "import sys\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from pathlib import Path\n"
        "from support.vectors import some; from zsclip.store.database import Store\n"
        "from zsclip.unit_vectors import Quality\n"
        "made = some(300)\n"
        "for n in range(40):\n"
        "    store = Store(Path(sys.argv[1])); store.put('model', made)\n"
        "    with ThreadPoolExecutor(4) as pool:\n"
        "        asked = [pool.submit(store.get, 'model', list(made), 32, least=Quality.EXACT) for _ in range(60)]\n"
        "        asked[n % 20].result(); store.close()\n"
        "    assert all(len(one.result()) in (0, 300) for one in asked)\n"
    )
    run_python(script, tmp_path)
