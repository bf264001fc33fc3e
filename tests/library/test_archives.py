"""Archives: the rows of the same pictures in a folder, one for each member whatever is wrong with it, and nothing unpacked."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from support import hostile_archives
from support.cli import Cli

from zsclip import Classifier
from zsclip.embedding.records import ImageEmbedding
from zsclip.errors import ImageError
from zsclip.images.archives.archive import Found
from zsclip.images.archives.named import archive, split
from zsclip.images.archives.tar import Tar
from zsclip.images.archives.zip import Zip
from zsclip.images.container import Container
from zsclip.images.folders import PassedOver, Search
from zsclip.images.places import place
from zsclip.images.sources import Finder

KINDS = (".tar", ".tar.gz", ".tgz", ".zip")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as archives are made of: folders in it, hidden files, other files, what is damaged."""
    folder = tmp_path_factory.mktemp("pictures") / "shard"
    for number, color in enumerate(("red", "lime", "blue", "gold", "teal", "pink")):
        path = folder / ("deep" if number > 3 else "") / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 64), color).save(path)
    (folder / "damaged.jpg").write_bytes(b"no picture")
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "notes.txt").write_bytes(b"text")
    (folder / ".hidden.png").write_bytes((folder / "00.png").read_bytes())
    (folder / "@eaDir").mkdir()
    (folder / "@eaDir" / "x.jpg").write_bytes(b"x")
    return folder


def packed(folder: Path, path: Path) -> Path:
    """The folder's files in its order, as an archive."""
    files = [
        (str(one.relative_to(folder)), one)
        for one in sorted(folder.rglob("*"), key=lambda one: os.fsencode(one))
        if one.is_file()
    ]
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            for name, one in files:
                file.write(one, name)
    else:
        with tarfile.open(path, "w" if path.suffix == ".tar" else "w:gz") as tar:
            for name, one in files:
                tar.add(one, name)
    return path


def embed(sources: object, store: Path) -> tuple[list[ImageEmbedding], Classifier]:
    with Classifier.load("demo", cache_dir=store, device="cpu") as classifier:
        return [one for batch in classifier.embed_images(sources) for one in batch], classifier  # type: ignore[arg-type]


def rows(found: list[ImageEmbedding], prefix: str) -> list[tuple[str, str | None, str | None]]:
    return [(one.path.removeprefix(prefix), one.error, one.error_kind) for one in found]


def vectors(found: list[ImageEmbedding]) -> NDArray[np.float32]:
    return np.array([one.embedding.vector for one in found if one.embedding])


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_gives_the_rows_of_its_folder_and_is_not_opened_again(
    kind: str, pictures: Path, tmp_path: Path
) -> None:
    path = packed(pictures, tmp_path / f"shard{kind}")
    opened = []

    class Counted(Zip if kind == ".zip" else Tar):  # type: ignore[misc]
        def found(self) -> Iterator[Found]:
            opened.append(self.path)
            return super().found()

    def pieces() -> list[Container]:
        return [Counted(place(str(path)), Search(), passed_over, None, None)]

    passed_over = PassedOver()
    found, first = embed(pieces(), tmp_path / "store")
    assert passed_over.files == {".txt": 1}
    assert {place.value[0]: count for place, count in passed_over.places.items()} == {
        "hidden file": 1,
        "system folder": 1,
    }
    finder = Finder([str(pictures)])
    of_folder, _ = embed(list(finder), tmp_path / "other")
    assert rows(found, str(path)) == rows(of_folder, str(pictures))
    assert np.abs(vectors(found) - vectors(of_folder)).max() < 1e-6
    assert str(finder.passed_over) == str(passed_over)
    assert (first.counts.computed, first.counts.unread, len(opened)) == (6, 2, 1)

    again, second = embed(pieces(), tmp_path / "store")
    assert rows(again, "") == rows(found, "")
    assert np.array_equal(vectors(again), vectors(found))
    assert (second.counts.found, second.counts.computed, second.counts.unread) == (6, 0, 2)
    assert len(opened) == 2, "for what could not be read"
    hidden = [one.path for one in embed([archive(str(path), Search(hidden=True))], tmp_path / "store")[0]]
    assert len(hidden) == len(found) + 2
    flat = [one.path for one in embed([archive(str(path), Search(recursive=False))], tmp_path / "store")[0]]
    assert flat == [one.path for one in found if "deep" not in one.path]
    assert sorted(os.listdir(tmp_path)) == ["other", path.name, "store"], "nothing is unpacked"


