"""A run on a Ray cluster of three raylets, with every fault at a random moment: what becomes of the pictures, and what it costs.

    python -m benchmarks.faults [--tries 5] [--pictures 600] [--only "actor killed"]

Each time: `zsclip embed ... --into OUT --cluster ...`, the fault, and where the driver ended by it the same command again. Then: every
picture is in a row or an error, once; vectors are within 1e-6 of those of one process; nothing half lies about. Printed for each fault:
tries that were whole, parts that were begun again (as the driver tells them with -v), finished parts that were written again, and seconds
more than the median of undisturbed runs. Everything stays on 127.0.0.1; a full disk needs root, for a small file system in memory.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[1]
os.environ.update(RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0", RAY_USAGE_STATS_ENABLED="0")
os.environ.pop("RAY_ADDRESS", None)
sys.path.insert(0, str(REPOSITORY / "tests"))

import numpy as np  # noqa: E402
import pytest  # noqa: E402
from support.s3_server import serve  # noqa: E402

from zsclip.cluster.part_file import done_parts, read_part, vectors_of  # noqa: E402
from zsclip.cluster.results import ResultFolder, result_folder  # noqa: E402
from zsclip.demo.scenes import PAIRS, draw, random_scene  # noqa: E402

NODE = {"num_cpus": 1, "object_store_memory": 80 << 20, "node_ip_address": "127.0.0.1", "include_dashboard": False}
PART = 10
# Some names end the process that opens them; the model's weights do while the file ends_starts says so.
SITE = """
import os, sys
def look(event, facts):
    if event != "open" or not isinstance(facts[0], (str, bytes)):
        return
    name = os.path.basename(os.fsdecode(facts[0]))
    if name.startswith("crash"):
        os.kill(os.getpid(), 11)
    if name.startswith("exit"):
        os._exit(7)
    if name.endswith(".safetensors") and os.path.exists({marker!r}):
        os._exit(9)
sys.addaudithook(look)
"""


@dataclass
class Place:
    """Where it all happens."""

    folder: Path
    cluster: Any
    environment: dict[str, str]
    bucket: Any
    moment: float = 0.0
    pictures: dict[str, np.ndarray[Any, Any]] = field(default_factory=dict)

    def driver(self, source: str, into: str, *more: str) -> subprocess.Popen[str]:
        command = [
            sys.executable,
            "-m",
            "zsclip",
            "embed",
            source,
            "-m",
            "demo",
            "--engine",
            "openvino",
            "--into",
            into,
        ]
        command += ["--part-size", str(PART), "--cluster", self.cluster.address, "-v", *more]
        return subprocess.Popen(command, cwd=self.folder, env=self.environment, stderr=subprocess.PIPE, text=True)

    def actors(self) -> list[int]:
        """The processes of the actors that do parts."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if (entry / "cmdline").read_bytes().startswith(b"ray::Actor"):
                    found.append(int(entry.name))
        return found


@dataclass
class Seen:
    """What came of a try."""

    seconds: float
    working: float  # of these, from the first parts on
    again: int
    rewritten: int
    faults: list[str]


def attempt(
    place: Place, number: int, fault: Callable[[Place, Path | str, Any], object], source: str, into: str | None
) -> Seen:
    where: str = into or str(place.folder / f"out {number}")
    results = result_folder(where)
    started = time.monotonic()
    driver, told = place.driver(source, where), list[str]()
    reading = threading.Thread(target=lambda: told.extend(driver.stderr or ()), daemon=True)
    reading.start()
    wait_for_parts(results, 2, driver)
    began = time.monotonic()
    time.sleep(random.uniform(0, place.moment))
    fault(place, where, driver)
    stamps = {one: stamp(results, one) for one in done_parts(results)} if driver.poll() is not None else {}
    code = driver.wait(timeout=300)
    reading.join(5)
    times = 1
    while code not in (0, 3) and times < 5:
        stamps = stamps or {one: stamp(results, one) for one in done_parts(results)}
        driver = place.driver(source, where)
        told += driver.stderr or ()
        code, times = driver.wait(timeout=300), times + 1
    seconds, working = time.monotonic() - started, time.monotonic() - began
    again = sum("it is tried again" in line for line in told)
    rewritten = sum(stamp(results, one) != before for one, before in stamps.items())
    wrong = check(place, results, source)
    if wrong or code not in (0, 3):
        wrong = [f"exit code {code}", *wrong, *told[-3:]]
    return Seen(seconds, working, again, rewritten, wrong)


