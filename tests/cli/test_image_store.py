"""Images in the store: computed once, ever."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.cli import Cli
from support.processes import run_and_list_modules, start_zsclip

from zsclip import Classifier
from zsclip.demo.scenes import PAIRS, draw, random_scene
from zsclip.images import decoding
from zsclip.images.files import File
from zsclip.store.database import FILENAME

LABELS = "red star,blue star,red heart,green ring"


@pytest.fixture(autouse=True)
def demo_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZSCLIP_MODEL", "demo")


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch, default_engine: type[Any]) -> list[int]:
    """How many images each forward pass was given."""
    return count_images(monkeypatch, default_engine)


def count_images(monkeypatch: pytest.MonkeyPatch, *engines: type[Any]) -> list[int]:
    calls: list[int] = []

    def count(engine: type[Any]) -> None:
        original = engine.encode_images
        monkeypatch.setattr(
            engine, "encode_images", lambda self, pixels: calls.append(len(pixels)) or original(self, pixels)
        )

    for engine in engines:
        count(engine)
    return calls


@pytest.fixture
def photos(tmp_path: Path, demo_folder: Path) -> Path:
    """Eight different pictures in two folders."""
    for number, label in enumerate(sorted(path.name for path in (demo_folder / "scenes").iterdir())[:8]):
        target = tmp_path / "photos" / ("a" if number < 4 else "b") / f"{number}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(demo_folder / "scenes" / label / "001.png", target)
    return tmp_path / "photos"


def test_a_second_run_computes_nothing_and_prints_the_same(cli: Cli, photos: Path, computed: list[int]) -> None:
    first = cli("classify", photos, "-l", LABELS)
    second = cli("classify", photos, "-l", LABELS)
    assert (sum(computed), second.out) == (8, first.out)
    assert "8 of 8 images were in the store already" in second.err
    assert cli("classify", photos, "-l", "circle,arrow", "-p", "photo", "--temperature", "2").code == 0
    assert sum(computed) == 8


@pytest.mark.slow
def test_a_run_that_knows_all_imports_no_torch(photos: Path) -> None:
    outputs = []
    for run in range(3):
        output = photos.parent / f"{run}.csv"
        _, modules = run_and_list_modules("classify", photos, "-l", LABELS, "-o", output)
        outputs.append((output.read_bytes(), modules & {"torch", "open_clip", "torchvision", "openvino"}))
        if run == 1:  # known by their bytes, and one that never will be
            (photos / "a").rename(photos / "renamed")
            (photos / "broken.png").touch()
    assert outputs[0][1]
    assert outputs[1] == (outputs[0][0], set())
    assert outputs[2][1] == set()


@pytest.mark.slow
def test_renamed_moved_and_copied_files_are_recognised(cli: Cli, photos: Path, computed: list[int]) -> None:
    cli("classify", photos, "-l", LABELS)
    (photos / "a" / "0.png").rename(photos / "renamed.png")
    (photos / "b").rename(photos / "moved")
    shutil.copy(photos / "a" / "1.png", photos / "copy.png")
    run = cli("classify", photos, "-l", LABELS)
    assert sum(computed) == 8
    assert "9 of 9 images were in the store already" in run.err
    # and from now on they are known by name, too
    os.chmod(photos / "copy.png", 0o000)
    if os.geteuid():  # root reads everything
        assert cli("classify", photos, "-l", LABELS).code == 0


@pytest.mark.slow
def test_the_first_batch_is_no_larger_than_asked_for(cli: Cli, photos: Path, computed: list[int]) -> None:
    cli("classify", photos, "-l", LABELS, "--batch-size", "3")
    assert sum(computed) == 8
    assert max(computed) <= 3


@pytest.mark.slow
def test_known_copies_are_counted_one_by_one(cli: Cli, photos: Path) -> None:
    cli("classify", photos / "a", "-l", LABELS)
    for n in range(3):
        shutil.copy(photos / "a" / "0.png", photos / f"copy-{n}.png")
    assert "7 of 11 images were in the store already" in cli("classify", photos, "-l", LABELS).err


@pytest.mark.slow
def test_copies_within_one_batch_are_computed_once(cli: Cli, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from zsclip.engines.torch.engine import TorchEngine  # it has one stream on a CPU, so that all are one batch

    computed = count_images(monkeypatch, TorchEngine)
    for n in range(5):
        shutil.copy(photos / "a" / "0.png", photos / f"copy-{n}.png")
    run = cli("classify", photos, "-l", LABELS, "--engine", "torch")
    assert computed == [8]
    assert len(run.out.splitlines()) == 14


@pytest.mark.slow
def test_a_changed_file_is_computed_again(cli: Cli, photos: Path, computed: list[int]) -> None:
    before = cli("classify", photos, "-l", LABELS).out
    shutil.copyfile(photos / "a" / "1.png", photos / "a" / "0.png")
    after = cli("classify", photos, "-l", LABELS).out
    assert sum(computed) == 8  # its new content is known from another file
    rows = [line.split(",", 1)[1] for line in after.splitlines()]
    assert rows[1] == rows[2] == before.splitlines()[2].split(",", 1)[1]


@pytest.mark.skipif(sys.platform == "win32", reason="change times are those of creation there")
@pytest.mark.parametrize("replaced", [False, True])
def test_a_file_that_was_rewritten_with_its_size_and_time_kept_is_read_again(
    cli: Cli, tmp_path: Path, computed: list[int], replaced: bool
) -> None:
    """As `rsync -t` and `cp -p` do: what is left to tell are change time and inode."""
    file, new = tmp_path / "scene.bmp", tmp_path / "new"  # all of one size
    draw(random_scene(random.Random(1), ("red", "star")), random.Random(1)).save(file)
    status = file.stat()
    first = cli("classify", file, "-l", LABELS).out
    draw(random_scene(random.Random(2), ("blue", "star")), random.Random(2)).save(new, "BMP")
    assert new.stat().st_size == status.st_size
    if replaced:
        new.replace(file)
    else:
        file.write_bytes(new.read_bytes())
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert "blue star" in cli("classify", file, "-l", LABELS).out.splitlines()[1].split(",")[1]
    assert "red star" in first.splitlines()[1].split(",")[1]
    assert computed == [1, 1]


def test_a_link_made_elsewhere_costs_a_hash_and_no_decoding(
    cli: Cli, photos: Path, tmp_path: Path, computed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = cli("classify", photos, "-l", LABELS)
    os.link(photos / "a" / "0.png", tmp_path / "elsewhere.png")
    read = count_reads(monkeypatch)
    monkeypatch.setattr(decoding, "pixels", None)
    again = cli("classify", photos, "-l", LABELS)
    assert (again.code, again.out) == (0, first.out)
    assert read == [str(photos / "a" / "0.png")]
    assert cli("classify", photos, "-l", LABELS).out == first.out
    assert len(read) == 1  # its new stamp was kept
    assert sum(computed) == 8


@pytest.mark.parametrize("how", ["--link", "--move", "--copy"])
def test_what_sort_linked_or_moved_is_not_read_again(
    cli: Cli, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    into = tmp_path / "sorted"
    assert cli("sort", photos, "-l", LABELS, "--into", into, how).code == 0
    read = count_reads(monkeypatch)
    if how != "--move":
        assert cli("classify", photos, "-l", LABELS).code == 0
    assert cli("classify", into, "-l", LABELS).code == 0
    assert len(read) == (8 if how == "--copy" else 0)


def count_reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that are read, as they are."""
    read: list[str] = []
    original = File.read
    monkeypatch.setattr(File, "read", lambda self, limit: read.append(self.name) or original(self, limit))
    return read


