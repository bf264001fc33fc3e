"""`zsclip classify`: a row of labels per image."""

from __future__ import annotations

import logging
import math
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional, TextIO

import typer

from zsclip.cli import options
from zsclip.cli.messages import console, listen, report_timings

if TYPE_CHECKING:
    from rich.console import Console

    from zsclip.evaluation.calibration import Calibration
    from zsclip.output.rows import Writer
    from zsclip.report.gallery import Gallery
    from zsclip.scoring.results import ImageResult

logger = logging.getLogger("zsclip")

CalibrationFile = Annotated[
    Optional[Path],
    typer.Option("--calibration", metavar="FILE", rich_help_panel="Decision",
                 help="What evaluate --calibrate wrote, for this model, these labels and these prompts: its temperature."),
]  # fmt: skip


def classify(
    context: typer.Context,
    paths: options.Paths,
    labels: options.Labels = None,
    labels_file: options.LabelsFile = None,
    prompts: options.Prompts = None,
    template: options.Template = None,
    no_recursive: options.NoRecursive = False,
    null: options.Null = False,
    model: options.Model = None,
    pretrained: options.Pretrained = None,
    offline: options.Offline = False,
    device: options.Device = "auto",
    engine: options.Engine = "auto",
    precision: options.Precision = "auto",
    exact: options.Exact = False,
    batch_size: options.BatchSize = None,
    workers: options.Workers = None,
    max_pixels: options.MaxPixels = 250_000_000,
    isolate: options.Isolate = False,
    decode_timeout: options.DecodeTimeout = 60,
    temperature: options.Temperature = 1.0,
    calibration: CalibrationFile = None,
    combine: options.Combine = "mean",
    multi_label: options.MultiLabel = False,
    background: options.Background = None,
    min_probability: options.MinProbability = None,
    min_margin: options.MinMargin = None,
    min_similarity: options.MinSimilarity = None,
    unknown_label: options.UnknownLabel = "unknown",
    top_k: options.TopK = "5",
    format: options.Format = None,
    output: options.Output = None,
    only: options.Only = None,
    report: options.Report = None,
    embed_thumbnails: options.EmbedThumbnails = False,
    cache_dir: options.CacheDir = None,
    no_cache: options.NoCache = False,
    rehash: options.Rehash = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    timings: options.ShowTimings = False,
) -> None:
    """Tell which label fits each image.

    zsclip classify photos/ --labels cat,dog,"a hot dog"

    find . -name '*.jpg' -print0 | zsclip classify -0 - -L labels.txt -f jsonl

    A single image gives a ranked table, more give a row each. Probabilities are a softmax
    over your labels: they say which of them fits best, not whether any does.
    """
    from zsclip.classifier import Classifier
    from zsclip.cli.inputs import (
        open_images,
        read_background,
        read_labels,
        read_model,
        read_prompts,
        read_top_k,
        refuse_overwriting,
        require_folder,
        write_report,
    )
    from zsclip.evaluation.calibration import Binding
    from zsclip.scoring.rules import Rules, require_choice

    listen(quiet=quiet, verbose=verbose)
    if not 0 < temperature < math.inf:
        raise typer.BadParameter("must be above 0.", param_hint="--temperature")
    kept = read_top_k(top_k)
    rules = Rules(temperature, combine, multi_label, min_probability, min_margin, min_similarity)
    label_set, beside = read_labels(labels, labels_file), read_background(background)
    require_choice(label_set.names, rules, beside, unknown=unknown_label)
    unknown = unknown_label if rules.abstains or beside is not None else None
    if only is not None and only not in (*label_set.names, unknown):
        raise typer.BadParameter(f"{only!r} is not among the labels.", param_hint="--only")
    prompt_sets = read_prompts(prompts, template)
    calibrated = _read_calibration(context, calibration, multi_label) if calibration else None
    if calibrated:
        rules = replace(rules, temperature=calibrated.temperature)
    refuse_overwriting(output, paths, labels_file, background, prompts, calibration)
    refuse_overwriting(report, paths, option="--report", extensions=(".html", ".htm"))
    require_folder(report, "--report")
    if embed_thumbnails and report is None:
        raise typer.BadParameter("give the report too: --report FILE.html", param_hint="--embed-thumbnails")
    images = open_images(paths, null=null, recursive=not no_recursive)

    with Classifier.load(
        *read_model(model, pretrained, offline=offline), device=device,
        engine=engine, precision=precision, exact=exact, batch_size=batch_size,
        workers=workers, cache_dir=cache_dir, use_cache=not no_cache, rehash=rehash, max_pixels=max_pixels,
        isolate=isolate, decode_timeout=decode_timeout,
    ) as classifier:  # fmt: skip

        def results() -> Generator[ImageResult, None, None]:
            return classifier.classify(images.found, label_set, prompt_sets, top_k=kept, rules=rules, background=beside)

        if calibrated and calibration:
            identity = classifier.embedder.identity
            calibrated.require(Binding.of(identity, label_set, prompt_sets, combine, beside), calibration)
        classifier.embedder.fetch_if_new()  # a download shows a progress of its own, so it comes first
        columns = len(label_set) if kept is None else min(kept, len(label_set))
        gallery = None
        if report is not None:
            from zsclip.report.gallery import Gallery

            gallery = Gallery(label_set.names, unknown, classifier.embedder.spec.title)
        how = _Printing(
            format, output, only, quiet, label_set.names, columns, unknown, null, images.is_one_file, gallery
        )
        unreadable = _print(results, images.count, how)
        images.report(classifier.embedder)
        if timings:
            report_timings(classifier.embedder.timings)
    if gallery and report:
        write_report(report, lambda pictures: gallery.html(_title(paths), pictures), embed_thumbnails)
    if unreadable:
        raise typer.Exit(3)


