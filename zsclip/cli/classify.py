"""`zsclip classify`: a row of labels per image."""

from __future__ import annotations

import logging
import math
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import typer

from zsclip.cli import options
from zsclip.cli.messages import console, listen, report_timings

if TYPE_CHECKING:
    from rich.console import Console

    from zsclip.results import ImageResult
    from zsclip.writers import Layout, Writer

logger = logging.getLogger("zsclip")


def classify(
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
    from zsclip.cli.inputs import (
        open_images,
        read_background,
        read_labels,
        read_model,
        read_prompts,
        read_top_k,
        refuse_overwriting,
    )
    from zsclip.pipeline import Classifier, require_choice
    from zsclip.scoring import Rules
    from zsclip.writers import Layout

    listen(quiet=quiet, verbose=verbose)
    if not 0 < temperature < math.inf:
        raise typer.BadParameter("must be above 0.", param_hint="--temperature")
    kept = read_top_k(top_k)
    rules = Rules(temperature, combine, multi_label, min_probability, min_margin, min_similarity, unknown_label)
    label_set, beside = read_labels(labels, labels_file), read_background(background)
    require_choice(label_set, rules, beside)
    abstains = rules.abstains or beside is not None
    if only is not None and only not in label_set.names and not (abstains and only == unknown_label):
        raise typer.BadParameter(f"{only!r} is not among the labels.", param_hint="--only")
    prompt_sets = read_prompts(prompts, template)
    refuse_overwriting(output, paths, labels_file, background, prompts)
    images = open_images(paths, null=null, recursive=not no_recursive)

    with Classifier.load(
        *read_model(model, pretrained, offline=offline), device=device,
        engine=engine, precision=precision, exact=exact, batch_size=batch_size,
        workers=workers, cache_dir=cache_dir, use_cache=not no_cache, rehash=rehash, max_pixels=max_pixels,
        isolate=isolate, decode_timeout=decode_timeout,
    ) as classifier:  # fmt: skip

        def results() -> Generator[ImageResult, None, None]:
            return classifier.classify(images.found, label_set, prompt_sets, top_k=kept, rules=rules, background=beside)

        classifier.embedder.fetch_if_new()  # a download shows a progress of its own, so it comes first
        columns = len(label_set) if kept is None else min(kept, len(label_set))
        layout = Layout(columns, abstains, null)
        names = [*label_set.names, *([unknown_label] if abstains else [])]
        how = _Printing(format, output, only, quiet, names, layout, single=images.is_one_file)
        unreadable = _print(results, images.count, how)
        images.report(classifier.embedder)
        if timings:
            report_timings(classifier.embedder.timings)
    if unreadable:
        raise typer.Exit(3)


@dataclass(frozen=True)
class _Printing:
    """How results are to be printed."""

    format: str | None
    output: Path | None
    only: str | None
    quiet: bool
    labels: Sequence[str]
    layout: Layout
    single: bool


def _print(
    start: Callable[[], Generator[ImageResult, None, None]], count: Callable[[], int | None], how: _Printing
) -> int:
    """Print results as they come; the number of images that could not be read."""
    from zsclip.cli.progress import progress
    from zsclip.writers import choose_format, open_output

    out = console()
    on_terminal = sys.stdout.isatty() and (how.output is None or str(how.output) == "-")
    name = choose_format(how.format, how.output, sys.stdout.isatty())
    # Rows other than a table's go to the terminal past any console: no bar beside them.
    hidden = how.quiet or (on_terminal and name != "table")
    done = unreadable = 0
    started = time.perf_counter()
    with (
        open_output(how.output) as stream,
        progress(out if on_terminal else None, count, hidden=hidden) as advance,
        closing(start()) as results,
    ):
        writer = _writer(name, stream, out if how.output is None else console(stream), how)
        for result in results:
            done += 1
            unreadable += result.error is not None
            if how.only is None or how.only in (result.label, *result.accepted):
                writer.write(result)
            advance()
    seconds = time.perf_counter() - started
    logger.debug("%d images in %.1f s (%.1f images/s, loading the model included)", done, seconds, done / seconds)
    if unreadable:
        logger.warning("%d of %d images could not be read; their rows say why.", unreadable, done)
    return unreadable


def _writer(name: str, stream: TextIO, console: Console, how: _Printing) -> Writer:
    from zsclip.writers import STREAM_WRITERS, RankingWriter, TableWriter

    if name != "table":
        return STREAM_WRITERS[name](stream, how.layout)
    return RankingWriter(console) if how.single else TableWriter(console, how.labels)
