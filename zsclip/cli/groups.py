"""Groups of options that make one setting, so that a command takes them as one parameter."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import typer

from zsclip.cli import options
from zsclip.cli.grouping import Typed

if TYPE_CHECKING:
    from zsclip.classifier import Classifier
    from zsclip.engines.base import Computing
    from zsclip.images.folders import Search
    from zsclip.images.opening import Opening
    from zsclip.images.reading import Reading
    from zsclip.models import ModelSpec
    from zsclip.report.gallery import Gallery
    from zsclip.report.pictures import Pictures
    from zsclip.scoring.rules import Rules
    from zsclip.store.keeping import Keeping
    from zsclip.text.labels import LabelSet
    from zsclip.text.prompts import PromptSet


@dataclass(repr=False, eq=False)
class FileGroup:
    """Where the pictures are, which must be files."""

    paths: options.Paths = field(default_factory=list)
    no_recursive: options.NoRecursive = False
    null: options.Null = False
    hidden: options.Hidden = False
    limit: options.Limit = None
    sample: options.Sample = None
    seed: options.Seed = 0
    retry: options.Retry = None
    per_host: options.PerHost = 8
    allow_private: options.AllowPrivate = False
    no_sign_request: options.NoSignRequest = False

    @property
    def named(self) -> list[str]:
        """What to look at: the paths, or what `--retry` takes from a file instead; raises `InputError`."""
        from zsclip.output.failed import failed

        return self.paths if self.retry is None else failed(self.retry)

    def __post_init__(self) -> None:
        from zsclip.cli.braces import expand

        self.paths = [path for typed in self.paths for path in expand(typed)]

    @property
    def search(self) -> Search:
        """How folders are searched."""
        from zsclip.images.folders import Search

        return Search(not self.no_recursive, self.hidden)

    @property
    def opening(self) -> Opening:
        """How what holds pictures is opened."""
        from zsclip.images.opening import Opening
        from zsclip.images.remote.settings import Network

        return Opening(network=Network(self.allow_private, not self.no_sign_request, self.per_host))

    @property
    def columns(self) -> dict[str, str]:
        """The columns of tables that are asked for, by option."""
        return {}


@dataclass(repr=False, eq=False)
class PathGroup(FileGroup):
    """Where the pictures are, which may be in tables and videos."""

    column: options.Column = None
    id_column: options.IdColumn = None
    every: options.Every = None
    exact_times: options.ExactTimes = False
    pool: options.Pool = None

    @property
    def columns(self) -> dict[str, str]:
        """See `FileGroup`."""
        asked = {"--column": self.column, "--id-column": self.id_column}
        return {option: name for option, name in asked.items() if name is not None}

    @property
    def opening(self) -> Opening:
        """See `FileGroup`."""
        from zsclip.images.tables.columns import TableColumns
        from zsclip.images.video_opening import VideoOpening

        return replace(
            super().opening,
            tables=TableColumns(self.column, self.id_column),
            video=VideoOpening(self.every, self.exact_times, self.pool),
        )


@dataclass(repr=False, eq=False)
class LabelGroup:
    """The labels of both options, joined."""

    labels: options.Labels = None
    labels_file: options.LabelsFile = None

    @property
    def given(self) -> bool:
        """Whether there are any."""
        return bool(self.labels) or self.labels_file is not None

    def read(self, paths: Sequence[str] = ()) -> LabelSet:
        """The labels; raises `LabelError`, and `InputError` where `paths` look like the rest of them."""
        from zsclip.cli.inputs import require_commas
        from zsclip.errors import LabelError
        from zsclip.text.labels import LabelSet

        require_commas(self.labels or (), paths)
        parts = [LabelSet.parse(text) for text in self.labels or ()]
        parts += [LabelSet.load(self.labels_file)] if self.labels_file is not None else []
        if not parts:
            raise LabelError("No labels.", remedy="Give some with --labels cat,dog or --labels-file FILE.")
        return sum(parts[1:], start=parts[0])


@dataclass(repr=False, eq=False)
class PromptGroup:
    """Prompt sets by name or file, and templates given inline."""

    prompts: options.Prompts = None
    template: options.Template = None

    @property
    def given(self) -> bool:
        """Whether there are any."""
        return bool(self.prompts or self.template)

    def read(self) -> tuple[PromptSet, ...]:
        """The prompt sets, the default one if none is given; raises `PromptSetError`."""
        from zsclip.text.prompts import DEFAULT, PromptSet, as_prompt_sets

        names = self.prompts or ([] if self.template else [DEFAULT])
        inline = (PromptSet.of(self.template),) if self.template else ()
        return (*(as_prompt_sets(names) if names else ()), *inline)


@dataclass(repr=False, eq=False)
class ModelGroup(Typed):
    """Which model computes, and how."""

    model: options.Model = None
    pretrained: options.Pretrained = None
    offline: options.Offline = False
    device: options.Device = "auto"
    engine: options.Engine = "auto"
    precision: options.Precision = "auto"
    exact: options.Exact = False
    batch_size: options.BatchSize = None

    def resolve(self) -> ModelSpec:
        """The model that is meant; raises `ModelError`."""
        return self._resolved

    @cached_property
    def _resolved(self) -> ModelSpec:
        """Once, for it may warn."""
        return resolve_model(self.model, self.pretrained, offline=self.offline)

    @property
    def files(self) -> list[str]:
        """The files it is read from, as far as they are named."""
        kind, _, rest = (self.model or "").partition(":")
        path = os.path.expanduser(rest)
        if kind == "local-dir" and os.path.isdir(path):
            return [entry.path for entry in os.scandir(path)]
        return [file for file in (self.pretrained, path) if file and os.path.isfile(file)]

    @property
    def computing(self) -> Computing:
        """The settings of its engine; raises `ModelError`."""
        from zsclip.engines.base import Computing

        return Computing(self.device, self.engine, self.precision, self.batch_size, self.exact)


def resolve_model(model: str | None, pretrained: str | None, *, offline: bool) -> ModelSpec:
    """The model's options. `ZSCLIP_PRETRAINED` is for architectures: a model that brings its weights goes without."""
    from zsclip.models import brings_weights, resolve

    ignored = model is not None and brings_weights(model) and pretrained == os.environ.get("ZSCLIP_PRETRAINED")
    return resolve(model, None if ignored else pretrained, offline=offline)


