"""The pool's engine on Ray's core: an actor for each worker, which is told where it runs and what it may use."""

from __future__ import annotations

import itertools
import pickle
import re
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zsclip import __version__
from zsclip.cluster import ray_actor
from zsclip.cluster.engine import Died, Finished, Happening, NotReady, Raised, Ready
from zsclip.cluster.job import Advance, Job, Outcome, Task, Tasks
from zsclip.cluster.pool import Event, Pool, PoolSettings
from zsclip.cluster.ray_places import Place, Places, Wish
from zsclip.cluster.ray_start import start
from zsclip.cluster.run import Work
from zsclip.errors import ZsclipError

_OPENING, _READY, _SUSPECT = range(3)


@dataclass
class _Worker:
    """An actor, the call that it has not answered yet, and what that is."""

    number: int
    actor: Any
    place: Place
    call: Any
    stage: int = _OPENING
    has_pieces: bool = False


class RayCluster:
    """A `engine.Engine` over the cluster at `local`, `auto` or `HOST:PORT`.

    By default an actor a node, with all its processors, or one for each of its GPUs. Raises `InputError` where there is no such cluster
    and `ZsclipError` where none of its nodes has what an actor is to have.
    """

    def __init__(
        self,
        address: str,
        job: Job,
        actors: int | None = None,
        cpus_per_actor: float | None = None,
        gpus_per_actor: float | None = None,
    ) -> None:
        self._joined = start(address)
        self._wish = Wish(actors, cpus_per_actor, gpus_per_actor)
        self._places = Places(self._wish)
        self._numbers = itertools.count()
        self._workers: dict[int, _Worker] = {}
        self._calls: dict[Any, int] = {}
        self._pieces: Any = None
        try:
            self._weights = None if job.weights is None else job.weights_key
            import ray

            self._payload = ray.put(pickle.dumps(job))
            self.places()
        except BaseException:
            self.close()
            raise

    def places(self) -> Mapping[str, str]:
        """See `engine.Engine`."""
        import ray

        try:
            return self._places.now(ray.nodes())
        except ray.exceptions.RayError as error:
            raise _gone(error) from None

    def start(self, place: str) -> int:
        """See `engine.Engine`."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        where, number = self._places[place], next(self._numbers)
        threads = str(where.threads)
        actor = (
            ray.remote(ray_actor.Actor)
            .options(
                num_cpus=where.cpus,
                num_gpus=where.gpus,
                max_restarts=0,
                max_task_retries=0,
                scheduling_strategy=NodeAffinitySchedulingStrategy(where.node_id, soft=False),
                # Before NumPy and PyTorch are imported, which would start a thread for each of the machine's cores.
                runtime_env={"env_vars": {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}},
            )
            .remote()
        )
        self._workers[number] = _Worker(number, actor, where, None)
        self._ask(number, actor.versions.remote())
        return number

    def give(self, worker: int, task: Task) -> None:
        """See `engine.Engine`."""
        self._ask(worker, self._workers[worker].actor.run.remote(task))

    def wait(self, seconds: float) -> Sequence[Happening]:
        """See `engine.Engine`."""
        import ray

        if not self._calls:
            time.sleep(seconds)
            return []
        answered, waiting = ray.wait(list(self._calls), num_returns=1, timeout=seconds)
        if answered and waiting:
            answered += ray.wait(waiting, num_returns=len(waiting), timeout=0)[0]
        told = [self._answer(self._workers[self._calls.pop(call)], call) for call in answered]
        return [happening for happening in told if happening is not None]

    def end(self, worker: int) -> None:
        """See `engine.Engine`."""
        import ray

        one = self._workers.pop(worker, None)
        if one is not None:
            self._calls.pop(one.call, None)
            ray.kill(one.actor)

    def close(self) -> None:
        """See `engine.Engine`. Leaves the cluster, and ends it if it was started here."""
        import ray

        if ray.is_initialized():
            for number in list(self._workers):
                self.end(number)
            if self._pieces is not None:
                ray.kill(self._pieces)
            self._pieces = self._payload = None
            if self._joined:
                ray.shutdown()

    def _ask(self, number: int, call: Any) -> None:
        self._workers[number].call = call
        self._calls[call] = number

    # What a call came to.

    def _answer(self, one: _Worker, call: Any) -> Happening | None:
        import ray

        try:
            answer = ray.get(call)
        except ray.exceptions.ActorUnavailableError:
            # Its process, its node or the network: the cluster knows after some seconds, and then says so to the next call.
            time.sleep(0.05)
            one.stage = _SUSPECT
            self._ask(one.number, one.actor.ping.remote())
            return None
        except ray.exceptions.RayError as error:
            return self._lost(one, error)
        if one.stage == _SUSPECT:
            self.end(one.number)
            return Died(one.number, "its connection broke", node=True)
        if one.stage == _OPENING:
            return self._opened(one, answer)
        if isinstance(answer, Outcome):
            return Finished(one.number, answer)
        return Raised(one.number, _error(answer))

    def _opened(self, one: _Worker, answer: Any) -> Happening | None:
        """The next step until a worker is ready."""
        if isinstance(answer, ray_actor.Opened):
            one.stage = _READY
            return Ready(one.number)
        if isinstance(answer, tuple) and answer[0] != __version__:
            return self._not_ready(
                one,
                ZsclipError(
                    f"it has zsclip {answer[0]}, and this machine {__version__}.",
                    where=one.place.node,
                    remedy="Install the same version on all machines.",
                ),
            )
        if isinstance(answer, tuple) or (isinstance(answer, ray_actor.Lacking) and not one.has_pieces):
            one.has_pieces = isinstance(answer, ray_actor.Lacking)
            pieces = self._offer() if one.has_pieces else None
            self._ask(one.number, one.actor.open.remote(self._payload, self._weights, one.place.resources, pieces))
            return None
        error = _error(answer)
        if isinstance(error, ZsclipError):
            where = f"{one.place.node}: {error.where}" if error.where else one.place.node
            error = ZsclipError(error.what, where=where, remedy=error.remedy)
        return self._not_ready(one, error)

    def _not_ready(self, one: _Worker, error: Exception) -> NotReady:
        self.end(one.number)
        return NotReady(one.number, error)

    def _offer(self) -> Any:
        """An actor on this machine that reads the weights for those that lack them."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        if self._pieces is None:
            here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
            self._pieces = ray.remote(ray_actor.Pieces).options(num_cpus=0, scheduling_strategy=here).remote()
        return self._pieces

    def _lost(self, one: _Worker, error: Exception) -> Happening:
        """What it means that a call ended with an error of Ray's."""
        import ray

        text = str(error)
        if isinstance(error, ray.exceptions.RayTaskError):  # an argument that could not be unpacked, for one
            self.end(one.number)
            return NotReady(one.number, RuntimeError(_last_line(text)))
        alive = {node["NodeID"] for node in self._nodes() if node["Alive"]}
        on_node = "node has died" in text or "node was terminated" in text or one.place.node_id not in alive
        self.end(one.number)
        if one.stage == _OPENING and not on_node and (found := re.search(r"No module named '?([\w.]+)", text)):
            what = f"{found[1]} is not installed there."
            return NotReady(
                one.number, ZsclipError(what, where=one.place.node, remedy="Install the same packages on all machines.")
            )
        if isinstance(error, ray.exceptions.RuntimeEnvSetupError):
            return NotReady(one.number, RuntimeError(_last_line(text)))
        return Died(one.number, "its node left" if on_node else _why(text), node=on_node)

    def _nodes(self) -> list[dict[str, Any]]:
        import ray

        try:
            return list(ray.nodes())
        except ray.exceptions.RayError as error:
            raise _gone(error) from None


