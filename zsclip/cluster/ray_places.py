"""How many actors a node of a Ray cluster gets, and what each may use."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zsclip.cluster.job import Resources
from zsclip.errors import InputError


@dataclass(frozen=True)
class Wish:
    """How many actors in all, and what each is to have. None: one a node with all its processors, or for each of its GPUs."""

    actors: int | None = None
    cpus: float | None = None
    gpus: float | None = None


@dataclass(frozen=True)
class Place:
    """Where an actor runs. `cpus` and `gpus` are what Ray counts."""

    node_id: str
    node: str
    cpus: float
    gpus: float

    @property
    def threads(self) -> int:
        """How many it may use at once."""
        return max(1, int(self.cpus))

    @property
    def resources(self) -> Resources:
        """What a worker is told. The actor sees its own GPUs alone, and counts them from 0."""
        return Resources(self.threads, tuple(range(math.ceil(self.gpus))))


class Places:
    """The places on the nodes that are there. A place stays as it is for as long as its node does."""

    def __init__(self, wish: Wish) -> None:
        self._wish = wish
        self._places: dict[str, Place] = {}
        self._had_room = False
        self._a_node: int | None = None  # actors, where only their number in all is wished

    def __getitem__(self, key: str) -> Place:
        return self._places[key]

    def now(self, nodes: Sequence[Mapping[str, Any]]) -> dict[str, str]:
        """See `engine.Engine.places`; `nodes` as Ray tells them. Raises `InputError` if none ever had room for an actor."""
        alive = {node["NodeID"]: node for node in nodes if node["Alive"]}
        names = Counter(node["NodeName"] for node in alive.values())
        self._places = {key: place for key, place in self._places.items() if place.node_id in alive}
        on = Counter(place.node_id for place in self._places.values())
        if self._a_node is None and self._wish.actors is not None:
            self._a_node = math.ceil(self._wish.actors / max(1, sum(_has(node, "CPU") > 0 for node in alive.values())))
        room = {number: self._shares(node) for number, node in alive.items()}
        # Later all may leave for a while: a head without processors is what Kubernetes has.
        self._had_room = self._had_room or any(room.values())
        if alive and not self._had_room:
            raise InputError(f"no node of the cluster has {self._asked()}.", remedy=_largest(list(alive.values())))
        free = [number for number in alive if on[number] < len(room[number])]
        while free and (self._wish.actors is None or len(self._places) < self._wish.actors):
            number = min(free, key=lambda one: on[one])
            name = alive[number]["NodeName"]
            node = name if names[name] == 1 else f"{name} ({number[:6]})"
            cpus, gpus = room[number][on[number]]
            taken = {key for key, place in self._places.items() if place.node_id == number}
            key = next(key for n in range(len(room[number])) if (key := f"{number}/{n}") not in taken)
            self._places[key] = Place(number, node, cpus, gpus)
            on[number] += 1
            free = [number for number in free if on[number] < len(room[number])]
        return {key: place.node for key, place in self._places.items()}

    def _shares(self, node: Mapping[str, Any]) -> list[tuple[float, float]]:
        """The processors and GPUs of each actor that a node has room for."""
        cpus, gpus, wish = _has(node, "CPU"), _has(node, "GPU"), self._wish
        each_gpu = wish.gpus if wish.gpus is not None else float(gpus >= 1)
        most = [int(gpus / each_gpu)] if each_gpu else []
        if wish.cpus:
            most.append(int(cpus / wish.cpus))
        if self._a_node is not None and not wish.cpus and wish.gpus is None:
            most = [self._a_node]
        count = min(most, default=1)
        if count < 1 or cpus <= 0 < (wish.cpus is None or wish.cpus):
            return []
        if self._a_node is not None and wish.gpus is None:
            each_gpu = each_gpu if gpus >= count else gpus / count
        return [(_whole(wish.cpus if wish.cpus is not None else cpus / count), each_gpu)] * count

    def _asked(self) -> str:
        wished = [
            f"{number:g} {what}{'s' * (number != 1)}"
            for number, what in ((self._wish.cpus, "processor"), (self._wish.gpus, "GPU"))
            if number is not None
        ]
        return " and ".join(wished) or "a processor"


def _has(node: Mapping[str, Any], what: str) -> float:
    return float(node["Resources"].get(what, 0.0))


def _whole(number: float) -> float:
    """Ray counts in whole processors from one on."""
    return float(int(number)) if number >= 1 else math.floor(number * 10_000) / 10_000


def _largest(nodes: Sequence[Mapping[str, Any]]) -> str:
    most = [max(_has(node, what) for node in nodes) for what in ("CPU", "GPU")]
    return f"The largest have {most[0]:g} processors and {most[1]:g} GPUs."