@dataclass(repr=False, eq=False)
class ReadingGroup(Typed):
    """How pictures are read."""

    workers: options.Workers = None
    readers: options.Readers = 32
    max_pixels: options.MaxPixels = 250_000_000
    isolate: options.Isolate = False
    decode_timeout: options.DecodeTimeout = 60

    @property
    def settings(self) -> Reading:
        """The same as the library has it."""
        from zsclip.images.reading import Reading

        return Reading(self.max_pixels, self.isolate, self.decode_timeout, self.workers, self.readers)


@dataclass(repr=False, eq=False)
class StoreGroup:
    """What is kept."""

    cache_dir: options.CacheDir = None
    no_cache: options.NoCache = False
    rehash: options.Rehash = False

    @property
    def files(self) -> list[str]:
        """The store's own files."""
        from zsclip.store.database import FILENAME

        return [str(self.settings.folder / f"{FILENAME}{end}") for end in ("", "-wal", "-shm")]

    @property
    def settings(self) -> Keeping:
        """The same as the library has it."""
        from zsclip.store.keeping import Keeping

        return Keeping(self.cache_dir, not self.no_cache, self.rehash)


def classifier_of(model: ModelGroup, reading: ReadingGroup, store: StoreGroup) -> Classifier:
    """The classifier that the three groups ask for, not loaded yet; raises `ModelError`."""
    from zsclip.classifier import Classifier

    return Classifier.open(model.resolve(), model.computing, reading.settings, store.settings)


