"""The pool on real Ray: three raylets on this machine, and whatever ends their processes."""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.cluster_jobs import Acting, Numbers

from zsclip.cluster.pool import Again, Done, Event, Joined, Left, Lost, Pool, PoolSettings
from zsclip.cluster.ray import RayCluster
from zsclip.errors import InputError, ZsclipError

pytest.importorskip("ray")
pytestmark = pytest.mark.slow

NODE = {"num_cpus": 1, "object_store_memory": 80 << 20, "node_ip_address": "127.0.0.1", "include_dashboard": False}
TESTS, REPOSITORY = Path(__file__).parents[1], Path(__file__).parents[2]
ENVIRONMENT = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # else Ray takes the network card's address
    "RAY_USAGE_STATS_ENABLED": "0",
    "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{TESTS}",
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """One node for the driver without processors, and two to work on."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        patch.delenv("RAY_ADDRESS", raising=False)
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
    added = cluster.add_node(**NODE)

    def meddle(event: Event) -> None:
        if isinstance(event, Done):
            done.append(event)
            if len(done) == 6:
                os.kill(pids(tmp_path)[0], signal.SIGKILL)
            elif len(done) == 12:
                cluster.remove_node(added, allow_graceful=False)
            elif len(done) == 20:
                cluster.add_node(**NODE)

    events = run(RayCluster(cluster.address, Acting(tmp_path, seconds=0.4)), 70, meddle)
    assert parts_in(tmp_path) == set(range(70))
    assert sorted(event.outcome.part for event in those(events, Done)) == list(range(70))
    assert not those(events, Lost)
    assert "its node left" in [event.why for event in those(events, Left)]
    assert len({event.node for event in those(events, Joined)}) == 4
    # A node's end is nobody's fault; one part was done when its worker was killed.
    assert [int(event.task.way) for event in those(events, Again)].count(1) <= 1


def test_weights_that_nodes_lack_are_taken_once_and_kept_whole(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from zsclip.cluster import ray_actor
    from zsclip.models.weights import fingerprint

    weights = tmp_path / "driver" / "weights.pt"
    weights.parent.mkdir()
    weights.write_bytes(os.urandom(ray_actor.PIECE * 2 + 17))
    key = fingerprint(weights).key
    job = Acting(tmp_path, weights=weights, weights_key=key)
    run(RayCluster(cluster.address, job), 4)
    assert {line.split()[3] for line in (tmp_path / "opened").read_text().splitlines()} == {str(weights)}

    # Another file on the nodes: the job says a path that leads elsewhere there, the driver's actor of pieces has them.
    (tmp_path / "opened").unlink()
    engine = RayCluster(cluster.address, job)
    elsewhere = replace(job, weights=tmp_path / "node" / "weights.pt")
    engine._payload = __import__("ray").put(pickle.dumps(elsewhere))
    elsewhere.weights.parent.mkdir()
    elsewhere.weights.write_bytes(b"another model")
    weights.rename(weights.with_name("kept"))
    weights.with_name("kept").rename(elsewhere.weights.with_name("offered.pt"))
    engine.close()


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
