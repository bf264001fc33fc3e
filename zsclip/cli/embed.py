"""`zsclip embed`: the vectors themselves, for other tools."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated, Optional

import typer

from zsclip.cli import options
from zsclip.cli.messages import listen, report_timings

logger = logging.getLogger("zsclip")

MaybePaths = Annotated[
    Optional[list[str]],
    typer.Argument(metavar="PATHS...", help="As for classify; none with --texts.", show_default=False),
]
EmbedOutput = Annotated[
    Path, typer.Option("-o", "--output", metavar="FILE", help="A file ending in .npz, .parquet or .jsonl.")
]
TextsFile = Annotated[
    Optional[Path], typer.Option("--texts", metavar="FILE", help="Embed the texts of a file, one a line, instead.")
]


def embed(
    output: EmbedOutput,
    paths: MaybePaths = None,
    texts: TextsFile = None,
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
    cache_dir: options.CacheDir = None,
    no_cache: options.NoCache = False,
    rehash: options.Rehash = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    timings: options.ShowTimings = False,
) -> None:
    """Write unit vectors: names (paths or texts) and float32 rows.

    zsclip embed photos/ -o vectors.npz

    zsclip embed --texts captions.txt -o captions.parquet
    """
    from zsclip.classifier import Classifier
    from zsclip.cli.inputs import open_images, read_model, refuse_overwriting
    from zsclip.cli.progress import progress
    from zsclip.output.targets import target
    from zsclip.output.vectors import vector_writer

    listen(quiet=quiet, verbose=verbose)
    if bool(paths) == bool(texts):
        raise typer.BadParameter("give either paths or --texts FILE.", param_hint="PATHS")
    writer_for = vector_writer(output)
    refuse_overwriting(output, paths, texts)
    images = open_images(paths, null=null, recursive=not no_recursive) if paths else None
    lines = _read_lines(texts) if texts else []
    unreadable = 0
    with (
        Classifier.load(
            *read_model(model, pretrained, offline=offline), device=device,
            engine=engine, precision=precision, exact=exact, batch_size=batch_size,
            workers=workers, cache_dir=cache_dir, use_cache=not no_cache, rehash=rehash, max_pixels=max_pixels,
            isolate=isolate, decode_timeout=decode_timeout,
        ) as classifier,
        target(output).open() as stream,
    ):  # fmt: skip
        embedder = classifier.embedder
        embedder.fetch_if_new()
        writer = writer_for(stream, embedder.spec.embed_dim)
        if images is None:
            writer.write(lines, embedder.texts(lines))
        else:
            with progress(None, images.count, hidden=quiet) as advance:
                for names, vectors, errors in classifier.embed(images.found):
                    writer.write(names, vectors)
                    for path, error in errors:
                        logger.warning("%s could not be read, and is left out: %s.", path, error)
                    unreadable += len(errors)
                    for _ in range(len(names) + len(errors)):
                        advance()
            images.report(embedder)
        writer.close()
        if timings:
            report_timings(embedder.timings)
    if unreadable:
        raise typer.Exit(3)


def _read_lines(file: Path) -> list[str]:
    from zsclip.errors import InputError
    from zsclip.text.text_file import TextFile

    lines = TextFile(file, "file of texts", InputError).read().splitlines()
    texts = [text for line in lines if (text := line.strip())]
    if not texts:
        raise InputError(f"--texts {file}: no texts in it. Write one a line.")
    return texts
