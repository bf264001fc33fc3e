"""A job for pools whose parts do what their numbers say, without a model. Imported by actors, so it imports little."""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from zsclip.cluster.job import Advance, Outcome, Resources, Task, no_advance
from zsclip.errors import ZsclipError


@dataclass(frozen=True)
class Acting:
    """Writes a file for each part into `folder`, after what `deeds` says of it: `crash`, `kill`, `raise`, `hang`, `full`, a number of
    seconds; with a number before it (`2 crash`), for so many tries. `opening` is the same for its start.
    """

    folder: Path
    deeds: dict[int, str] = field(default_factory=dict)
    opening: str = ""
    seconds: float = 0.0
    weights: Path | None = None
    weights_key: str = ""

    def at(self, weights: Path) -> Acting:
        return replace(self, weights=weights)

    def open(self, resources: Resources) -> Actor:
        note(
            self.folder / "opened", f"{os.getpid()} {resources.cpus} {os.environ.get('OMP_NUM_THREADS')} {self.weights}"
        )
        act(self.opening)
        return Actor(self)


@dataclass
class Actor:
    job: Acting

    def run(self, task: Task, advance: Advance = no_advance) -> Outcome:
        note(self.job.folder / "tries", f"{task.part} {int(task.way)}")
        deed = self.job.deeds.get(task.part, "")
        if deed[:1].isdigit() and " " in deed:
            times, _, deed = deed.partition(" ")
            tried = (self.job.folder / "tries").read_text().split("\n").count(f"{task.part} {int(task.way)}")
            tried += sum(
                (self.job.folder / "tries").read_text().split("\n").count(f"{task.part} {way}")
                for way in range(task.way)
            )
            deed = deed if tried <= int(times) else ""
        act(deed)
        time.sleep(self.job.seconds)
        (self.job.folder / f"part-{task.part}").write_text(str(os.getpid()))
        return Outcome(task.part, rows=1)

    def close(self) -> None:
        pass


def act(deed: str) -> None:
    if deed == "crash":
        os._exit(3)
    elif deed == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif deed == "raise":
        raise ValueError("bad luck")
    elif deed == "hang":
        time.sleep(1000)
    elif deed == "full":
        raise ZsclipError("cannot be written: No space left on device.", where="`into=out`")
    elif deed == "lack":
        raise ZsclipError("this machine has no such folder.", where="/pictures", remedy="Share it.")


def note(path: Path, line: str) -> None:
    with path.open("a") as file:  # one write, which the system does not mix with another
        file.write(line + "\n")


@dataclass
class Numbers:
    """Tasks from 0 on."""

    count: int
    taken: int = 0

    @property
    def ended(self) -> bool:
        return self.taken >= self.count

    def take(self) -> Task | None:
        if self.ended:
            return None
        self.taken += 1
        return Task(self.taken - 1)


def main() -> None:
    """A driver, as a process of its own: `folder address parts seconds`."""
    from zsclip.cluster.pool import Pool
    from zsclip.cluster.ray import RayCluster

    folder, address, parts, seconds = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    note(folder / "driver", str(os.getpid()))
    for _ in Pool(RayCluster(address, Acting(folder, seconds=seconds)), Numbers(parts)).events():
        pass


if __name__ == "__main__":
    from support import cluster_jobs
    from zsclip.__main__ import _listen

    _listen()
    cluster_jobs.main()  # whose job is not called __main__.Acting, which actors could not find
