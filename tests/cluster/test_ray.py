"""The pool on real Ray: three raylets on this machine, and whatever ends their processes."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.cluster_jobs import Acting, Numbers

from zsclip.cluster.part_file import read_part
from zsclip.cluster.pool import Again, Done, Event, Joined, Left, Lost, Pool, PoolSettings
from zsclip.cluster.ray import RayCluster
from zsclip.cluster.ray_actor import PIECE, Pieces
from zsclip.cluster.results import LocalFolder
from zsclip.cluster.shipping import weights_here
from zsclip.errors import InputError, ZsclipError
from zsclip.models.weights import fingerprint

pytestmark = pytest.mark.slow

NODE = {"num_cpus": 1, "object_store_memory": 80 << 20, "node_ip_address": "127.0.0.1", "include_dashboard": False}
TESTS, REPOSITORY = Path(__file__).parents[1], Path(__file__).parents[2]
ENVIRONMENT = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # else Ray takes the network card's address
    "RAY_USAGE_STATS_ENABLED": "0",
    "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{TESTS}",
}
FATAL = {"PYTHONPATH": f"{TESTS / 'support' / 'fatal_site'}{os.pathsep}{ENVIRONMENT['PYTHONPATH']}"}  # for actors


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """One node for the driver without processors, and two to work on."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (ENVIRONMENT | FATAL).items():  # before Ray is imported
            patch.setenv(name, value)
        patch.delenv("RAY_ADDRESS", raising=False)
        pytest.importorskip("ray")
        from ray.cluster_utils import Cluster

        made = Cluster(initialize_head=True, head_node_args={**NODE, "num_cpus": 0})
        try:
            for _ in range(2):
                made.add_node(**NODE)
            yield made
        finally:
            made.shutdown()


def run(
    engine: RayCluster, parts: int, meanwhile: Callable[[Event], object] = lambda event: None, **settings: Any
) -> list[Event]:
    events = []
    for event in Pool(engine, Numbers(parts), PoolSettings(**settings)).events():
        events.append(event)
        meanwhile(event)
    return events


def those(events: list[Event], kind: type) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def parts_in(folder: Path) -> set[int]:
    return {int(path.name.removeprefix("part-")) for path in folder.glob("part-*")}


