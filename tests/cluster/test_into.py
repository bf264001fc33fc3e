"""`--into`: a run in parts from the command line, which the same command goes on with, begins anew, mends or ends early."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow.parquet
import pytest
from support.cli import Cli, rows_of

LABELS = ("-m", "demo", "-l", "red circle,blue star,green square")


@pytest.fixture
def photos(demo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twelve pictures, the sixth damaged, and a file that is none; the working folder is the one around them."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, picture in enumerate(sorted((demo_folder / "scenes").rglob("*.png"))[:12]):
        shutil.copy(picture, folder / f"{number:02}.png")
    (folder / "05.png").write_bytes((folder / "00.png").read_bytes()[:500])
    (folder / "notes.txt").write_text("none")
    monkeypatch.chdir(tmp_path)
    return folder


def said(text: str) -> str:
    """Without boxes, line breaks and figures of time."""
    return re.sub(r"\d+\.\d+ s, \d[\d,.]* a second", "SPEED", " ".join(re.sub("[│╭╮╰╯─]", " ", text).split()))


def stamps(out: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in out.glob("*.parquet")}


def test_parts_say_what_one_table_says_and_the_same_command_does_nothing_twice(cli: Cli, photos: Path) -> None:
    plain = cli("classify", "photos", *LABELS, "--no-cache", "-f", "csv", "-k", "2")
    run = cli("classify", "photos", *LABELS, "-k", "2", "--into", "out", "--part-size", "5")
    assert (run.code, run.out) == (plain.code, plain.out[:0]) == (3, "")
    assert said(run.err) == (
        "zsclip: Passed over 1 other file (1 .txt). zsclip: 12 pictures in 3 parts in out; 12 pictures in SPEED. "
        "zsclip: warning: 1 of 12 could not be read (1 damaged). Why is in out/errors-*.parquet."
    )
    parts = pyarrow.parquet.read_table([str(path) for path in sorted(Path("out").glob("part-*.parquet"))])
    in_parts = {row["path"]: row for row in parts.to_pylist()}
    rows = rows_of(plain.out)
    assert [row["path"] for row in rows if not row["error"]] == list(in_parts)
    for row in rows:
        if not row["error"]:
            assert in_parts[row["path"]]["label"] == row["label"]
            assert in_parts[row["path"]]["predictions"][1]["label"] == row["label_2"]
            assert in_parts[row["path"]]["predictions"][0]["probability"] == pytest.approx(
                float(row["probability"]), abs=1e-5
            )
    [error] = pyarrow.parquet.read_table("out/errors-00001.parquet").to_pylist()
    assert (error["path"], error["error_kind"]) == ("photos/05.png", "damaged")
    metadata = json.loads(pyarrow.parquet.read_metadata("out/part-00002.parquet").metadata[b"zsclip"])
    assert (metadata["part"], metadata["rows"], metadata["precision"], metadata["model"]) == (2, 2, "fp32", "demo")
    before = stamps(Path("out"))
    again = cli("classify", "photos", *LABELS, "-k", "2", "--into", "out", "--part-size", "5")
    assert again.code == 3
    assert "12 pictures in 3 parts in out: all were there." in again.err
    Path("out/part-00001.parquet").unlink()
    again = cli("classify", "photos", *LABELS, "-k", "2", "--into", "out", "--part-size", "5")
    assert "in 3 parts in out, of which 2 were there; 5 pictures in" in again.err
    assert {name for name, stamp in stamps(Path("out")).items() if before[name] != stamp} == {
        "part-00001.parquet",
        "errors-00001.parquet",
    }


def test_another_command_is_refused_with_what_differs_until_restart(cli: Cli, photos: Path) -> None:
    assert cli("classify", "photos", *LABELS, "--into", "out").code == 3
    refused = cli("classify", "photos", *LABELS, "--into", "out", "-p", "plain", "-k", "1", "--max-pixels", "9")
    assert refused.code == 1
    assert "another run is in it, which differs in max_pixels (250000000, not 9), prompts (" in refused.err
    assert "top_k (3, not 1). Name another folder, or begin anew with --restart" in refused.err
    assert "differs in " in cli("embed", "photos", "-m", "demo", "--into", "out").err
    # Prompts that a label has of its own count too, with templates beside them and without.
    for number, rest in enumerate(("templates: [a <label>]", "description: none")):
        command = ("classify", "photos", *LABELS[:2], "-l", "ball,star", "-p", "own.yaml", "--into", f"own{number}")
        for prompts, code in (("[a ball]", 3), ("[a ball]", 3), ("[a globe]", 1)):
            Path("own.yaml").write_text(f"{rest}\nlabels: {{ball: {prompts}, star: [a star]}}\n", encoding="utf-8")
            run = cli(*command)
            assert (run.code, "differs in prompts (" in run.err) == (code, code == 1), run.err
    before = stamps(Path("out"))
    anew = cli("embed", "photos", "-m", "demo", "--into", "out", "--part-size", "6", "--restart")
    assert anew.code == 3
    assert "12 pictures in 2 parts in out; 12 pictures in" in anew.err
    after = stamps(Path("out"))
    assert before.keys() < after.keys()
    assert all(before[name] != after[name] for name in before)
    columns = pyarrow.parquet.read_schema("out/part-00000.parquet").names
    assert columns == ["path", "path_bytes", "place", "vector"]


@pytest.mark.slow
def test_errors_that_may_have_passed_are_tried_again(cli: Cli, photos: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = ("embed", "photos", f"http://127.0.0.1:{port}/00.png", "-m", "demo", "--into", "out", "--part-size", "5")
    run = cli(*command)
    assert run.code == 3
    assert "2 of 13 could not be read (1 damaged, 1 network)." in said(run.err)
    assert "--retry-errors tries again what may have passed." in said(run.err)
    before = stamps(Path("out"))
    with ThreadingHTTPServer(("127.0.0.1", port), partial(SimpleHTTPRequestHandler, directory=photos)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert "all were there" in cli(*command).err
        retried = cli(*command, "--retry-errors")
        server.shutdown()
    assert retried.code == 3
    assert "1 of 13 could not be read (1 damaged). Why is in out/errors-*.parquet." in said(retried.err)
    changed = before.items() ^ stamps(Path("out")).items()
    assert {name for name, _ in changed} == {"part-00002.parquet", "errors-00002.parquet"}
    assert json.loads(Path("out/_SUCCESS").read_text())["errors"] == {"damaged": 1}


def test_a_run_that_cannot_read_what_it_should_ends_early(cli: Cli, photos: Path) -> None:
    for number in range(12, 150):
        (photos / f"{number:03}.png").write_bytes(b"no picture")
    few = cli("classify", "photos", *LABELS, "--into", "out", "--max-errors", "3")
    assert (few.code, few.out) == (1, "")
    assert re.search(r"--max-errors 3: \d+ of \d+ pictures could not be read", few.err)
    assert "could not be read, the last of them photos/0" in few.err
    assert list(Path("out").glob("*.parquet")) == []
    share = cli("classify", "photos", *LABELS, "--into", "out", "--max-errors", "50%")
    assert "--max-errors 50%: " in share.err
    assert cli("classify", "photos", *LABELS, "--into", "out", "--max-errors", "99.9%").code == 3
    wrong = cli("classify", "photos", *LABELS, "--into", "out", "--max-errors", "many")
    assert wrong.code == 2
    assert "'many' is neither a number of pictures nor a share such as 5%" in said(wrong.err)


def test_what_leads_to_nothing_leaves_nothing_in_the_way(cli: Cli, photos: Path) -> None:
    os.mkdir("empty")
    nothing = cli("embed", "empty", "-m", "demo", "--into", "out")
    assert nothing.code == 1
    assert "No images found" in nothing.err
    nameless = cli("embed", "photos", "-m", "demo", "--into", "")
    assert (nameless.code, "a folder of results needs a name" in nameless.err) == (1, True)
    assert cli("embed", "photos", "-m", "demo", "--into", "out").code == 3
    within = cli("embed", "photos", "-m", "demo", "--into", "photos/vectors", "--part-size", "7")
    assert "12 pictures in 2 parts" in within.err
    again = cli("embed", "photos", "-m", "demo", "--into", "photos/vectors", "--part-size", "7", "--restart")
    assert "Passed over 1 other file (1 .txt)" in again.err, "results are not looked at"
    for arguments, message in (
        (("--into", "photos"), "that is what is searched for pictures"),
        (("--into", "out", "--limit", "3"), "--into and --limit: a run in parts takes all"),
        (("--into", "out", "-o", "x.npz"), "--output and --into"),
        (("--into", "out", "--precision", "int8"), "int8 is calibrated on the first pictures"),
        ((), "give --output FILE, or --into OUT for parts"),
        (("-o", "x.npz", "--restart"), "--restart does nothing without --into"),
    ):
        run = cli("embed", "photos", "-m", "demo", *arguments)
        assert run.code == 2
        assert message in said(run.err).replace("--into and --output", "--output and --into")


def test_a_list_on_standard_input_goes_on_with_the_same_list_only(cli: Cli, photos: Path) -> None:
    command = ("embed", "-", "-m", "demo", "--into", "out")
    assert cli(*command, stdin=b"photos/00.png\nphotos/01.png\n").code == 0
    assert "2 pictures in 1 part in out: all were there" in cli(*command, stdin=b"photos/00.png\nphotos/01.png\n").err
    other = cli(*command, stdin=b"photos/00.png\nphotos/02.png\n")
    assert other.code == 1
    assert "--into out: the run in it was planned with another list on standard input. Name another" in said(other.err)
    assert "all were there" in cli(*command, "-0", stdin=b"photos/00.png\0photos/01.png").err
    assert cli(*command, "--restart", stdin=b"photos/02.png\n").code == 0
    assert pyarrow.parquet.read_table("out/part-00000.parquet").column("path").to_pylist() == ["photos/02.png"]
    Path("table.csv").write_text("picture,of\nphotos/00.png,a\nphotos/01.png,b\n", encoding="utf-8")
    for number in range(2):
        run = cli("embed", "table.csv", "--column", "picture", "-m", "demo", "--into", "of_table")
        assert (run.code, "had no effect" in run.err, "all were there" in run.err) == (0, False, number == 1)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_run_goes_on(cli: Cli, photos: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "zsclip", "embed", "photos", "-m", "demo", "--into", "out", "--part-size", "1"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        while len(done := list(Path("out").glob("part-*.parquet"))) < 2:
            time.sleep(0.005)
        process.send_signal(number)
        told = process.stderr.read()
    assert process.returncode == (-9 if number == signal.SIGKILL else 128 + number)
    assert ("kept; the same command goes on from there" in told) == (number != signal.SIGKILL)
    before = {path.name: path.stat().st_mtime_ns for path in done}
    run = cli("embed", "photos", "-m", "demo", "--into", "out", "--part-size", "1")
    assert run.code == 3
    assert "12 pictures in 12 parts" in run.err
    assert before.items() <= stamps(Path("out")).items()
    assert not [path for path in Path("out").rglob("*") if "tmp" in path.name or path.name.startswith(".")]
