"""Outputs: whole or not at all, and rows that read back as they were written."""

from __future__ import annotations

import csv
import io
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import zsclip
from zsclip import InputError, atomic
from zsclip.output.delimited import write_csv
from zsclip.output.rows import FORMATS, MATCH_LAYOUT, row_writer
from zsclip.output.targets import FileTarget, open_output
from zsclip.scoring.results import Match
from zsclip.text.wording import counted, listed

PACKAGE = Path(zsclip.__file__).parent


@pytest.mark.parametrize("field", ["a\rb", "\r", "a\r\nb", "a\nb", 'a"b', "a,b", "\u2028"])
def test_any_field_of_a_table_reads_back_equal(field: str) -> None:
    stream = io.StringIO(newline="")
    write_csv(stream, [{"path": field, "images": 3, "share": 0.5, "rest": None}] * 2)
    rows = list(csv.reader(io.StringIO(stream.getvalue(), newline="")))
    assert rows == [["path", "images", "share", "rest"], *[[field, "3", "0.5", ""]] * 2]


def test_a_table_without_rows_has_its_header() -> None:
    stream = io.StringIO(newline="")
    write_csv(stream, [], ("path", "label"))
    assert stream.getvalue() == "path,label\n"


def test_csv_is_written_in_one_place() -> None:
    writers = [
        path for path in PACKAGE.rglob("*.py") if "csv.writer" in (text := path.read_text()) or "DictWriter" in text
    ]
    assert [path.name for path in writers] == ["delimited.py"]


@pytest.mark.parametrize("format", sorted(FORMATS.keys() - {"parquet"}))
def test_an_unreadable_image_has_a_row_but_no_path(format: str) -> None:
    stream = io.StringIO(newline="")
    row_writer(format, stream, MATCH_LAYOUT).write([Match("a.jpg", error="the file is empty")])
    assert ("the file is empty" in stream.getvalue()) is (format != "paths")


def test_an_output_is_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    for content in ("old", "new"):
        with open_output(path) as stream:
            stream.write(content)
        assert path.read_text() == content
    with pytest.raises(ZeroDivisionError), open_output(path) as stream:
        stream.write("half" * (1 // 0))
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["out.csv"]


@pytest.mark.skipif(os.name != "posix", reason="POSIX permissions")
def test_a_replaced_file_keeps_its_permissions_and_a_new_one_has_the_usual(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    with atomic.new_file(path):
        pass
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask
    path.chmod(0o640)
    with atomic.new_file(path):
        pass
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.skipif(os.name != "posix", reason="POSIX links and pipes")
def test_a_link_stays_a_link_and_a_pipe_gets_bytes_as_they_come(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "real").write_text("old")
    with open_output(tmp_path / "link") as stream:
        stream.write("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"
    with FileTarget(Path(os.devnull)).open() as binary:
        binary.write(b"x")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


def test_what_cannot_be_written_is_said_with_the_setting_that_named_it(tmp_path: Path) -> None:
    for path, message in (
        (tmp_path, f"`report={tmp_path}`: that is a folder. Name a file in it."),
        (
            tmp_path / "no" / "x",
            f"`report={tmp_path / 'no' / 'x'}`: there is no folder {tmp_path / 'no'}. Make it first.",
        ),
    ):
        with pytest.raises(InputError) as caught, open_output(path, "report"):
            pass
        assert str(caught.value) == message


def test_an_error_about_another_file_is_not_taken_for_the_outputs(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), open_output(tmp_path / "out.csv"):
        (tmp_path / "missing").read_text()
    assert os.listdir(tmp_path) == []


def test_nothing_is_replaced_unless_it_may_be(tmp_path: Path) -> None:
    path = tmp_path / "plan.csv"
    path.write_text("old")
    with pytest.raises(FileExistsError), atomic.new_file(path, replace=False) as stream:
        stream.write(b"new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["plan.csv"]


def test_a_copy_has_the_times_of_its_original(tmp_path: Path) -> None:
    original = tmp_path / "a"
    original.write_text("a")
    os.utime(original, (1e9, 1e9))
    with atomic.new_file(tmp_path / "b", replace=False, like=str(original)) as stream:
        stream.write(b"a")
    assert (tmp_path / "b").stat().st_mtime == 1e9


def test_a_folder_is_whole_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()  # an empty one gives way
    with atomic.new_folder(tmp_path / "model") as folder:
        (folder / "weights").write_text("w")
    assert os.listdir(tmp_path / "model") == ["weights"]
    with pytest.raises(IsADirectoryError), atomic.new_folder(tmp_path / "other") as folder:
        folder.write_text("w")
    with pytest.raises(OSError, match=r"not empty|exist"), atomic.new_folder(tmp_path / "model"):
        pass
    assert os.listdir(tmp_path) == ["model"]
    assert os.listdir(tmp_path / "model") == ["weights"]


LEAVER = """
import os, sys
from pathlib import Path
from zsclip import atomic
with atomic.new_file(Path(sys.argv[1]) / "out"), atomic.new_folder(Path(sys.argv[1]) / "folder"):
    if sys.argv[2] == "told":
        atomic.remove_unfinished()
    os._exit(1)
"""


@pytest.mark.skipif(os.name != "posix", reason="POSIX process numbers")
def test_what_a_process_leaves_behind_is_removed(tmp_path: Path) -> None:
    for told, left in (("told", 1), ("killed", 2)):
        subprocess.run([sys.executable, "-c", LEAVER, str(tmp_path), told], check=False)
        assert len(os.listdir(tmp_path)) == left  # folders are removed by whoever comes next
        atomic.remove_dead(tmp_path)
        atomic.remove_unfinished_folders(tmp_path / "folder")
        assert os.listdir(tmp_path) == []
    with atomic.new_file(tmp_path / "out"):
        atomic.remove_dead(tmp_path)
        assert len(os.listdir(tmp_path)) == 1  # this process is alive


def test_counts_and_lists_in_words() -> None:
    assert [counted(count, "image") for count in (0, 1, 1200)] == ["0 images", "1 image", "1,200 images"]
    assert listed("abc") == "a, b, c"
    assert listed("abcdefg") == "a, b, c, d, e and 2 more"
