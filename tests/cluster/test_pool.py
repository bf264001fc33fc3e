"""Who does which part, and what follows a fault: the pool over an engine whose time is a number, so that no test waits."""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.cluster_jobs import Numbers

from zsclip.cluster.engine import Died, Finished, Happening, NotReady, Raised, Ready
from zsclip.cluster.job import Outcome, Task, Way
from zsclip.cluster.pool import Again, Done, Event, Joined, Left, Lost, Pool, PoolSettings, Tick
from zsclip.cluster.ray_places import Places, Wish
from zsclip.errors import InputError, ZsclipError

FULL = ZsclipError("cannot be written: No space left on device.", where="`into=out`")


@dataclass
class Simulated:
    """Workers in a time of its own. `deed(task, node)` says what comes of a part: "done", "crash", "raise", "full", "hang"; `begin(node)`
    what of a worker: "ready", "crash", "lack". `nodes` come and go by `changes`: at a time, what is there from then on.
    """

    nodes: tuple[str, ...] = ("a", "b", "c")
    deed: Callable[[Task, str], str] = lambda task, node: "done"
    begin: Callable[[str], str] = lambda node: "ready"
    changes: dict[float, tuple[str, ...]] = field(default_factory=dict)
    part_seconds: float = 10.0
    now: float = 0.0
    closed: bool = False
    longest_idle: float = 0.0

    def __post_init__(self) -> None:
        self._numbers = itertools.count()
        self._alive: dict[int, str] = {}
        self._coming: list[tuple[float, int, Happening]] = []
        self._idle: dict[int, float] = {}
        self.written: Counter[int] = Counter()
        self.given: list[tuple[Task, str]] = []
        self.started: Counter[str] = Counter()

    def clock(self) -> float:
        return self.now

    def _there(self) -> tuple[str, ...]:
        return next((self.changes[when] for when in sorted(self.changes, reverse=True) if when <= self.now), self.nodes)

    def places(self) -> Mapping[str, str]:
        return {node: node for node in self._there()}

    def _after(self, seconds: float, happening: Happening) -> None:
        heapq.heappush(self._coming, (self.now + seconds, next(self._numbers), happening))

    def start(self, place: str) -> int:
        assert place in self._there()
        assert place not in self._alive.values(), "one worker a place"
        number = next(self._numbers)
        self._alive[number] = place
        self.started[place] += 1
        what: dict[str, Happening] = {
            "ready": Ready(number), "crash": Died(number, "it crashed"),
            "lack": NotReady(number, ZsclipError("lacks the folder", where=place)),
        }  # fmt: skip
        self._after(2.0, what[self.begin(place)])
        return number

    def give(self, worker: int, task: Task) -> None:
        assert worker in self._idle, "one part in flight, to a worker that is ready"
        self.longest_idle = max(self.longest_idle, self.now - self._idle.pop(worker))
        node = self._alive[worker]
        self.given.append((task, node))
        deed = self.deed(task, node)
        if deed == "done":
            self._after(self.part_seconds, Finished(worker, Outcome(task.part, rows=1)))
        elif deed == "crash":
            self._after(self.part_seconds / 2, Died(worker, "it crashed"))
        elif deed != "hang":
            self._after(1.0, Raised(worker, FULL if deed == "full" else ValueError("bad luck")))

    def wait(self, seconds: float) -> Sequence[Happening]:
        until = self.now + max(seconds, 1e-3)
        changes = [when for when in self.changes if self.now < when <= until]
        if self._coming and self._coming[0][0] <= min([until, *changes]):
            self.now, _, happening = heapq.heappop(self._coming)
            return self._tell(happening)
        self.now = min([until, *changes])
        gone = [worker for worker, node in self._alive.items() if node not in self._there()]
        for worker in gone:
            self.end(worker)
        return [Died(worker, "its node left", node=True) for worker in gone]

    def _tell(self, happening: Happening) -> list[Happening]:
        if happening.worker not in self._alive:
            return []
        if isinstance(happening, Died | NotReady):
            self.end(happening.worker)
        else:
            self._idle[happening.worker] = self.now
        if isinstance(happening, Finished):
            self.written[happening.outcome.part] += 1
        return [happening]

    def end(self, worker: int) -> None:
        self._alive.pop(worker, None)
        self._idle.pop(worker, None)

    def close(self) -> None:
        self._alive.clear()
        self.closed = True


def run(engine: Simulated, parts: int = 30, **settings: object) -> list[Event]:
    pool = Pool(engine, Numbers(parts), PoolSettings(clock=engine.clock, **settings))  # type: ignore[arg-type]
    events = []
    for event in pool.events():
        assert engine.now < 1e5, "it ends"
        events.append(event)
    assert engine.closed
    return events


