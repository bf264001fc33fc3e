"""Pictures from addresses on the command line: rows, exit codes, outputs, refusals."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support import hostile_http, hub_server, s3_server
from support.cli import Cli, rows_of
from support.s3_server import Bucket

from zsclip.images.remote.web import web

pytest.importorskip("obstore")
pytest.importorskip("moto")

LABELS = ("-m", "demo", "-l", "red star,blue ring", "-k", "1")


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch, demo_folder: Path) -> Iterator[Bucket]:
    with s3_server.serve(monkeypatch) as bucket:
        for path in sorted((demo_folder / "scenes").rglob("*.png"))[:12]:
            bucket.put(f"2024/{path.parent.name}.png", path.read_bytes())
        bucket.put("2024/broken.png", b"no picture")
        bucket.put("2024/notes.txt", b"")
        yield bucket


def test_a_bucket_is_classified_into_a_bucket(bucket: Bucket, cli: Cli) -> None:
    run = cli("classify", "s3://pictures/2024/", *LABELS)
    assert run.code == 3
    rows = rows_of(run.out)
    keys = [key for key in bucket.listed() if key.endswith(".png")]
    assert [row["path"] for row in rows] == [f"s3://pictures/{key}" for key in keys]
    assert [row["path"] for row in rows if row["error"]] == ["s3://pictures/2024/broken.png"]
    assert "Passed over 1 other file (1 .txt)." in run.err
    again = cli("classify", "s3://pictures/2024", *LABELS, "-o", "s3://pictures/out/rows.csv", "--readers", "2")
    assert (again.code, again.out) == (3, "")
    assert "12 of 12 images were in the store already." in again.err
    assert bucket.get("out/rows.csv").decode() == run.out
    unsigned = cli(
        "classify", "s3://pictures/2024/blue arrow.png", *LABELS, "-f", "jsonl", "--no-sign-request", "--rehash"
    )
    assert (unsigned.code, "access is denied; no keys" in unsigned.out) == (3, True)


def test_vectors_go_into_a_bucket_as_a_whole_or_not_at_all(
    bucket: Bucket, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zsclip.output.bucket_target._IN_PARTS", 1000)
    run = cli("embed", "s3://pictures/2024/", "-m", "demo", "-o", "s3://pictures/out/vectors.npz")
    assert run.code == 3
    found = np.load(io.BytesIO(bucket.get("out/vectors.npz")))
    assert found["vectors"].shape[0] == len(found["names"]) == 12
    assert not bucket.client.list_multipart_uploads(Bucket="pictures").get("Uploads")
    before = bucket.listed()
    run = cli("classify", "s3://pictures/2024/", "-m", "nowhere", "-l", "a,b", "-o", "s3://pictures/out/rows.csv")
    assert run.code == 1
    assert bucket.listed() == before
    for output, said in (
        ("s3://nosuch/rows.csv", "--output s3://nosuch/rows.csv: cannot be written: there is no such bucket"),
        ("s3://pictures/", "nothing can be written there"),
        ("https://127.0.0.1/rows.csv", "nothing is written there"),
        ("hf://datasets/a/b/rows.csv", "nothing is written there"),
    ):
        run = cli("classify", "s3://pictures/2024/", *LABELS, "-o", output, "-f", "csv")
        assert run.code == 1, run.err
        assert said in run.err
    run = cli("classify", "s3://pictures/2024/", *LABELS, "--report", "s3://pictures/page.html")
    assert (run.code, "a report is written to this machine" in run.err) == (1, True)
    assert bucket.listed() == before


def test_what_cannot_be_asked_is_refused_with_a_reason(
    bucket: Bucket, cli: Cli, tmp_path: Path, demo_folder: Path
) -> None:
    for arguments, said in (
        (("classify", "s3://nosuch/", *LABELS), "s3://nosuch/: there is no such bucket; check its name."),
        (("classify", "s3://pictures/2024/", *LABELS, "--offline"), "s3://pictures/2024/: an address, which --offline forbids to ask."),
        (("classify", demo_folder, *LABELS, "--offline", "-o", "s3://pictures/x.csv"), "which --offline forbids to ask"),
        *((arguments, "s3://pictures/x: an address, which --offline forbids to ask.") for arguments in (
            ("classify", demo_folder, *LABELS, "--offline", "--into", "s3://pictures/x"),
            ("embed", demo_folder, "-m", "demo", "--offline", "--into", "s3://pictures/x"),
            ("classify", "--vectors", "s3://pictures/x", *LABELS, "--offline"),
            ("classify", "--vectors", "s3://pictures/x", *LABELS, "--offline", "--into", tmp_path / "y"),
            ("search", "--vectors", "s3://pictures/x", "-m", "demo", "--text", "a", "--offline"),
            ("evaluate", demo_folder / "scenes", "--vectors", "s3://pictures/x", "-m", "demo", "--offline"),
        )),
        (("search", demo_folder, "-m", "demo", "--image", "https://u:p@127.0.0.1/a.png?token=t", "--offline"),
         "https://127.0.0.1/a.png: an address, which --offline forbids to ask."),
        (("sort", "s3://pictures/2024/", *LABELS[:4], "--into", tmp_path / "x"), "files of this machine are sorted"),
        (("classify", "ftp://127.0.0.1/a.png", *LABELS), "Addresses begin with s3:// gs:// az:// hf:// https://."),
    ):  # fmt: skip
        run = cli(*arguments)
        assert (run.code, said in run.err) == (1, True), run.err
    for option in (("--per-host", "2"), ("--allow-private",), ("--no-sign-request",), ("--readers", "3")):
        run = cli("classify", demo_folder, *LABELS, *option)
        assert (run.code, "does nothing without addresses" in " ".join(run.err.split())) == (2, True)


def test_a_list_of_addresses_is_data_and_the_command_line_is_not(
    cli: Cli, red_star: Path, monkeypatch: pytest.MonkeyPatch, isolated: Path
) -> None:
    web.cache_clear()  # which has warned, in other tests of this process
    with hostile_http.serve(red_star.read_bytes()) as server:
        picture = f"{server.address}/good/a.png?id=1"
        listed = f"{picture}&token=secret\n{server.address}/missing/b.png\n".encode()
        refused = cli("classify", "-", *LABELS, "-f", "jsonl", stdin=listed)
        assert refused.code == 3
        rows = [json.loads(line) for line in refused.out.splitlines()]
        assert [row["path"] for row in rows] == [picture, f"{server.address}/missing/b.png"]
        assert all("--allow-private allows it" in row["error"] for row in rows)
        assert server.asked == []
        run = cli("classify", "-", *LABELS, "--allow-private", "-v", "--timings", stdin=listed)
        assert run.code == 3
        good, missing = rows_of(run.out)
        assert (good["path"], good["label"]) == (picture, "red star")
        assert missing["error"] == "there is no such page (HTTP 404)"
        assert "http:// is not encrypted" in run.err
        typed = cli("classify", f"{picture}&token=secret", *LABELS, "-f", "csv", "--report", isolated / "page.html")
        assert typed.code == 0
        assert rows_of(typed.out) == [good]
        for text in (refused.out, refused.err, run.out, run.err, typed.out, typed.err):
            assert "secret" not in text
        for path in isolated.rglob("*"):
            assert not path.is_file() or path.parts[-2] == "exports" or b"token=secret" not in path.read_bytes()


def test_a_dataset_of_the_hub_is_listed_and_read_once(
    cli: Cli, demo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    folder = tmp_path / "hub" / "datasets" / "org" / "name" / "train"
    folder.mkdir(parents=True)
    for path in sorted((demo_folder / "scenes").rglob("*.png"))[:12]:
        shutil.copy(path, folder / f"{path.parent.name} é#.png")
    (folder / "README.md").write_text("no picture")
    with hub_server.serve(tmp_path / "hub") as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.address)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        for address in ("hf://datasets/org/name/train", "hf://datasets/org/name@main"):
            hub.asked.clear()
            run = cli("classify", address, *LABELS)
            assert run.code == 0, run.err
            start = "hf://datasets/org/name@main" if "@" in address else "hf://datasets/org/name"
            assert [row["path"] for row in rows_of(run.out)] == [
                f"{start}/train/{path.name}" for path in sorted(folder.glob("*.png"))
            ]
            assert sum("/resolve/" in one for one in hub.asked) == 12
            hub.asked.clear()
            again = cli("classify", address, *LABELS)
            assert (again.out, again.code) == (run.out, 0)
            assert not any("/resolve/" in one for one in hub.asked)
            assert "hf_secret" not in run.out + run.err
        for address, said in (
            ("hf://datasets/org/other", "there is no such repository"),
            ("hf://datasets", "not an address of a repository"),
        ):
            run = cli("classify", address, *LABELS)
            assert (run.code, said in run.err) == (1, True), run.err
        one = cli("classify", "hf://datasets/org/name/train/gone.png", *LABELS, "-f", "csv")
        assert (one.code, "there is no such page (HTTP 404)" in one.out) == (3, True)
