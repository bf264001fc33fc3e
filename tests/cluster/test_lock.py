"""One driver a folder of results, on a disk and in a bucket: the second is refused, and a dead one is in nobody's way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support import other_clouds
from support.s3_server import Bucket

from zsclip.cluster.lock import alone
from zsclip.cluster.results import LocalFolder, result_folder
from zsclip.errors import InputError

# Renews ten times as often as it must; the numbers are the smallest that two busy cores bear.
QUICK = {"beat": 0.15, "patience": 2.0, "outage": 0.0}
HOLD = """
import sys, time
from zsclip.cluster.lock import alone
from zsclip.cluster.results import result_folder
from zsclip.errors import InputError
try:
    with alone(result_folder(sys.argv[1]), beat=0.15, patience=2.0) as check:
        print("in", flush=True)
        while True:
            check()
            time.sleep(0.05)
except InputError as error:
    print(error, flush=True)
"""
INTO = "s3://pictures/out"
LOCK = "out/_zsclip/lock"


def holder(name: str) -> subprocess.Popen[str]:
    """A process that has the folder."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, name], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "in\n"
    return process


def test_two_drivers_do_not_share_a_folder_and_a_killed_one_leaves_it_free(tmp_path: Path) -> None:
    results = LocalFolder(str(tmp_path / "out"))
    with holder(results.name) as other:
        with pytest.raises(InputError, match="another zsclip is at work in it"), alone(results):
            pytest.fail("both are in")
        other.kill()
    with alone(results) as check:
        results.put("whole", b"")
        check()


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs a process to be stopped")
def test_in_a_bucket_an_owner_is_respected_while_it_lives(bucket: Bucket, caplog: pytest.LogCaptureFixture) -> None:
    results = result_folder(INTO)
    with holder(INTO) as other:
        with (
            pytest.raises(InputError, match=rf"zsclip \(process {other.pid} on .+\) is at work"),
            alone(results, **QUICK),
        ):
            pytest.fail("both are in")
        os.kill(other.pid, signal.SIGSTOP)
        with alone(results, **QUICK) as check:
            assert "waiting for 2 s to see whether it is alive" in caplog.text
            os.kill(other.pid, signal.SIGCONT)
            assert other.stdout is not None
            assert f"another zsclip (process {os.getpid()} on " in other.stdout.readline(), "it stops by itself"
            assert other.wait() == 0
            check()
            assert bucket.listed() == [LOCK], "who lost it leaves it alone"
    assert bucket.listed() == []
    with holder(INTO) as other:
        other.kill()
    assert bucket.listed() == [LOCK]
    with alone(results, **QUICK) as check:
        check()
        bucket.meets = lambda request: 503
        time.sleep(QUICK["patience"])
        with pytest.raises(InputError, match=r"not known whether .*HTTP 503"):
            check()
        bucket.meets = lambda request: None
        check()
        # Its answer was lost, as the client sees it that tries again: the object is ours all the same.
        answered = list[str]()

        def lose_one(request: dict[str, object]) -> int | None:
            if request["REQUEST_METHOD"] != "PUT" or answered:
                return None
            answered.append("lost")
            bucket.put(LOCK, request["wsgi.input"].read(int(request["CONTENT_LENGTH"])))  # type: ignore[attr-defined, call-overload]
            return 500

        bucket.meets = lose_one
        while not answered:
            time.sleep(0.05)
        time.sleep(1)
        check()
    assert bucket.listed() == []


@pytest.mark.slow
@pytest.mark.parametrize("refuses", [True, False])
def test_a_bucket_without_conditional_writes_is_used_with_a_warning(
    bucket: Bucket, caplog: pytest.LogCaptureFixture, refuses: bool
) -> None:
    def without(request: dict[str, object]) -> int | None:
        conditions = [request.pop(name, None) for name in ("HTTP_IF_NONE_MATCH", "HTTP_IF_MATCH")]
        return 501 if refuses and any(conditions) else None

    bucket.meets = without
    with alone(result_folder(INTO), **QUICK) as check:
        check()
        assert "has no conditional writes, so nothing keeps a second run out" in caplog.text
    assert bucket.listed() == []


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["gs", "az"])
def test_other_clouds_have_conditions_of_their_own(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    pytest.importorskip("obstore", reason="buckets need obstore")
    objects = dict[str, bytes]()
    with other_clouds.serve(monkeypatch, objects):
        results = result_folder(f"{scheme}://pictures/out")
        with alone(results, **QUICK) as check:
            time.sleep(1)
            check()
            assert json.loads(objects[LOCK])["beats"] > 2, "renewed"
            with pytest.raises(InputError, match="is at work in it"), alone(results, **QUICK):
                pytest.fail("both are in")
        assert objects == {}
        results.remove("gone")
        objects[LOCK] = b"of a run that was killed"
        with alone(results, **QUICK) as check:
            check()
            objects[LOCK] = b"of one that took it over"
        assert objects == {LOCK: b"of one that took it over"}
