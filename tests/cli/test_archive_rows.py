"""Archives and braces on the command line, and shards in WebDataset's layout as labelled images."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from support.cli import Cli
from support.hostile_archives import PICTURES, tar, zipped

from zsclip.cli.braces import expand


@pytest.mark.parametrize(
    ("typed", "expanded"),
    [
        ("x.tar", ["x.tar"]),
        ("{08..11}.tar", ["08.tar", "09.tar", "10.tar", "11.tar"]),
        ("s3://b/{0..2}.tar", ["s3://b/0.tar", "s3://b/1.tar", "s3://b/2.tar"]),
        ("{a,b}/{1..2}", ["a/1", "a/2", "b/1", "b/2"]),
        ("x{,y}", ["x", "xy"]),
        ("{3..1}", ["3", "2", "1"]),
        ("{0..10..5}", ["0", "5", "10"]),
        ("{-1..1}", ["-1", "0", "1"]),
        ("{x}{}.tar", ["{x}{}.tar"]),
    ],
)
def test_braces_stand_for_what_a_shell_makes_of_them(typed: str, expanded: list[str]) -> None:
    assert expand(typed) == expanded


def test_braces_stand_for_archives_but_not_where_such_a_path_is_there(tmp_path: Path, cli: Cli) -> None:
    for name in ("{0..1}.tar", "0.tar", "1.tar"):
        (tmp_path / name).write_bytes(tar({f"{name}.png": PICTURES["a.png"]}))
    classify = ("classify", tmp_path / "{0..1}.tar", "-m", "demo", "-l", "red star,blue ring", "-f", "paths")
    assert cli(*classify).out == f"{tmp_path}/{{0..1}}.tar/{{0..1}}.tar.png\n"
    (tmp_path / "{0..1}.tar").unlink()
    assert cli(*classify).out == f"{tmp_path}/0.tar/0.tar.png\n{tmp_path}/1.tar/1.tar.png\n"
    (tmp_path / "1.tar").unlink()
    run = cli(*classify)
    assert (run.code, f"{tmp_path}/1.tar: there is no such file" in run.err) == (1, True)
    listed = cli("classify", "-", "-m", "demo", "-l", "a,b", "-f", "jsonl", stdin=f"{tmp_path}/{{0..1}}.tar\n".encode())
    assert json.loads(listed.out)["error"], "a list says what it means"
    for absurd in ("{0..999999999999}", "{1..2000}{1..2000}"):
        run = cli("classify", absurd, "-m", "demo", "-l", "a,b")
        assert (run.code, "braces may stand for 1,000,000" in " ".join(run.err.replace("│", " ").split())) == (2, True)


def test_no_output_replaces_an_archive_that_is_read(tmp_path: Path, cli: Cli) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(tar())
    for named in (path, path / "a.png"):
        run = cli("classify", named, "-m", "demo", "-l", "red star,blue ring", "-o", path, "-f", "csv")
        assert (run.code, "is also an input" in run.err) == (1, True)
    assert path.read_bytes() == tar()


@pytest.fixture(scope="module")
def scenes(demo_folder: Path) -> list[tuple[str, bytes]]:
    """The demo's pictures with their labels."""
    found = sorted((demo_folder / "scenes").rglob("*.png"))[::4]
    return [(path.parent.name, path.read_bytes()) for path in found]


def evaluated(cli: Cli, *arguments: str | Path) -> tuple[int, Any, str]:
    run = cli("evaluate", *arguments, "-m", "demo", "-f", "json")
    return run.code, json.loads(run.out) if run.out else None, run.err


