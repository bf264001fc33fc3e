"""`zsclip classify`: a row of labels per image."""

from __future__ import annotations

import logging
import math
import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import typer

from zsclip.cli import options
from zsclip.cli.messages import console, listen, say

if TYPE_CHECKING:
    from rich.console import Console

    from zsclip.embedding import Timings
    from zsclip.images import Walk
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
    device: options.Device = "auto",
    engine: options.Engine = "auto",
    precision: options.Precision = "auto",
    exact: options.Exact = False,
    batch_size: options.BatchSize = None,
    workers: options.Workers = None,
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
    from zsclip import images
    from zsclip.cli.inputs import PathList, read_background, read_labels, read_prompts, read_top_k
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
    path_list = PathList(paths, null=null)
    images.require_paths(path_list.named)
    walk = images.Walk(path_list, recursive=not no_recursive)
    found = _at_least_one(walk)

    with Classifier.load(
        model, pretrained, device=device, engine=engine, precision=precision, exact=exact, batch_size=batch_size,
        workers=workers, cache_dir=cache_dir, use_cache=not no_cache, rehash=rehash,
    ) as classifier:  # fmt: skip

        def results() -> Generator[ImageResult, None, None]:
            return classifier.classify(found, label_set, prompt_sets, top_k=kept, rules=rules, background=beside)

        def count() -> int | None:
            return None if path_list.from_stdin else sum(1 for _ in images.Walk(path_list, recursive=not no_recursive))

        classifier.embedder.fetch_if_new()  # a download shows a progress of its own, so it comes first
        columns = len(label_set) if kept is None else min(kept, len(label_set))
        layout = Layout(columns, abstains, null)
        names = [*label_set.names, *([unknown_label] if abstains else [])]
        how = _Printing(format, output, only, quiet, names, layout, single=path_list.is_one_file)
        unreadable = _print(results, count, how)
        _report_walk(walk)
        if known := classifier.embedder.found:
            logger.info("%d of %d images were in the store already.", known, known + classifier.embedder.computed)
        if timings:
            _report_timings(classifier.embedder.timings)
    if unreadable or walk.unreadable:
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

    out, err = console(), console(stderr=True)
    done = unreadable = 0
    started = time.perf_counter()
    with (
        open_output(how.output) as stream,
        progress(out, err, count, hidden=how.quiet) as advance,
        closing(start()) as results,
    ):
        name = choose_format(how.format, how.output, sys.stdout.isatty())
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


def _at_least_one(walk: Walk) -> Iterator[str]:
    """The paths of `walk`, which must lead to something before a model is loaded."""
    from zsclip.errors import InputError

    paths = iter(walk)
    first = next(paths, None)
    if first is None:
        reasons = [_passed_over(walk), *(f"{folder}: {reason}" for folder, reason in walk.unreadable.items())]
        said = "; ".join(["No images found", *filter(None, reasons)])
        raise InputError(f"{said}. Name a folder with images in it, or image files.")
    return chain([first], paths)


def _report_walk(walk: Walk) -> None:
    for folder, reason in walk.unreadable.items():
        logger.warning("The folder %s could not be read: %s.", folder, reason)
    if others := _passed_over(walk):
        logger.info("%s%s.", others[0].upper(), others[1:])


def _passed_over(walk: Walk) -> str:
    """How many files of the folders were not taken for images: "passed over 3 other files (2 .txt, 1 .pdf)"."""
    from zsclip.images import HEIF

    total = sum(walk.passed_over.values())
    if not total:
        return ""
    kinds = [f"{count} {extension or 'without extension'}" for extension, count in walk.passed_over.most_common(4)]
    text = f"passed over {total} other file{'s' if total > 1 else ''} ({', '.join(kinds)}{', …' if len(walk.passed_over) > 4 else ''})"
    if any(extension in HEIF for extension in walk.passed_over):
        text += "; HEIC is read with: pip install 'zsclip[heic]'"
    return text


def _report_timings(timings: Timings) -> None:
    """Seconds by stage, and which stage the others waited for."""
    seconds = timings.seconds
    for stage in ("load", "texts", "read", "digest", "decode", "resize", "wait", "model", "store"):
        say(f"{stage:<7}{seconds[stage]:8.2f} s{'  (summed over the threads)' if stage == 'read' else ''}")
    slowest = "the model" if seconds["model"] >= seconds["wait"] else "reading and decoding"
    say(f"The slowest stage for images was {slowest}.")