def those(events: list[Event], kind: type) -> list[Event]:
    return [event for event in events if isinstance(event, kind)]


def test_every_part_is_done_once_by_workers_that_never_wait() -> None:
    engine = Simulated()
    events = run(engine)
    assert sorted(event.outcome.part for event in those(events, Done)) == list(range(30))
    assert set(engine.written.values()) == {1}
    assert engine.longest_idle < 0.01
    assert engine.now < 2 + 10 * 10 + 1
    assert {event.node for event in those(events, Joined)} == {"a", "b", "c"}
    assert not those(events, Again)


def test_a_part_that_ends_its_worker_is_tried_isolated_and_then_halved() -> None:
    ways: list[Way] = []

    def deed(task: Task, node: str) -> str:
        if task.part != 7:
            return "done"
        ways.append(task.way)
        return "done" if task.way is Way.HALVED else "crash"

    engine = Simulated(deed=deed)
    events = run(engine)
    assert ways == [Way.PLAIN, Way.ISOLATED, Way.HALVED]
    assert [(event.task.way, event.why) for event in those(events, Again)] == [
        (Way.ISOLATED, "it crashed"),
        (Way.HALVED, "it crashed"),
    ]
    assert set(engine.written) == set(range(30))


@pytest.mark.parametrize("fault", ["crash", "raise", "hang"])
def test_a_part_that_nothing_helps_is_lost_and_the_others_are_done(fault: str) -> None:
    def deed(task: Task, node: str) -> str:
        # Halving ends its processes itself, and is not timed.
        return "done" if task.part != 3 else "raise" if fault == "hang" and task.way is Way.HALVED else fault

    engine = Simulated(deed=deed)
    events = run(engine, part_timeout=60)
    (lost,) = those(events, Lost)
    assert isinstance(lost, Lost)
    assert lost.task.part == 3
    whys = [one.why for one in events if isinstance(one, Again | Lost)]
    late, bad = ["took longer than 60 s"] * 2, ["ValueError: bad luck"] * 4
    assert whys == {"crash": ["it crashed"] * 4, "raise": bad, "hang": late + bad[:2]}[fault]
    assert set(engine.written) == set(range(30)) - {3}


def test_the_end_of_a_node_is_not_the_parts_fault_and_a_new_node_gets_work() -> None:
    engine = Simulated(changes={25.0: ("a", "c"), 60.0: ("a", "c", "d")})
    events = run(engine)
    assert all(task.way is Way.PLAIN for task, _ in engine.given)
    assert len(those(events, Again)) == 1
    assert "its node left" in [event.why for event in those(events, Left)]
    assert sum(node == "d" for _, node in engine.given) > 3
    assert set(engine.written) == set(range(30))


def test_a_part_under_which_nodes_end_counts_at_last() -> None:
    """A part that takes all of a machine's memory must not go through the cluster."""
    engine = Simulated()

    def wait(seconds: float) -> Sequence[Happening]:
        return [
            Died(one.worker, "its node left", node=True) if isinstance(one, Died) else one
            for one in Simulated.wait(engine, seconds)
        ]

    engine.wait = wait  # type: ignore[method-assign]
    engine.deed = lambda task, node: "crash" if task.part == 3 and task.way is not Way.HALVED else "done"
    run(engine)
    assert [task.way for task, _ in engine.given if task.part == 3] == [Way.PLAIN] * 3 + [Way.ISOLATED] * 3 + [
        Way.HALVED
    ]


def test_results_that_cannot_be_written_for_a_while_are_waited_for() -> None:
    engine = Simulated()
    engine.deed = lambda task, node: "full" if 20 < engine.now < 40 else "done"
    events = run(engine)
    assert set(engine.written) == set(range(30))
    assert not those(events, Lost)
    assert all(event.task.way is Way.PLAIN for event in those(events, Again))


def test_results_that_cannot_be_written_at_all_end_the_run_with_their_cause() -> None:
    engine = Simulated(deed=lambda task, node: "full")
    with pytest.raises(ZsclipError) as raised:
        run(engine)
    assert raised.value is FULL
    assert 30 < engine.now < 120
    assert len(engine.given) < 20


def test_a_node_that_cannot_write_spoils_nothing() -> None:
    engine = Simulated(deed=lambda task, node: "full" if node == "b" else "done")
    events = run(engine, parts=100)
    assert set(engine.written) == set(range(100))
    assert not those(events, Lost)
    assert sum(node == "b" for _, node in engine.given) < 20


