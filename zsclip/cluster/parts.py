"""Parts: from a plan's slices along the straight path to the files of a part."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from zsclip.classifier import Classifier
from zsclip.closing import Closing
from zsclip.cluster.halving import Work, embed_in_children
from zsclip.cluster.job import Advance, Outcome, Resources, Task, Way, no_advance
from zsclip.cluster.part_file import PartWriter, Tally, part_name, read_part
from zsclip.cluster.plan import Plan, Slice
from zsclip.cluster.results import result_folder
from zsclip.cluster.rows import Labelling, PartRows
from zsclip.cluster.slices import Finding
from zsclip.embedding.records import ImageEmbeddings
from zsclip.engines.base import Computing
from zsclip.errors import InputError, ModelError
from zsclip.images.listing import Listing
from zsclip.images.reading import Reading
from zsclip.models import ModelSpec
from zsclip.models.weights import fingerprint
from zsclip.output.failed import PASSING
from zsclip.store.keeping import Keeping


@dataclass(frozen=True)
class PartJob:
    """Does the parts of the plan in a folder of results; see `job.Job`.

    Paths are as they were typed in the folder `typed_in`, or all are the same from any folder (None). The model's vectors are those of
    `identity`; `computing` names a precision, for `auto` could mean another on each machine. Without a `labelling` there are vectors alone.
    `said` is in the metadata of every part. A child process that does a part halved is ended if it gives no sign for `silence_seconds` and
    the time that decoding may take.
    """

    results: str
    spec: ModelSpec
    identity: str
    weights: Path
    computing: Computing
    reading: Reading = field(default_factory=Reading)
    finding: Finding = field(default_factory=Finding)
    labelling: Labelling | None = None
    said: Mapping[str, Any] = field(default_factory=dict)
    typed_in: str | None = field(default_factory=os.getcwd)
    silence_seconds: float = 240.0

    @property
    def half(self) -> bool:
        """Whether vectors are kept as float16."""
        return self.computing.effective_precision not in ("fp32", "auto")

    @property
    def weights_key(self) -> str:
        """See `job.Job`; raises `OSError` if they cannot be read."""
        return fingerprint(self.weights).key

    def at(self, weights: Path) -> PartJob:
        """See `job.Job`."""
        return replace(self, weights=weights)

    def open(self, resources: Resources) -> PartWorker:
        """See `job.Job`. Raises `InputError` and `ModelError`."""
        if self.typed_in is not None and os.getcwd() != self.typed_in:
            try:
                os.chdir(self.typed_in)
            except OSError:
                raise InputError(
                    "this machine has no such folder, in which the command was typed.",
                    where=self.typed_in,
                    remedy="Run it in a folder that all machines share.",
                ) from None
        device = self.computing.device
        if resources.gpus is not None and device == "auto":
            device = "cuda" if resources.gpus else "cpu"
        computing = replace(self.computing, threads=self.computing.threads or resources.cpus, device=device)
        reading = replace(self.reading, workers=self.reading.workers or resources.cpus)
        worker = PartWorker(replace(self, computing=computing, reading=reading))
        worker.load()
        return worker


class PartWorker(Closing):
    """Does parts, one at a time, with a model that is loaded once; see `job.Worker`."""

    def __init__(self, job: PartJob) -> None:
        self._job = job
        self._results = result_folder(job.results)
        self._plan = Plan(self._results)
        spec = replace(job.spec, checkpoint=job.weights)
        self._plain = Classifier.open(spec, job.computing, job.reading, Keeping(use_cache=False))
        self._isolated: Classifier | None = None
        self._rows = PartRows(job.labelling, np.float16 if job.half else np.float32, job.spec.embed_dim)

    def load(self) -> None:
        """Load the model; raises `ModelError` where this machine's is another."""
        model = self._plain.model
        if model.identity != self._job.identity:
            raise ModelError(
                f"the weights in {self._job.weights} are others than those that the run was planned with.",
                where=model.spec.title,
            )
        model.load()

    def close(self) -> None:
        """See `job.Worker`."""
        with ExitStack() as stack:
            for classifier in filter(None, (self._plain, self._isolated)):
                stack.callback(classifier.close)

    def run(self, task: Task, advance: Advance = no_advance) -> Outcome:
        """See `job.Worker`."""
        started = time.perf_counter()
        slices = self._plan.part(task.part)
        is_there = task.failed and part_name(task.part) in self._results  # another worker died of it otherwise
        tally = (self._again if is_there else self._anew)(task, slices, advance)
        return Outcome(task.part, tally.rows, tally.errors, time.perf_counter() - started, tally.digest)

    def _anew(self, task: Task, slices: Sequence[Slice], advance: Advance) -> Tally:
        with PartWriter(self._results, task.part, self._job.said, again=task.failed) as writer:
            place = 0
            for batch in self._embedded(task.way, slices):
                rows, errors = self._rows.of(batch, range(place, place + len(batch)))
                writer.add(rows)
                writer.add_errors(errors)
                place += len(batch)
                advance(len(batch), errors)
            return writer.close(self._rows.schema)

    def _again(self, task: Task, slices: Sequence[Slice], advance: Advance) -> Tally:
        """Read again what could not be read for a reason that may have passed. A part whose archives or videos would have to be opened
        to find it is done anew, and so is one whose two files do not belong together.
        """
        import pyarrow

        old, errors = read_part(self._results, task.part)
        places = sorted(one.place for one in errors if one.kind in PASSING)
        if self._job.finding.size(slices) != len(old) + len(errors):
            return self._anew(task, slices, advance)
        kept = {one.place: one for one in errors if one.kind not in PASSING}
        tables, place = [old], 0
        for batch in self._embedded(task.way, slices, places):
            rows, still = self._rows.of(batch, places[place : place + len(batch)])
            tables.append(pyarrow.Table.from_batches([rows]))
            kept |= {one.place: one for one in still}
            place += len(batch)
            advance(len(batch), still)
        if place != len(places):  # a table that breaks off
            return self._anew(task, slices, advance)
        rows = pyarrow.concat_tables(tables).sort_by("place").combine_chunks()
        with PartWriter(self._results, task.part, self._job.said, again=True) as writer:
            for batch in rows.to_batches():
                writer.add(batch)
            writer.add_errors([kept[number] for number in sorted(kept)])
            return writer.close(self._rows.schema)

    def _embedded(
        self, way: Way, slices: Sequence[Slice], places: Sequence[int] | None = None
    ) -> Iterator[ImageEmbeddings]:
        finding = self._job.finding
        if way is Way.HALVED:
            return self._halved(slices, places)
        pieces = finding.pieces(slices) if places is None else finding.chosen(slices, set(places))
        return self._classifier(way).embed_images(Listing(pieces))

    def _halved(self, slices: Sequence[Slice], places: Sequence[int] | None) -> Iterator[ImageEmbeddings]:
        job, model = self._job, self._plain.model
        model.unload()  # what they die of may be want of memory
        work = Work(model.spec, job.computing, job.reading, job.finding, slices)
        seconds = job.reading.decode_timeout + job.silence_seconds
        return embed_in_children(work, None if places is None else set(places), seconds=seconds)

    def _classifier(self, way: Way) -> Classifier:
        self._plain.model.load()  # again after a part that was halved
        if way is Way.PLAIN:
            return self._plain
        if self._isolated is None:
            model, reading = self._plain.model, replace(self._job.reading, isolate=True)
            self._isolated = Classifier(model, Keeping(use_cache=False).open(), reading)
        return self._isolated
