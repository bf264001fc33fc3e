"""`zsclip cache`."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from support.cli import Cli
from support.processes import run_zsclip, start_python

from zsclip import Classifier, scoring
from zsclip.engines.openvino.export_files import EXPORT_VERSION
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


def test_clear_forgets_all_or_one_model(cli: Cli, scenes: Path, tmp_path: Path) -> None:
    cli("classify", scenes, "-l", "star,ring")
    cli("classify", scenes, "-l", "star,ring", "--precision", "bf16", "--cache-dir", tmp_path / "other")
    assert "Forgot 78 vectors" in cli("cache", "clear", "--model", "demo", "--yes").err
    text = cli("cache", "info").out
    assert [said(text, name) for name in ("images", "texts", "models")] == ["0", "0", "0"]
    assert said(cli("cache", "info", "--cache-dir", tmp_path / "other").out, "images") == "64"
    assert "Forgot 0 vectors" in cli("cache", "clear", "--yes").err
    assert cli("cache", "clear", "--pretrained", "openai").code == 2


def test_clear_asks_or_refuses_and_takes_converted_models_too(
    cli: Cli, scenes: Path, own_exports: Path, traced_demo: str
) -> None:
    """Without a terminal there is nobody to ask."""
    # In this process the model would still be in use.
    run_zsclip("classify", scenes, "-l", "star,ring", "-m", traced_demo)
    for arguments in ([], ["--model", traced_demo]):
        run = cli("cache", "clear", *arguments)
        assert (run.code, "--yes" in run.err) == (2, True)
    assert said(cli("cache", "info").out, "images") == "64"
    other = own_exports / f"other-0123456789ab-v{EXPORT_VERSION}"
    other.mkdir()
    run = cli("cache", "clear", "--model", traced_demo, "--yes")
    assert re.search(r"Forgot 78 vectors and removed 1 converted model \(2\d\.\d MB\)\.", run.err)
    assert list(own_exports.glob("*-v*[0-9]")) == [other]
    assert "removed 1 converted model" in cli("cache", "clear", "-y").err
    assert list(own_exports.glob("*-v*[0-9]")) == []


HOLDER = """
import sys
from zsclip import Classifier
with Classifier.load(sys.argv[2]) as classifier:
    classifier.model.load()
    print("loaded", flush=True)
    sys.stdin.readline()
    print(len(classifier.embed_texts(["a star that nobody has seen"])), len(list(classifier.embed_images(sys.argv[1]))))
"""


@pytest.mark.skipif(os.name != "posix", reason="Windows removes no files that are open")
@pytest.mark.parametrize("command", [["prune", "--max-size", "1K"], ["clear", "--yes"]])
def test_a_converted_model_that_is_in_use_stays(
    cli: Cli, own_exports: Path, red_star: Path, traced_demo: str, command: list[str]
) -> None:
    (export,) = own_exports.iterdir()
    with start_python(HOLDER, red_star, traced_demo, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as run:
        assert run.stdin
        assert run.stdout
        assert run.stdout.readline() == "loaded\n"
        assert cli("cache", *command).code == 0
        assert (export / "export.json").exists()
        out, _ = run.communicate("go on\n")
    assert (run.returncode, out) == (0, "1 1\n")
    cli("cache", *command)
    assert not export.exists()


def test_prune_removes_converted_models_of_earlier_versions(cli: Cli, own_exports: Path) -> None:
    (export,) = own_exports.iterdir()
    stem = export.name.removesuffix(str(EXPORT_VERSION))
    shutil.copytree(export, old := own_exports / f"{stem}{EXPORT_VERSION - 1}")
    shutil.copytree(export, later := own_exports / f"{stem}{EXPORT_VERSION + 1}")
    assert "1 that no run takes any more, which prune removes" in said(cli("cache", "info").out, "exports")
    assert "and removed 1 converted model that no run takes any more" in " ".join(cli("cache", "prune").err.split())
    assert (old.exists(), export.exists(), later.exists()) == (False, True, True)


def test_prune_removes_what_0_1_converted_of_a_model_that_is_built_from_its_file(
    cli: Cli, own_exports: Path, red_star: Path
) -> None:
    cli("classify", red_star, "-l", "star,ring")
    identity = re.search(r"^  (\w{12})  demo", cli("cache", "info").out, re.MULTILINE)
    assert identity
    built = own_exports / f"demo-{identity[1]}-v{EXPORT_VERSION}"
    built.mkdir()
    assert "1 that no run takes any more" in said(cli("cache", "info").out, "exports")
    cli("cache", "prune")
    assert not built.exists()
    assert len(list(own_exports.iterdir())) == 1  # the other model's stays


def test_clear_takes_the_identity_and_not_the_environment(
    cli: Cli, scenes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli("classify", scenes, "-l", "star,ring")
    monkeypatch.setenv("ZSCLIP_MODEL", "ViT-B-32")
    identity = re.search(r"^  (\w{12})  demo", cli("cache", "info").out, re.MULTILINE)
    assert identity
    assert "Forgot 78 vectors" in cli("cache", "clear", "--model", identity[1], "-y").err
    cli("classify", scenes, "-l", "star,ring", "--model", "demo")
    assert "Forgot 78 vectors" in cli("cache", "clear", "--yes").err


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


def test_the_least_recently_used_exports_go_first(cli: Cli, scenes: Path, own_exports: Path, traced_demo: str) -> None:
    cli("classify", scenes, "-l", "star,ring", "-m", traced_demo)
    (export,) = own_exports.iterdir()
    os.utime(export / "export.json", (1, 1))  # a run says that it is in use
    cli("classify", scenes, "-l", "a,b", "-m", traced_demo)
    for name, used in (("old", 1000), ("new", 2000)):
        (own_exports / name).mkdir()
        (own_exports / name / "model.bin").write_bytes(bytes(1_000_000))
        os.utime(own_exports / name / "model.bin", (used, used))
    before = re.match(r"3 \((.*) MB\)", said(cli("cache", "info").out, "exports"))
    assert before
    cli("cache", "prune", "--max-size", f"{float(before[1]) - 0.2}M")
    assert {path.name for path in own_exports.iterdir()} == {export.name, "new"}
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
