"""`zsclip embed`: the vectors themselves, for other tools."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Optional

import typer

from zsclip.cli import groups
from zsclip.cli.grouping import grouped
from zsclip.cli.messages import in_options
from zsclip.cli.parts_group import PartsGroup

if TYPE_CHECKING:
    from zsclip.classifier import Classifier
    from zsclip.cli.inputs import FoundImages, KnownImages
    from zsclip.errors import ErrorKind
    from zsclip.output.provenance import Provenance
    from zsclip.output.vectors import VectorWriter

    Unread = tuple[str, str, ErrorKind | None]  # path, error, kind

logger = logging.getLogger("zsclip")

EmbedOutput = Annotated[
    Optional[Path], typer.Option("-o", "--output", metavar="FILE", help="A file ending in .npz, .parquet or .jsonl.")
]
TextsFile = Annotated[
    Optional[Path], typer.Option("--texts", metavar="FILE", help="Embed the texts of a file, one a line, instead.")
]


@grouped
def embed(
    where: groups.PathGroup,
    output: EmbedOutput = None,
    texts: TextsFile = None,
    *,
    model: groups.ModelGroup,
    reading: groups.ReadingGroup,
    parts: PartsGroup,
    store: groups.StoreGroup,
    messages: groups.MessageGroup,
) -> None:
    """Write unit vectors: names (paths or texts) and rows of numbers.

    zsclip embed photos/ -o vectors.npz

    zsclip embed --texts captions.txt -o captions.parquet

    Numbers are float32; in Parquet float16, unless --exact. Beside a Parquet file, pictures that could not be read are in
    one ending in .errors.parquet.

    zsclip embed s3://bucket/photos/ --into vectors/ writes them in parts; the same command goes on.
    """
    from zsclip.cli.inputs import open_images
    from zsclip.cli.outputs import Outputs, require_format
    from zsclip.cli.parts import run_in_parts
    from zsclip.output.targets import target
    from zsclip.output.vectors import VECTOR_WRITERS, vector_writer

    messages.listen()
    _check(where, texts)
    if parts.parts_folder is not None:
        run_in_parts(parts, where, model, reading, store, messages, _vectors_only, {"labels": None})
        return
    if output is None:
        raise typer.BadParameter("give --output FILE, or --into OUT for parts.", param_hint="--output")
    require_format(output, None, VECTOR_WRITERS)
    errors_file = output.with_suffix(".errors.parquet") if output.suffix.lower() == ".parquet" and not texts else None
    outputs = Outputs(output=output, errors_of_output=errors_file, offline=model.offline)
    writer_for = vector_writer(output, exact=model.exact)
    outputs.refuse(texts, model.files, store.files)
    images = None if texts else open_images(where, outputs, offline=model.offline, reading=reading.settings)
    lines = _read_lines(texts) if texts else []
    unreadable: list[Unread] = []
    with groups.open_classifier(model, reading, store) as classifier, target(output).open() as stream:
        writer = writer_for(stream, classifier.model.spec.embed_dim)
        if images is None:
            classifier.model.fetch()
            writer.write(lines, classifier.embed_texts(lines))
        else:
            unreadable = _write_images(
                classifier, images, writer, pool="mean" if where.pool else None, quiet=messages.quiet
            )
            images.report(classifier.counts)
        writer.close()
        messages.report(classifier)
    if errors_file is not None:
        _write_errors(unreadable, errors_file)
    if unreadable:
        raise typer.Exit(3)


def _check(where: groups.PathGroup, texts: Path | None) -> None:
    if bool(where.paths or where.retry) == bool(texts):
        raise typer.BadParameter("give either paths or --texts FILE.", param_hint="PATHS")
    if where.pool == "max":
        raise typer.BadParameter(
            "the best frame depends on what is asked for; vectors need 'mean'.", param_hint="--pool"
        )


def _vectors_only(classifier: Classifier) -> tuple[None, Provenance]:
    from zsclip.output.provenance import Provenance

    return None, Provenance(classifier.model)


def _write_images(
    classifier: Classifier,
    images: FoundImages | KnownImages,
    writer: VectorWriter,
    *,
    pool: Literal["mean"] | None,
    quiet: bool,
) -> list[Unread]:
    """Write the images' vectors; those that could not be read."""
    from zsclip.cli.progress import progress

    unreadable: list[Unread] = []
    with progress(classifier, images.count, hidden=quiet, is_listing=images.is_listing) as advance:
        for batch in classifier.embed_images(images.listing, pool=pool):
            writer.write(batch.read, batch.vectors)
            for place, (error, kind) in batch.errors.items():
                logger.warning("%s could not be read, and is left out: %s.", batch.paths[place], error)
                unreadable.append((batch.paths[place], in_options(error), kind))
            advance(len(batch))
    return unreadable


def _write_errors(unreadable: list[Unread], file: Path) -> None:
    """A file of what could not be read; none if there is nothing, nor one of an earlier run."""
    from zsclip.output.parquet import ErrorColumns, ParquetRows
    from zsclip.output.targets import target

    if not unreadable:
        file.unlink(missing_ok=True)
        return
    with target(file).open() as stream:
        writer = ParquetRows(stream, ErrorColumns())
        writer.write(unreadable)
        writer.close()
    logger.info("What could not be read is in %s.", file)


def _read_lines(file: Path) -> list[str]:
    from zsclip.errors import InputError
    from zsclip.text.text_file import TextFile

    lines = TextFile(file, "file of texts", InputError).read().splitlines()
    texts = [text for line in lines if (text := line.strip())]
    if not texts:
        raise InputError(f"--texts {file}: no texts in it. Write one a line.")
    return texts