def on_cluster(address: str, wish: Wish, settings: PoolSettings) -> Work:
    """What does the parts of a job on a cluster, which is joined now. Raises `InputError` where there is none."""
    start(address)

    def work(job: Job, tasks: Tasks, advance: Advance) -> Generator[Event, None, None]:  # noqa: ARG001
        engine = RayCluster(address, job, wish.actors, wish.cpus, wish.gpus)
        yield from Pool(engine, tasks, settings).events()

    return work


def _error(answer: ray_actor.Refused | ray_actor.Failed) -> Exception:
    return answer.error() if isinstance(answer, ray_actor.Refused) else RuntimeError(answer.why)


def _gone(error: Exception) -> ZsclipError:
    return ZsclipError(f"the cluster is gone: {_last_line(str(error))}", remedy="Run it again to go on.")


def _last_line(text: str) -> str:
    return text.strip().split("\n")[-1].strip()


def _why(text: str) -> str:
    """Why an actor's process ended, from what Ray says of it."""
    if re.search(r"low on memory|memory monitor|memory usage (threshold|was)|OutOfMemory", text, re.IGNORECASE):
        return "it was ended for want of memory"
    if found := re.search(r"exit code[: ]+(\d+)", text):
        return f"its process ended with exit code {found[1]}"
    if "connection error code" in text:
        return "its process crashed, or was killed, perhaps for want of memory"
    return _last_line(text)[:200]
