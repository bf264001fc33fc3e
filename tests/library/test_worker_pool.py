"""Decoding in worker processes: the same pixels, and no crash, hang or death of anyone takes more than its image."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.cli import Cli
from support.corpus import corpus, picture, saved, slow_jpeg
from support.memory import memory_of
from support.processes import run_zsclip, start_python, with_support

from zsclip import ImageError, InputError, ModelError
from zsclip.images.decoding import pixels, turn_of_big_images
from zsclip.images.preprocessing import Preprocessing
from zsclip.images.reading import Reading
from zsclip.images.worker_pool import MOST_SECONDS, IsolatedDecoder

pytestmark = pytest.mark.slow

WANTED = Preprocessing(size=(48, 64))
posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def outcome(decode, data: bytes) -> tuple[str, object]:
    try:
        image, reduced = decode(data)
    except ImageError as error:
        return "error", str(error)
    return str(reduced), image.tobytes()


def children(parent: int) -> list[int]:
    """The workers of a process, by the environment Linux shows of them."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if int(fields[1]) == parent and fields[0] != "Z" and b"zsclip.images.worker_pool" in command:
                found.append(int(entry.name))
    return found


def resident(process: int) -> float:
    """MiB; 0 for one that has ended."""
    try:
        return memory_of(process)
    except OSError:
        return 0


def is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("full", [False, True])
def test_pixels_and_errors_are_those_of_the_process_itself(full: bool) -> None:
    files = [one.data for one in corpus() if one.kind != "bits flipped" and len(one.data) < 1_000_000]
    files = [*files[:: 1 if not full else 10], saved(picture((1600, 1200)), "JPEG")]
    with IsolatedDecoder(WANTED, full=full) as isolated:
        for data in files:
            assert outcome(isolated, data) == outcome(lambda one: pixels(one, WANTED, full=full), data)


def test_limits_hold_in_workers_too() -> None:
    with IsolatedDecoder(WANTED, max_pixels=100) as isolated:
        with pytest.raises(ImageError, match="more than 100"):
            isolated(saved(picture((11, 10))))
        assert isolated(saved(picture((10, 10))))[0].shape == (48, 64, 3)


def test_what_takes_too_long_is_an_error_and_the_next_is_decoded() -> None:
    with IsolatedDecoder(WANTED, seconds=1) as isolated:
        started = time.monotonic()
        with pytest.raises(ImageError, match="decoding took longer than 1 s"):
            isolated(slow_jpeg())
        assert time.monotonic() - started < 20  # it would take minutes
        assert isolated(saved(picture()))[0].shape == (48, 64, 3)


CRASHING = """
# Run at the start of every Python: a decoder with a fault, as native decoders have had.
import ctypes
from PIL import QoiImagePlugin
QoiImagePlugin.QoiDecoder.decode = lambda *_: ctypes.string_at(0)
"""


@linux
def test_big_images_take_turns_among_workers_too() -> None:
    """Each worker had a turn of its own: four pictures of 96 megapixels took 3.5 GB instead of 1.8."""
    image = saved(Image.new("RGB", (8000, 6000)), "PNG")
    with IsolatedDecoder(WANTED) as isolated, ThreadPoolExecutor(4) as pool:
        list(pool.map(isolated, [saved(picture()) + bytes(10_000_000)] * 8))
        workers = children(os.getpid())
        idle, peak = sum(map(resident, workers)), 0.0
        assert len(workers) > 1
        waiting = [pool.submit(isolated, image) for _ in range(8)]
        while not all(one.done() for one in waiting):
            peak = max(peak, sum(map(resident, children(os.getpid()))))
        assert len({one.result()[0].tobytes() for one in waiting}) == 1
    # MiB; one takes 190, and may be counted in two or three workers, which are looked at one after the other. Four took 718.
    assert 150 < peak - idle - 60 * (4 - len(workers)) < 600


@posix
def test_waiting_for_its_turn_does_not_count_against_a_picture() -> None:
    image = saved(Image.new("RGB", (7000, 6000)), "PNG")
    with IsolatedDecoder(WANTED, seconds=3) as isolated, ThreadPoolExecutor(2) as pool:
        with turn_of_big_images:
            waiting = pool.submit(isolated, image)
            small = pool.submit(isolated, saved(picture()))
            assert small.result()[0].shape == (48, 64, 3)
            time.sleep(4)
            assert not waiting.done()
        assert waiting.result()[0].shape == (48, 64, 3)


