"""The pool on real Ray: many actors that sleep as long as a part takes, some parts crashing; and very many very short parts.

    python -m benchmarks.pool --actors 100 --parts 1500 --seconds 20 --crashing 0.05
    python -m benchmarks.pool --actors 2 --parts 100000 --seconds 0

Everything stays on 127.0.0.1. Prints seconds from the moment that all actors are ready, the share of the ideal throughput (every actor at
work all the time; a part that crashes does so at once and is then done once), the longest that an actor had nothing to do while there
were parts, and the driver's memory (RSS, at the beginning and at most).
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

os.environ.update(RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0", RAY_USAGE_STATS_ENABLED="0")
os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])

from benchmarks.pool_job import Numbers, Sleeping
from zsclip.cluster.engine import Died, Happening, NotReady, Ready
from zsclip.cluster.job import Task
from zsclip.cluster.pool import Again, Done, Lost, Pool, PoolSettings, Tick
from zsclip.cluster.ray import RayCluster


@dataclass
class Watched:
    """An engine, and how long its workers had nothing to do."""

    engine: RayCluster
    longest: float = 0.0

    def __post_init__(self) -> None:
        self._since: dict[int, float] = {}
        self.places, self.start, self.close = self.engine.places, self.engine.start, self.engine.close

    def give(self, worker: int, task: Task) -> None:
        self.longest = max(self.longest, time.monotonic() - self._since.pop(worker, time.monotonic()))
        self.engine.give(worker, task)

    def wait(self, seconds: float) -> Sequence[Happening]:
        told = self.engine.wait(seconds)
        for one in told:
            if isinstance(one, Died | NotReady):
                self._since.pop(one.worker, None)
            elif not isinstance(one, Ready):
                self._since[one.worker] = time.monotonic()
        return told

    def end(self, worker: int) -> None:
        self._since.pop(worker, None)
        self.engine.end(worker)


def rss() -> float:
    """MB now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--actors", type=int, default=100)
    parser.add_argument("--parts", type=int, default=1500)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--crashing", type=float, default=0.0)
    given = parser.parse_args()
    begun = time.monotonic()
    engine = Watched(RayCluster("local", Sleeping(given.seconds, given.crashing), given.actors))
    tasks = Numbers(given.parts, ready=given.seconds == 0)
    counts: Mapping[type, int] = {Done: 0, Again: 0, Lost: 0}
    counts = dict(counts)
    started = first = 0.0
    for event in Pool(engine, tasks, PoolSettings()).events():
        if type(event) in counts:
            counts[type(event)] += 1
        if isinstance(event, Tick) and not started and event.ready == event.places:
            tasks.ready, started, first = True, time.monotonic(), rss()
            print(f"{event.ready} actors ready after {started - begun:.1f} s", flush=True)
    took = time.monotonic() - started
    ideal = given.parts * given.seconds / given.actors
    print(f"{counts[Done]} parts done, {counts[Again]} tried again, {counts[Lost]} lost, in {took:.1f} s")
    if ideal:
        print(f"{100 * ideal / took:.1f} % of the ideal throughput ({ideal:.1f} s)")
    print(f"an actor had nothing to do for {1000 * engine.longest:.0f} ms at most")
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    print(f"driver: {first:.0f} MB at the beginning, {most:.0f} MB at most, {rss():.0f} MB at the end")


if __name__ == "__main__":
    main()