def test_workers_that_cannot_start_end_the_run_with_their_cause_and_on_one_node_leave_it_to_the_others() -> None:
    for begin, said, tries in (
        ("lack", "a: lacks the folder", 1),
        ("crash", "no worker could start or stay: it crashed.", 3),
    ):
        engine = Simulated(nodes=("a",), begin=lambda node, begin=begin: begin)  # type: ignore[misc]
        with pytest.raises(ZsclipError) as raised:
            run(engine)
        assert str(raised.value) == said
        assert engine.started["a"] == tries
        assert engine.closed

        engine = Simulated(begin=lambda node, begin=begin: begin if node == "b" else "ready")  # type: ignore[misc]
        events = run(engine)
        assert set(engine.written) == set(range(30))
        assert [event.node for event in those(events, Left) if event.for_good] == ["b"]  # type: ignore[union-attr]


def test_a_node_on_which_every_part_ends_its_worker_is_left_out() -> None:
    engine = Simulated(deed=lambda task, node: "crash" if node == "b" else "done")
    events = run(engine, parts=1000)
    (left,) = [event for event in those(events, Left) if event.for_good]  # type: ignore[union-attr]
    assert isinstance(left, Left)
    assert left.why == "20 workers in a row ended there, the last with: it crashed"
    assert set(engine.written) == set(range(1000))


def test_no_node_for_a_minute_ends_the_run_and_a_shorter_time_does_not() -> None:
    with pytest.raises(ZsclipError, match="no node"):
        run(Simulated(changes={30.0: ()}))
    engine = Simulated(changes={30.0: (), 80.0: ("e",)})
    run(engine)
    assert set(engine.written) == set(range(30))


def test_ticks_come_every_second_and_closing_ends_all_workers() -> None:
    engine = Simulated(part_seconds=1000.0)
    times = []
    events = Pool(engine, Numbers(5), PoolSettings(clock=engine.clock)).events()
    for event in events:
        if isinstance(event, Tick):
            times.append(engine.now)
        if engine.now > 50:
            break
    events.close()  # type: ignore[attr-defined]
    assert engine.closed
    assert max(later - earlier for earlier, later in itertools.pairwise(times)) <= 1.0


def test_no_more_than_what_is_in_flight_is_kept() -> None:
    engine = Simulated(
        part_seconds=1.0, deed=lambda task, node: "raise" if task.part % 20 == 0 and not task.way else "done"
    )
    pool = Pool(engine, Numbers(5000), PoolSettings(clock=engine.clock))
    most = max(len(pool._again) + len(pool._told) + len(pool._workers) for _ in pool.events())
    assert most <= 12
    assert len(engine.written) == 5000


@given(st.integers(0, 2**32 - 1), st.integers(0, 40), st.integers(1, 5))
def test_whatever_dies_in_whatever_order_every_part_is_done_once_or_lost(seed: int, parts: int, count: int) -> None:
    chance = random.Random(seed)
    faults, starts = chance.random() * 0.6, chance.random() * 0.4
    names = [chr(ord("a") + n) for n in range(count)]
    times = sorted(chance.uniform(0, 300) for _ in range(chance.randint(0, 6)))
    changes = {when: tuple(chance.sample(names, chance.randint(0, count))) for when in times}
    if changes:
        changes[times[-1] + 50] = tuple(names)
    engine = Simulated(nodes=tuple(names), changes=changes)
    engine.deed = lambda task, node: (
        chance.choice(["crash", "raise", "full", *(["hang"] * (task.way is not Way.HALVED))])
        if chance.random() < faults
        else "done"
    )
    engine.begin = lambda node: "crash" if chance.random() < starts else "ready"
    events: list[Event] = []
    try:
        for event in Pool(engine, Numbers(parts), PoolSettings(clock=engine.clock, part_timeout=50)).events():
            events.append(event)
            assert engine.now < 1e6, "it ends"
    except ZsclipError:
        ended = False  # no node was left, or nothing could be written
    else:
        ended = True
    done = [event.outcome.part for event in events if isinstance(event, Done)]
    lost = [event.task.part for event in events if isinstance(event, Lost)]
    assert len(set(done + lost)) == len(done + lost)
    assert set(done) <= set(engine.written)
    if ended:
        assert sorted(done + lost) == list(range(parts))
    assert engine.closed


def test_workers_may_leave_a_head_without_processors_for_a_while() -> None:
    def node(name: str, processors: int) -> dict[str, object]:
        return {"NodeID": name, "NodeName": name, "Alive": True, "Resources": {"CPU": processors} if processors else {}}

    places, head = Places(Wish()), node("head", 0)
    with pytest.raises(InputError, match="no node of the cluster has a processor"):
        places.now([head])
    assert places.now([head, node("a", 4)]) == {"a/0": "a"}
    assert places.now([head]) == {}
    assert places.now([head, node("b", 4)]) == {"b/0": "b"}
