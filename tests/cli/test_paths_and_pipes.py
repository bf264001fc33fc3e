"""Names, links and devices of every kind; standard streams, outputs and signals in every state."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from support.cli import Cli
from support.corpus import picture, saved, slow_jpeg
from support.processes import run_bash, start_zsclip

from zsclip import ImageError
from zsclip.images.files import read_file

posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX names, links and signals")
pytestmark = [posix, pytest.mark.slow]

NAMES = [
    b"a b.png", b"new\nline.png", b"carriage\rreturn.png", b"tab\tx.png", b'quote".png', b"apostrophe'.png", b"[red]x[bold].png",
    b"\x1b[31mescape.png", b"\xff\xfe.png", b"-dash.png", b"--labels.png", "é.png".encode(), "e\u0301.png".encode(), b"x" * 251 + b".png",
    "日本語".encode() * 27 + b".png", "\u202ertl.png".encode(), "\u2028.png".encode(), "\x85.png".encode(), b"=cmd|calc.png",
    b"%s{label.__class__}.png", b"comma,semi;.png", b" lead.png", b"trail .png", b"\\back.png", b"$(id).png", b"*.png", b"\xc3\x28.png",
    b"\x7f.png", "😀.png".encode(), b"\x01\x02.png",
]  # fmt: skip


@pytest.fixture
def names(tmp_path: Path) -> list[bytes]:
    """Paths of one sound picture under every name, sorted as they will be found."""
    folder = os.fsencode(tmp_path / "photos")
    os.mkdir(folder)
    made = []
    for name in NAMES:
        try:
            Path(os.fsdecode(folder + b"/" + name)).write_bytes(saved(picture((32, 32))))
        except OSError:
            continue  # macOS wants UTF-8
        made.append(folder + b"/" + name)
    return sorted(made) if sys.platform == "linux" else made


@pytest.mark.skipif(sys.platform != "linux", reason="other systems change or refuse some of the names")
@pytest.mark.parametrize("format", ["csv", "tsv", "jsonl", "paths"])
@pytest.mark.parametrize("way", ["folder", "list", "output"])
def test_every_name_comes_back_exactly(cli: Cli, names: list[bytes], tmp_path: Path, format: str, way: str) -> None:
    assert len(names) == len(NAMES)
    command = [
        "classify",
        "--model",
        "demo",
        "-l",
        "red,blue",
        "-q",
        "-f",
        format,
        *(["-0"] if "list" in way or format == "paths" else []),
    ]
    output = tmp_path / "out"
    if way == "list":
        run = cli(*command, "-", stdin=b"\0".join(names))
    else:
        run = cli(*command, tmp_path / "photos", *(["-o", output] if way == "output" else []))
    assert (run.code, run.err) == (0, "")
    text = output.read_bytes().decode("utf-8", "surrogateescape") if way == "output" else run.out
    assert paths_in(text, format) == names


def paths_in(text: str, format: str) -> list[bytes]:
    if format == "paths":
        return [os.fsencode(path) for path in text.split("\0")[:-1]]
    if format == "jsonl":
        return [os.fsencode(json.loads(line)["path"]) for line in text.splitlines()]  # no end of line but line feeds
    rows = list(csv.reader(io.StringIO(text, newline=""), delimiter="," if format == "csv" else "\t"))
    assert {len(row) for row in rows} == {len(rows[0])}
    return [os.fsencode(row[0]) for row in rows[1:]]


def test_a_table_shows_every_name_on_one_line(cli: Cli, names: list[bytes], tmp_path: Path) -> None:
    run = cli("classify", tmp_path / "photos", "--model", "demo", "-l", "red,blue", "-f", "table")
    lines = run.out.splitlines()
    assert len(lines) == len(names)
    assert all(line.isprintable() for line in lines)
    assert sum("[red]x[bold]" in line for line in lines) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="other systems change or refuse some of the names")
def test_every_name_can_be_sorted(cli: Cli, names: list[bytes], tmp_path: Path) -> None:
    into = tmp_path / "into"
    run = cli("sort", tmp_path / "photos", "--model", "demo", "-l", "red,blue", "--into", into, "-q")
    assert run.code == 0
    assert len(list(into.rglob("*.png"))) == len(names)
    again = cli("sort", tmp_path / "photos", "--model", "demo", "-l", "red,blue", "--into", into, "-q")
    assert again.code == 0
    assert len(list(into.rglob("*.png"))) == len(names)


@pytest.fixture
def strange(tmp_path: Path) -> dict[str, str]:
    """What is no regular file, or not to be read, by the error that its row must have."""
    folder = tmp_path / "strange"
    folder.mkdir()
    (folder / "loop1.png").symlink_to("loop2.png")
    (folder / "loop2.png").symlink_to("loop1.png")
    (folder / "broken.png").symlink_to("nowhere")
    (folder / "self").symlink_to(".")
    (folder / "zero.png").symlink_to("/dev/zero")
    os.mkfifo(folder / "pipe.png")
    with open(folder / "sparse.jpg", "wb") as file:
        file.truncate(1900 << 20)
    with open(folder / "sparser.jpg", "wb") as file:
        file.truncate(1 << 40)
    (folder / "sound.png").write_bytes(saved(picture((32, 32))))
    future = folder / "year 2400.png"
    future.write_bytes(saved(picture((32, 33))))
    os.utime(future, (13_600_000_000, 13_600_000_000))
    return {
        "broken.png": "No such file or directory",
        "loop1.png": "Too many levels of symbolic links",
        "loop2.png": "Too many levels of symbolic links",
        "pipe.png": "not a regular file",
        "sound.png": "",
        "sparse.jpg": "not an image in a format that is known here",
        "sparser.jpg": "a file of 1,099.5 GB; more than 2 GB are not read",
        "year 2400.png": "",
        "zero.png": "not a regular file",
    }


@pytest.mark.skipif(sys.platform != "linux", reason="messages and devices of Linux")
@pytest.mark.parametrize("way", ["folder", "named"])
def test_what_is_no_regular_file_is_never_opened(cli: Cli, strange: dict[str, str], tmp_path: Path, way: str) -> None:
    folder = tmp_path / "strange"
    paths = [folder] if way == "folder" else [folder / name for name in strange]
    for _ in range(2):  # the second time the store knows some
        run = cli("classify", *paths, "--model", "demo", "-l", "red,blue", "-f", "csv", "-q")
        rows = list(csv.reader(io.StringIO(run.out)))[1:]
        assert {os.path.basename(row[0]): row[-1] for row in rows} == strange
        assert run.code == 3


@pytest.mark.skipif(not os.path.exists("/proc/kmsg"), reason="needs /proc")
def test_files_of_the_kernel_do_not_make_it_wait(cli: Cli) -> None:
    paths = ["/proc/kmsg", "/proc/self/mem", "/dev/zero", "/dev/tty", "/proc/self/fd/0", "/proc/1/environ"]
    run = cli("classify", *paths, "--model", "demo", "-l", "red,blue", "-f", "csv")
    assert run.code == 3
    assert len(run.out.splitlines()) == 1 + len(paths)


def test_a_socket_is_not_opened(tmp_path: Path) -> None:
    place = tempfile.mkdtemp(prefix="zs")  # names of sockets are short
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(f"{place}/s.png")
            with pytest.raises(ImageError, match="not a regular file"):
                read_file(f"{place}/s.png")
    finally:
        shutil.rmtree(place)


def test_a_file_that_becomes_a_pipe_does_not_make_it_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sound, pipe = tmp_path / "a.png", tmp_path / "p.png"
    sound.write_bytes(saved(picture()))
    os.mkfifo(pipe)
    real = os.open
    monkeypatch.setattr(os, "open", lambda path, *rest, **options: real(pipe, *rest, **options))
    with pytest.raises(ImageError, match="not a regular file"):
        read_file(str(sound))


@pytest.mark.parametrize("change", ["grows", "shrinks", "is rewritten"])
def test_a_file_that_changes_while_it_is_read_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:  # fmt: skip
    path = tmp_path / "a.png"
    path.write_bytes(saved(picture()))
    real, calls = os.fstat, []

    def changing(descriptor: int) -> os.stat_result:
        status = real(descriptor)
        calls.append(descriptor)
        if len(calls) == 1:
            if change == "grows":
                with open(path, "ab") as file:
                    file.write(b"more")
            else:
                with open(path, "r+b") as file:
                    file.truncate(100) if change == "shrinks" else file.write(b"\x89PNG")
                os.utime(path, (1, 1))
        return status

    monkeypatch.setattr(os, "fstat", changing)
    with pytest.raises(ImageError, match="it changed while it was read"):
        read_file(str(path))


def test_files_that_vanish_during_the_run_have_their_rows(tmp_path: Path) -> None:
    for number in range(120):
        (tmp_path / f"{number:03}.png").write_bytes(saved(picture((300 + number, 200))))
    run = start_demo("classify", tmp_path, "-l", "red,blue", "-f", "csv", "--batch-size", "4", "--no-cache")
    assert run.stdout is not None
    lines = [run.stdout.readline() for _ in range(3)]
    for number in range(80, 120):
        (tmp_path / f"{number:03}.png").unlink()
    rows = list(csv.reader(io.StringIO(b"".join([*lines, *run.stdout]).decode())))[1:]
    _, err = run.communicate(timeout=60)
    assert [os.path.basename(row[0]) for row in rows] == [f"{number:03}.png" for number in range(120)]
    assert run.returncode == 3
    assert rows[-1][-1] == "No such file or directory"
    assert b"Traceback" not in err


def start_demo(*arguments: str | Path) -> subprocess.Popen[bytes]:
    return start_zsclip(*arguments, "--model", "demo", "-q")


def bash(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    # one store for all, so that most of them need no torch
    environment = {**os.environ, "ZSCLIP_MODEL": "demo", "ZSCLIP_CACHE_DIR": str(folder / "cache")}
    return run_bash(command, cwd=folder, env=environment)


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `img/` and files of labels and prompts, whose vectors the store knows after the first run."""
    folder = tmp_path_factory.mktemp("few")
    (folder / "img").mkdir()
    for number in range(3):
        (folder / "img" / f"{number}.png").write_bytes(saved(picture((32 + number, 32))))
    (folder / "labels.txt").write_text("red\nblue\n")
    (folder / "link.csv").symlink_to("labels.txt")
    os.link(folder / "labels.txt", folder / "hard.csv")
    return folder


