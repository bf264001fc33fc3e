"""Files that commands write: of a known kind, each by itself, and never an input."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from support.cli import Cli, Outcome

LABELS = "red star,green ring"


@pytest.fixture(autouse=True)
def demo_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ZSCLIP_MODEL", "demo")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def photo(tmp_path: Path, red_star: Path) -> Path:
    return Path(shutil.copy(red_star, tmp_path / "photo.png"))


def said(run: Outcome) -> str:
    """What was said, without the box that wrong usage is put in."""
    return " ".join(run.err.replace("│", " ").split())


@pytest.mark.parametrize("report", ["x.html", "./x.html", "{here}/x.html", "link.html", "hard.html", "there/x.html"])
def test_results_and_report_in_one_file_are_wrong_usage(cli: Cli, photo: Path, tmp_path: Path, report: str) -> None:
    if report == "hard.html":
        (tmp_path / "x.html").write_text("old")
        os.link(tmp_path / "x.html", tmp_path / report)
    (tmp_path / "link.html").symlink_to("x.html")
    (tmp_path / "there").symlink_to(".")
    run = cli("classify", photo, "-l", LABELS, "-f", "csv", "-o", "x.html", "--report", report.format(here=tmp_path))
    assert run.code == 2
    assert "--output and --report" in said(run)
    assert "Name two files" in said(run)
    assert (tmp_path / "x.html").exists() == (report == "hard.html")


def test_two_files_of_an_evaluation_are_two(cli: Cli, demo_folder: Path) -> None:
    files = ["--save-prompts", "x.yaml", "--calibrate", "./x.yaml"]
    run = cli("evaluate", demo_folder / "scenes", *files, "--select-templates")
    assert run.code == 2


@pytest.mark.parametrize("command", ["classify", "search", "embed", "report"])
def test_an_image_on_standard_input_is_never_replaced(cli: Cli, photo: Path, tmp_path: Path, command: str) -> None:
    """Whatever it is called, and however that is spelled."""
    name = {"embed": "photo.npz", "report": "photo.html"}.get(command, "photo.csv")
    image = tmp_path / name
    shutil.copy(photo, image)
    (tmp_path / "link").symlink_to(name)
    arguments = {
        "classify": ["classify", "-", "-l", LABELS, "-o", image],
        "search": ["search", "-", "--text", "a star", "-o", image],
        "embed": ["embed", "-", "-o", image],
        "report": ["classify", "-", "-l", LABELS, "-o", "x.csv", "--report", image],
    }[command]
    run = cli(*arguments, stdin=f"{photo}\nlink\n".encode())
    assert run.code == 1
    assert f"{name} is also an input, and would be replaced" in said(run)
    assert image.read_bytes() == photo.read_bytes()
    assert not (tmp_path / "x.csv").exists()


def test_a_link_to_an_image_is_no_output(cli: Cli, photo: Path, tmp_path: Path) -> None:
    before = photo.read_bytes()
    (tmp_path / "out.csv").symlink_to(photo)
    run = cli("classify", photo.parent, "-l", LABELS, "-o", "out.csv")
    assert (run.code, photo.read_bytes()) == (1, before)


def test_a_picture_of_a_manifest_and_a_background_are_inputs(cli: Cli, photo: Path, tmp_path: Path) -> None:
    shutil.copy(photo, tmp_path / "photo.txt")
    (tmp_path / "m.csv").write_text("path,label\nphoto.txt,red star\nphoto.png,green ring\n")
    (tmp_path / "background.txt").write_text("a tree\n")
    base = ["evaluate", "--manifest", "m.csv", "-p", "plain"]
    assert "is also an input" in said(cli(*base, "-o", "photo.txt"))
    assert "is also an input" in said(cli(*base, "--background", "background.txt", "-o", "background.txt"))


@pytest.mark.parametrize(
    ("command", "name", "known"),
    [
        ("classify", "x.xlsx", ".csv, .tsv, .jsonl, .ndjson, .parquet"),
        ("classify", "y.html", ".csv, .tsv, .jsonl, .ndjson, .parquet"),
        ("classify", "x.json", "call the file x.jsonl"),
        ("search", "x.txt", ".csv, .tsv, .jsonl, .ndjson, .parquet"),
        ("evaluate", "x.jsonl", ".csv, .json, .txt"),
        ("embed", "x.npy", ".npz, .parquet, .jsonl"),
    ],
)
def test_an_output_of_no_known_kind_is_wrong_usage(
    cli: Cli, photo: Path, tmp_path: Path, command: str, name: str, known: str
) -> None:
    options = {"classify": ["-l", LABELS], "search": ["--text", "a star"]}.get(command, [])
    run = cli(command, photo if command != "evaluate" else photo.parent, *options, "-o", name)
    assert run.code == 2
    assert known in said(run)
    assert not (tmp_path / name).exists()


def test_a_format_that_is_asked_for_may_be_called_anything(cli: Cli, photo: Path, tmp_path: Path) -> None:
    for name in ("x.txt", "x.json", "results"):
        assert cli("classify", photo, "-l", LABELS, "-f", "csv", "-o", name).code == 0
        assert (tmp_path / name).read_text().startswith("path,label")
    assert cli("classify", photo, "-l", LABELS, "-o", "without extension").code == 0
    assert (tmp_path / "without extension").read_text().startswith("path,label")


@pytest.mark.parametrize("name", ["model/open_clip_model.safetensors", "cache/vectors.sqlite3"])
def test_neither_weights_nor_the_store_are_replaced(
    cli: Cli,
    photo: Path,
    tmp_path: Path,
    sharp_demo: Path,
    own_exports: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    shutil.copytree(sharp_demo, tmp_path / "model")
    monkeypatch.setenv("ZSCLIP_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "vectors.sqlite3").write_bytes(b"a store")
    before = (tmp_path / name).read_bytes()
    run = cli("classify", photo, "-l", LABELS, "-m", "local-dir:model", "-f", "csv", "-o", name)
    assert run.code == 1
    assert "is also an input" in run.err
    assert (tmp_path / name).read_bytes() == before


def test_an_output_that_is_a_link_to_itself_is_replaced(cli: Cli, photo: Path, own_exports: Path) -> None:
    Path("loop.csv").symlink_to("loop.csv")
    run = cli("classify", photo, "-l", LABELS, "-o", "loop.csv")
    assert run.code == 0, run.err
    assert Path("loop.csv").read_text().startswith("path,label")


@pytest.mark.parametrize("command", ["classify", "search", "embed"])
def test_no_output_replaces_what_a_picture_is_in(cli: Cli, red_star: Path, tmp_path: Path, command: str) -> None:
    pyarrow = pytest.importorskip("pyarrow.parquet")
    import pyarrow as pa

    parts = tmp_path / "parts"
    parts.mkdir()
    table = pa.table({"image": [red_star.read_bytes()] * 2})
    for path in (tmp_path / "t.parquet", parts / "0.parquet"):
        pyarrow.write_table(table, path)
    (tmp_path / "l.csv").write_text(f"path\n{red_star}\n")
    (tmp_path / "r.csv").write_text(f"path,error\n{tmp_path}/t.parquet#1,no answer\n")
    words = {"classify": ("-l", "red,blue"), "search": ("--text", "red"), "embed": ()}[command]
    kept = {path: path.read_bytes() for path in sorted(tmp_path.rglob("*.*"))}
    for arguments, output, said in (
        ((f"{tmp_path}/t.parquet#1",), tmp_path / "t.parquet", "is also an input"),
        (("--retry", tmp_path / "r.csv"), tmp_path / "t.parquet", "is also an input"),
        ((parts,), parts / "0.parquet", "one of the parts"),
        ((parts,), parts / "new.parquet", "one of the parts"),
        *([] if command == "embed" else [((f"{tmp_path}/l.csv#0",), tmp_path / "l.csv", "is also an input")]),
        (("s3://bucket/t.parquet#1",), "s3://bucket/t.parquet", "is also an input"),
    ):
        run = cli(command, *arguments, *words, "-m", "demo", "-o", output)
        assert (run.code, said in " ".join(run.err.split())) == (1, True), (arguments, run.err)
    assert {path: path.read_bytes() for path in sorted(tmp_path.rglob("*.*"))} == kept
