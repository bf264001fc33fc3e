"""Other labels for a run in parts, of its vectors alone: part by part, at the speed of reading."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from zsclip.cluster.job import Advance, Outcome, Resources, Task, no_advance
from zsclip.cluster.part_file import PartWriter, read_errors, read_rows
from zsclip.cluster.results import result_folder
from zsclip.cluster.rows import Labelling, LabelRows


@dataclass(frozen=True)
class RelabelJob:
    """Gives the parts in the folder `vectors` other labels, in the folder `results`; see `job.Job`. `said` is in every part's metadata."""

    vectors: str
    results: str
    labelling: Labelling
    said: Mapping[str, Any] = field(default_factory=dict)

    weights: Path | None = None  # it needs none
    weights_key: str = ""

    def at(self, weights: Path) -> RelabelJob:
        """See `job.Job`."""
        return replace(self, weights=weights)

    def open(self, resources: Resources) -> RelabelWorker:  # noqa: ARG002
        """See `job.Job`."""
        return RelabelWorker(self)


class RelabelWorker:
    """See `job.Worker`. There is but one way to do a part."""

    def __init__(self, job: RelabelJob) -> None:
        self._said, self._rows = job.said, LabelRows(job.labelling)
        self._from, self._to = result_folder(job.vectors), result_folder(job.results)

    def run(self, task: Task, advance: Advance = no_advance) -> Outcome:
        """See `job.Worker`."""
        started = time.perf_counter()
        columns = ["path", "path_bytes", "place", "vector"]
        with PartWriter(self._to, task.part, self._said) as writer:
            for rows in read_rows(self._from, task.part, columns):
                writer.add(self._rows.of(rows))
                advance(len(rows), ())
            errors = read_errors(self._from, task.part)
            writer.add_errors(errors)
            advance(len(errors), errors)
            tally = writer.close(self._rows.schema)
        return Outcome(task.part, tally.rows, tally.errors, time.perf_counter() - started, tally.digest)

    def close(self) -> None:
        """See `job.Worker`."""