CLOSED = "Standard output is closed. Name a file with --output."
FULL = "Standard output cannot be written: No space left on device."


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("zsclip --help > /dev/full", 1, FULL),
        ("zsclip --version >&-", 1, CLOSED),
        ("zsclip --help | true; exit ${PIPESTATUS[0]}", 0, ""),
        ("zsclip classify --help | true; exit ${PIPESTATUS[0]}", 0, ""),
        ("zsclip prompts list >&-", 1, CLOSED),
        ("zsclip cache info > /dev/full", 1, FULL),
        ("zsclip classify nowhere -l a,b 2>/dev/full", 1, ""),
        ("zsclip classify nowhere -l a,b 2>&-", 1, ""),
        ("zsclip classify - -l a,b <> /", 1, "Is a directory|cannot read"),
        ("zsclip classify '' -l a,b", 1, "'': there is no such file or folder"),
        ("zsclip classify img -L /dev/zero", 1, "larger than 20 MB"),
        ("zsclip classify img -L labels.txt -o link.csv", 1, "is also an input"),
        ("zsclip classify img -L labels.txt -o hard.csv", 1, "is also an input"),
        ("zsclip classify img -l a,b -o nowhere/out.csv", 1, "there is no folder"),
        ("zsclip embed --texts /dev/zero -o t.jsonl", 1, "larger than 20 MB"),
    ],
)
def test_streams_and_files_in_every_state(few: Path, command: str, code: int, said: str) -> None:
    run = bash(command, few)
    assert run.returncode == code, run.stderr
    assert "Traceback" not in run.stderr
    assert (few / "labels.txt").read_text() == "red\nblue\n"
    if "cannot read" not in said:  # Python itself refuses a folder as standard input
        assert said in run.stderr.replace("\n", " ")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("redirection", ["> /dev/full", ">&-", "2>/dev/full", "<&- 2>&-", "-o {long}", "-o /dev/full"])
