"""`zsclip embed`: the vectors themselves, for other tools."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Optional

import typer

from zsclip.cli import groups

if TYPE_CHECKING:
    from zsclip.classifier import Classifier
    from zsclip.cli.inputs import FoundImages
    from zsclip.output.vectors import VectorWriter

logger = logging.getLogger("zsclip")

EmbedOutput = Annotated[
    Path, typer.Option("-o", "--output", metavar="FILE", help="A file ending in .npz, .parquet or .jsonl.")
]
TextsFile = Annotated[
    Optional[Path], typer.Option("--texts", metavar="FILE", help="Embed the texts of a file, one a line, instead.")
]


@dataclass(repr=False, eq=False)
class MaybePathGroup(groups.PathGroup):
    """Where the pictures are, if it is pictures."""

    paths: Annotated[
        list[str], typer.Argument(metavar="PATHS...", help="As for classify; none with --texts.", show_default=False)
    ] = field(default_factory=list)


@groups.grouped
def embed(
    output: EmbedOutput,
    where: MaybePathGroup,
    texts: TextsFile = None,
    *,
    model: groups.ModelGroup,
    reading: groups.ReadingGroup,
    store: groups.StoreGroup,
    messages: groups.MessageGroup,
) -> None:
    """Write unit vectors: names (paths or texts) and float32 rows.

    zsclip embed photos/ -o vectors.npz

    zsclip embed --texts captions.txt -o captions.parquet
    """
    from zsclip.cli.inputs import open_images
    from zsclip.cli.outputs import Outputs, require_format
    from zsclip.output.targets import target
    from zsclip.output.vectors import VECTOR_WRITERS, vector_writer

    messages.listen()
    if bool(where.paths) == bool(texts):
        raise typer.BadParameter("give either paths or --texts FILE.", param_hint="PATHS")
    if where.pool == "max":
        raise typer.BadParameter(
            "the best frame depends on what is asked for; vectors need 'mean'.", param_hint="--pool"
        )
    pool = where.pool
    outputs = Outputs(output=output)
    require_format(output, None, VECTOR_WRITERS)
    writer_for = vector_writer(output)
    outputs.refuse(texts, model.files, store.files)
    images = open_images(where, outputs) if where.paths else None
    lines = _read_lines(texts) if texts else []
    with groups.open_classifier(model, reading, store) as classifier, target(output).open() as stream:
        writer = writer_for(stream, classifier.model.spec.embed_dim)
        if images is None:
            classifier.model.fetch()
            writer.write(lines, classifier.embed_texts(lines))
            unreadable = 0
        else:
            unreadable = _write_images(classifier, images, writer, pool=pool, quiet=messages.quiet)
            images.report(classifier.counts)
        writer.close()
        messages.report(classifier)
    if unreadable:
        raise typer.Exit(3)


def _write_images(
    classifier: Classifier, images: FoundImages, writer: VectorWriter, *, pool: Literal["mean"] | None, quiet: bool
) -> int:
    """Write the images' vectors; the number of images that could not be read."""
    from zsclip.cli.progress import progress

    unreadable = 0
    with progress(classifier, images.count, hidden=quiet) as advance:
        for names, vectors, errors in classifier.embed(images.listing, pool=pool):
            writer.write(names, vectors)
            for path, error in errors:
                logger.warning("%s could not be read, and is left out: %s.", path, error)
            unreadable += len(errors)
            advance(len(names) + len(errors))
    return unreadable


def _read_lines(file: Path) -> list[str]:
    from zsclip.errors import InputError
    from zsclip.text.text_file import TextFile

    lines = TextFile(file, "file of texts", InputError).read().splitlines()
    texts = [text for line in lines if (text := line.strip())]
    if not texts:
        raise InputError(f"--texts {file}: no texts in it. Write one a line.")
    return texts