def stamp(results: ResultFolder, part: int) -> int:
    path = Path(results.path(f"part-{part:05d}.parquet"))
    return path.stat().st_mtime_ns if path.exists() else 0


def wait_for_parts(results: ResultFolder, count: int, driver: subprocess.Popen[str]) -> None:
    while sum(1 for _ in done_parts(results)) < count and driver.poll() is None:
        time.sleep(0.02)


def check(place: Place, results: ResultFolder, source: str) -> list[str]:
    """What is wrong with the results."""
    wrong, seen = list[str](), dict[str, int]()
    wanted = {str(path.relative_to(place.folder)) for path in (place.folder / source).iterdir()}
    for number in sorted(done_parts(results)):
        table, errors = read_part(results, number)
        names = table.column("path").to_pylist()
        vectors = [vector for batch in table.to_batches() for vector in vectors_of(batch)]
        for name, vector in zip(names, vectors, strict=True):
            seen[name] = seen.get(name, 0) + 1
            if float(np.abs(vector - place.pictures[Path(name).name]).max()) > 1e-6:
                wrong.append(f"{name}: another vector")
        for one in errors:
            seen[one.path] = seen.get(one.path, 0) + 1
            if not Path(one.path).name.startswith(("crash", "exit")):
                wrong.append(f"{one.path}: {one.error}")
    wrong += [f"{name}: {seen.get(name, 0)} times" for name in wanted | seen.keys() if seen.get(name, 0) != 1]
    if "_SUCCESS" not in results:
        wrong.append("no _SUCCESS")
    wrong += [f"{path} is half" for path in Path(results.name).rglob("*") if path.name.startswith(".")]
    return wrong


def kill_actor(place: Place, where: Path | str, driver: Any) -> None:
    if actors := place.actors():
        os.kill(random.choice(actors), signal.SIGKILL)


def end_driver(number: int) -> Callable[[Place, Path | str, Any], None]:
    def end(place: Place, where: Path | str, driver: Any) -> None:
        driver.send_signal(number)
        driver.wait(timeout=20)
        deadline = time.monotonic() + 10
        while place.actors() and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not place.actors(), "actors outlived the driver"

    return end


def add_and_remove(place: Place, where: Path | str, driver: Any) -> None:
    place.cluster.remove_node(next(iter(place.cluster.worker_nodes)), allow_graceful=False)
    place.cluster.add_node(**NODE)


def add(place: Place, where: Path | str, driver: Any) -> None:
    added = place.cluster.add_node(**NODE)
    driver.wait(timeout=300)
    place.cluster.remove_node(added)


def second_driver(place: Place, where: Path | str, driver: Any) -> None:
    other = place.driver("plain", str(where))
    said = other.communicate(timeout=60)[1]
    if "all were there" not in said:  # the first was done meanwhile
        assert other.returncode == 1, said
        assert "another zsclip is at work in it" in said, said


def fail_starts(place: Place, where: Path | str, driver: Any) -> None:
    """An actor is killed, and what takes its place cannot start, for three seconds."""
    marker = place.folder / "ends_starts"
    marker.touch()
    kill_actor(place, where, driver)
    time.sleep(3)
    marker.unlink()


def fill_disk(place: Place, where: Path | str, driver: Any) -> None:
    hog = Path(where).parent / "hog"
    with suppress(OSError), hog.open("wb") as file:
        while True:
            file.write(bytes(1 << 16))
            file.flush()
    time.sleep(8)
    hog.unlink()


FAULTS: dict[str, tuple[str, Callable[[Place, Path | str, Any], object]]] = {
    "none": ("plain", lambda place, where, driver: None),
    "actor killed": ("plain", kill_actor),
    "decoder crash": ("crashing", lambda place, where, driver: None),
    "picture that ends its process": ("exiting", lambda place, where, driver: None),
    "constructor fails": ("plain", fail_starts),
    "node removed, another added": ("plain", add_and_remove),
    "node added": ("plain", add),
    "driver SIGKILL": ("plain", end_driver(signal.SIGKILL)),
    "driver SIGINT": ("plain", end_driver(signal.SIGINT)),
    "driver SIGTERM": ("plain", end_driver(signal.SIGTERM)),
    "two drivers at once": ("plain", second_driver),
    "full disk": ("plain", fill_disk),
    "bucket answers 503 for ten seconds": ("plain", lambda place, where, driver: None),
}


