"""What a model costs beside what it is worth: images a second, as they were embedded in this run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from zsclip.classifier import Classifier

LEAST = 100  # new images without which a rate would tell more of the beginning than of the model


@dataclass(frozen=True)
class ComparedModel:
    """One of several models that are judged on the same images, by the `name` it was asked for.

    `computed` images got their vectors in this run, within `seconds`; `known` ones had them in the store.
    """

    name: str
    title: str
    computed: int
    known: int
    seconds: float

    @property
    def shown(self) -> str:
        """Its name, with the tag that an architecture alone stands for."""
        return self.name if ":" in self.name else self.title

    @property
    def images_per_second(self) -> float | None:
        """Reading and decoding included, loading the model not; None if too few images were computed to tell."""
        return self.computed / self.seconds if self.computed >= LEAST else None


class Stopwatch:
    """Measures how a classifier embeds images, from now on.

    A model that was never used is loaded first: loaded later, it would be waited for while pictures are decoded ahead.
    """

    def __init__(self, name: str, classifier: Classifier, clock: Callable[[], float] = time.perf_counter) -> None:
        self._name, self._classifier, self._clock = name, classifier, clock
        if classifier.model.is_new:
            classifier.model.load()
        self._started, self._loading = clock(), classifier.timings.seconds["load"]

    def stop(self) -> ComparedModel:
        """What was measured until now."""
        loading = self._classifier.timings.seconds["load"] - self._loading
        seconds = self._clock() - self._started - loading
        counts = self._classifier.counts
        return ComparedModel(self._name, self._classifier.model.spec.title, counts.computed, counts.found, seconds)
