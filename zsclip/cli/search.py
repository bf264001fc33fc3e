"""`zsclip search`: images ranked by how near they are to texts and pictures."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Annotated, Literal, Optional

import typer

from zsclip.cli import options
from zsclip.cli.messages import console, listen, report_timings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zsclip.output.rows import Writer
    from zsclip.scoring.results import Match

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
    Optional[Literal["table", "csv", "tsv", "jsonl", "paths"]], typer.Option("-f", "--format", help="As for classify.")
]


def search(
    paths: options.Paths,
    text: Texts = None,
    image: Pictures = None,
    minus: Minus = None,
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
    top_k: SearchTopK = "10",
    min_similarity: SearchMinimum = -1.0,
    format: SearchFormat = None,
    output: options.Output = None,
    cache_dir: options.CacheDir = None,
    no_cache: options.NoCache = False,
    rehash: options.Rehash = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    timings: options.ShowTimings = False,
) -> None:
    """Rank images by their similarity to texts, pictures, or several of both.

    zsclip search photos/ --text "a sunset over mountains"

    zsclip search photos/ --image beach.jpg --text "2:a dog" --minus people -f paths -0 | xargs -0 open

    Texts are taken as they are; with --prompts or --template they are put into templates.
    """
    from zsclip.classifier import Classifier, Query
    from zsclip.cli.inputs import open_images, read_model, read_prompts, read_top_k, refuse_overwriting
    from zsclip.cli.progress import progress
    from zsclip.output.rows import MATCH_LAYOUT, choose_format, row_writer
    from zsclip.output.targets import open_output
    from zsclip.output.terminal import MatchTableWriter

    listen(quiet=quiet, verbose=verbose)
    query = Query.parse(text or (), image or (), minus or ())
    sets = read_prompts(prompts, template) if prompts or template else ()
    kept = read_top_k(top_k)
    refuse_overwriting(output, paths, (str(source) for source, _ in query.images), prompts)
    images = open_images(paths, null=null, recursive=not no_recursive)
    with Classifier.load(
        *read_model(model, pretrained, offline=offline), device=device,
        engine=engine, precision=precision, exact=exact, batch_size=batch_size,
        workers=workers, cache_dir=cache_dir, use_cache=not no_cache, rehash=rehash, max_pixels=max_pixels,
        isolate=isolate, decode_timeout=decode_timeout,
    ) as classifier:  # fmt: skip
        classifier.embedder.fetch_if_new()
        with progress(None, images.count, hidden=quiet) as advance:

            def counted() -> Iterator[str | None]:
                for path in images.found:
                    yield path
                    if path is not None:
                        advance()

            found = classifier.search(counted(), query, sets, top_k=kept, min_similarity=min_similarity)
        images.report(classifier.embedder)
        if timings:
            report_timings(classifier.embedder.timings)
    with open_output(output) as stream:
        name = choose_format(format, output, sys.stdout.isatty())
        writer: Writer[Match]
        if name == "table":
            writer = MatchTableWriter(console() if output is None else console(stream))
        else:
            writer = row_writer(name, stream, MATCH_LAYOUT, null=null)
        for match in found.matches:
            writer.write(match)
        for unread in found.unreadable:
            writer.write(unread)
    if found.unreadable:
        logger.warning("%d images could not be read; their rows say why.", len(found.unreadable))
    if found.unreadable:
        raise typer.Exit(3)
