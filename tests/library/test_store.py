from __future__ import annotations

import logging
import os
import sqlite3
import stat
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.processes import run_python, start_python
from support.vectors import some, vector

from zsclip.models.spec import ModelFacts
from zsclip.store import maintenance as upkeep
from zsclip.store.database import FILENAME, Store
from zsclip.store.records import text_digest
from zsclip.unit_vectors import Embedding


def test_vectors_come_back_as_they_were(tmp_path: Path) -> None:
    made = some(1200)
    with Store(tmp_path) as store:
        store.put("model", made)
    with Store(tmp_path) as store:
        found = store.get("model", [*made, text_digest("unknown")], 32, exact=True)
        assert found.keys() == made.keys()
        assert all(np.array_equal(found[key].vector, made[key].vector) for key in made)
        assert store.get("another model", list(made), 32, exact=False) == {}


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000))
def test_a_fast_vector_is_what_it_will_be_when_read(seed: int) -> None:
    one = Embedding(vector(seed), exact=False).as_stored()
    again = one.as_stored()
    assert np.array_equal(one.vector, again.vector)
    assert one.vector @ vector(seed) > 1 - 1e-6
    assert abs(np.linalg.norm(one.vector) - 1) < 1e-6


def test_what_is_read_equals_what_was_used_in_the_run_that_made_it(tmp_path: Path) -> None:
    made = {key: one.as_stored() for key, one in some(50, exact=False).items()}
    with Store(tmp_path) as store:
        store.put("model", made)
        found = store.get("model", list(made), 32, exact=False)
    assert all(np.array_equal(found[key].vector, made[key].vector) for key in made)


def test_exact_runs_take_exact_vectors_only_and_keep_theirs(tmp_path: Path) -> None:
    key = text_digest("cat")
    with Store(tmp_path) as store:
        store.put("model", {key: Embedding(vector(1), exact=False)})
        assert store.get("model", [key], 32, exact=True) == {}
        assert key in store.get("model", [key], 32, exact=False)
        store.put("model", {key: Embedding(vector(2), exact=True)})
        store.put("model", {key: Embedding(vector(3), exact=False)})
        assert np.array_equal(store.get("model", [key], 32, exact=False)[key].vector, vector(2))


def test_the_cut_end_of_a_text_is_kept(tmp_path: Path) -> None:
    key = text_digest("long")
    with Store(tmp_path) as store:
        store.put("model", {key: Embedding(vector(), cut="the end")})
        assert store.get("model", [key], 32, exact=True)[key].cut == "the end"


def test_facts_of_a_model_are_kept(tmp_path: Path) -> None:
    facts = ModelFacts(100.0, -10.0, 512)
    with Store(tmp_path) as store:
        assert store.facts("model") is None
        store.put_facts("model", facts)
        assert store.facts("model") == facts


def test_a_files_digest_is_remembered_by_path_size_and_time(tmp_path: Path) -> None:
    file = tmp_path / "weights.bin"
    file.write_bytes(b"one")
    status = file.stat()
    with Store(tmp_path / "store") as store:
        first = store.digest(file)
        file.write_bytes(b"two")
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert store.digest(file) == first  # size and time are as they were
        assert store.digest(file, rehash=True) != first
        file.write_bytes(b"three")
        assert store.digest(file) != first
    assert Store(None).digest(file) == Store(tmp_path / "store").digest(file)


def test_the_schema_is_the_documented_one(tmp_path: Path) -> None:
    Store(tmp_path).close()
    with sqlite3.connect(tmp_path / FILENAME) as connection:
        tables = {
            name: [row[1] for row in connection.execute(f"PRAGMA table_info({name})")]
            for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        }
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert 16384 <= connection.execute("PRAGMA page_size").fetchone()[0] <= 65536
    assert tables == {
        "files": ["path", "size", "mtime_ns", "content"],
        "contents": ["id", "digest"],
        "models": ["id", "identity", "facts"],
        "vectors": ["model", "content", "how", "vector", "cut"],
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
        assert store.get("model", list(made), 32, exact=True) == {}
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
    assert "format 99" in caplog.text


def test_an_unusable_folder_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("in the way")
    caplog.set_level(logging.WARNING)
    with Store(tmp_path / "file" / "cache") as store:
        assert not store.usable
        store.put("model", some(1))
        assert store.get("model", list(some(1)), 32, exact=False) == {}
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
        found = sum(len(store.get(f"model {n}", list(some(200)), 32, exact=True)) for n in range(3))
    assert found == 200


@pytest.mark.parametrize(
    "damage", ["UPDATE vectors SET vector = x'001122'", "UPDATE vectors SET vector = zeroblob(128)"]
)
def test_vectors_that_cannot_be_right_are_not_taken(tmp_path: Path, damage: str) -> None:
    made = some(5)
    with Store(tmp_path) as store:
        store.put("model", made)
    with sqlite3.connect(tmp_path / FILENAME) as connection:
        connection.execute(damage)
    with Store(tmp_path) as store:
        assert store.get("model", list(made), 32, exact=False) == {}
        store.put("model", made)
        assert store.get("model", list(made), 32, exact=False).keys() == made.keys()


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
        "made = some(300)\n"
        "for n in range(40):\n"
        "    store = Store(Path(sys.argv[1])); store.put('model', made)\n"
        "    with ThreadPoolExecutor(4) as pool:\n"
        "        asked = [pool.submit(store.get, 'model', list(made), 32, exact=True) for _ in range(60)]\n"
        "        asked[n % 20].result(); store.close()\n"
        "    assert all(len(one.result()) in (0, 300) for one in asked)\n"
    )
    run_python(script, tmp_path)