def test_a_run_with_streams_in_every_state(few: Path, redirection: str) -> None:
    long = "日" * 83 + ".csv"  # 253 bytes
    run = bash(f"zsclip classify img -l red,blue -f csv {redirection.format(long=long)}", few)
    assert "Traceback" not in run.stderr
    fails = redirection in ("> /dev/full", ">&-", "-o /dev/full")
    assert run.returncode == (1 if fails else 0), run.stderr
    if "{long}" in redirection:
        assert len((few / long).read_text().splitlines()) == 4
    elif not fails:
        assert len(run.stdout.splitlines()) == 4


@pytest.mark.skipif(
    sys.platform != "linux" or os.name != "posix" or os.geteuid() != 0, reason="needs a small file system"
)
@pytest.mark.parametrize(
    "command", ["classify img -l red,blue -k all -f jsonl -o", "embed img -o", "search img --text a -f csv -o"]
)
def test_a_disk_that_is_full_leaves_the_old_output(few: Path, tmp_path: Path, command: str) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", disk], check=False).returncode:
        pytest.skip("cannot mount a file system here")
    try:
        output = disk / ("out.npz" if command.startswith("embed") else "out.csv")
        output.write_text("what was there before")
        with open(disk / "ballast", "wb") as ballast:
            ballast.write(bytes(12_000))
        listed = " ".join(["img"] * 60)
        run = bash(f"zsclip {command.replace('img', listed, 1)} {output}", few)
        assert run.returncode == 1, run.stderr
        assert "cannot be written: No space left on device" in run.stderr.replace("\n", " ")
        assert output.read_text() == "what was there before"
        assert sorted(os.listdir(disk)) == ["ballast", output.name]
    finally:
        subprocess.run(["umount", disk], check=True)