@pytest.mark.parametrize("seconds", ["inf", "nan", "1e10", "0", "-1"])
def test_a_time_limit_that_no_timer_bears_is_wrong_usage(cli: Cli, tmp_path: Path, seconds: str) -> None:
    """Threads ended with a traceback, and sound images with an error."""
    (tmp_path / "a.png").write_bytes(saved(picture()))
    run = cli("classify", tmp_path, "-m", "demo", "-l", "a,b", "--isolate", "--decode-timeout", seconds)
    assert run.code == 2
    assert "--decode-timeout" in run.err
    assert "Traceback" not in run.err
    with pytest.raises(ModelError, match="above 0 and at most a day"):
        Reading(isolate=True, decode_timeout=float(seconds))


def test_the_longest_time_limit_works() -> None:
    with IsolatedDecoder(WANTED, seconds=MOST_SECONDS) as isolated:
        assert isolated(saved(picture()))[0].shape == (48, 64, 3)


@pytest.fixture
def crashing(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path_factory.mktemp("site")
    (folder / "sitecustomize.py").write_text(CRASHING)
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)


@posix
@pytest.mark.usefixtures("crashing")
def test_a_decoder_that_crashes_is_an_error_of_its_image() -> None:
    with IsolatedDecoder(WANTED) as isolated:
        good, bad = saved(picture()), saved(picture(), "QOI")
        with ThreadPoolExecutor(3) as pool:
            outcomes = list(pool.map(lambda data: outcome(isolated, data), [good, bad, good, good, bad, good]))
    assert [kind for kind, _ in outcomes] == ["False", "error", "False", "False", "error", "False"]
    assert outcomes[1][1] == "its decoder crashed (SIGSEGV)"


@posix
@pytest.mark.usefixtures("crashing")
@pytest.mark.parametrize("isolate", [True, False])
def test_the_run_goes_on_after_a_crash(tmp_path: Path, isolate: bool) -> None:
    """Without --isolate the same file ends the run: the test can fail."""
    for number in range(40):
        (tmp_path / f"{number:02}.png").write_bytes(saved(picture((64 + number, 64))))
    (tmp_path / "20.qoi").write_bytes(saved(picture(), "QOI"))
    command = ["classify", tmp_path, "--model", "demo", "-l", "a,b", "-f", "jsonl"]
    run = run_zsclip(*command, *(["--isolate"] if isolate else []))
    if not isolate:
        assert run.returncode == -signal.SIGSEGV
        return
    assert run.returncode == 3, run.stderr
    rows = [json.loads(line) for line in run.stdout.splitlines()]
    assert len(rows) == 41
    assert {os.path.basename(row["path"]): row["error"] for row in rows if row["error"]} == {
        "20.qoi": "its decoder crashed (SIGSEGV)"
    }


@linux
def test_what_an_earlier_image_did_to_a_worker_is_not_held_against_the_next() -> None:
    with IsolatedDecoder(WANTED) as isolated:
        isolated(saved(picture()))
        (worker,) = children(os.getpid())
        os.kill(worker, signal.SIGKILL)
        assert isolated(saved(picture()))[0].shape == (48, 64, 3)


@linux
@pytest.mark.parametrize("stopped", [False, True])
def test_a_busy_or_stopped_worker_is_replaced(stopped: bool) -> None:
    with IsolatedDecoder(WANTED, seconds=2) as isolated:
        isolated(saved(picture()))
        (worker,) = children(os.getpid())
        if stopped:
            os.kill(worker, signal.SIGSTOP)
        with pytest.raises(ImageError, match="longer than 2 s"):
            isolated(slow_jpeg())
        assert not is_running(worker)


def test_workers_end_when_the_decoder_is_closed() -> None:
    isolated = IsolatedDecoder(WANTED)
    isolated(saved(picture()))
    (worker,) = isolated._idle
    isolated.close()
    assert worker._process.returncode is not None
    assert not isolated._idle