def test_a_second_run_over_sound_archives_opens_none(pictures: Path, tmp_path: Path) -> None:
    sound = tmp_path / "sound"
    shutil.copytree(pictures, sound, ignore=shutil.ignore_patterns("*.jpg"))
    paths = [packed(sound, tmp_path / f"shard{kind}") for kind in KINDS]
    found, _ = embed([archive(str(path)) for path in paths], tmp_path / "store")
    for path in paths:  # what is opened now would be an error
        status = path.stat()
        path.write_bytes(bytes(status.st_size))
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        with Classifier.load("demo", cache_dir=tmp_path / "store", device="cpu") as classifier:
            with classifier._store.writing() as connection:
                assert connection
                connection.execute(
                    "UPDATE containers SET ctime_ns = ? WHERE name = ?", (path.stat().st_ctime_ns, os.fsencode(path))
                )
    again, classifier = embed([archive(str(path)) for path in paths], tmp_path / "store")
    assert rows(again, "") == rows(found, "")
    assert np.array_equal(vectors(again), vectors(found))
    assert (classifier.counts.found, classifier.counts.computed) == (24, 0)


def test_every_hostile_archive_gives_the_rows_it_must(tmp_path: Path, cli: Cli) -> None:
    made = hostile_archives.write(tmp_path)
    assert len({one.what for one in made}) >= 40
    paths = [tmp_path / one.name for one in made]
    run = cli("classify", *paths, "-m", "demo", "-l", "red star,blue ring", "-f", "jsonl")
    assert run.code == 3
    assert "Traceback" not in run.err
    found = [json.loads(line) for line in run.out.splitlines()]
    wanted = [(f"{path}{name}", error) for one, path in zip(made, paths, strict=True) for name, error in one.rows]
    assert [row["path"] for row in found] == [name for name, _ in wanted]
    wrong = [
        (row, error)
        for row, (_, error) in zip(found, wanted, strict=True)
        if error not in (row["error"] or "") or bool(error) != bool(row["error"])
    ]
    assert not wrong


def test_the_name_of_a_row_is_an_input_again(pictures: Path, tmp_path: Path, cli: Cli) -> None:
    made = {one.name: one for one in hostile_archives.write(tmp_path)}
    for name in ("outside.tar", "outside.zip", "long-pax.tar", "names.zip", "utf8.zip", "twice.tar", "bytes.tar"):
        path = str(tmp_path / name)
        for inner, _ in dict.fromkeys(made[name].rows):
            found, _ = embed(Finder([path + inner]), tmp_path / "store")
            assert [(one.path, one.error) for one in found] == [(path + inner, None)] * (
                2 if name == "twice.tar" else 1
            )
    shard = packed(pictures, tmp_path / "shard.tar")
    run = cli("classify", f"{shard}/deep/04.png", "-m", "demo", "-l", "red star,blue ring", "-f", "csv")
    assert (run.code, run.out.count("\n")) == (0, 2)
    run = cli("classify", f"{shard}/absent.png", "-m", "demo", "-l", "red star,blue ring", "-f", "jsonl")
    assert run.code == 3
    assert json.loads(run.out)["error"].startswith(f"it is not in {shard}")
    os.mkdir(tmp_path / "folder.tar")
    Image.new("RGB", (64, 64)).save(tmp_path / "folder.tar" / "x.png")
    assert split(f"{tmp_path}/folder.tar/x.png") is None
    assert [one.name for one in Finder([f"{tmp_path}/folder.tar", f"{tmp_path}/none.tar/x.png"])] == [
        f"{tmp_path}/folder.tar/x.png", f"{tmp_path}/none.tar/x.png",
    ]  # fmt: skip