def _read_calibration(context: typer.Context, path: Path, multi_label: bool) -> Calibration:
    from zsclip.evaluation.calibration import read_file

    if _is_given(context, "temperature"):
        raise typer.BadParameter(
            "a calibration brings its temperature. Leave out one of the two.",
            param_hint="--calibration and --temperature",
        )
    if multi_label:
        raise typer.BadParameter("a temperature for labels that compete does not suit labels on their own.",
                                 param_hint="--calibration and --multi-label")  # fmt: skip
    return read_file(path)


def _is_given(context: typer.Context, name: str) -> bool:
    """Whether an option was given, even if with its default."""
    source = context.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"


def _title(paths: Sequence[str]) -> str:
    named = ["paths on standard input" if path == "-" else path for path in paths[:3]]
    return f"Labels of {', '.join(named)}{f' and {len(paths) - 3} more' if len(paths) > 3 else ''}"


@dataclass(frozen=True)
class _Printing:
    """How results are to be printed."""

    format: str | None
    output: Path | None
    only: str | None
    quiet: bool
    labels: Sequence[str]
    columns: int
    unknown: str | None
    null: bool
    single: bool
    gallery: Gallery | None = None


def _print(
    start: Callable[[], Generator[ImageResult, None, None]], count: Callable[[], int | None], how: _Printing
) -> int:
    """Print results as they come; the number of images that could not be read."""
    from zsclip.cli.progress import progress
    from zsclip.output.rows import choose_format
    from zsclip.output.targets import open_output

    on_terminal = sys.stdout.isatty() and (how.output is None or str(how.output) == "-")
    name = choose_format(how.format, how.output, sys.stdout.isatty())
    # Rich is not imported for formats that do without it.
    stdout_console = console() if name == "table" and how.output is None else None
    # Rows other than a table's go to the terminal past any console: no bar beside them.
    hidden = how.quiet or (on_terminal and name != "table")
    done = unreadable = 0
    started = time.perf_counter()
    with (
        open_output(how.output) as stream,
        progress(stdout_console if on_terminal else None, count, hidden=hidden) as advance,
        closing(start()) as results,
    ):
        writer = _writer(name, stream, stdout_console, how)
        for result in results:
            done += 1
            unreadable += result.error is not None
            if how.only is None or how.only in result.labels or (result.abstained and how.only == how.unknown):
                writer.write(result)
                if how.gallery:
                    how.gallery.add(result)
            advance()
    seconds = time.perf_counter() - started
    logger.debug("%d images in %.1f s (%.1f images/s, loading the model included)", done, seconds, done / seconds)
    if unreadable:
        logger.warning("%d of %d images could not be read; their rows say why.", unreadable, done)
    return unreadable


def _writer(name: str, stream: TextIO, stdout_console: Console | None, how: _Printing) -> Writer[ImageResult]:
    from zsclip.output.rows import result_layout, row_writer
    from zsclip.output.terminal import RankingWriter, TableWriter

    if name != "table":
        return row_writer(name, stream, result_layout(how.columns, how.unknown), null=how.null)
    rows = stdout_console or console(stream)
    return RankingWriter(rows, how.unknown) if how.single else TableWriter(rows, how.labels, how.unknown)