def test_rehash_reads_again_what_nothing_tells_apart(cli: Cli, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cli("classify", photos, "-l", LABELS)
    read = count_reads(monkeypatch)
    cli("classify", photos, "-l", LABELS)
    assert read == []
    cli("classify", photos, "-l", LABELS, "--rehash")
    assert len(read) == 8


@pytest.mark.slow
def test_a_file_that_begins_like_the_key_of_a_text_is_not_taken_for_it(cli: Cli, photos: Path) -> None:
    (photos / "forged.png").write_bytes(b"text\0a red star")
    run = cli("classify", photos, "-l", "red star,blue star", "--template", "a <label>", "-f", "jsonl")
    forged = next(row for row in map(json.loads, run.out.splitlines()) if "forged" in row["path"])
    assert run.code == 3
    assert forged["error"]


@pytest.mark.slow
def test_hits_and_misses_come_in_the_order_of_the_input(cli: Cli, photos: Path, computed: list[int]) -> None:
    cli("classify", photos / "b", "-l", LABELS)
    mixed = [photos / folder / f"{n}.png" for n, folder in zip((4, 0, 5, 1, 6, 2, 7, 3), "babababa", strict=True)]
    run = cli("classify", *mixed, "-l", LABELS)
    assert sum(computed) == 8
    assert [line.split(",")[0] for line in run.out.splitlines()[1:]] == [str(path) for path in mixed]
    assert "4 of 8 images were in the store already" in run.err


@pytest.mark.slow
def test_exact_runs_compute_what_was_made_fast_and_others_take_it(
    cli: Cli, photos: Path, default_engine: type[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from zsclip.engines.torch.engine import TorchEngine  # computes in bf16 where the processor does not

    computed = count_images(monkeypatch, *{default_engine, TorchEngine})
    cli("classify", photos, "-l", LABELS, "--precision", "bf16")
    cli("classify", photos, "-l", LABELS, "--exact")
    cli("classify", photos, "-l", LABELS, "--precision", "bf16")
    cli("classify", photos, "-l", LABELS, "--exact")
    assert sum(computed) == 16


@pytest.mark.slow
def test_an_explicit_fp32_is_not_content_with_half_precision(cli: Cli, photos: Path) -> None:
    """Of images and of texts: it printed what bf16 had given, and said nothing."""
    asked = ("classify", photos, "-l", LABELS, "--engine", "torch")
    half = cli(*asked, "--precision", "bf16")
    fp32 = cli(*asked, "--precision", "fp32")
    assert fp32.out == cli(*asked, "--precision", "fp32", "--no-cache").out != half.out
    assert "in the store already" not in fp32.err
    for taken in (("--precision", "bf16"), ("--precision", "fp32"), ("--exact",), ()):
        again = cli(*asked, *taken)
        assert again.out == fp32.out
        assert "8 of 8 images were in the store already" in again.err


@pytest.mark.slow
def test_reduced_decoding_satisfies_fp32_and_not_exact(cli: Cli, tmp_path: Path) -> None:
    Image.effect_noise((400, 300), 80).convert("RGB").save(tmp_path / "big.jpg")
    asked = ("classify", tmp_path / "big.jpg", "-l", LABELS)
    assert cli(*asked, "--precision", "fp32").code == 0
    assert "1 of 1 images were in the store already" in cli(*asked, "--precision", "fp32").err
    assert "in the store already" not in cli(*asked, "--exact").err
    assert "1 of 1 images were in the store already" in cli(*asked, "--precision", "fp32").err


@pytest.mark.slow
def test_what_had_no_effect_on_known_images_is_told(
    cli: Cli, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("classify", photos, "-l", LABELS)
    assert "not used" not in cli(*asked, "--engine", "torch", "--max-pixels", "9999999").err
    typed = ("--engine", "torch", "--device", "cpu", "--precision", "bf16", "--max-pixels", "7", "--batch-size", "3")
    told = "All 8 images were known: {} not used."
    for number in (0, 2, 4, 6, 8):
        option = typed[number : number + 2]
        assert told.format(f"{' '.join(option)} was") in cli(*asked, *option).err
    everything = cli(*asked, *typed).err
    assert (
        told.format("--device cpu, --engine torch, --precision bf16, --batch-size 3 and --max-pixels 7 were")
        in everything
    )
    one = cli("classify", photos / "a" / "0.png", "-l", LABELS, "--engine", "torch")
    assert "The image was known: --engine torch was not used." in one.err
    # An engine that computed texts was used; how many images it would have computed at once was not.
    texts = cli("classify", photos, "-l", "new label,another", "--engine", "torch", "--batch-size", "3").err
    assert told.format("--batch-size 3 was") in texts

    monkeypatch.setenv("ZSCLIP_DEVICE", "cpu")
    for options in ((), ("--precision", "auto"), ("--engine", "auto"), ("--exact",), ("-q", *typed)):
        run = cli(*asked, *options)
        assert "not used" not in run.err
    (photos / "damaged.png").write_bytes(b"\x89PNG")
    assert "not used" not in cli(*asked, "--max-pixels", "7").err  # it was asked of the damaged one


@pytest.mark.slow
@pytest.mark.parametrize("command", [
    ("search", "{photos}", "--text", "a red star"),
    ("evaluate", "{photos}", "-p", "plain"),
    ("sort", "{photos}", "-l", LABELS, "--into", "{out}"),
    ("embed", "{photos}", "-o", "{out}.npz"),
    ("embed", "--texts", "{texts}", "-o", "{out}.npz"),
])  # fmt: skip
def test_every_command_tells_what_had_no_effect(
    cli: Cli, photos: Path, tmp_path: Path, command: tuple[str, ...]
) -> None:
    (tmp_path / "texts.txt").write_text("a cat\na dog\n")
    places = {"photos": photos, "out": tmp_path / "out", "texts": tmp_path / "texts.txt"}
    asked = [part.format(**places) for part in command]
    assert "not used" not in cli(*asked, "--engine", "torch").err
    what = "All texts" if "--texts" in command else "All 8 images"
    assert f"{what} were known: --engine torch was not used." in cli(*asked, "--engine", "torch").err


@pytest.mark.slow
def test_without_the_store_nothing_is_kept(cli: Cli, photos: Path, computed: list[int], isolated: Path) -> None:
    for _ in range(2):
        cli("classify", photos, "-l", LABELS, "--no-cache")
    assert sum(computed) == 16
    assert {path.name for path in (isolated / "cache").iterdir()} <= {"exports"}


@pytest.mark.slow
def test_another_model_does_not_take_these_vectors(
    cli: Cli, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import json

    from zsclip.engines.torch.engine import TorchEngine
    from zsclip.models import resolve

    computed = count_images(monkeypatch, TorchEngine)
    cli("classify", photos, "-l", LABELS, "--engine", "torch")
    source = resolve("demo").checkpoint
    assert source is not None
    shutil.copytree(source.parent, tmp_path / "same")
    cli("classify", photos, "-l", LABELS, "--model", f"local-dir:{tmp_path / 'same'}", "--engine", "torch")
    assert sum(computed) == 8  # the same weights and preprocessing under another name are the same model
    document = json.loads((tmp_path / "same" / "open_clip_config.json").read_text())
    document["preprocess_cfg"]["resize_mode"] = "squash"
    (tmp_path / "same" / "open_clip_config.json").write_text(json.dumps(document))
    cli("classify", photos, "-l", LABELS, "--model", f"local-dir:{tmp_path / 'same'}", "--engine", "torch")
    assert sum(computed) == 16


@pytest.mark.slow
def test_pillow_images_are_not_kept(photos: Path, computed: list[int], isolated: Path) -> None:
    from PIL import Image

    with Classifier.load("demo") as classifier:
        for _ in range(2):
            assert len(list(classifier.classify([Image.open(photos / "a" / "0.png")], ["red star", "ring"]))) == 1
    assert computed == [1, 1]
    with sqlite3.connect(isolated / "cache" / FILENAME) as connection:
        paths = [
            os.fsdecode(path)
            for (path,) in connection.execute(
                "SELECT path FROM weights UNION SELECT path || name FROM items JOIN folders ON folders.id = folder"
            )
        ]
    assert [Path(path).suffix for path in paths] == [".safetensors"]


def many_scenes(folder: Path, count: int) -> Path:
    folder.mkdir()
    rng = random.Random(9)
    for n in range(count):
        draw(random_scene(rng, PAIRS[n % 64]), rng).save(folder / f"{n:04}.png")
    return folder


def classify(folders: Iterable[Path], cache: Path, output: Path) -> subprocess.Popen[str]:
    """In the background."""
    arguments = ["classify", *folders, "-l", LABELS, "--cache-dir", cache, "-o", output, "--batch-size", "8"]
    return start_zsclip(*arguments, text=True)


def stored(cache: Path) -> int:
    try:
        with sqlite3.connect(f"file:{cache / FILENAME}?mode=ro", uri=True) as connection:
            return int(connection.execute("SELECT count(*) FROM items JOIN vectors USING (content)").fetchone()[0])
    except sqlite3.Error:
        return 0


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
def test_killed_at_any_moment_it_goes_on_where_it_stopped(tmp_path: Path) -> None:
    folder = many_scenes(tmp_path / "scenes", 200)
    undisturbed = classify([folder], tmp_path / "other", tmp_path / "expected.csv")
    assert undisturbed.wait(timeout=120) == 0
    cache, output = tmp_path / "cache", tmp_path / "out.csv"
    reached = 0
    for _ in range(3):
        run = classify([folder], cache, output)
        while stored(cache) < min(reached + 30, 190) and run.poll() is None:
            time.sleep(0.01)
        run.send_signal(signal.SIGKILL)
        run.communicate()
        assert stored(cache) >= reached
        reached = stored(cache)
    last = classify([folder], cache, output)
    _, err = last.communicate(timeout=120)
    assert last.returncode == 0
    assert f"{reached} of 200 images were in the store already" in err
    assert output.read_bytes() == (tmp_path / "expected.csv").read_bytes()


@pytest.mark.slow
def test_four_processes_share_one_store(tmp_path: Path) -> None:
    """Over folders that overlap: each prints what it prints alone."""
    scenes = many_scenes(tmp_path / "scenes", 60)
    for number, path in enumerate(sorted(scenes.iterdir())):
        (tmp_path / "abc"[number % 3]).mkdir(exist_ok=True)
        path.rename(tmp_path / "abc"[number % 3] / path.name)
    choices = ("ab", "bc", "ca", "abc")

    def start(choice: str, cache: Path, output: Path) -> subprocess.Popen[str]:
        return classify((tmp_path / name for name in choice), cache, output)

    for choice in choices:
        assert start(choice, tmp_path / f"alone {choice}", tmp_path / f"{choice}.expected.csv").wait(timeout=120) == 0
    runs = [start(choice, tmp_path / "cache", tmp_path / f"{choice}.csv") for choice in choices]
    errors = [run.communicate(timeout=180)[1] for run in runs]
    assert [run.returncode for run in runs] == [0] * 4
    assert not any("locked" in error or "warning" in error for error in errors)
    for choice in choices:
        expected, found = ((tmp_path / f"{choice}.{end}").read_text().splitlines() for end in ("expected.csv", "csv"))
        assert [line.split(",")[:2] for line in found] == [line.split(",")[:2] for line in expected]
        # Batches fall differently when all start cold, which shows in the last digit at most.
        numbers, wanted = (
            [[float(value) for value in line.split(",")[2:4]] for line in lines[1:]] for lines in (found, expected)
        )
        np.testing.assert_allclose(numbers, wanted, atol=2e-6)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 400 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if (
        sys.platform != "linux"
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "none", folder]).returncode
    ):
        pytest.skip("a small file system cannot be mounted here")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.slow
def test_a_full_disk_is_a_warning_and_the_results_are_right(cli: Cli, tmp_path: Path, small_disk: Path) -> None:
    folder = many_scenes(tmp_path / "scenes", 150)
    expected = cli("classify", folder, "-l", LABELS, "--no-cache", "--batch-size", "16")
    run = cli("classify", folder, "-l", LABELS, "--cache-dir", small_disk / "cache", "--batch-size", "16")
    assert run.code == 0
    assert run.out == expected.out
    assert "going on without it" in run.err
    assert "PyTorch" not in run.err  # there is nothing to convert, for which there would be no room


@pytest.mark.slow
@pytest.mark.parametrize("trouble", ["no room for the new format", "read-only"])
def test_a_store_of_0_1_that_cannot_be_changed_is_a_warning_and_stays_as_it_is(
    cli: Cli, photos: Path, small_disk: Path, trouble: str
) -> None:
    expected = cli("classify", photos, "-l", LABELS, "--no-cache", "--engine", "torch")
    file = small_disk / "cache" / FILENAME
    file.parent.mkdir()
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(
            "CREATE TABLE files (path BLOB PRIMARY KEY, size, mtime_ns, content);"
            "CREATE TABLE contents (id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE);"
            "CREATE TABLE models (id INTEGER PRIMARY KEY, identity TEXT NOT NULL UNIQUE, facts TEXT);"
            "CREATE TABLE vectors (model, content, how, vector, cut, PRIMARY KEY (model, content));"
            "INSERT INTO contents VALUES (1, zeroblob(32)); INSERT INTO models VALUES (1, 'model', NULL);"
            "INSERT INTO vectors VALUES (1, 1, 1, zeroblob(250000), NULL); PRAGMA user_version = 1;"
        )
    before = file.stat().st_size
    if trouble == "read-only":
        subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    run = cli("classify", photos, "-l", LABELS, "--cache-dir", small_disk / "cache", "--engine", "torch")
    assert (run.code, run.out) == (0, expected.out)
    assert "going on without it" in run.err
    with closing(sqlite3.connect(f"file:{file}?mode=ro&immutable=1", uri=True)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
        assert connection.execute("SELECT length(vector) FROM vectors").fetchone() == (250_000,)
    assert file.stat().st_size == before


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs a read-only mount")
def test_a_read_only_store_is_a_warning_and_the_results_are_right(cli: Cli, photos: Path, small_disk: Path) -> None:
    expected = cli("classify", photos, "-l", LABELS, "--no-cache")
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    run = cli("classify", photos, "-l", LABELS, "--cache-dir", small_disk / "cache")
    assert (run.code, run.out) == (0, expected.out)
    assert "going on without it" in run.err


@pytest.mark.slow
@pytest.mark.parametrize("trouble", ["damaged", "newer"])
def test_a_store_in_trouble_does_not_change_the_results(cli: Cli, photos: Path, isolated: Path, trouble: str) -> None:
    expected = cli("classify", photos, "-l", LABELS)
    file = isolated / "cache" / FILENAME
    if trouble == "damaged":
        file.write_bytes(b"\0" * 100 + file.read_bytes()[100:])
    else:
        with sqlite3.connect(file) as connection:
            connection.execute("PRAGMA user_version = 99")
    run = cli("classify", photos, "-l", LABELS)
    assert (run.code, run.out) == (0, expected.out)
    assert ("put aside" if trouble == "damaged" else "format 99") in run.err
