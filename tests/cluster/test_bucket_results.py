"""Runs in parts whose results are in a bucket: gone on with after a kill, whole or not at all, and patient with a server that is not."""

from __future__ import annotations

import json
import shutil
import threading
import time
from pathlib import Path

import pytest
from support.cli import Cli
from support.processes import start_zsclip
from support.s3_server import Bucket

from zsclip.cluster.identity import remove, settle
from zsclip.cluster.part_file import done_parts, part_name, read_part
from zsclip.cluster.plan import Plan, Slice
from zsclip.cluster.results import BucketFolder, result_folder
from zsclip.cluster.tasks import PlannedTasks
from zsclip.errors import InputError
from zsclip.images.remote.settings import Network

pytestmark = pytest.mark.slow
INTO = "s3://pictures/out"


@pytest.fixture
def command(demo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Twelve pictures in six parts, one of them damaged."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for number, picture in enumerate(sorted((demo_folder / "scenes").rglob("*.png"))[:12]):
        shutil.copy(picture, photos / f"{number:02}.png")
    (photos / "05.png").write_bytes(b"no picture")
    monkeypatch.chdir(tmp_path)
    return ["classify", "photos", "-m", "demo", "-l", "red circle,blue star", "--into", INTO, "--part-size", "2"]


def test_a_run_in_a_bucket_that_was_killed_goes_on(bucket: Bucket, command: list[str], cli: Cli) -> None:
    folder, stamps = result_folder(INTO), dict[str, object]()
    held = threading.Event()

    def hold(request: dict[str, object]) -> int | None:
        """The fourth part never arrives."""
        if (
            request["REQUEST_METHOD"] == "PUT"
            and str(request["PATH_INFO"]).endswith(part_name(3))
            and not held.is_set()
        ):
            held.set()
            time.sleep(3)
            return 503
        return None

    bucket.meets = hold
    with start_zsclip(*command) as run:
        assert held.wait(60)
        run.kill()
    bucket.meets = lambda request: None
    assert list(done_parts(folder)) == [0, 1, 2], "and nothing half"
    assert "out/_zsclip/lock" in bucket.listed()
    bucket.client.delete_object(Bucket=bucket.name, Key="out/_zsclip/lock")  # as if half a minute had passed
    for name in folder.names():
        stamps[name] = bucket.client.head_object(Bucket=bucket.name, Key=f"out/{name}")["LastModified"]
    time.sleep(1.1)  # servers tell whole seconds
    again = cli(*command)
    assert again.code == 3, again.err
    assert "in 6 parts in s3://pictures/out, of which 3 were there" in again.err
    for name, stamp in stamps.items():
        assert bucket.client.head_object(Bucket=bucket.name, Key=f"out/{name}")["LastModified"] == stamp
    said = json.loads(folder.read("_SUCCESS") or b"")
    assert (said["parts"], said["pictures"], said["errors"]) == (6, 12, {"other": 1})
    places = [read_part(folder, number) for number in range(6)]
    assert sorted([name for table, _ in places for name in table.column("path").to_pylist()]
                  + [one.path for _, errors in places for one in errors]) == [f"photos/{n:02}.png" for n in range(12)]  # fmt: skip
    assert "all were there" in cli(*command).err
    assert "differs in labels" in cli(*command, "-l", "green square").err
    assert cli(*command, "--restart").code == 3
    remove(folder)
    assert bucket.listed() == []


def test_a_server_that_cannot_answer_for_a_while_is_waited_for_and_then_told(
    bucket: Bucket, command: list[str], cli: Cli
) -> None:
    answers = list[int]()

    def busy(request: dict[str, object]) -> int | None:
        if request["REQUEST_METHOD"] == "PUT" and "/part-" in str(request["PATH_INFO"]) and len(answers) < 5:
            answers.append(503)
            return 503
        return None

    bucket.meets = busy
    assert cli(*command).code == 3
    assert len(answers) == 5
    impatient = BucketFolder("s3://pictures/other", Network(tries=2, pause_seconds=0.01))
    bucket.meets = lambda request: None
    settle(impatient, {}, {})
    Plan(impatient).write([[Slice("a.png")]], 1, lambda count: None, pytest.fail)
    bucket.meets = lambda request: 503
    fault = r"the server is asked too often \(HTTP 503\)"
    for name, what in (
        ("s3://pictures/other/_zsclip/plan.json", lambda: PlannedTasks(impatient, [], 1)),
        ("s3://pictures/other/_zsclip/plan/segment-00000.parquet", lambda: Plan(impatient).part(0)),
        ("s3://pictures/other/_zsclip/run.json", lambda: settle(impatient, {}, {})),
        ("s3://pictures/other/part-00000.parquet", lambda: read_part(impatient, 0)),
        ("`into=s3://pictures/other/whole`", lambda: impatient.put("whole", b"")),
        ("s3://pictures/other/_SUCCESS", lambda: remove(impatient)),
    ):
        with pytest.raises(InputError, match=fault) as raised:
            what()
        assert raised.value.where == name
    bucket.meets = lambda request: None
    assert [key for key in bucket.listed() if key.startswith("other/")] == [
        "other/_zsclip/plan.json", "other/_zsclip/plan/segment-00000.parquet", "other/_zsclip/run.json"
    ]  # fmt: skip
