"""`zsclip cache`."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.cli import Cli

from zsclip import Classifier, scoring
from zsclip.images.item import Stamp
from zsclip.store import maintenance as upkeep
from zsclip.store.keeping import Keeping
from zsclip.store.records import Kind, text_digest
from zsclip.unit_vectors import Embedding, Quality

# `prune` would take away the exports that other tests share.
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("own_exports")]


@pytest.fixture(autouse=True)
def demo_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZSCLIP_MODEL", "demo")


@pytest.fixture
def scenes(tmp_path: Path, demo_folder: Path) -> Path:
    return Path(shutil.copytree(demo_folder / "scenes", tmp_path / "scenes"))


def said(text: str, name: str) -> str:
    match = re.search(rf"^{name}\s+(.*)$", text, re.MULTILINE)
    assert match, text
    return match[1]


def test_info_counts_what_is_kept(cli: Cli, scenes: Path, own_exports: Path) -> None:
    cli("classify", scenes, "-l", "star,ring")
    text = cli("cache", "info").out
    assert said(text, "store") == str(Keeping().folder / "vectors.sqlite3")
    assert [said(text, name) for name in ("images", "texts", "models")] == ["64", "14", "1"]
    assert re.fullmatch(r"1 \(2\d\.\d MB\)", said(text, "exports"))
    assert float(said(text, "size").removesuffix(" MB")) > 0
    assert re.search(r"demo: 64 images, 14 texts, weights sample:[0-9a-f]{12}$", text, re.MULTILINE)


def test_clear_forgets_all_or_one_model(
    cli: Cli, scenes: Path, tmp_path: Path, new_cache: Callable[[Path], Path]
) -> None:
    new_cache(tmp_path / "other")
    cli("classify", scenes, "-l", "star,ring")
    cli("classify", scenes, "-l", "star,ring", "--precision", "bf16", "--cache-dir", tmp_path / "other")
    assert "Forgot 78 vectors" in cli("cache", "clear", "--model", "demo").err
    text = cli("cache", "info").out
    assert [said(text, name) for name in ("images", "texts", "models")] == ["0", "0", "0"]
    assert said(cli("cache", "info", "--cache-dir", tmp_path / "other").out, "images") == "64"
    assert "Forgot 0 vectors" in cli("cache", "clear").err
    assert cli("cache", "clear", "--pretrained", "openai").code == 2


def test_clear_takes_the_identity_and_not_the_environment(
    cli: Cli, scenes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli("classify", scenes, "-l", "star,ring")
    monkeypatch.setenv("ZSCLIP_MODEL", "ViT-B-32")
    identity = re.search(r"^  (\w{12})  demo", cli("cache", "info").out, re.MULTILINE)
    assert identity
    assert "Forgot 78 vectors" in cli("cache", "clear", "--model", identity[1]).err
    cli("classify", scenes, "-l", "star,ring", "--model", "demo")
    assert "Forgot 78 vectors" in cli("cache", "clear").err


def test_prune_forgets_files_that_are_gone(cli: Cli, scenes: Path) -> None:
    cli("classify", scenes, "-l", "star,ring")
    shutil.copy(scenes / "red star" / "001.png", scenes / "copy.png")
    cli("classify", scenes, "-l", "star,ring")
    shutil.rmtree(scenes / "red star")
    shutil.rmtree(scenes / "red ring")
    assert "Forgot 1 vectors" in cli("cache", "prune").err  # the star lives on as a copy
    text = cli("cache", "info").out
    assert [said(text, name) for name in ("images", "texts")] == ["63", "14"]
    run = cli("classify", scenes, "-l", "star,ring")
    assert "63 of 63 images were in the store already" in run.err


def test_prune_to_a_size_forgets_the_oldest_images(cli: Cli, tmp_path: Path) -> None:
    vectors = scoring.normalise(np.random.default_rng(0).standard_normal((4000, 512)).astype(np.float32))
    files, kept = [], {}
    for n, vector in enumerate(vectors):
        (tmp_path / f"{n}.png").touch()
        digest = hashlib.sha256(bytes(n)).digest()
        files.append((Stamp.of_file(tmp_path / f"{n}.png", (tmp_path / f"{n}.png").stat()), digest))
        kept[digest] = Embedding(vector)
    with Keeping().open() as store:
        store.put("model", kept, files)
        store.put("model", {text_digest("a text"): Embedding(vectors[0])}, kind=Kind.TEXT)
        before = upkeep.info(store).size
        assert upkeep.prune(store, before // 2) > 1000
        after = upkeep.info(store)
        assert before // 4 < after.size <= before // 2
        assert after.models[0].texts == 1
        found = store.get_files("model", [stamp for stamp, _ in files], 512, least=Quality.HALF)
        assert [stamp in found for stamp, _ in files] == sorted(stamp in found for stamp, _ in files)  # the last ones
    assert cli("cache", "prune", "--max-size", "1G").code == 0
    assert cli("cache", "prune", "--max-size", "much").code == 2


def test_the_least_recently_used_exports_go_first(cli: Cli, scenes: Path, own_exports: Path) -> None:
    cli("classify", scenes, "-l", "star,ring")
    (demo,) = own_exports.iterdir()
    os.utime(demo / "export.json", (1, 1))  # a run says that it is in use
    cli("classify", scenes, "-l", "a,b")
    for name, used in (("old", 1000), ("new", 2000)):
        (own_exports / name).mkdir()
        (own_exports / name / "model.bin").write_bytes(bytes(1_000_000))
        os.utime(own_exports / name / "model.bin", (used, used))
    before = re.match(r"3 \((.*) MB\)", said(cli("cache", "info").out, "exports"))
    assert before
    cli("cache", "prune", "--max-size", f"{float(before[1]) - 0.2}M")
    assert {path.name for path in own_exports.iterdir()} == {demo.name, "new"}
    assert said(cli("cache", "info").out, "images") == "64"


def test_the_digest_of_a_checkpoint_survives(cli: Cli, scenes: Path) -> None:
    cli("classify", scenes, "-l", "star,ring")
    cli("cache", "prune")
    with Keeping().open() as store, Classifier.load("demo") as classifier:
        assert store.facts(classifier.model.identity) is not None
        assert upkeep.info(store).files == 65


def test_without_a_store_there_is_nothing_to_tell(cli: Cli, isolated: Path) -> None:
    text = cli("cache", "info").out
    assert [said(text, name) for name in ("images", "texts", "models")] == ["0", "0", "0"]