def test_archives_in_folders_are_passed_over_and_those_on_stdin_are_read(
    pictures: Path, tmp_path: Path, cli: Cli
) -> None:
    for kind in (".tar", ".zip"):
        packed(pictures, tmp_path / f"shard{kind}")
    run = cli("classify", tmp_path, "-m", "demo", "-l", "a,b")
    assert run.code == 1
    assert "passed over 2 other files (1 .tar, 1 .zip)" in run.err
    names = "".join(f"{tmp_path}/shard{kind}\0" for kind in (".tar", ".zip")).encode()
    run = cli("classify", "-", "-0", "-m", "demo", "-l", "red star,blue ring", "-f", "paths", stdin=names)
    assert run.code == 3
    assert run.out.split("\0")[:-1] == [f"{tmp_path}/shard{kind}/{name}" for kind in (".tar", ".zip") for name in (
        "00.png", "01.png", "02.png", "03.png", "deep/04.png", "deep/05.png")]  # fmt: skip
    assert "Passed over 2 other files (2 .txt), 2 hidden files, 2 system folders" in run.err
    for path, stdin in (
        (tmp_path / "shard.tar", b""),
        ("-", names.split(b"\0")[1]),
        (tmp_path / "shard.zip" / "00.png", b""),
    ):
        run = cli("sort", path, "-m", "demo", "-l", "a,b", "--into", tmp_path / "sorted", stdin=stdin)
        assert run.code == 1
        assert "are no files of their own" in run.err


@pytest.mark.slow
def test_large_pictures_are_read_by_the_rule_of_files(tmp_path: Path) -> None:
    """A TIFF of 75 MB, whose head stands at its end: not in what is compressed as a whole, for it would be read to find out."""
    stream = io.BytesIO()
    Image.new("RGB", (5000, 5000), "red").save(stream, "TIFF")
    for kind, error in ((".tar", None), (".zip", None), (".tgz", "a TIFF of 75 MB")):
        path = tmp_path / f"x{kind}"
        members = {"x.tif": stream.getvalue(), "y.png": hostile_archives.PICTURES["a.png"]}
        if kind == ".zip":
            path.write_bytes(hostile_archives.zipped(members))
        else:
            with (
                tarfile.open(path, "w" if kind == ".tar" else "w:gz", compresslevel=1)
                if kind == ".tgz"
                else tarfile.open(path, "w") as tar
            ):
                for name, data in members.items():
                    info = tarfile.TarInfo(name)
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
        (large, small), _ = embed([archive(str(path))], tmp_path / "store")
        assert (large.error or "")[: len(error or "")] == (error or "")
        assert bool(large.error) == bool(error)
        assert small.embedding is not None


@pytest.mark.parametrize("seed", range(4))
def test_damage_anywhere_is_an_error_and_nothing_else(seed: int, tmp_path: Path) -> None:
    """Bytes changed, taken out and put in twice, also in headers whose checksums are right again."""
    rng = random.Random(seed)
    made = [one for one in hostile_archives.every() if len(one.data) < 100_000]
    for number in range(150):
        one = made[(150 * seed + number) % len(made)]
        data = bytearray(one.data)
        for _ in range(rng.choice((1, 2, 20)) if data else 0):
            at = rng.randrange(len(data)) if data else 0
            if rng.random() < 0.6:
                data[at : at + 1] = bytes([rng.choice((0, 255, 128, 49, 76, 120, 103, rng.randrange(256)))])
            elif rng.random() < 0.5:
                del data[at : at + rng.choice((1, 100, 512))]
            else:
                data[at:at] = data[at : at + 512]
        for at in range(0, len(data) - 511, 512):
            if data[at + 257 : at + 262] == b"ustar":
                data[at : at + 512] = hostile_archives.rechecked(data[at : at + 512])
        path = tmp_path / one.name
        path.write_bytes(data)
        with suppress(ImageError):
            for member in archive(str(path)).members():
                with suppress(ImageError):
                    member.read(1_000_000)
