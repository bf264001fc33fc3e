"""The store of zsclip 0.1, met by this version."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zsclip.images.item import Stamp
from zsclip.models.spec import ModelFacts
from zsclip.models.weights import Fingerprint
from zsclip.store import maintenance
from zsclip.store.database import FILENAME, Store
from zsclip.store.records import Kind, text_digest
from zsclip.unit_vectors import Embedding, Quality

pytestmark = pytest.mark.slow

# As zsclip 0.1 made it, to the letter.
VERSION_1 = """
CREATE TABLE files (path BLOB PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, content INTEGER NOT NULL);
CREATE TABLE contents (id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE);
CREATE TABLE models (id INTEGER PRIMARY KEY, identity TEXT NOT NULL UNIQUE, facts TEXT);
CREATE TABLE vectors (
    model INTEGER NOT NULL, content INTEGER NOT NULL, how INTEGER NOT NULL, vector BLOB NOT NULL, cut TEXT,
    PRIMARY KEY (model, content)
);
CREATE INDEX files_by_content ON files (content);
PRAGMA user_version = 1;
"""
DIMENSION = 32


@dataclass
class Made:
    """What a store of version 1 holds: vectors by identity and digest, with `how` and `cut`; files; facts."""

    vectors: dict[tuple[str, bytes], tuple[np.ndarray, int, str | None]] = field(default_factory=dict)
    files: dict[Stamp, bytes] = field(default_factory=dict)
    facts: dict[str, ModelFacts] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """With the statements of zsclip 0.1."""
        folder.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(folder / FILENAME, isolation_level=None)) as connection:
            connection.execute("PRAGMA page_size = 32768")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(VERSION_1)
            connection.execute("BEGIN")
            for identity in {identity for identity, _ in self.vectors} | set(self.facts):
                facts = self.facts.get(identity)
                connection.execute(
                    "INSERT INTO models (identity, facts) VALUES (?, ?)",
                    (identity, json.dumps(vars(facts)) if facts else None),
                )
            for digest in [digest for _, digest in self.vectors] + list(self.files.values()):
                connection.execute("INSERT OR IGNORE INTO contents (digest) VALUES (?)", (digest,))
            for (identity, digest), (vector, how, cut) in self.vectors.items():
                connection.execute(
                    "INSERT INTO vectors (model, content, how, vector, cut) "
                    "SELECT models.id, contents.id, ?, ?, ? FROM models, contents WHERE identity = ? AND digest = ?",
                    (how, vector.astype("<f4" if how else "<f2").tobytes(), cut, identity, digest),
                )
            for stamp, digest in self.files.items():
                connection.execute(
                    "INSERT OR REPLACE INTO files SELECT ?, ?, ?, id FROM contents WHERE digest = ?",
                    (stamp.name, stamp.size, stamp.mtime_ns, digest),
                )
            connection.execute("COMMIT")

    def assert_all_in(self, store: Store) -> None:
        for (identity, digest), (vector, how, cut) in self.vectors.items():
            quality = Quality.EXACT if how else Quality.HALF
            kind = Kind.IMAGE if cut is None else Kind.TEXT
            found = store.get(identity, [digest], DIMENSION, least=quality, kind=kind)[digest]
            assert (found.quality, found.cut) == (quality, cut or "")
            assert np.array_equal(found.vector, Embedding(vector, quality).as_stored().vector)
            other = Kind.TEXT if cut is None else Kind.IMAGE
            assert store.get(identity, [digest], DIMENSION, least=Quality.INT8, kind=other) == {}
        for identity in {identity for identity, _ in self.vectors}:
            known = store.get_files(identity, list(self.files), DIMENSION, least=Quality.INT8)
            assert set(known) == {
                stamp
                for stamp, digest in self.files.items()
                if (identity, digest) in self.vectors and self.vectors[identity, digest][2] is None
            }
        for identity, facts in self.facts.items():
            assert store.facts(identity) == facts


def unit(seed: int) -> np.ndarray:
    values = np.random.default_rng(seed).standard_normal(DIMENSION).astype(np.float32)
    return values / np.linalg.norm(values)


def some(count: int) -> Made:
    """So many images, half of them in folders, and as many texts of two models."""
    made = Made()
    for number in range(count):
        digest = hashlib.sha256(b"%d" % number).digest()
        made.vectors["one model", digest] = unit(number), number % 2, None
        made.files[Stamp(b"/photos/%d/%d.jpg" % (number % 7, number), number, 10**18 + number)] = digest
        cut = "the end" if number % 10 == 0 else ""
        made.vectors["another model", text_digest(f"text {number}")] = unit(-number - 1 & 0xFFFF), number % 2, cut
    made.facts["one model"] = ModelFacts(100.0, -10.0, DIMENSION, "One")
    return made


digests = st.integers(0, 5).map(lambda number: bytes([number]) * 32)
identities = st.sampled_from(["a", "b", "c"])
paths = st.binary(min_size=1, max_size=6).map(lambda name: b"/x/" + name)


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.tuples(identities, digests),
        st.tuples(st.integers(0, 99).map(unit), st.sampled_from([0, 1]), st.sampled_from([None, None, "", "the end"])),
        max_size=12,
    ),
    st.dictionaries(paths, st.tuples(st.integers(0, 2**62), st.integers(-(2**63), 2**63 - 1), digests), max_size=8),
    st.dictionaries(identities, st.builds(ModelFacts, st.floats(0, 200), st.floats(-50, 50), st.just(DIMENSION))),
)
def test_every_vector_file_and_fact_survives(
    vectors: dict[tuple[str, bytes], tuple[np.ndarray, int, str | None]],
    files: dict[bytes, tuple[int, int, bytes]],
    facts: dict[str, ModelFacts],
) -> None:
    """Also where one content was an image to one model and a text to another, as files that begin with `text` could be."""
    named = {Stamp(name, size, when): digest for name, (size, when, digest) in files.items()}
    made = Made(vectors, named, facts)
    with tempfile.TemporaryDirectory() as folder:
        made.write(Path(folder))
        for _ in range(2):
            with Store(Path(folder)) as store:
                made.assert_all_in(store)
                assert maintenance.info(store).files == len(files)


def test_thousands_of_vectors_survive_in_the_order_in_which_they_were_made(tmp_path: Path) -> None:
    made = some(2500)
    made.write(tmp_path)
    with Store(tmp_path) as store:
        made.assert_all_in(store)
        content = {model.identity: (model.images, model.texts) for model in maintenance.info(store).models}
        assert content == {"one model": (2500, 0), "another model": (0, 2500)}
    with sqlite3.connect(tmp_path / FILENAME) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        oldest = connection.execute(
            "SELECT digest FROM vectors JOIN contents ON contents.id = content ORDER BY vectors.id"
        )
        assert [digest for (digest,) in oldest] == [digest for _, digest in made.vectors]
        assert not connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE '%1'"
        ).fetchall()


def test_scale_and_bias_that_may_have_been_rounded_are_read_again(tmp_path: Path) -> None:
    """0.1 kept them in half precision, of models with an image tower of timm's, if that ran last."""
    facts = ModelFacts(98.5, -12.9, DIMENSION)
    rounded = ('{"config":{"vision_cfg":{"timm_model_name":"x"}}}', '{"layout":"siglip"}')
    Made({}, {}, dict.fromkeys((*rounded, '{"config":{}}'), facts)).write(tmp_path)
    with Store(tmp_path) as store:
        assert [store.facts(identity) for identity in rounded] == [None, None]
        assert store.facts('{"config":{}}') == facts