def pids(folder: Path) -> list[int]:
    return [int(line.split()[0]) for line in (folder / "opened").read_text().splitlines()]


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def wait_until(fact: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_parts_that_crash_raise_hang_or_cannot_be_written_are_told_and_all_others_done(
    cluster: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    deeds = {2: "1 crash", 4: "1 raise", 6: "1 hang", 8: "1 full", 10: "raise"}
    engine = RayCluster(cluster.address, Acting(tmp_path, deeds))
    events = run(engine, 30, part_timeout=2)
    assert parts_in(tmp_path) == set(range(30)) - {10}
    assert sorted(event.outcome.part for event in those(events, Done)) == sorted(parts_in(tmp_path))
    why = {event.task.part: event.why for event in those(events, Again)}
    assert why[2] == "its process crashed, or was killed, perhaps for want of memory"
    assert why[4] == "ValueError: bad luck"
    assert why[6] == "took longer than 2 s"
    assert why[8] == "`into=out`: cannot be written: No space left on device."
    (lost,) = those(events, Lost)
    assert (lost.task.part, lost.why) == (10, "ValueError: bad luck")
    assert len({event.node for event in those(events, Joined)}) == 2  # none on the head, which has no processor
    opened = [line.split() for line in (tmp_path / "opened").read_text().splitlines()]
    assert {(cpus, threads) for _, cpus, threads, _ in opened} == {("1", "1")}
    wait_until(lambda: not any(map(is_running, pids(tmp_path))))
    assert capfd.readouterr() == ("", "")


def test_a_killed_actor_a_removed_and_an_added_node_leave_no_part_undone(cluster: Any, tmp_path: Path) -> None:
    done: list[Done] = []
    joined: list[Joined] = []
    added = cluster.add_node(**NODE)

    def meddle(event: Event) -> None:
        if isinstance(event, Done):
            done.append(event)
            if len(done) == 6:
                os.kill(pids(tmp_path)[0], signal.SIGKILL)
        elif isinstance(event, Joined):
            joined.append(event)
            if len(joined) == 4:  # the killed one's successor is there, wherever it is
                cluster.remove_node(added, allow_graceful=False)
                cluster.add_node(**NODE)

    events = run(RayCluster(cluster.address, Acting(tmp_path, seconds=0.6)), 120, meddle)
    assert parts_in(tmp_path) == set(range(120))
    assert sorted(event.outcome.part for event in those(events, Done)) == list(range(120))
    assert not those(events, Lost)
    assert "its node left" in [event.why for event in those(events, Left)]
    assert len({event.node for event in those(events, Joined)}) == 4, events
    # A node's end is nobody's fault; one part was done when its worker was killed.
    assert [int(event.task.way) for event in those(events, Again)].count(1) <= 1


def test_weights_that_a_node_lacks_are_taken_once_and_kept_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four actors on a node, all of whose files are the driver's, ask at once for weights that are only in the offer."""
    monkeypatch.setenv("ZSCLIP_CACHE_DIR", str(tmp_path / "cache"))
    weights = tmp_path / "weights.pt"
    weights.write_bytes(os.urandom(PIECE * 2 + 17))
    key = fingerprint(weights).key

    class Offer:
        asked = 0

        def names(self, checkpoint: Path) -> list[tuple[str, int]]:
            Offer.asked += 1
            return Pieces().names(str(weights))

        def read(self, checkpoint: Path, name: str, size: int) -> Iterator[bytes]:
            for start in range(0, size, PIECE):
                yield Pieces().piece(str(weights), name, start)

    lacking = tmp_path / "elsewhere" / "weights.pt"
    lacking.parent.mkdir()
    for other in (b"", b"another model"):
        if other:
            lacking.write_bytes(other)
        assert weights_here(lacking, key, None) is None
    with ThreadPoolExecutor(4) as threads:
        found = set(threads.map(lambda _: weights_here(lacking, key, Offer()), range(4)))
    (kept,) = found
    assert kept is not None
    assert kept.read_bytes() == weights.read_bytes()
    assert Offer.asked == 1
    assert weights_here(weights, key, None) == weights
    assert [path.name for path in kept.parent.iterdir()] == ["weights.pt"]


def test_pieces_travel_through_the_object_store(cluster: Any, tmp_path: Path) -> None:
    """One machine has one file, so the actors' is another than the key says until they ask the driver's actor, which reads `offered`."""
    weights, offered = tmp_path / "weights.pt", tmp_path / "offered" / "weights.pt"
    offered.parent.mkdir()
    offered.write_bytes(os.urandom(PIECE * 2 + 17))
    weights.write_bytes(b"another model")
    engine = RayCluster(cluster.address, Acting(tmp_path, weights=weights, weights_key=fingerprint(offered).key))
    import ray

    class Offering(Pieces):
        def names(self, checkpoint: str) -> list[tuple[str, int]]:
            return super().names(str(offered))

        def piece(self, checkpoint: str, name: str, start: int) -> bytes:
            return super().piece(str(offered), name, start)

    engine._pieces = ray.remote(Offering).options(num_cpus=0).remote()
    run(engine, 4)
    for path in {Path(line.split()[3]) for line in (tmp_path / "opened").read_text().splitlines()}:
        assert path not in (weights, offered)
        assert path.read_bytes() == offered.read_bytes()
        shutil.rmtree(path.parent)  # a folder of the node's own, which was started with another environment


def test_what_keeps_workers_from_starting_is_said_once(cluster: Any, tmp_path: Path) -> None:
    with pytest.raises(ZsclipError, match=r"127.0.0.1.*/pictures: this machine has no such folder\. Share it\."):
        run(RayCluster(cluster.address, Acting(tmp_path, opening="lack")), 5)
    with pytest.raises(ZsclipError, match="no worker could start or stay: its process crashed"):
        run(RayCluster(cluster.address, Acting(tmp_path, opening="crash")), 5, start_pauses=(0,))
    with pytest.raises(
        InputError, match=r"no node of the cluster has 1 GPU\. The largest have 1 processors and 0 GPUs\."
    ):
        RayCluster(cluster.address, Acting(tmp_path), gpus_per_actor=1)
    with pytest.raises(InputError, match="no node of the cluster has 64 processors"):
        RayCluster(cluster.address, Acting(tmp_path), cpus_per_actor=64)


def test_a_cluster_that_cannot_be_joined_is_said_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="ray job submit"):
        RayCluster("ray://127.0.0.1:10001", Acting(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(InputError, match=rf"no cluster answers at 127\.0\.0\.1:{port} \(Connection refused\)"):
        RayCluster(f"127.0.0.1:{port}", Acting(tmp_path))
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
    with pytest.raises(InputError, match=r"`cluster=auto`: no cluster answers"):
        RayCluster("auto", Acting(tmp_path))
    for wrong in ("somewhere", "127.0.0.1:port"):
        with pytest.raises(InputError, match="is no address of a cluster"):
            RayCluster(wrong, Acting(tmp_path))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_driver_that_is_ended_leaves_nothing_running(cluster: Any, tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "support.cluster_jobs", str(tmp_path), "auto", "1000", "0.2"]
    environment = {**os.environ, **ENVIRONMENT, "RAY_ADDRESS": cluster.address}
    with subprocess.Popen(
        command, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as driver:
        wait_until(lambda: len(parts_in(tmp_path)) > 3)
        driver.send_signal(number)
        said = driver.communicate(timeout=10)[0]
        assert driver.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}[number], said
        assert said == b""
    wait_until(lambda: not any(map(is_running, pids(tmp_path))), seconds=10)


def zsclip(folder: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "zsclip", *arguments, "-m", "demo", "--cache-dir", str(folder / "store")]


def test_a_command_gives_the_same_parts_as_one_process_but_for_pictures_that_end_theirs(
    cluster: Any, tmp_path: Path, demo_folder: Path
) -> None:
    (tmp_path / "photos").mkdir()
    for number, picture in enumerate(sorted((demo_folder / "scenes").rglob("*.png"))[:26]):
        name = {7: "crash.png", 21: "exit.png"}.get(number, f"{number:02}.png")
        shutil.copy(picture, tmp_path / "photos" / name)
    command = zsclip(tmp_path, "classify", "photos", "-l", "red circle,blue star", "--part-size", "6")
    environment = {**os.environ, **ENVIRONMENT}
    for into, more, code in (("one", (), 0), ("three", ("--cluster", cluster.address), 3)):
        run = subprocess.run(
            [*command, "--into", into, *more],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (run.returncode, run.stdout) == (code, ""), run.stderr
    assert "2 of 26 could not be read (2 damaged). Why is in three/errors-*.parquet." in run.stderr
    assert "Traceback" not in run.stderr
    assert not list((tmp_path / "three").rglob(".zsclip-partial-*")), "what was half written when its writer was killed"
    errors = {}
    for number in range(5):
        table, found = read_part(LocalFolder(str(tmp_path / "three")), number)
        errors |= {Path(one.path).name: one.error for one in found}
        one = read_part(LocalFolder(str(tmp_path / "one")), number)[0]
        one = one.filter([path not in {one.path for one in found} for path in one.column("path").to_pylist()])
        for column in ("path", "place", "label"):
            assert table.column(column).to_pylist() == one.column(column).to_pylist()
        vectors, others = (np.array(some.column("vector").to_pylist()) for some in (table, one))
        np.testing.assert_allclose(vectors, others, atol=1e-6)
    assert errors == {
        "crash.png": "it ended the process that read it (SIGSEGV)",
        "exit.png": "it ended the process that read it (exit code 7)",
    }


def test_a_cluster_of_its_own_goes_with_a_killed_command(tmp_path: Path, demo_folder: Path) -> None:
    pytest.importorskip("ray")
    command = zsclip(tmp_path, "embed", str(demo_folder / "scenes"), "--into", "out", "--part-size", "1")
    with subprocess.Popen(
        [*command, "--cluster", "local", "-q"], cwd=tmp_path, env={**os.environ, **ENVIRONMENT}
    ) as driver:
        wait_until(lambda: len(list((tmp_path / "out").glob("part-*"))) > 1, 60)
        assert processes_of_session(driver.pid)
        driver.kill()
    wait_until(lambda: not processes_of_session(driver.pid), 20)


def processes_of_session(driver: int) -> list[str]:
    """What runs for the cluster that a process started: Ray calls its folder by that."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if re.search(rf"/session_[\d_-]+_{driver}\b", line):
                found.append(line)
    return found