def ended(run: subprocess.Popen[bytes], number: int) -> bytes:
    run.send_signal(number)
    _, err = run.communicate(timeout=30)
    assert run.returncode == 128 + number, err
    return err


@pytest.mark.parametrize(
    ("name", "moment"),
    [
        ("SIGINT", "imports"),
        ("SIGTERM", "imports"),
        ("SIGINT", "loading"),
        ("SIGHUP", "loading"),
        ("SIGINT", "decoding"),
    ],
)
def test_a_signal_ends_the_run_at_once_and_cleanly(few: Path, tmp_path: Path, name: str, moment: str) -> None:
    """Even while a decoder is busy for minutes; `benchmarks/signals.py` tries many more moments."""
    output = tmp_path / "out" / "result.csv"
    output.parent.mkdir()
    output.write_text("old")
    slow = tmp_path / "slow.jpg"
    slow.write_bytes(slow_jpeg())
    run = start_demo(
        "classify", slow if moment == "decoding" else few / "img", "-l", "red,blue", "-o", output, "--no-cache"
    )
    if moment == "imports":
        time.sleep(0.3)
    else:
        end = time.monotonic() + 30
        while len(os.listdir(output.parent)) == 1 and run.poll() is None:
            assert time.monotonic() < end
            time.sleep(0.01)
        time.sleep(3 if moment == "decoding" else 0.1)
    sent = time.monotonic()
    err = ended(run, signal.Signals[name])
    assert time.monotonic() - sent < 5
    assert err in (b"zsclip: interrupted.\n", b"")
    assert (os.listdir(output.parent), output.read_text()) == (["result.csv"], "old")


def test_pressing_ctrl_c_many_times_is_no_different(few: Path, tmp_path: Path) -> None:
    output = tmp_path / "result.csv"
    run = start_demo("classify", few / "img", "-l", "red,blue", "-o", output, "--no-cache")
    while not os.listdir(tmp_path) and run.poll() is None:
        time.sleep(0.01)
    with contextlib.suppress(ProcessLookupError):
        for _ in range(200):
            os.kill(run.pid, signal.SIGINT)
    _, err = run.communicate(timeout=20)
    assert (run.returncode, err) == (130, b"zsclip: interrupted.\n")
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_full_pipe_for_messages_does_not_keep_it_from_ending(few: Path, tmp_path: Path) -> None:
    run = start_demo("classify", few / "img", "-l", "red,blue", "-o", tmp_path / "result.csv", "--no-cache")
    assert run.stderr is not None
    filler = os.open(f"/proc/{os.getpid()}/fd/{run.stderr.fileno()}", os.O_WRONLY | os.O_NONBLOCK)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(filler, bytes(1024))
    while not os.listdir(tmp_path) and run.poll() is None:
        time.sleep(0.01)
    run.send_signal(signal.SIGTERM)
    assert run.wait(timeout=20) == 143
    os.close(filler)
    run.communicate()


def test_what_was_to_be_ignored_stays_ignored(few: Path) -> None:
    run = start_zsclip(
        *("classify", few / "img", "-l", "a,b", "--model", "demo", "-f", "csv"),
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    time.sleep(0.5)
    run.send_signal(signal.SIGHUP)
    out, _ = run.communicate(timeout=60)
    assert (run.returncode, len(out.splitlines())) == (0, 4)
