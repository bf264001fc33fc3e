"""`zsclip search`: images ranked by how near they are to texts and pictures."""

from __future__ import annotations

import logging
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal, Optional

import typer

from zsclip.cli import groups, options
from zsclip.cli.grouping import grouped
from zsclip.cli.messages import console, in_options, warn_of_unreadable
from zsclip.text.wording import counted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from zsclip.output.provenance import Provenance
    from zsclip.output.rows import Writer
    from zsclip.scoring.results import Match, SearchResult
    from zsclip.text.query import Query

logger = logging.getLogger("zsclip")

Texts = Annotated[
    Optional[list[str]],
    typer.Option(
        "--text", metavar="[W:]TEXT", help="What to look for; repeatable, with a weight: '2:golden retriever'."
    ),
]
Pictures = Annotated[
    Optional[list[str]],
    typer.Option("--image", metavar="[W:]FILE", help="A picture to look for the likes of; repeatable, with a weight."),
]
Minus = Annotated[
    Optional[list[str]], typer.Option("--minus", metavar="[W:]TEXT", help="What to keep away from; repeatable.")
]
SearchTopK = Annotated[str, typer.Option("-k", "--top-k", metavar="N|all", help="How many images to tell.")]
SearchMinimum = Annotated[
    float, typer.Option("--min-similarity", min=-1, max=1, metavar="S", help="Only images at least so similar.")
]
SearchFormat = Annotated[
    Optional[Literal["table", "csv", "tsv", "jsonl", "parquet", "paths"]],
    typer.Option("-f", "--format", help="As for classify."),
]


@grouped
def search(
    where: groups.PathGroup,
    text: Texts = None,
    image: Pictures = None,
    minus: Minus = None,
    *,
    vectors: options.Vectors = None,
    prompts: groups.PromptGroup,
    model: groups.ModelGroup,
    reading: groups.ReadingGroup,
    top_k: SearchTopK = "10",
    min_similarity: SearchMinimum = -1.0,
    format: SearchFormat = None,
    output: options.Output = None,
    store: groups.StoreGroup,
    messages: groups.MessageGroup,
) -> None:
    """Rank images by their similarity to texts, pictures, or several of both.

    zsclip search photos/ --text "a sunset over mountains"

    zsclip search photos/ --image beach.jpg --text "2:a dog" --minus people -f paths -0 | xargs -0 open

    Texts are taken as they are; with --prompts or --template they are put into templates.
    """
    from zsclip.cli.inputs import open_images, read_top_k
    from zsclip.cli.outputs import Outputs, require_format, require_writable
    from zsclip.cli.progress import into_pipe, progress
    from zsclip.output.provenance import Provenance
    from zsclip.output.rows import EXTENSIONS, choose_format
    from zsclip.text.query import Query

    messages.listen()
    query = Query.parse(text or (), image or (), minus or ())
    sets = prompts.read() if prompts.given else ()
    kept = read_top_k(top_k)
    outputs = Outputs(output=output, offline=model.offline)
    require_format(output, format, EXTENSIONS, bare=True)
    name = choose_format(format, output, sys.stdout.isatty())
    require_writable(name, output)
    outputs.refuse((str(source) for source, _ in query.images), prompts.prompts, model.files, store.files)
    _require_reachable(query, offline=model.offline)
    images = open_images(where, outputs, offline=model.offline, reading=reading.settings, vectors=vectors)
    with groups.open_classifier(model, reading, store) as classifier:
        images.require(classifier)
        hidden = messages.quiet or into_pipe(output)
        with progress(classifier, images.count, hidden=hidden, is_listing=images.is_listing) as advance:
            found = classifier.search(
                images.listing, query, sets, top_k=kept, min_similarity=min_similarity, advance=advance, pool=where.pool
            )
        images.report(classifier.counts)
        messages.report(classifier)
    timed = where.pool is not None
    _write(found, name, output, null=where.null, timed=timed, provenance=Provenance(classifier.model))
    if found.unreadable:
        _warn(found, has_rows=name != "paths")
        raise typer.Exit(3)


def _require_reachable(query: Query, *, offline: bool) -> None:
    """Raise `InputError` for an address among the query's pictures where no network may be used."""
    from zsclip.images.remote.addresses import is_address, shown
    from zsclip.images.remote.settings import Network

    for source, _ in query.images if offline else ():
        if is_address(str(source)):
            Network(offline=True).require_online(shown(str(source)))


def _warn(found: SearchResult, *, has_rows: bool) -> None:
    said = counted(len(found.unreadable), "image")
    if has_rows:
        logger.warning("%s could not be read; their rows say why.", said)
    else:
        warn_of_unreadable([(unread.path, unread.error or "") for unread in found.unreadable], said)


def _write(
    found: SearchResult, format: str, output: Path | None, *, null: bool, timed: bool, provenance: Provenance
) -> None:
    from zsclip.output.rows import match_layout, row_writer
    from zsclip.output.targets import open_output
    from zsclip.output.terminal import MatchTableWriter

    with open_output(output) as stream:
        writer: Writer[Sequence[Match]]
        if format == "table":
            writer = MatchTableWriter(console() if output is None else console(stream))
        else:
            writer = row_writer(format, stream, match_layout(timed=timed), null=null, provenance=provenance)
        writer.write(found.matches)
        writer.write([replace(unread, error=in_options(unread.error or "")) for unread in found.unreadable])
        writer.close()