@pytest.mark.slow  # importing webdataset brings PyTorch
def test_shards_of_webdataset_give_the_figures_of_the_folder(
    scenes: list[tuple[str, bytes]], tmp_path: Path, cli: Cli
) -> None:
    webdataset = pytest.importorskip("webdataset")
    names = [label for label, _ in scenes]
    (tmp_path / "labels.txt").write_text("\n".join(names))
    for shard in range(2):
        with webdataset.TarWriter(str(tmp_path / f"{shard:04}.tar")) as writer:
            for number in range(shard, len(scenes), 2):
                label, data = scenes[number]
                writer.write({"__key__": f"{number:06}", "png": data, "cls": number, "txt": label,
                              "json": {"about": {"label": label}, "number": number}})  # fmt: skip
        for number in range(shard, len(scenes), 2):
            folder = tmp_path / "folder" / scenes[number][0]
            folder.mkdir(parents=True)
            (folder / "x.png").write_bytes(scenes[number][1])
    _, of_folder, _ = evaluated(cli, tmp_path / "folder")
    for source, labels in (("cls", True), ("json:number", True), ("txt", False), ("json:about.label", False)):
        given = ("-L", tmp_path / "labels.txt") if labels else ()
        code, found, said = evaluated(cli, tmp_path / "{0000..0001}.tar", "--label-from", source, *given)
        assert (code, found["images"]) == (0, len(scenes))
        assert found["prompts"][0]["top1"] == of_folder["prompts"][0]["top1"]
        assert f"{len(scenes)} of {len(scenes)} images were in the store" in said
    for arguments, why in (
        ((tmp_path / "0000.tar", "--label-from", "cls"), "labelled with numbers"),
        ((tmp_path / "0000.tar", "--label-from", "cls", "-l", "a,b"), "there are 2 labels, from 0"),
        ((tmp_path / "0000.tar",), "say where the labels"),
        ((tmp_path / "0000.tar", "--label-from", "json"), "none of cls, txt and json:KEY"),
        ((tmp_path / "folder", "--label-from", "cls"), "this is for archives"),
        ((tmp_path / "0000.tar", "--label-from", "json:absent"), "no labelled images in it"),
    ):
        code, _, said = evaluated(cli, *arguments)
        assert code in (1, 2)
        assert why in " ".join(said.replace("│", " ").split())


def test_labels_of_mixed_up_samples_are_those_of_their_names(
    scenes: list[tuple[str, bytes]], tmp_path: Path, cli: Cli
) -> None:
    """Interleaved, twice with two labels, without one, damaged, in folders of one name; and the archive is cut off."""
    (first, one), (second, two), (third, three) = scenes[:3]
    members = {
        "x/1.left.png": one, "y/1.png": two, "y/1.txt": second.encode(), "x/1.txt": f"{first}\n".encode(), "2.png": three,
        "3.png": b"damaged", "3.txt": third.encode(), "4.png": three, "4.txt": b"\xff", "5.txt": b"a", "5.png": three,
        "5.meta.txt": b"not the label", "6.txt": third.encode(), "6.png": three,
    }  # fmt: skip
    (tmp_path / "x.zip").write_bytes(zipped({**members, "5.txt": b"\0"}))
    (tmp_path / "x.tar").write_bytes(tar(members)[:-10240].rstrip(b"\0")[:-200])
    (tmp_path / "labels.txt").write_text("\n".join((first, second, third)))
    code, found, said = evaluated(cli, tmp_path / "x.zip", "--label-from", "txt", "-L", tmp_path / "labels.txt")
    assert (code, found["images"]) == (3, 3)
    assert "Left out, for want of a label: 3 images" in said
    assert "3.png" in said
    code, found, said = evaluated(cli, tmp_path / "x.tar", "--label-from", "txt")
    assert (code, found["images"]) == (3, 3)
    assert "it was cut off" in said


def test_a_picture_in_something_can_be_looked_for(cli: Cli, red_star: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        archive.add(red_star, "a/star.png")
    asked = ("-m", "demo", "-k", "1", "-f", "csv")
    expected = cli("search", red_star, "--image", red_star, *asked)
    assert expected.code == 0
    run = cli("search", red_star, "--image", tmp_path / "x.tar/a/star.png", *asked)
    assert (run.code, run.out) == (0, expected.out)
    missing = cli("search", red_star, "--image", tmp_path / "x.tar/a/none.png", *asked)
    assert missing.code == 1
    assert "--image" in missing.err
