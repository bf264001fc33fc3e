"""`zsclip classify`: a row of labels per image."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional, TextIO

import typer

from zsclip.cli import options
from zsclip.cli.groups import (
    DecisionGroup,
    LabelGroup,
    MessageGroup,
    ModelGroup,
    PathGroup,
    PromptGroup,
    ReadingGroup,
    ReportGroup,
    RowsGroup,
    StoreGroup,
    grouped,
    open_classifier,
)
from zsclip.cli.messages import console

if TYPE_CHECKING:
    from rich.console import Console

    from zsclip.classifier import Classifier
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


@grouped
def classify(
    context: typer.Context,
    labels: LabelGroup,
    prompts: PromptGroup,
    where: PathGroup,
    model: ModelGroup,
    reading: ReadingGroup,
    decision: DecisionGroup,
    multi_label: options.MultiLabel = False,
    calibration: CalibrationFile = None,
    top_k: options.TopK = "5",
    *,
    rows: RowsGroup,
    page: ReportGroup,
    store: StoreGroup,
    messages: MessageGroup,
) -> None:
    """Tell which label fits each image.

    zsclip classify photos/ --labels cat,dog,"a hot dog"

    find . -name '*.jpg' -print0 | zsclip classify -0 - -L labels.txt -f jsonl

    A single image gives a ranked table, more give a row each. Probabilities are a softmax
    over your labels: they say which of them fits best, not whether any does.
    """
    from zsclip.cli.inputs import (
        open_images,
        read_top_k,
        refuse_overwriting,
        write_report,
    )
    from zsclip.scoring.rules import require_choice

    messages.listen()
    kept, rules = read_top_k(top_k), decision.rules(multi_label=multi_label)
    label_set, background = labels.read(), decision.read_background()
    require_choice(label_set.names, rules, background, unknown=decision.unknown_label)
    unknown = decision.unknown_label if rules.abstains or background is not None else None
    if rows.only is not None and rows.only not in (*label_set.names, unknown):
        raise typer.BadParameter(f"{rows.only!r} is not among the labels.", param_hint="--only")
    sets = prompts.read()
    calibrated = _read_calibration(context, calibration, multi_label) if calibration else None
    refuse_overwriting(rows.output, where.paths, labels.labels_file, decision.background, prompts.prompts, calibration)
    page.check(where.paths)
    images = open_images(where)
    with open_classifier(model, reading, store) as classifier:
        if calibrated and calibration:
            rules = classifier.calibrated(rules, calibrated, label_set, sets, background, calibration)

        def results() -> Generator[ImageResult, None, None]:
            return classifier.classify(images.listing, label_set, sets, top_k=kept, rules=rules, background=background)

        gallery = None
        if page.report is not None:
            from zsclip.report.gallery import Gallery

            gallery = Gallery(label_set.names, unknown, classifier.model.spec.title)
        columns = len(label_set) if kept is None else min(kept, len(label_set))
        printing = _Printing(
            rows, messages.quiet, label_set.names, columns, unknown, where.null, images.is_one_file, gallery
        )
        unreadable = _print(classifier, results, images.count, printing)
        images.report(classifier.counts)
        messages.report(classifier)
    if gallery and page.report:
        write_report(page.report, lambda pictures: gallery.html(_title(where.paths), pictures), page.embed_thumbnails)
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

    rows: RowsGroup
    quiet: bool
    labels: Sequence[str]
    columns: int
    unknown: str | None
    null: bool
    single: bool
    gallery: Gallery | None = None


def _print(
    classifier: Classifier,
    start: Callable[[], Generator[ImageResult, None, None]],
    count: Callable[[], int | None],
    how: _Printing,
) -> int:
    """Print results as they come; the number of images that could not be read."""
    from zsclip.cli.progress import progress
    from zsclip.output.rows import choose_format
    from zsclip.output.targets import open_output

    on_terminal = sys.stdout.isatty() and (how.rows.output is None or str(how.rows.output) == "-")
    name = choose_format(how.rows.format, how.rows.output, sys.stdout.isatty())
    # Rich is not imported for formats that do without it.
    stdout_console = console() if name == "table" and how.rows.output is None else None
    # Rows other than a table's go to the terminal past any console: no bar beside them.
    hidden = how.quiet or (on_terminal and name != "table")
    done = unreadable = 0
    started = time.perf_counter()
    with (
        open_output(how.rows.output) as stream,
        progress(classifier, count, hidden=hidden, rows=stdout_console if on_terminal else None) as advance,
        closing(start()) as results,
    ):
        writer = _writer(name, stream, stdout_console, how)
        for result in results:
            done += 1
            unreadable += result.error is not None
            if _is_wanted(result, how):
                writer.write(result)
                if how.gallery:
                    how.gallery.add(result)
            advance()
    seconds = time.perf_counter() - started
    logger.debug("%d images in %.1f s (%.1f images/s, loading the model included)", done, seconds, done / seconds)
    if unreadable:
        logger.warning("%d of %d images could not be read; their rows say why.", unreadable, done)
    return unreadable


def _is_wanted(result: ImageResult, how: _Printing) -> bool:
    only = how.rows.only
    return only is None or only in result.labels or (result.abstained and only == how.unknown)


def _writer(name: str, stream: TextIO, stdout_console: Console | None, how: _Printing) -> Writer[ImageResult]:
    from zsclip.output.rows import result_layout, row_writer
    from zsclip.output.terminal import RankingWriter, TableWriter

    if name != "table":
        return row_writer(name, stream, result_layout(how.columns, how.unknown), null=how.null)
    rows = stdout_console or console(stream)
    return RankingWriter(rows, how.unknown) if how.single else TableWriter(rows, how.labels, how.unknown)