def material(folder: Path, count: int) -> None:
    """Pictures under `plain`; `crashing` and `exiting` have the same, one of them under a name that ends processes."""
    rng = random.Random(16)
    for name in ("plain", "crashing", "exiting"):
        (folder / name).mkdir()
    for number in range(count):
        path = folder / "plain" / f"{number:05}.png"
        draw(random_scene(rng, PAIRS[number % 64]), rng, (320, 240)).save(path)
        for name, fatal in (("crashing", "crash"), ("exiting", "exit")):
            os.link(path, folder / name / (f"{fatal}{path.name}" if number == count // 2 else path.name))


@contextmanager
def small_disk(folder: Path) -> Iterator[str]:
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)], check=True)
    try:
        yield str(folder / "out")
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def busy_bucket(place: Place, number: int) -> str:
    """In the bucket, which answers 503 for ten seconds once some parts are in it."""
    since = list[float]()

    def meets(request: dict[str, Any]) -> int | None:
        if "part-00004" in str(request["PATH_INFO"]) and request["REQUEST_METHOD"] == "PUT" and not since:
            since.append(time.monotonic())
        return 503 if since and time.monotonic() - since[0] < 10 else None

    place.bucket.meets = meets
    return f"s3://pictures/run{number}"


def tried(place: Place, name: str, number: int) -> Seen:
    source, fault = FAULTS[name]
    if name == "full disk":
        with small_disk(place.folder / f"disk {number}") as into:
            return attempt(place, number, fault, source, into)
    if name.startswith("bucket"):
        return attempt(place, number, fault, source, busy_bucket(place, number))
    return attempt(place, number, fault, source, None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tries", type=int, default=5)
    parser.add_argument("--pictures", type=int, default=600)
    parser.add_argument("--only")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as where:
        folder = Path(where)
        material(folder, args.pictures)
        (folder / "site").mkdir()
        (folder / "site" / "sitecustomize.py").write_text(SITE.format(marker=str(folder / "ends_starts")))
        # The server is there before the cluster, so that no process of that knows another.
        with pytest.MonkeyPatch.context() as patch, serve(patch) as bucket:
            environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "ZSCLIP_CACHE_DIR": str(folder / "store")}
            one = [
                sys.executable,
                "-m",
                "zsclip",
                "embed",
                "plain",
                "-m",
                "demo",
                "--engine",
                "openvino",
                "--into",
                "one",
            ]
            subprocess.run([*one, "-q"], cwd=folder, env=environment, check=True)
            os.environ.update(environment, PYTHONPATH=f"{folder / 'site'}{os.pathsep}{REPOSITORY}")
            from ray.cluster_utils import Cluster

            cluster = Cluster(initialize_head=True, head_node_args={**NODE, "num_cpus": 0})
            try:
                for _ in range(2):
                    cluster.add_node(**NODE)
                place = Place(folder, cluster, environment, bucket)
                place.pictures = vectors_in(folder / "one")
                for name in ("crash", "exit"):
                    number = f"{args.pictures // 2:05}.png"
                    place.pictures[f"{name}{number}"] = place.pictures[number]
                run(place, args.tries, args.only)
            finally:
                cluster.shutdown()


def vectors_in(out: Path) -> dict[str, np.ndarray[Any, Any]]:
    """The vectors of a run of one part, by the pictures' names."""
    table, _ = read_part(result_folder(out), 0)
    vectors = (vector for batch in table.to_batches() for vector in vectors_of(batch))
    return {Path(path).name: vector for path, vector in zip(table.column("path").to_pylist(), vectors, strict=True)}


def run(place: Place, tries: int, only: str | None) -> None:
    usual = 0.0
    print(f"{'fault':<36}{'whole':>7}{'begun again':>13}{'rewritten':>11}{'seconds more':>22}", flush=True)
    for name in FAULTS:
        if only and name not in (only, "none"):
            continue
        seen = []
        for number in range(tries):
            seen.append(tried(place, name, number))
            shutil.rmtree(place.folder / f"out {number}", ignore_errors=True)
        seconds = [one.seconds for one in seen]
        if name == "none":
            usual = statistics.median(seconds)
            place.moment = 0.8 * min(one.working for one in seen)
        more = [one - usual for one in seconds]
        spread = f"{statistics.median(more):.1f} ({min(more):.1f} to {max(more):.1f})"
        whole = sum(not one.faults for one in seen)
        again, rewritten = max(one.again for one in seen), sum(one.rewritten for one in seen)
        print(f"{name:<36}{f'{whole}/{tries}':>7}{f'at most {again}':>13}{rewritten:>11}{spread:>22}", flush=True)
        for one in seen:
            for fault in one.faults:
                print(f"    {re.sub(chr(10), ' ', fault)}", flush=True)
    print(f"An undisturbed run took {usual:.1f} s.")


if __name__ == "__main__":
    main()
