"""`zsclip classify` as people and scripts use it."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from rich.cells import cell_len
from support.cli import Cli, rows_of
from support.processes import on_terminal, run_bash, run_zsclip, start_zsclip, without_controls

LABELS = "red star,blue star,red heart,green ring"


@pytest.fixture(autouse=True)
def demo_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZSCLIP_MODEL", "demo")


@pytest.fixture
def folder(tmp_path: Path, demo_folder: Path) -> Path:
    """Three pictures, one of them in a folder inside, a damaged one and a text."""
    photos = tmp_path / "photos"
    for label, name in (("red star", "a b.png"), ("blue star", "sub/c.png"), ("green ring", "z.png")):
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(demo_folder / "scenes" / label / "001.png", photos / name)
    (photos / "notes.txt").write_text("hello")
    return photos


def test_a_folder_gives_a_row_per_image_in_order(cli: Cli, folder: Path) -> None:
    run = cli("classify", folder, "--labels", LABELS)
    rows = rows_of(run.out)
    assert run.code == 0
    assert [(os.path.relpath(row["path"], folder), row["label"]) for row in rows] == [
        ("a b.png", "red star"),
        (os.path.join("sub", "c.png"), "blue star"),
        ("z.png", "green ring"),
    ]
    assert list(rows[0]) == [
        *("path", "label", "probability", "similarity"),
        *(f"{name}_{rank}" for rank in (2, 3, 4) for name in ("label", "probability", "similarity")),
        "error",
    ]
    for row in rows:
        values = [float(row[f"probability{suffix}"]) for suffix in ("", "_2", "_3", "_4")]
        assert values == sorted(values, reverse=True)
        assert sum(values) == pytest.approx(1, abs=1e-5)
    assert "Passed over 1 other file (1 .txt)." in run.err


@pytest.mark.slow
def test_every_format_says_the_same(cli: Cli, folder: Path) -> None:
    rows = rows_of(cli("classify", folder, "-l", LABELS, "-f", "csv", "-k", "2").out)
    assert rows == rows_of(cli("classify", folder, "-l", LABELS, "-f", "tsv", "-k", "2").out, "\t")
    lines = [
        json.loads(line) for line in cli("classify", folder, "-l", LABELS, "-f", "jsonl", "-k", "2").out.splitlines()
    ]
    for row, line in zip(rows, lines, strict=True):
        assert list(line) == ["path", "label", "predictions", "error", "error_kind"]
        assert (line["path"], line["label"], line["error"]) == (row["path"], row["label"], None)
        for rank, prediction in zip(("", "_2"), line["predictions"], strict=True):
            assert prediction["label"] == row[f"label{rank}"]
            assert f"{prediction['probability']:.6f}" == row[f"probability{rank}"]
            assert f"{prediction['similarity']:.6f}" == row[f"similarity{rank}"]
    paths = cli("classify", folder, "-l", LABELS, "-f", "paths").out
    assert paths.splitlines() == [row["path"] for row in rows]
    table = cli("classify", folder, "-l", LABELS, "-f", "table").out.splitlines()
    assert len(table) == 3
    assert all(row["label"] in line for row, line in zip(rows, table, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_tables_fit_the_terminal(cli: Cli, folder: Path, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    long = "a label that is rather longer than anybody would like it to be"
    for arguments in ((folder,), (folder / "z.png",)):
        run = cli("classify", *arguments, "-l", f"green ring,{long},日本語のラベル", "-f", "table")
        assert run.code == 0
        assert "\x1b" not in run.out
        assert max(cell_len(line) for line in run.out.splitlines()) <= width
        assert "green ring"[:8] in run.out


@pytest.mark.slow
def test_forced_colours_do_not_make_a_pipe_a_terminal(cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = cli("classify", folder, "-l", LABELS, "--no-cache")
    monkeypatch.setenv("FORCE_COLOR", "1")
    forced = cli("classify", folder, "-l", LABELS, "--no-cache")
    assert (forced.out, forced.err) == (plain.out, plain.err)


def test_a_single_image_gives_a_ranked_table_with_bars(cli: Cli, red_star: Path) -> None:
    lines = cli("classify", red_star, "-l", LABELS, "-f", "table").out.splitlines()
    assert lines[0].endswith("001.png")
    assert "red star" in lines[1]
    assert "█" in lines[1]
    assert [line.split()[0] for line in lines[1:]] == ["1", "2", "3", "4"]


@pytest.mark.slow
def test_a_second_run_computes_no_text_and_prints_the_same(
    cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch, default_engine: type[Any]
) -> None:
    calls: list[int] = []
    original = default_engine.encode_texts
    monkeypatch.setattr(
        default_engine, "encode_texts", lambda self, texts: calls.append(len(texts)) or original(self, texts)
    )
    first = cli("classify", folder, "-l", LABELS)
    assert calls == [28]
    second = cli("classify", folder, "-l", LABELS)
    assert calls == [28]
    assert first.out == second.out
    third = cli("classify", folder, "-l", f"{LABELS},pink arrow")
    assert calls == [28, 7]
    assert third.code == 0
    assert cli("classify", folder, "-l", LABELS, "--no-cache").out == first.out
    assert calls == [28, 7, 28]


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_with_and_without_the_store_the_numbers_are_the_same(cli: Cli, folder: Path, precision: str) -> None:
    arguments = ("classify", folder, "-l", LABELS, "--precision", precision)
    outputs = {cli(*arguments, *extra).out for extra in ([], [], ["--no-cache"])}
    assert len(outputs) == 1


def test_what_cannot_be_read_gets_a_row_and_exit_code_3(cli: Cli, folder: Path) -> None:
    (folder / "m.jpg").write_bytes((folder / "z.png").read_bytes()[:300])
    run = cli("classify", folder, folder / "notes.txt", "-l", LABELS)
    assert run.code == 3
    rows = rows_of(run.out)
    assert [os.path.basename(row["path"]) for row in rows] == ["a b.png", "m.jpg", "c.png", "z.png", "notes.txt"]
    assert [bool(row["error"]) for row in rows] == [False, True, False, False, True]
    assert rows[1]["label"] == rows[1]["probability"] == ""
    assert "2 of 5 images could not be read" in run.err
    document = json.loads(cli("classify", folder / "notes.txt", "-l", LABELS, "-f", "jsonl").out)
    assert document == {
        "path": str(folder / "notes.txt"),
        "label": None,
        "predictions": [],
        "error": "not an image in a format that is known here",
        "error_kind": "other",
    }


def test_only_one_label(cli: Cli, folder: Path) -> None:
    (folder / "bad.png").write_bytes(b"")
    run = cli("classify", folder, "-l", LABELS, "--only", "blue star", "-f", "paths", "-0")
    assert run.out == f"{folder / 'sub' / 'c.png'}\0"
    assert run.code == 3
    assert cli("classify", folder, "-l", LABELS, "--only", "cat").code == 2


def test_paths_come_from_standard_input(cli: Cli, folder: Path) -> None:
    listed = [str(folder / "z.png"), str(folder / "missing.png"), str(folder / "a b.png")]
    run = cli("classify", "-", "-l", LABELS, stdin="\n".join(listed).encode())
    assert run.code == 3
    assert [row["path"] for row in rows_of(run.out)] == listed
    assert rows_of(run.out)[1]["error"] == "No such file or directory"
    run = cli("classify", "-0", "-", "-l", LABELS, stdin="\0".join([*listed[::2], ""]).encode())
    assert [row["label"] for row in rows_of(run.out)] == ["green ring", "red star"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not allow such names")
def test_paths_come_back_exactly(cli: Cli, folder: Path) -> None:
    names = [b"line\nbreak.png", b"\xff\xfe.png", b'quote".png', "ünïcode, comma.png".encode(), b"\x1b[31m.png"]
    picture = (folder / "z.png").read_bytes()
    odd = os.fsencode(folder / "odd")
    os.mkdir(odd)
    for name in names:
        with open(os.path.join(odd, name), "wb") as file:
            file.write(picture)
    paths = sorted(os.fsdecode(os.path.join(odd, name)) for name in names)
    run = cli("classify", folder / "odd", "-l", LABELS, "-f", "csv")
    assert sorted(row["path"] for row in rows_of(run.out)) == paths
    run = cli("classify", folder / "odd", "-l", LABELS, "-f", "paths", "-0")
    assert sorted(run.out.split("\0")[:-1]) == paths
    run = cli("classify", folder / "odd", "-l", LABELS, "-f", "jsonl")
    assert run.out.isascii() or "\udcff" not in run.out
    assert sorted(json.loads(line)["path"] for line in run.out.splitlines()) == paths
    table = cli("classify", folder / "odd", "-l", LABELS, "-f", "table").out
    assert "\x1b" not in table
    assert len(table.splitlines()) == len(names)


def test_an_output_file_is_replaced_whole_or_not_at_all(cli: Cli, folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    output.write_text("old")
    run = cli("classify", folder, "-l", LABELS, "-o", output)
    assert (run.code, run.out) == (0, "")
    assert len(output.read_text().splitlines()) == 3
    before = output.read_bytes()
    failed = cli("classify", folder, "-l", LABELS, "-o", output, "--device", "toaster")
    assert failed.code == 1
    assert output.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.jsonl", "photos"]
    missing = cli("classify", folder, "-l", LABELS, "-o", tmp_path / "no" / "out.csv")
    assert missing.code == 1
    assert "there is no folder" in missing.err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "first"),
    [("a.csv", "path,label"), ("a.tsv", "path\tlabel"), ("a.jsonl", '{"path"'), ("a", "path,label")],
)
def test_the_format_follows_the_outputs_extension(
    cli: Cli, red_star: Path, tmp_path: Path, name: str, first: str
) -> None:
    cli("classify", red_star, "-l", LABELS, "-o", tmp_path / name)
    assert (tmp_path / name).read_text().startswith(first)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["{folder}"], 1, "No labels"),
        (["{folder}", "-l", "cat"], 1, "softmax over one label is always 1.*--labels 'cat,something else'"),
        (["{folder}", "-l", "a,,b"], 1, "Label 2 is empty"),
        (["{folder}", "-l", "a,b", "-L", "{folder}/none.txt"], 1, "none.txt: label file: No such file"),
        (["{folder}", "-l", "a,b", "-p", "nonsense"], 1, "no prompt set 'nonsense'"),
        (["{folder}", "-l", "a,b", "--template", "a photo"], 1, "has no <label>"),
        (["{folder}/nowhere", "-l", "a,b"], 1, "nowhere: there is no such file or folder"),
        (["{folder}/empty", "-l", "a,b"], 1, "No images found"),
        (["{folder}/texts", "-l", "a,b"], 1, r"No images found; passed over 1 other file \(1 .txt\)"),
        (["{folder}", "-l", "a,b", "-k", "0"], 2, "not a number from 1"),
        (["{folder}", "-l", "a,b", "--temperature", "0"], 2, "must be above 0"),
        (["{folder}", "-l", "a,b", "-f", "xml"], 2, "xml"),
        (["{folder}", "-l", "a,b", "--engine", "abacus"], 2, "abacus"),
        (["{folder}", "-l", "a,b", "--nonsense"], 2, "nonsense"),
        ([], 2, "PATHS"),
    ],
)
def test_wrong_input_says_what_was_wrong(cli: Cli, folder: Path, arguments: list[str], code: int, message: str) -> None:
    import re

    (folder / "empty").mkdir()
    (folder / "texts").mkdir()
    (folder / "texts" / "a.txt").touch()
    run = cli("classify", *[argument.format(folder=folder) for argument in arguments])
    assert run.code == code
    assert run.out == ""
    assert re.search(message, run.err, re.DOTALL)
    assert "Traceback" not in run.err


def test_labels_of_both_options_are_joined(cli: Cli, red_star: Path, tmp_path: Path) -> None:
    file = tmp_path / "labels.yaml"
    file.write_text("heart or ring: [red heart, green ring]\n")
    run = cli("classify", red_star, "-l", "red star,blue star", "-L", file, "-f", "jsonl")
    said = json.loads(run.out)
    assert said["label"] == "red star"
    assert {p["label"] for p in said["predictions"]} == {"red star", "blue star", "heart or ring"}


@pytest.mark.slow
def test_templates_stand_alone_or_beside_prompt_sets(
    cli: Cli, red_star: Path, monkeypatch: pytest.MonkeyPatch, default_engine: type[Any]
) -> None:
    texts: list[str] = []
    original = default_engine.encode_texts
    monkeypatch.setattr(default_engine, "encode_texts", lambda self, new: texts.extend(new) or original(self, new))
    cli("classify", red_star, "-l", "x,y", "--template", "one {}", "--template", "two <label>", "--no-cache")
    assert texts == ["one x", "one y", "two x", "two y"]  # sorted
    texts.clear()
    cli("classify", red_star, "-l", "x,y", "--template", "one <label>", "-p", "plain", "--no-cache")
    assert texts == ["a x.", "a y.", "one x", "one y", "x", "y"]


@pytest.mark.slow
def test_temperature_softens(cli: Cli, red_star: Path) -> None:
    def best(*extra: str) -> float:
        run = cli("classify", red_star, "-l", "red star,red cross", "-f", "csv", *extra)
        return float(rows_of(run.out)[0]["probability"])

    assert best() > best("--temperature", "10") > best("--temperature", "1000") > 0.5


def test_timings_say_where_the_time_went(cli: Cli, folder: Path) -> None:
    run = cli("classify", folder, "-l", LABELS, "--timings")
    assert all(stage in run.err for stage in ("read", "decode", "resize", "wait", "model", "store"))
    assert "The bottleneck for images was" in run.err


def test_quiet_keeps_warnings_only(cli: Cli, folder: Path) -> None:
    assert cli("classify", folder, "-l", LABELS, "-q").err == ""
    (folder / "bad.png").touch()
    assert "could not be read" in cli("classify", folder, "-l", LABELS, "-q").err


def test_an_unusable_store_is_a_warning(cli: Cli, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    run = cli("classify", folder, "-l", LABELS, "--cache-dir", tmp_path / "file" / "x")
    assert run.code == 0
    assert "going on without it" in run.err
    assert len(rows_of(run.out)) == 3


def many(folder: Path, count: int) -> Path:
    Image.new("RGB", (64, 64), "red").save(folder / "first.png")
    for n in range(count):
        os.link(folder / "first.png", folder / f"{n:05}.png")
    return folder


@pytest.mark.slow
def test_head_ends_a_run_quietly(folder: Path) -> None:
    run = start_zsclip("classify", many(folder, 3000), "-l", LABELS, "-f", "jsonl")
    assert run.stdout is not None
    assert run.stdout.readline()
    run.stdout.close()
    assert run.wait(timeout=60) == 0
    assert run.stderr is not None
    assert run.stderr.read() == b""


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_leaves_no_half_output(folder: Path, tmp_path: Path, number: int, code: int) -> None:
    output = tmp_path / "out.csv"
    # A list that does not end, so that the run does not either.
    run = start_zsclip("classify", many(folder, 600), "-", "-l", LABELS, "-o", output, stdin=subprocess.PIPE)
    while not list(tmp_path.glob(".zsclip-*")):  # written to while it runs
        time.sleep(0.05)
        assert run.poll() is None
    time.sleep(0.5)
    run.send_signal(number)
    _, err = run.communicate(timeout=60)
    assert run.returncode == code
    assert b"Traceback" not in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos"]


@pytest.mark.slow
def test_the_real_photos(cli: Cli, shared: Path, vit_b32: Path) -> None:
    """Every format decodes; the text file is passed over in a folder, and gets an error row when it is named."""
    model = ("--model", "ViT-B-32", "--pretrained", vit_b32, "-l", "cat,dog,bird,boat", "-f", "csv")
    run = cli("classify", shared / "photos", *model)
    rows = rows_of(run.out)
    assert (run.code, len(rows)) == (0, 22)
    assert not any(row["error"] for row in rows)
    # the licence beside the photos has no extension
    assert "Passed over 2 other files" in run.err
    run = cli("classify", shared / "photos" / "not-an-image.txt", shared / "photos" / "cat.jpg", *model)
    assert run.code == 3
    assert [bool(row["error"]) for row in rows_of(run.out)] == [True, False]


@pytest.mark.slow
def test_the_orientations_agree(cli: Cli, shared: Path, vit_b32: Path) -> None:
    model = ("--model", "ViT-B-32", "--pretrained", vit_b32, "-l", "cat,dog,bird,boat", "-f", "csv")
    rows = rows_of(cli("classify", shared / "exif_orientation", *model).out)
    assert len(rows) == 18
    for kind in ("Landscape", "Portrait"):
        of_kind = [row for row in rows if kind in row["path"]]
        assert len({row["label"] for row in of_kind}) == 1
        values = [float(row["probability"]) for row in of_kind]
        assert max(values) - min(values) < 0.05


@pytest.mark.slow
def test_models_show(cli: Cli, vit_b32: Path) -> None:
    shown = cli("models", "show", "--model", "ViT-B-32", "--pretrained", vit_b32)
    assert shown.code == 0
    for line in (
        "logit scale    100.0000",
        "image size     224 x 224 pixels",
        "resize         shortest, bicubic",
        "activation     GELU",
        "context length 77 tokens",
        "tokenizer      CLIP",
        "parameters     151,277,313",
    ):
        assert line in shown.out
    assert "ViT-B-32-quickgelu" in shown.err
    assert "knows coloured shapes and nothing else" in cli("models", "show").out


def test_models_show_downloads_nothing(cli: Cli) -> None:
    shown = cli("models", "show", "--model", "ViT-B-32", "--pretrained", "openai")
    assert shown.code == 0
    assert "not on this machine; at timm/vit_base_patch32_clip_224.openai/ on the hub" in shown.out
    assert "activation     QuickGELU" in shown.out
    assert "logit scale" not in shown.out
    assert "so it runs with QuickGELU" in shown.err


@pytest.mark.slow
def test_weights_that_cannot_be_had_end_the_run_soon(cli: Cli, red_star: Path) -> None:
    run = cli("classify", red_star, "-l", "a,b", "--model", "ViT-B-16")
    assert run.code == 1
    assert "ViT-B-16 (datacomp_xl_s13b_b90k): its weights (" in run.err
    assert ") are not on this machine, and" in run.err
    assert "--model demo" in run.err


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
@pytest.mark.parametrize("format", ["table", "csv", "paths"])
def test_on_a_terminal_control_characters_are_escaped(folder: Path, format: str) -> None:
    os.rename(folder / "z.png", folder / "\x1b[2Jz.png")
    code, output = on_terminal(f"zsclip classify {shlex.quote(str(folder))} -l '{LABELS}' -f {format} -q")
    assert code == 0
    assert b"\\x1b[2Jz.png" in output
    assert b"\x1b[2J" not in output


def test_version_and_help(cli: Cli) -> None:
    assert cli("--version").out.startswith("zsclip 0.")
    text = cli("classify", "--help").out
    for option in (
        "--labels",
        "--prompts",
        "--template",
        "--model",
        "--exact",
        "--format",
        "--only",
        "--rehash",
        "--timings",
    ):
        assert option in text


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="POSIX shell")
@pytest.mark.parametrize(
    "command",
    [
        "classify {folder} -l a,b -f table",
        "classify {folder} -l a,b -f csv",
        "prompts list",
        "prompts show openai-imagenet",
    ],
)
def test_head_is_no_error_for_any_output(folder: Path, command: str) -> None:
    many(folder, 2000)
    run = run_bash(f"zsclip {command.format(folder=folder)} | head -n 1; exit ${{PIPESTATUS[0]}}")
    assert (run.returncode, len(run.stdout.splitlines())) == (0, 1)
    assert run.stderr == ""


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize(
    ("redirection", "code", "message"),
    [
        ("> /dev/full", 1, "Standard output cannot be written: No space left on device"),
        (">&-", 1, "Standard output is closed. Name a file with --output."),
        ("- <&-", 1, "No images found"),
        ("-o >(cat)", 0, ""),
        ("-o /dev/stdout", 0, ""),
    ],
)
def test_odd_streams_give_no_traceback(red_star: Path, redirection: str, code: int, message: str) -> None:
    picture = "" if "<&-" in redirection else f"'{red_star}'"
    run = run_bash(f"zsclip classify {picture} -l 'red star,ring' -f csv {redirection}")
    assert run.returncode == code
    assert message in run.stderr
    assert "Traceback" not in run.stderr
    if "-o" in redirection:
        assert ",red star," in run.stdout


def test_any_text_can_be_printed_whatever_the_locale(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252"}
    run = run_zsclip("prompts", "show", "plain", "-l", "日本", env=environment, encoding="utf-8")
    assert run.returncode == 0
    assert "日本" in run.stdout


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="pipes cannot be waited for elsewhere")
def test_a_list_on_standard_input_is_worked_on_as_it_comes(folder: Path) -> None:
    run = start_zsclip("classify", "-", "-l", LABELS, stdin=subprocess.PIPE)
    assert run.stdin is not None
    assert run.stdout is not None
    run.stdin.write(f"{folder / 'z.png'}\n".encode())
    run.stdin.flush()
    run.stdout.readline()
    assert b"green ring" in run.stdout.readline()  # while the list is still open
    run.stdin.write(f"{folder / 'a b.png'}\r\n".encode())
    run.stdin.close()
    assert b"red star" in run.stdout.readline()
    assert run.wait(timeout=30) == 0


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
@pytest.mark.parametrize("format", ["table", "csv"])
def test_progress_does_not_garble_rows(folder: Path, format: str) -> None:
    command = f"zsclip classify {shlex.quote(str(many(folder, 300)))} -l '{LABELS}' -f {format} -k 1"
    code, output = on_terminal(command, columns=200)
    assert code == 0
    text = without_controls(output)
    rows = [part for part in re.split(r"[\r\n]+", text) if "00001.png" in part or "00299.png" in part]
    assert len(rows) == 2
    assert not any("images/s" in row or "━" in row or "loading" in row for row in rows)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root reads every folder")
def test_a_folder_that_cannot_be_read_gets_a_row(cli: Cli, folder: Path) -> None:
    os.chmod(folder / "sub", 0)
    run = cli("classify", folder, "-l", LABELS)
    os.chmod(folder / "sub", 0o700)
    assert run.code == 3
    assert rows_of(run.out)[1]["error"] == "a folder that cannot be read"


@pytest.mark.slow
def test_an_input_is_not_replaced_by_the_output(cli: Cli, folder: Path, tmp_path: Path) -> None:
    before = (folder / "z.png").read_bytes()
    run = cli("classify", folder / "z.png", "-l", LABELS, "-o", folder / "z.png")
    assert run.code == 1
    assert "an image's name" in run.err
    assert (folder / "z.png").read_bytes() == before
    labels = tmp_path / "labels.csv"
    labels.write_text("red star\nring\n")
    assert "is also an input" in cli("classify", folder, "-L", labels, "-o", labels).err
    assert "an image's name" in cli("classify", folder, "-l", LABELS, "-o", folder / "a b.png").err
    assert "green ring" in cli("classify", folder / "z.png", "-l", LABELS, "-o", "-").out


def test_settings_for_architectures_do_not_keep_the_demo_from_running(
    cli: Cli, red_star: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZSCLIP_PRETRAINED", "openai")
    assert cli("classify", red_star, "-l", LABELS, "-m", "demo").code == 0
    assert "brings its own weights" in cli("classify", red_star, "-l", LABELS, "-m", "demo", "--pretrained", "x").err
