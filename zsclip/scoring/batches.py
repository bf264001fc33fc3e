"""Results of some images at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from zsclip.scoring.decisions import Decisions
from zsclip.scoring.results import ImageResult

if TYPE_CHECKING:
    from zsclip.errors import ErrorKind


@dataclass(frozen=True, slots=True)
class ImageResults:
    """Images in the order of the input; iterated over, one by one as `ImageResult`.

    `paths` are those of all (n,); `errors` are of those that could not be read, by place, and `decisions` of the others, in order.
    `times` are those of the best frames of pooled videos, in seconds, by place.
    """

    paths: Sequence[str]
    decisions: Decisions
    errors: Mapping[int, tuple[str, ErrorKind | None]]
    times: Mapping[int, float] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.paths)

    def __iter__(self) -> Iterator[ImageResult]:
        decided = iter(self.decisions)
        for place, path in enumerate(self.paths):
            if place in self.errors:
                error, kind = self.errors[place]
                yield ImageResult(path, error=error, error_kind=kind)
            else:
                one = next(decided)
                yield ImageResult(
                    path, one.predictions, labels=one.labels, abstained=one.abstained, level=one.level,
                    time=self.times.get(place), decided=one.decided, level_probability=one.level_probability,
                )  # fmt: skip

    def take(self, places: Sequence[int]) -> ImageResults:
        """Those of some of the images."""
        rows, before = [], 0
        for place in range(len(self.paths)):
            rows.append(place - before)
            before += place in self.errors
        return ImageResults(
            [self.paths[place] for place in places],
            self.decisions.take([rows[place] for place in places if place not in self.errors]),
            {n: self.errors[place] for n, place in enumerate(places) if place in self.errors},
            {n: self.times[place] for n, place in enumerate(places) if place in self.times},
        )
