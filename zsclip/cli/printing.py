"""Results of `classify` printed as they come, beside a progress bar."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TextIO

from zsclip.cli.messages import console, in_options, warn_of_unreadable

if TYPE_CHECKING:
    from rich.console import Console

    from zsclip.classifier import Classifier
    from zsclip.cli.groups import RowsGroup
    from zsclip.cli.inputs import FoundImages, KnownImages
    from zsclip.output.provenance import Provenance
    from zsclip.output.rows import Layout, Writer
    from zsclip.report.gallery import Gallery
    from zsclip.scoring.batches import ImageResults
    from zsclip.text.labels import LabelSet

logger = logging.getLogger("zsclip")


@dataclass(frozen=True)
class Printing:
    """How results are to be printed."""

    rows: RowsGroup
    quiet: bool
    labels: LabelSet
    layout: Layout[ImageResults]
    unknown: str | None
    null: bool
    single: bool
    gallery: Gallery | None = None
    provenance: Provenance | None = None


def print_results(
    classifier: Classifier,
    start: Callable[[], Generator[ImageResults, None, None]],
    images: FoundImages | KnownImages,
    how: Printing,
) -> int:
    """Print results as they come; the number of images that could not be read."""
    from zsclip.cli.progress import into_pipe, progress
    from zsclip.output.rows import choose_format
    from zsclip.output.targets import open_output

    on_terminal = sys.stdout.isatty() and (how.rows.output is None or str(how.rows.output) == "-")
    name = choose_format(how.rows.format, how.rows.output, sys.stdout.isatty())
    # Rich is not imported for formats that do without it.
    stdout_console = console() if name == "table" and how.rows.output is None else None
    # Rows other than a table's go to the terminal past any console: no bar beside them.
    hidden = how.quiet or (on_terminal and name != "table") or into_pipe(how.rows.output)
    done = unreadable = 0
    first_unreadable: list[tuple[str, str]] = []
    started = time.perf_counter()
    with (
        open_output(how.rows.output) as stream,
        progress(
            classifier,
            images.count,
            hidden=hidden,
            rows=stdout_console if on_terminal else None,
            is_listing=images.is_listing,
        ) as advance,
        closing(start()) as results,
    ):
        writer = _writer(name, stream, stdout_console, how)
        for batch in results:
            said = {place: (in_options(error), kind) for place, (error, kind) in batch.errors.items()}
            unread = [(batch.paths[place], error) for place, (error, _) in said.items()]
            first_unreadable = (first_unreadable + unread)[:10]
            unreadable += len(unread)
            done += len(batch)
            wanted = _wanted(replace(batch, errors=said) if said else batch, how)
            writer.write(wanted)
            if how.gallery:
                how.gallery.add(wanted)
            advance(len(batch))
        writer.close()
    seconds = time.perf_counter() - started
    logger.debug("%d images in %.1f s (%.1f images/s, loading the model included)", done, seconds, done / seconds)
    if unreadable and (name == "paths" or how.rows.only is not None):  # what could not be read has no row
        warn_of_unreadable(first_unreadable, f"{unreadable} of {done} images", count=unreadable)
    elif unreadable:
        logger.warning("%d of %d images could not be read; their rows say why.", unreadable, done)
    return unreadable


def _wanted(results: ImageResults, how: Printing) -> ImageResults:
    only = how.rows.only
    if only is None:
        return results
    below = how.labels.below(only)
    return results.take(
        [
            place
            for place, result in enumerate(results)
            if not below.isdisjoint(result.labels) or (result.abstained and only == how.unknown)
        ]
    )


def _writer(name: str, stream: TextIO, stdout_console: Console | None, how: Printing) -> Writer[ImageResults]:
    from zsclip.output.rows import row_writer
    from zsclip.output.terminal import RankingWriter, TableWriter

    if name != "table":
        return row_writer(name, stream, how.layout, null=how.null, provenance=how.provenance)
    rows = stdout_console or console(stream)
    return RankingWriter(rows, how.unknown) if how.single else TableWriter(rows, how.labels.names, how.unknown)