@contextmanager
def open_classifier(model: ModelGroup, reading: ReadingGroup, store: StoreGroup) -> Iterator[Classifier]:
    """See `classifier_of`. Says at the end what of the groups had no effect."""
    from zsclip.cli.unused import tell_unused

    with classifier_of(model, reading, store) as classifier:
        yield classifier
        tell_unused(classifier, {**model.typed, **reading.typed})


@dataclass(repr=False, eq=False)
class DecisionGroup:
    """How similarities become probabilities and decisions, for labels that compete."""

    temperature: options.Temperature = 1.0
    combine: options.Combine = "mean"
    background: options.Background = None
    min_probability: options.MinProbability = None
    min_margin: options.MinMargin = None
    min_similarity: options.MinSimilarity = None
    unknown_label: options.UnknownLabel = "unknown"

    def rules(self, *, multi_label: bool = False) -> Rules:
        """The same as the library has it; raises `LabelError`."""
        from zsclip.scoring.rules import Rules

        if not 0 < self.temperature < math.inf:
            raise typer.BadParameter("must be above 0.", param_hint="--temperature")
        return Rules(
            self.temperature, self.combine, multi_label, self.min_probability, self.min_margin, self.min_similarity
        )

    def read_background(self) -> tuple[str, ...] | None:
        """The texts of `--background`: a file's, or the curated ones."""
        from zsclip.text.background import curated_background
        from zsclip.text.labels import LabelSet

        if self.background is None:
            return None
        return curated_background() if self.background == "curated" else LabelSet.load(self.background).names


@dataclass(repr=False, eq=False)
class RowsGroup:
    """Where rows go, as what, how wide, and which of them."""

    top_k: options.TopK = "5"
    format: options.Format = None
    output: options.Output = None
    only: options.Only = None

    def check(self, labels: Sequence[str | None]) -> None:
        """Raise for images asked for by a label that there is not, and for an output of no known format."""
        from zsclip.cli.outputs import require_format, require_writable
        from zsclip.output.rows import EXTENSIONS, choose_format

        if self.only is not None and self.only not in labels:
            raise typer.BadParameter(f"{self.only!r} is not among the labels.", param_hint="--only")
        require_format(self.output, self.format, EXTENSIONS, bare=True)
        require_writable(choose_format(self.format, self.output, sys.stdout.isatty()), self.output)


@dataclass(repr=False, eq=False)
class ReportGroup:
    """A page beside the results."""

    report: options.Report = None
    embed_thumbnails: options.EmbedThumbnails = False

    def check(self) -> None:
        """Raise for a report that cannot be written."""
        from zsclip.cli.outputs import require_extension, require_folder

        require_extension("--report", self.report, (".html", ".htm"))
        require_folder("--report", self.report)

    def gallery(self, labels: Sequence[str], unknown: str | None, classifier: Classifier) -> Gallery | None:
        """A page to collect results for, if one is asked for."""
        if self.report is None:
            return None
        from zsclip.report.gallery import Gallery

        return Gallery(labels, unknown, classifier.model.spec.title)

    def write(self, html: Callable[[Pictures], str]) -> None:
        """Write the page, whole or not at all, and say where and how large it is; nothing if none is asked for."""
        if self.report is None:
            return
        from zsclip.cli.messages import say
        from zsclip.output.targets import open_output
        from zsclip.report.pictures import Pictures

        text = html(Pictures(self.report.parent, self.embed_thumbnails))
        with open_output(self.report, "report") as stream:
            stream.write(text)
        say(f"Wrote {self.report} ({self.report.stat().st_size / 1e6:,.1f} MB).")


@dataclass(repr=False, eq=False)
class MessageGroup:
    """What is said beside the results."""

    quiet: options.Quiet = False
    verbose: options.Verbose = False
    timings: options.ShowTimings = False

    def listen(self) -> None:
        """Show what the library logs."""
        from zsclip.cli.messages import listen

        listen(quiet=self.quiet, verbose=self.verbose)

    def report(self, classifier: Classifier) -> None:
        """Say where the time went, if that is asked for."""
        from zsclip.cli.messages import report_timings

        if self.timings:
            report_timings(classifier.timings)