def test_a_worker_that_cannot_be_started_ends_the_run_with_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    isolated = IsolatedDecoder(WANTED)
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(InputError, match="no worker process can be started: No such file"):
        isolated(saved(picture()))
    monkeypatch.setattr(sys, "executable", "/bin/false")
    if os.path.exists("/bin/false"):
        with pytest.raises(InputError, match=r"a worker process ended at its start \(exit code 1\)"):
            isolated(saved(picture()))


@linux
@pytest.mark.parametrize(("end", "busy"), [("SIGKILL", True), ("SIGKILL", False), ("SIGTERM", True)])
def test_no_worker_outlives_its_parent(tmp_path: Path, end: str, busy: bool) -> None:
    (tmp_path / "a.jpg").write_bytes(slow_jpeg() if busy else saved(picture(), "JPEG"))
    (tmp_path / "b.jpg").write_bytes(slow_jpeg() if busy else saved(picture((77, 66)), "JPEG"))
    script = """
import sys, time
from zsclip.images.files import read_file
from zsclip.images.preprocessing import Preprocessing
from zsclip.images.worker_pool import IsolatedDecoder
from concurrent.futures import ThreadPoolExecutor
isolated = IsolatedDecoder(Preprocessing(), seconds=300)
with ThreadPoolExecutor(2) as pool:
    list(pool.map(lambda path: isolated(read_file(path)[0]), sys.argv[1:]))
time.sleep(300)
"""
    parent = start_python(script, tmp_path / "a.jpg", tmp_path / "b.jpg", stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: len(children(parent.pid)) >= (2 if busy else 1))
        time.sleep(1)
        workers = children(parent.pid)
        parent.send_signal(signal.Signals[end])
        parent.wait(20)
        wait_until(lambda: not any(map(is_running, workers)), 10)
    finally:
        parent.kill()


def test_it_works_from_a_script_without_a_main_guard(tmp_path: Path) -> None:
    """Processes that are spawned by `multiprocessing` would run the script again."""
    (tmp_path / "a.png").write_bytes(saved(picture()))
    (tmp_path / "numpy.py").write_text("raise SystemExit('what lies beside the pictures was run')")
    script = tmp_path / "sub" / "script.py"
    script.parent.mkdir()
    script.write_text(
        "from zsclip import Classifier\n"
        "print('started')\n"
        "classifier = Classifier.load('demo', use_cache=False, isolate=True)\n"
        "print([result.error for result in classifier.classify(['a.png'], ['red', 'blue'])])\n"
    )
    run = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert (run.stdout, run.returncode) == ("started\n[None]\n", 0), run.stderr


def test_it_works_in_a_process_of_multiprocessing(tmp_path: Path) -> None:
    script = """
import multiprocessing, sys
from support.corpus import picture, saved
def decode(data):
    from zsclip.images.preprocessing import Preprocessing
    from zsclip.images.worker_pool import IsolatedDecoder
    with IsolatedDecoder(Preprocessing()) as isolated:
        return isolated(data)[0].shape
if __name__ == "__main__":
    with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:
        print(pool.map(decode, [saved(picture())] * 2))
"""
    for method in ["spawn", "forkserver"] if sys.platform == "linux" else ["spawn"]:
        (tmp_path / "isolated.py").write_text(script)
        command = [sys.executable, tmp_path / "isolated.py", method]
        run = subprocess.run(command, env=with_support(), capture_output=True, text=True, check=False, timeout=60)
        assert run.stdout == "[(224, 224, 3), (224, 224, 3)]\n", run.stderr


def test_many_threads_share_it() -> None:
    files = [saved(picture((64 + number, 64))) for number in range(60)]
    expected = [pixels(data, WANTED)[0] for data in files]
    others = threading.active_count()  # of other tests in this process, some of which end later
    with IsolatedDecoder(WANTED) as isolated, ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda data: isolated(data)[0], files))
        assert len(isolated._idle) <= 6
        assert threading.active_count() < others + 20
    assert all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))


def test_isolated_and_not_the_command_prints_the_same(cli: Cli, demo_folder: Path) -> None:
    command = ["classify", demo_folder / "scenes", "--model", "demo", "-L", demo_folder / "labels.txt", "--no-cache"]
    plain, isolated = cli(*command), cli(*command, "--isolate")
    assert (isolated.code, isolated.out) == (plain.code, plain.out)
    assert cli(*command, "--decode-timeout", "0").code == 2
