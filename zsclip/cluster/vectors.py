"""The vectors of a run in parts, read again: what was computed once is enough for other labels, a search, an evaluation."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from zsclip.cluster.account import Whole, read_whole
from zsclip.cluster.identity import MANIFEST, read_run
from zsclip.cluster.part_file import Error, done_parts, names_of, read_errors, read_rows, read_schema, vectors_of
from zsclip.cluster.plan import Plan
from zsclip.cluster.results import ResultFolder
from zsclip.embedding.model import Model
from zsclip.embedding.records import Embedded, ImageEmbedding, ImageEmbeddings
from zsclip.errors import InputError, ModelError
from zsclip.images.remote.addresses import is_address
from zsclip.unit_vectors import Quality

if TYPE_CHECKING:
    import pyarrow

logger = logging.getLogger("zsclip")

_QUALITIES = {"fp32": Quality.REDUCED}  # any other precision is half


class RunVectors(Embedded):
    """The pictures of a run in parts with their vectors, as `Classifier` takes them; part by part, in order.

    Raises `InputError` for a folder without such a run, or one of labels alone.
    """

    def __init__(self, results: ResultFolder) -> None:
        self.results = results
        run = read_run(results)
        if run is None:
            raise InputError(
                "there is no run in parts in it.", where=self._where,
                remedy="Name a folder that was written with `into`.",
            )  # fmt: skip
        if "model" not in run["decides"]:
            raise InputError(
                "it has labels alone.", where=self._where, remedy="Name the folder of the vectors they were made of."
            )
        self.decides: Mapping[str, Any] = run["decides"]  # see `identity.settle`
        self._made_with = run["said"].get("model", "another model")

    @property
    def _where(self) -> str:
        return f"`vectors={self.results.name}`"

    @cached_property
    def whole(self) -> Whole | None:
        """What is in all parts; None while some are missing."""
        return read_whole(self.results)

    @property
    def digest(self) -> str:
        """Of all parts; another where one was done again and came out otherwise."""
        return hashlib.sha256(self.results.read(MANIFEST) or b"").hexdigest()

    def require_whole(self) -> Whole:
        """Raise `InputError` while some parts are missing."""
        if self.whole is None:
            raise InputError(
                "the run is not whole.", where=self._where, remedy="Go on with it first, by the command that began it."
            )
        return self.whole

    def require_made_with(self, model: Model) -> None:
        """Raise `ModelError` for another model than theirs."""
        if json.loads(model.identity) != self.decides["model"]:
            raise ModelError(
                f"the vectors were made with {self._made_with}, or with other weights.",
                where=f"{self._where}, {model.spec.title}",
                remedy="Name the same `model` and `pretrained` as for them.",
            )

    def batches(self) -> Iterator[ImageEmbeddings]:
        """See `Embedded`. Of a run that is not whole, the parts that are there; a warning says so."""
        numbers = sorted(done_parts(self.results))
        if self.whole is None:
            extent = Plan(self.results).extent()
            of = f" of {extent.parts:,}" if extent else ""
            logger.warning("%s: the run is not whole; %s%s parts are there.", self._where, f"{len(numbers):,}", of)
        for number in numbers:
            yield from self.part(number)

    def part(self, number: int) -> Iterator[ImageEmbeddings]:
        """The pictures of a part, in order, some at a time."""
        errors = read_errors(self.results, number)
        quality = Quality.EXACT if self.decides["exact"] else _QUALITIES.get(self.decides["precision"], Quality.HALF)
        for rows in read_rows(self.results, number, ["path", "path_bytes", "place", "vector"]):
            last = rows.column("place")[-1].as_py()
            split = next((n for n, one in enumerate(errors) if one.place > last), len(errors))
            yield _merged(rows, errors[:split], quality)
            errors = errors[split:]
        if errors:
            dimension = read_schema(self.results, number).field("vector").type.list_size
            yield ImageEmbeddings(
                [one.path for one in errors], np.empty((0, dimension), np.float32), np.empty(0, np.uint8),
                {n: (one.error, one.kind) for n, one in enumerate(errors)},
            )  # fmt: skip

    def of(self, names: Sequence[str]) -> ImageEmbeddings:
        """The pictures of these names, in their order; one that is not among the run's has an error.

        Relative paths are taken from the current folder, and those of the run from where it was typed.
        """
        wanted: dict[str, list[int]] = {}
        for place, name in enumerate(names):
            wanted.setdefault(_whole_name(name, os.getcwd()), []).append(place)
        found: dict[int, ImageEmbedding] = {}
        folder = self.decides["folder"] or ""
        for batch in self.batches():
            mine = [
                (n, places) for n, name in enumerate(batch.paths) if (places := wanted.get(_whole_name(name, folder)))
            ]
            if mine:
                every = list(batch)
                found |= {place: every[n] for n, places in mine for place in places}
        missing = ImageEmbedding("", None, "not among the vectors", "not_found")
        one_by_one = [found.get(place, missing) for place in range(len(names))]
        embeddings = [one.embedding for one in one_by_one if one.embedding is not None]
        return ImageEmbeddings(
            list(names),
            np.stack([one.vector for one in embeddings]) if embeddings else np.empty((0, 0), np.float32),
            np.array([one.quality for one in embeddings], np.uint8),
            {place: (one.error or "", one.error_kind) for place, one in enumerate(one_by_one) if one.embedding is None},
        )


def _whole_name(name: str, folder: str) -> str:
    return name if is_address(name) else os.path.normpath(os.path.join(folder, name))


def _merged(rows: pyarrow.RecordBatch, errors: list[Error], quality: Quality) -> ImageEmbeddings:
    """Rows and errors in the order of their places."""
    names = names_of(rows)
    vectors = vectors_of(rows).astype(np.float32, copy=False)
    qualities = np.full(len(rows), quality, np.uint8)
    if not errors:
        return ImageEmbeddings(names, vectors, qualities)
    places = [*rows.column("place").to_pylist(), *(one.place for one in errors)]
    order = np.argsort(places, kind="stable").tolist()
    every = [*names, *(one.path for one in errors)]
    told = {
        n: (errors[at - len(names)].error, errors[at - len(names)].kind)
        for n, at in enumerate(order)
        if at >= len(names)
    }
    return ImageEmbeddings([every[at] for at in order], vectors, qualities, told)
