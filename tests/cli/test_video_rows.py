"""Videos on the command line: rows a frame or a video, names that are inputs again, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("av")
from support.cli import Cli, rows_of
from support.videos import sound_only, video

LABELS = ("-l", "red,green,blue", "-m", "demo")


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    folder = tmp_path / "clips"
    folder.mkdir()
    (folder / "a.mp4").write_bytes(video(3))
    (folder / "sound.mp4").write_bytes(sound_only())
    (folder / "z.mkv").write_bytes(video(2, format="matroska"))
    return folder


def test_frames_are_rows_whose_names_are_inputs(cli: Cli, clips: Path, isolated: Path) -> None:
    run = cli("classify", clips, "--every", "1", "-k", "1", *LABELS)
    rows = rows_of(run.out)
    a, z = clips / "a.mp4", clips / "z.mkv"
    assert run.code == 3
    assert [(row["path"], row["label"]) for row in rows] == [
        (f"{a}#t=0.000", "red"), (f"{a}#t=1.000", "green"), (f"{a}#t=2.000", "blue"),
        (f"{clips}/sound.mp4", ""), (f"{z}#t=0.000", "red"), (f"{z}#t=1.000", "green"),
    ]  # fmt: skip
    assert rows[3]["error"] == "no video in it, only sound"
    again = cli("classify", "-", "-k", "1", *LABELS, stdin="".join(f"{row['path']}\n" for row in rows).encode())
    assert [row for row in rows_of(again.out) if not row["error"]] == [row for row in rows if not row["error"]]
    assert "5 of 5 images were in the store already" in again.err
    page = isolated / "page.html"
    cli("classify", a, "-k", "1", *LABELS, "--report", page)
    assert page.read_text().count("data:image/jpeg") == 3
    named = cli("classify", a, "-k", "1", "-f", "table", *LABELS)
    assert named.out.count("a.mp4#t=") == 3, "a row each, and no ranking of one picture"


def test_a_pooled_video_is_one_row_with_the_time_of_its_best_frame(cli: Cli, clips: Path, isolated: Path) -> None:
    arguments = ("classify", clips / "a.mp4", clips / "z.mkv", "--every", "1", *LABELS)
    frames = [json.loads(line) for line in cli(*arguments, "-f", "jsonl").out.splitlines()]
    best = {
        label: max(p["similarity"] for row in frames if "a.mp4" in row["path"] for p in row["predictions"] if p["label"] == label)
        for label in ("red", "green", "blue")
    }  # fmt: skip
    largest = cli(*arguments, "--pool", "max", "-f", "jsonl")
    first, second = map(json.loads, largest.out.splitlines())
    assert (largest.code, first["path"], second["path"]) == (0, str(clips / "a.mp4"), str(clips / "z.mkv"))
    assert {p["label"]: p["similarity"] for p in first["predictions"]} == best
    assert first["time"] == {"red": 0, "green": 1, "blue": 2}[first["label"]]
    rows = rows_of(cli(*arguments, "--pool", "mean").out)
    assert list(rows[0])[-2:] == ["time", "error"]
    assert [row["time"] in ("0.000", "1.000", "2.000") for row in rows] == [True, True]
    alone = cli(*arguments, "--pool", "max", "--multi-label", "--min-probability", "0.2", "-f", "jsonl")
    assert set(json.loads(alone.out.splitlines()[0])["labels"]) >= {first["label"]}


def test_pooled_vectors_and_matches(cli: Cli, clips: Path, tmp_path: Path, isolated: Path) -> None:
    a = clips / "a.mp4"
    for name, more in (("frames", ()), ("mean", ("--pool", "mean"))):
        assert cli("embed", a, "--every", "1", "-m", "demo", "-o", tmp_path / f"{name}.npz", *more).code == 0
    frames, mean = np.load(tmp_path / "frames.npz"), np.load(tmp_path / "mean.npz")
    assert mean["names"].tolist() == [str(a)]
    total = frames["vectors"].astype(np.float64).mean(axis=0)
    assert np.allclose(mean["vectors"][0], total / np.linalg.norm(total), atol=1e-6)
    run = cli("embed", a, "--every", "1", "--pool", "max", "-m", "demo", "-o", tmp_path / "max.npz")
    assert (run.code, "vectors need 'mean'" in " ".join(run.err.split())) == (2, True)
    arguments = ("search", a, clips / "z.mkv", "--every", "1", "--text", "blue", "-m", "demo")
    single = rows_of(cli(*arguments).out)
    pooled = rows_of(cli(*arguments, "--pool", "max").out)
    assert [row["path"] for row in pooled] == [str(a), str(clips / "z.mkv")]
    assert (pooled[0]["similarity"], pooled[0]["time"]) == (single[0]["similarity"], "2.000")


def test_what_makes_no_sense_with_videos_is_refused(cli: Cli, clips: Path, tmp_path: Path, isolated: Path) -> None:
    a = clips / "a.mp4"
    for arguments, code, said in (
        (("sort", a, *LABELS, "--into", tmp_path / "out"), 1, "the pictures in it are no files of their own"),
        (("classify", clips, *LABELS, "--pool", "mean"), 2, "--pool does nothing without --every or a named video"),
        (
            ("classify", clips, *LABELS, "--exact-times"),
            2,
            "--exact-times does nothing without --every or a named video",
        ),
        (("evaluate", a, "--label-from", "cls"), 2, "videos are not evaluated"),
        (("classify", a, *LABELS, "--every", "0"), 2, "--every"),
        (("classify", clips, *LABELS), 1, "passed over 3 videos; add --every to take frames of videos"),
        (("classify", f"{clips}/gone.mp4#t=1", *LABELS), 1, "there is no such file"),
        (("classify", a, *LABELS, "-f", "csv", "-o", clips / "z.mp4"), 1, "that is a video's name"),
        (("classify", f"{a}#t=1.000", *LABELS, "--every", "1", "--pool", "mean"), 1, "one frame"),
    ):
        run = cli(*arguments)
        assert (run.code, said in " ".join(run.err.replace("│", " ").split())) == (code, True), run.err
    run = cli("sort", clips, *LABELS, "--into", tmp_path / "out")
    assert (run.code, "--every" in run.err, "3 videos" in run.err) == (1, False, True), "sort has no such option"
    assert cli("classify", clips, "--every", "1", "--exact-times", "--isolate", "-k", "1", *LABELS).code == 3
