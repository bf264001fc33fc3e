"""`zsclip sort`: nothing is lost, nothing is overwritten."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.cli import Cli, rows_of
from support.processes import run_python, start_python

from zsclip.output.folders import Filing, carry_out, folder_name, folder_names, plan, write_plan
from zsclip.scoring.results import ImageResult, Prediction

LABELS = "red star,blue star,green ring"


@pytest.fixture(autouse=True)
def demo_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZSCLIP_MODEL", "demo")


@pytest.fixture
def photos(tmp_path: Path, demo_folder: Path) -> Path:
    """Two pictures of a kind under one name in different folders, and one that cannot be read."""
    for folder, label in (("a", "red star"), ("b", "blue star"), ("c", "green ring")):
        (tmp_path / "photos" / folder).mkdir(parents=True)
        shutil.copy(demo_folder / "scenes" / label / "001.png", tmp_path / "photos" / folder / "same.png")
    shutil.copy(demo_folder / "scenes" / "red star" / "001.png", tmp_path / "photos" / "b" / "other.png")
    (tmp_path / "photos" / "b" / "broken.png").write_bytes(b"")
    return tmp_path / "photos"


def digests(*folders: Path) -> Counter[str]:
    files = (path for folder in folders for path in folder.rglob("*.png"))
    return Counter(hashlib.sha256(path.read_bytes()).hexdigest() for path in files)


def tree(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.suffix == ".png")


@pytest.mark.parametrize("how", ["--link", "--copy", "--move"])
def test_one_folder_a_label(cli: Cli, photos: Path, tmp_path: Path, how: str) -> None:
    before, into = digests(photos), tmp_path / "sorted"
    run = cli("sort", photos, "-l", LABELS, "--into", into, how)
    assert run.code == 3
    assert "broken.png stays where it is: the file is empty" in run.err
    assert tree(into) == ["blue star/same.png", "green ring/same.png", "red star/other.png", "red star/same.png"]
    assert (photos / "a" / "same.png").exists() is (how != "--move")
    if how == "--move":
        assert digests(photos, into) == before
        assert tree(photos) == ["b/broken.png"]
    if how == "--link":
        assert os.path.samefile(photos / "a" / "same.png", into / "red star" / "same.png")
    (plan,) = into.glob("plan-*.csv")
    rows = rows_of(plan.read_text())
    assert tuple(rows[0].values()) == (
        str(photos / "a" / "same.png"),
        str(into / "red star" / "same.png"),
        "red star",
    )
    again = cli("sort", photos, "-l", LABELS, "--into", into, how)
    assert len(tree(into)) == 4
    assert again.code == (1 if how == "--move" and not tree(photos) else 3)


@pytest.mark.slow
def test_names_that_clash_are_kept_apart(cli: Cli, photos: Path, tmp_path: Path) -> None:
    into = tmp_path / "sorted"
    (into / "red star").mkdir(parents=True)
    (into / "red star" / "same.png").write_bytes(b"somebody else's")
    cli("sort", photos, "-l", "red star,green ring", "--into", into, "--copy")
    assert (into / "red star" / "same.png").read_bytes() == b"somebody else's"
    assert {"red star/same (2).png", "red star/same (3).png"} <= set(tree(into))


def test_a_dry_run_shows_the_plan_and_does_nothing(cli: Cli, photos: Path, tmp_path: Path) -> None:
    run = cli("sort", photos, "-l", LABELS, "--into", tmp_path / "sorted", "--move", "--dry-run")
    rows = rows_of(run.out)
    assert [row["label"] for row in rows] == ["red star", "red star", "blue star", "green ring"]
    assert not (tmp_path / "sorted").exists()
    assert len(tree(photos)) == 5


@pytest.mark.slow
def test_images_without_a_decision_go_to_unknown(cli: Cli, photos: Path, tmp_path: Path) -> None:
    into = tmp_path / "sorted"
    cli("sort", photos / "a", "-l", "blue ring,green heart", "--into", into, "--min-similarity", "0.35")
    assert tree(into) == ["unknown/same.png"]


@pytest.mark.slow
def test_the_target_inside_the_source_is_not_walked(cli: Cli, photos: Path) -> None:
    (photos / "b" / "broken.png").unlink()
    for _ in range(2):
        run = cli("sort", photos, "-l", LABELS, "--into", photos / "sorted", "--copy")
        assert run.code == 0
        assert len(tree(photos / "sorted")) == 4
    assert "4 were there already" in run.err


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("cat", "cat"),
        ("../x", "_.._x"),
        ("/etc", "_etc"),
        ("AC/DC", "AC_DC"),
        ("CON", "_CON"),
        ("con.txt", "_con.txt"),
        ("..", "_"),
        (".hidden", "_.hidden"),
        ("a\\b:c*?", "a_b_c__"),
        ("end. ", "end"),
        ("日本", "日本"),
        ("x" * 300, "x" * 200),
    ],
)
def test_labels_become_safe_folder_names(label: str, expected: str) -> None:
    assert folder_name(label) == expected


@pytest.mark.slow
@given(st.lists(st.text(min_size=1, max_size=300), min_size=1, max_size=20, unique=True))
def test_folder_names_are_safe_and_distinct(labels: list[str]) -> None:
    names = folder_names(labels)
    assert len({name.casefold() for name in names}) == len(labels)
    for name in names:
        assert name
        assert not set(name) & set('/\\:*?"<>|\0\n')
        assert name not in (".", "..")
        assert os.path.normpath(os.path.join("base", name)) == os.path.join("base", name)
        assert len(os.fsencode(name)) <= 210


def test_a_real_label_called_unknown_has_a_folder_of_its_own() -> None:
    assert folder_names(["?", "unknown", "Unknown"]) == ["_", "unknown", "Unknown (2)"]


@pytest.mark.slow
def test_a_real_label_called_unknown_is_not_the_absence_of_one(cli: Cli, photos: Path, tmp_path: Path) -> None:
    into = tmp_path / "sorted"
    cli("sort", photos / "a", "-l", "unknown,blue ring", "--template", "a red star, not an <label>", "--into", into / "x",
        "--min-probability", "0")  # fmt: skip
    cli("sort", photos / "a", "-l", "unknown,blue ring", "--into", into / "y", "--min-similarity", "0.9")
    assert tree(into / "x")[0].split("/")[0] in ("unknown (2)", "blue ring")
    assert tree(into / "y") == ["unknown/same.png"]


def test_links_fall_back_to_copies_and_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    (tmp_path / "a.png").write_bytes(b"1")
    filings = [Filing(str(tmp_path / "a.png"), str(tmp_path / "to" / "a.png"), "x")]
    (filed,) = carry_out(filings, "link")
    assert filed.outcome == "done"
    assert (tmp_path / "to" / "a.png").read_bytes() == b"1"
    assert "files are copied instead" in caplog.text


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="needs a second file system")
def test_a_move_across_file_systems(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        (tmp_path / "a.png").write_bytes(b"1" * 100_000)
        filed = list(carry_out([Filing(str(tmp_path / "a.png"), os.path.join(other, "x", "a.png"), "x")], "move"))
        assert [one.outcome for one in filed] == ["done"]
        assert not (tmp_path / "a.png").exists()
        assert os.listdir(os.path.join(other, "x")) == ["a.png"]


MOVER = """
import sys
from pathlib import Path
from zsclip.output.folders import carry_out, plan, write_plan
from zsclip.scoring.results import ImageResult, Prediction
source, into = Path(sys.argv[1]), Path(sys.argv[2])
results = [ImageResult(str(path), (Prediction(f"label {len(path.name) % 3}", 1.0, 1.0),)) for path in sorted(source.rglob("*.png"))]
filings = list(plan(results, into, ["label 0", "label 1", "label 2"], "unknown", "move"))
write_plan(filings, into)
for filed in carry_out(filings, "move"):
    print(filed.outcome, flush=True)
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
@pytest.mark.parametrize("across", [False, True])
def test_a_move_killed_at_random_moments_loses_nothing(tmp_path: Path, across: bool) -> None:
    if across and not os.path.isdir("/dev/shm"):
        pytest.skip("needs a second file system")
    rng = random.Random(4)
    with tempfile.TemporaryDirectory(dir="/dev/shm" if across else None) as other:
        into = Path(other) if across else tmp_path / "into"
        source = tmp_path / "source"
        for folder in "abcd":
            (source / folder).mkdir(parents=True)
            for n in range(100):  # every second picture is the same in all folders, under the same name
                content = random.Random(n if n % 2 else f"{folder}{n}").randbytes(20_000)
                (source / folder / f"{n}.png").write_bytes(content)
        before = digests(source)
        assert len(before) == 50 + 4 * 50
        for _ in range(10):
            run = start_python(MOVER, source, into, stdout=subprocess.PIPE)
            assert run.stdout is not None
            for _ in range(rng.randrange(1, 40)):
                run.stdout.readline()
            time.sleep(rng.random() / 500)
            run.send_signal(signal.SIGKILL)
            run.communicate()
            after = digests(source, into)
            lost = before - after
            assert not lost
            assert sum((Counter({key: after[key] for key in before}) - before).values()) <= 1  # at both places
        run_python(MOVER, source, into)
        assert tree(source) == []
        assert digests(into) == before
        assert not list(into.rglob(".zsclip-partial-*"))


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="POSIX links")
def test_two_moves_to_the_same_names_overwrite_nothing(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        for n in range(600):
            (tmp_path / folder / f"{n}.png").write_bytes(f"{folder} {n}".encode())
    before = digests(tmp_path)
    into = tmp_path / "into"
    runs = [start_python(MOVER, tmp_path / folder, into, stdout=subprocess.DEVNULL) for folder in ("one", "two")]
    assert [run.wait() for run in runs] == [0, 0]
    assert digests(tmp_path) == before


def test_one_file_under_two_paths_is_not_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with a mount, or a share whose names know no upper and lower case."""
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "a.png").write_bytes(b"only copy")
    (tmp_path / "there").symlink_to(tmp_path / "here")
    filing_ = Filing(str(tmp_path / "there" / "a.png"), str(tmp_path / "here" / "a.png"), "x")
    assert [filed.outcome for filed in carry_out([filing_], "move")] == ["there"]
    assert (tmp_path / "here" / "a.png").read_bytes() == b"only copy"


@pytest.mark.slow
def test_what_equals_it_by_chance_is_no_reason_to_remove_a_file(cli: Cli, photos: Path, tmp_path: Path) -> None:
    (photos / "b" / "broken.png").unlink()
    into = tmp_path / "sorted"
    (into / "red star").mkdir(parents=True)
    shutil.copy(photos / "a" / "same.png", into / "red star" / "same.png")
    before = digests(photos, into)
    assert cli("sort", photos / "a", "-l", LABELS, "--into", into, "--move").code == 0
    assert digests(photos, into) == before
    assert tree(into) == ["red star/same (2).png", "red star/same.png"]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["--link", "--copy", "--move"])
def test_links_still_lead_to_their_picture(cli: Cli, photos: Path, tmp_path: Path, how: str) -> None:
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "x.png").symlink_to(os.path.join("..", "photos", "a", "same.png"))
    into = tmp_path / "sorted"
    assert cli("sort", tmp_path / "links", "-l", LABELS, "--into", into, how).code == 0
    assert (into / "red star" / "x.png").read_bytes() == (photos / "a" / "same.png").read_bytes()
    assert os.path.lexists(tmp_path / "links" / "x.png") is (how != "--move")


def test_a_file_that_is_reached_twice_is_sorted_once(cli: Cli, photos: Path, tmp_path: Path) -> None:
    into = tmp_path / "sorted"
    run = cli("sort", photos / "a" / "same.png", photos / "a", "-l", LABELS, "--into", into, "--move")
    assert run.code == 0
    assert tree(into) == ["red star/same.png"]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="needs root to become somebody else")
def test_a_read_only_picture_is_copied_by_an_ordinary_user(tmp_path: Path) -> None:
    source, target = tmp_path / "a.png", tmp_path / "to" / "a.png"
    source.write_bytes(b"1")
    source.chmod(0o444)
    target.parent.mkdir()
    for path in (tmp_path, target.parent, source):
        os.chown(path, 65534, 65534)
    code = "import sys; from zsclip.output.folders import *; (f,) = carry_out([Filing(*sys.argv[1:], 'x')], 'copy'); print(f.outcome)"
    for folder in tmp_path.parents:
        if folder.stat().st_mode & 0o5 != 0o5:
            pytest.skip("the folders above belong to root alone")
    assert run_python(code, source, target, user=65534).stdout == "done\n"


def test_a_file_called_like_a_plan_is_no_plan(tmp_path: Path) -> None:
    (tmp_path / "plan-holidays.csv").write_text("date,to\nMonday,Rome\n")
    (tmp_path / "plan-b.csv").write_bytes(bytes(range(256)) * 10)
    (tmp_path / "plan-c.csv").mkdir()
    from zsclip.output import folders as filing

    assert filing._earlier_plans(tmp_path) == set()


def add(photos: Path, *names: str) -> None:
    """The picture of `a/same.png` under other names as well."""
    for name in names:
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(photos / "a" / "same.png", photos / name)


@pytest.mark.parametrize("hidden", [[], ["--hidden"]])
def test_a_move_empties_no_photo_library_and_hidden_folders_only_if_asked(
    cli: Cli, photos: Path, tmp_path: Path, hidden: list[str]
) -> None:
    add(
        photos,
        ".Trash-1000/files/t.png",
        ".thumbnails/n.png",
        "Photos Library.photoslibrary/originals/p.png",
        "._x.png",
    )
    (photos / "b" / "broken.png").unlink()
    run = cli("sort", photos, "-l", LABELS, "--into", tmp_path / "sorted", "--move", *hidden)
    left = [] if hidden else ["._x.png", ".Trash-1000/files/t.png", ".thumbnails/n.png"]
    assert tree(photos) == sorted(["Photos Library.photoslibrary/originals/p.png", *left])
    assert run.code == 0
    assert "1 photo library that nothing is moved out of" in run.err.replace("\n", " ")
    assert ("2 hidden folders" in run.err.replace("\n", " ")) == (not hidden)


def test_a_move_takes_nothing_out_of_a_photo_library_that_is_named(cli: Cli, photos: Path, tmp_path: Path) -> None:
    add(photos, "My.photoslibrary/originals/p.png")
    library = photos / "My.photoslibrary"
    run = cli("sort", library, "-l", LABELS, "--into", tmp_path / "sorted", "--move")
    assert run.code == 3
    assert tree(photos)[0] == "My.photoslibrary/originals/p.png"
    assert "p.png stays where it is: it is in a photo library" in run.err.replace("\n", " ")
    assert cli("sort", library, "-l", LABELS, "--into", tmp_path / "sorted", "--copy").code == 0
    assert tree(tmp_path / "sorted") == ["red star/p.png"]


@pytest.mark.skipif(os.name != "posix", reason="POSIX links")
@pytest.mark.parametrize("link", ["0 before.png", "z after.png"])
def test_a_link_that_is_moved_with_its_file_still_leads_to_it(tmp_path: Path, link: str) -> None:
    source, into = tmp_path / "source", tmp_path / "into" / "x"
    source.mkdir()
    (source / "a.png").write_bytes(b"1")
    (source / link).symlink_to("a.png")
    (source / "link to a link.png").symlink_to(link)
    (source / "b.png").write_bytes(b"2")
    names = sorted(os.listdir(source))
    filings = [Filing(str(source / name), str(into / name), "x") for name in names]
    assert [filed.outcome for filed in carry_out(filings, "move")] == ["done"] * 4
    assert os.listdir(source) == []
    assert {name: (into / name).read_bytes() for name in names} == {
        name: b"2" if name == "b.png" else b"1" for name in names
    }
    assert (into / link).is_symlink()


def refuse_to_sync_folders(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """As CIFS, WSL or a FUSE file system does, none of which can be mounted here."""
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="needs a second file system")
@pytest.mark.parametrize("name", ["EINVAL", "ENOTSUP", "EACCES", "EIO"])
@pytest.mark.parametrize("how", ["copy", "move"])
def test_a_file_system_that_syncs_no_folders_can_be_sorted_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, name: str
) -> None:
    refuse_to_sync_folders(monkeypatch, getattr(errno, name))
    (tmp_path / "a.png").write_bytes(b"1")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        filing = Filing(str(tmp_path / "a.png"), os.path.join(other, "x", "a.png"), "x")
        (filed,) = carry_out([filing], how)
        assert Path(filing.target).read_bytes() == b"1"
        if how == "move" and name == "EIO":  # the copy may not be there after a power cut: the original stays
            assert (filed.outcome, os.path.exists(filing.source)) == ("failed", True)
            return
        assert filed.outcome == "done"
        assert write_plan([Filing("b.png", "x/b.png", "x")], Path(other)) if name != "EIO" else True


def test_an_interrupted_move_is_finished_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a kill came between the copy and the removal of the original, the next run removes it."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(b"1")
    (tmp_path / "elsewhere").mkdir()
    found = [ImageResult("photos/a.png", (Prediction("x", 1.0, 1.0),))]
    monkeypatch.chdir(tmp_path)
    filings = list(plan(found, Path("sorted"), ["x"], "unknown", "move"))
    assert filings == [Filing("photos/a.png", os.path.join("sorted", "x", "a.png"), "x")]
    written = write_plan(filings, Path("sorted"))
    assert written
    assert rows_of(written.read_text())[0]["from"] == str(tmp_path / "photos" / "a.png")
    (tmp_path / "sorted" / "x").mkdir()
    shutil.copy(tmp_path / "photos" / "a.png", tmp_path / "sorted" / "x")
    monkeypatch.chdir(tmp_path / "elsewhere")
    again = [ImageResult("../photos/a.png", found[0].predictions)]
    rest = list(plan(again, tmp_path / "sorted", ["x"], "unknown", "move"))
    assert write_plan(rest, tmp_path / "sorted") is None  # it is in the earlier one
    assert [filed.outcome for filed in carry_out(rest, "move")] == ["done"]
    assert tree(tmp_path) == ["sorted/x/a.png"]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["--link", "--copy", "--move"])
@pytest.mark.parametrize("inside", ["", "sorted"])
def test_a_folder_may_be_sorted_into_itself_again_and_again(cli: Cli, photos: Path, how: str, inside: str) -> None:
    (photos / "b" / "broken.png").unlink()
    into = photos / inside
    first = cli("sort", photos, "-l", LABELS, "--into", into, how)
    assert (first.code, len(list(into.glob("plan-*.csv")))) == (0, 1)
    sorted_ = ["blue star/same.png", "green ring/same.png", "red star/other.png", "red star/same.png"]
    stay = [] if how == "--move" else ["a/same.png", "b/other.png", "b/same.png", "c/same.png"]
    expected = sorted([*(os.path.join(inside, name) for name in sorted_), *stay])
    assert tree(photos) == expected
    again = cli("sort", photos, "-l", LABELS, "--into", into, how)
    assert tree(photos) == expected
    assert len(list(into.glob("plan-*.csv"))) == 1
    said = "No images found" if how == "--move" else "0 files"
    assert said in again.err
    assert f"{'1 folder' if inside else '3 folders'} of results" in again.err.replace("\n", " ")


def test_a_plan_of_an_older_version_is_still_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds the paths as they were typed."""
    for name in ("photos/a.png", "sorted/x/a.png"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(b"1")
    (tmp_path / "sorted" / "plan-20260101-000000.csv").write_text("from,to,label\nphotos/a.png,sorted/x/a.png,x\n")
    monkeypatch.chdir(tmp_path)
    found = [ImageResult("photos/a.png", (Prediction("x", 1.0, 1.0),))]
    filings = list(plan(found, tmp_path / "sorted", ["x"], "unknown", "move"))
    assert [filed.outcome for filed in carry_out(filings, "move")] == ["done"]
    assert tree(tmp_path) == ["sorted/x/a.png"]


@pytest.mark.slow
def test_plans_that_are_written_in_the_same_moment_have_names_of_their_own(tmp_path: Path) -> None:
    filing = Filing("a.png", str(tmp_path / "x" / "a.png"), "x")
    with ThreadPoolExecutor(8) as threads:
        written = list(threads.map(lambda _: write_plan([filing], tmp_path), range(40)))
    assert len({*written}) == 40
    assert all(len(rows_of(path.read_text())) == 1 for path in written if path)