def test_digests_of_weights_are_adopted(tmp_path: Path) -> None:
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"weights")
    adopted = hashlib.sha256(b"what 0.1 read there").digest()
    identity = json.dumps({"activation": "gelu", "weights": f"sha256:{adopted.hex()}"}, separators=(",", ":"))
    made = Made(
        {(identity, b"i" * 32): (unit(1), 1, None)}, {Stamp.of_file(weights, weights.stat()): adopted},
        {identity: ModelFacts(1.0, 0.0, DIMENSION)},
    )  # fmt: skip
    made.write(tmp_path / "cache")
    with Store(tmp_path / "cache") as store:
        stamp = Stamp.of_file(weights, weights.stat())
        assert store.weights(stamp) == Fingerprint(whole=adopted)
        assert maintenance.info(store).files == 1
        maintenance.prune(store)
        assert store.weights(stamp) == Fingerprint(whole=adopted)
        assert store.weights(stamp._replace(inode=stamp.inode + 1)) is None  # was completed when it was first asked for
        maintenance.clear(store)
        assert store.weights(stamp) is None


@pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
def test_killed_in_the_middle_it_leaves_version_1(tmp_path: Path) -> None:
    made = some(1500)
    made.write(tmp_path)
    script = (
        "import os, signal, sys; from pathlib import Path\n"
        "from zsclip.store import migration; from zsclip.store.database import Store\n"
        "whole = migration.take_over_version_1\n"
        "def killed(connection):\n"
        "    whole(connection)\n"
        "    connection.execute('PRAGMA cache_size = 5')  # so that part of it is written before the end\n"
        "    connection.execute('SELECT sum(length(vector)) FROM vectors').fetchall()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "migration.take_over_version_1 = killed\n"
        "Store(Path(sys.argv[1]))\n"
    )
    assert subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False).returncode == -signal.SIGKILL
    with sqlite3.connect(tmp_path / FILENAME) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
        assert connection.execute("SELECT count(*) FROM vectors").fetchone() == (3000,)
    with Store(tmp_path) as store:
        made.assert_all_in(store)


def test_processes_that_meet_it_at_once_all_work(tmp_path: Path) -> None:
    made = some(1500)
    made.write(tmp_path)
    script = (
        "import sys; sys.path.insert(0, sys.argv[2]); from pathlib import Path\n"
        "from test_store_migration import some; from zsclip.store.database import Store\n"
        "made = some(1500)\n"
        "with Store(Path(sys.argv[1])) as store:\n"
        "    made.assert_all_in(store); assert store.usable\n"
    )
    arguments = [sys.executable, "-c", script, str(tmp_path), str(Path(__file__).parent)]
    runs = [subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    assert [run.communicate()[1] for run in runs] == [""] * 3
    assert [run.returncode for run in runs] == [0] * 3


def test_a_damaged_vector_of_version_1_is_not_taken(tmp_path: Path) -> None:
    made = some(20)
    made.write(tmp_path)
    first = next(digest for _, digest in made.vectors)
    with sqlite3.connect(tmp_path / FILENAME) as connection:
        connection.execute(
            "UPDATE vectors SET vector = x'00112233' WHERE content = (SELECT id FROM contents WHERE digest = ?)",
            (first,),
        )
    with Store(tmp_path) as store:
        assert store.get("one model", [first], DIMENSION, least=Quality.INT8) == {}
        del made.vectors["one model", first]
        made.assert_all_in(store)
