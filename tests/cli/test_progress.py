"""What is said of a run while it lasts, when it is interrupted, and of what could not be read."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
from pathlib import Path

import pytest
from support.cli import Cli
from support.processes import on_terminal, run_python, start_zsclip, without_controls

LABELS = "red star,green ring"
terminal = pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")


@pytest.fixture(autouse=True)
def demo_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZSCLIP_MODEL", "demo")


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Pictures that differ, in a folder."""
    from PIL import Image

    (tmp_path / "many").mkdir()
    for number in range(300):
        Image.new("RGB", (64, 64 + number), "red").save(tmp_path / "many" / f"{number:03}.png")
    return tmp_path / "many"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store that is known to be empty."""
    monkeypatch.setenv("ZSCLIP_CACHE_DIR", str(tmp_path / "store"))
    return tmp_path / "store"


STEPS = """
import logging
from zsclip.cli.messages import listen
from zsclip.steps import Steps

listen(quiet={quiet}, verbose={verbose})
with Steps("converting it", ["reading", "comparing"]) as steps:
    steps.next()
    logging.getLogger("zsclip").warning("beware")
    steps.next()
"""


@terminal
def test_a_terminal_shows_what_a_long_piece_of_work_is_at_in_one_line_that_goes_when_it_is_over(tmp_path: Path) -> None:
    (tmp_path / "steps.py").write_text(STEPS.format(quiet=False, verbose=False))
    _, shown = on_terminal(f"{sys.executable} {tmp_path / 'steps.py'}")
    line = b"\r\x1b[K"
    assert shown == (
        line + b"zsclip: reading (1 of 2) ..." + line + b"zsclip: warning: beware\r\n"
        + line + b"zsclip: comparing (2 of 2) ..." + line
    )  # fmt: skip
    (tmp_path / "steps.py").write_text(STEPS.format(quiet=True, verbose=False))
    assert on_terminal(f"{sys.executable} {tmp_path / 'steps.py'}")[1] == b"zsclip: warning: beware\r\n"


def test_a_pipe_gets_the_steps_of_long_work_only_if_it_is_verbose() -> None:
    assert run_python(STEPS.format(quiet=False, verbose=False)).stderr == "zsclip: warning: beware\n"
    said = run_python(STEPS.format(quiet=False, verbose=True)).stderr.splitlines()
    assert said == [
        "zsclip: converting it: reading (1 of 2)",
        "zsclip: warning: beware",
        "zsclip: converting it: comparing (2 of 2)",
        "zsclip: converting it took 0 s",
    ]


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
@pytest.mark.usefixtures("store")
def test_an_interrupted_run_says_how_many_are_kept_and_goes_on(cli: Cli, many: Path) -> None:
    command = ["classify", many, "-l", LABELS, "-f", "csv", "--batch-size", "8"]
    run = start_zsclip(*command)
    assert run.stdout is not None
    for _ in range(60):
        run.stdout.readline()
    run.send_signal(signal.SIGINT)
    _, err = run.communicate(timeout=60)
    assert run.returncode == 130
    said = re.fullmatch(rb"zsclip: interrupted\. (\d+) images are kept; the same command goes on from there\.\n", err)
    assert said, err
    assert 59 <= int(said[1]) < 300
    again = cli(*command)
    known = re.search(r"(\d+) of 300 images were in the store already", again.err)
    assert known
    assert int(known[1]) >= int(said[1])


@pytest.mark.slow
@terminal
@pytest.mark.usefixtures("store")
def test_no_bar_is_drawn_beside_a_pager_and_one_is_beside_a_redirection(many: Path, tmp_path: Path) -> None:
    for arguments in (f"classify {many} -l '{LABELS}'", f"search {many} --text star -k 3"):
        for end, has_bar in (("| cat", False), ("| head -n 3", False), (f"> {tmp_path / 'x.csv'}", True)):
            shown = without_controls(on_terminal(f"zsclip {arguments} -f csv --no-cache {end}")[1])
            assert ("loading the model" in shown or "images/s" in shown) == has_bar, (arguments, end, shown)
    shown = without_controls(
        on_terminal(f"zsclip classify {many} -l '{LABELS}' --no-cache -o {tmp_path / 'y.csv'} | cat")[1]
    )
    assert "images/s" in shown or "loading the model" in shown  # no row goes through the pipe


@pytest.mark.slow
@terminal
@pytest.mark.usefixtures("store")
def test_the_pace_is_that_of_new_images(cli: Cli, many: Path, tmp_path: Path) -> None:
    """240 known ones in a moment must not look like speed."""
    (tmp_path / "known").mkdir()
    for path in sorted(many.iterdir())[:240]:
        shutil.copy(path, tmp_path / "known")
    assert cli("classify", tmp_path / "known", "-l", LABELS, "-q").code == 0
    for path in sorted((tmp_path / "known").iterdir()):
        shutil.copy2(path, many)  # the same stamp does not matter: they are known by their bytes
    shown = without_controls(
        on_terminal(f"zsclip classify {many} -l '{LABELS}' --batch-size 2 -o {tmp_path / 'x.csv'}")[1]
    )
    assert "240 known" in shown
    lines = [part for part in re.split(r"[\r\n]+", shown) if "/300" in part]
    assert all(len(line) <= 80 for line in lines)


def test_the_pace_leaves_out_what_was_known(monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    from zsclip.cli.progress import _bar
    from zsclip.embedding.records import Counts

    now = [0.0]
    counts = Counts()
    bar = _bar(Console(width=80, force_terminal=True), counts, lambda: False)
    monkeypatch.setattr(bar, "get_time", lambda: now[0])
    task, new = bar.add_task("", total=2000), bar.add_task("", total=None, visible=False)
    for done, found in ((937, 937), *((937 + number, 937) for number in range(1, 101))):
        now[0] += 0.1
        counts.found = found
        bar.update(task, completed=done)
        bar.update(new, completed=done - found)
    (pace,) = (column for column in bar.columns if type(column).__name__ == "Pace")
    shown = str(pace.render(bar.tasks[0]))
    rate = re.fullmatch(r"(\d+\.\d) images/s, 0:01:(\d\d) left, 937 known", shown)
    assert rate, shown
    assert 9.5 < float(rate[1]) < 10.5


@pytest.mark.parametrize("dropped", [["--only", "red star"], ["-f", "paths"], ["--only", "red star", "-f", "paths"]])
def test_what_has_no_row_is_named_in_a_warning(cli: Cli, red_star: Path, tmp_path: Path, dropped: list[str]) -> None:
    for number in range(7):
        (tmp_path / f"empty {number}.png").touch()
    run = cli("classify", tmp_path, red_star, "-l", LABELS, *dropped)
    said = " ".join(run.err.split())
    assert run.code == 3
    assert "empty 0.png could not be read: the file is empty." in said
    assert "7 of 8 images could not be read, 2 more than these." in said
    assert "their rows say why" not in said
    assert "empty" not in run.out


def test_a_search_for_paths_names_what_could_not_be_read(cli: Cli, red_star: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    paths = cli("search", tmp_path, red_star, "--text", "a star", "-f", "paths")
    assert "empty.png could not be read: the file is empty." in " ".join(paths.err.split())
    rows = cli("search", tmp_path, red_star, "--text", "a star", "-f", "csv")
    assert "1 image could not be read; their rows say why." in rows.err
