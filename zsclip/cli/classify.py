"""`zsclip classify`: a row of labels per image."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import typer

from zsclip.cli import groups, options
from zsclip.cli.grouping import grouped
from zsclip.cli.parts_group import PartsGroup
from zsclip.cli.teaching import TeachingGroup

if TYPE_CHECKING:
    from zsclip.classifier import Classifier
    from zsclip.cli.asked import Asked
    from zsclip.cli.inputs import FoundImages, KnownImages
    from zsclip.report.gallery import Gallery
    from zsclip.report.pictures import Pictures


@grouped
def classify(
    labels: groups.LabelGroup,
    prompts: groups.PromptGroup,
    where: groups.PathGroup,
    model: groups.ModelGroup,
    reading: groups.ReadingGroup,
    decision: groups.DecisionGroup,
    *,
    vectors: options.Vectors = None,
    multi_label: options.MultiLabel = False,
    calibration: options.CalibrationFile = None,
    teaching: TeachingGroup,
    rows: groups.RowsGroup,
    parts: PartsGroup,
    page: groups.ReportGroup,
    store: groups.StoreGroup,
    messages: groups.MessageGroup,
) -> None:
    """Tell which label fits each image.

    zsclip classify photos/ --labels cat,dog,"a hot dog"

    find . -name '*.jpg' -print0 | zsclip classify -0 - -L labels.txt -f jsonl

    zsclip classify s3://bucket/photos/ -L labels.txt --into parts/

    A single image gives a ranked table, more give a row each. Probabilities are a softmax
    over your labels: they say which of them fits best, not whether any does.
    """
    from zsclip.cli.asked import Asked
    from zsclip.cli.inputs import open_images, read_top_k
    from zsclip.cli.outputs import Outputs
    from zsclip.cli.parts import run_in_parts

    messages.listen()
    kept, rules = read_top_k(rows.top_k), decision.rules(multi_label=multi_label)
    label_set = teaching.labels(labels, where.paths)
    asked = Asked.read(label_set, prompts, decision, rules, kept, calibration, saved=teaching.saved)
    outputs = Outputs(
        output=rows.output, report=page.report, save_classifier=teaching.save_classifier, offline=model.offline
    )
    rows.check((*asked.labels.names, *asked.labels.above, asked.unknown))
    if parts.parts_folder is not None:
        run_in_parts(parts, where, model, reading, store, messages, asked.told, asked.decides, vectors)
        return
    page.check()
    outputs.refuse(labels.labels_file, decision.background, prompts.prompts, calibration, model.files, store.files)
    examples = teaching.read(label_set, decision.unknown_label, outputs)
    images = open_images(where, outputs, offline=model.offline, reading=reading.settings, vectors=vectors)
    with groups.open_classifier(model, reading, store) as classifier:
        images.require(classifier)
        asked = teaching.teach(asked, classifier, examples)
        gallery = page.gallery((*label_set.names, *label_set.above), asked.unknown, classifier)
        unread = _print(asked, classifier, images, where, rows, gallery, quiet=messages.quiet)
        images.report(classifier.counts)
        messages.report(classifier)
    page.write(partial(_html, gallery, where))
    if unread:
        raise typer.Exit(3)


def _print(
    asked: Asked,
    classifier: Classifier,
    images: FoundImages | KnownImages,
    where: groups.PathGroup,
    rows: groups.RowsGroup,
    gallery: Gallery | None,
    *,
    quiet: bool,
) -> int:
    """How many images could not be read."""
    from zsclip.cli.printing import Printing, print_results

    how = Printing(
        rows, quiet, asked.labels, asked.layout(timed=where.pool is not None), asked.unknown, where.null,
        images.is_one_file, gallery, asked.provenance(classifier),
    )  # fmt: skip
    return print_results(classifier, partial(asked.results, classifier, images.listing, where.pool), images, how)


def _html(gallery: Gallery | None, where: groups.PathGroup, pictures: Pictures) -> str:
    assert gallery is not None
    return gallery.html(_title(where.paths or [str(where.retry)]), pictures)


def _title(paths: Sequence[str]) -> str:
    from zsclip.images.remote.addresses import shown

    named = ["paths on standard input" if path == "-" else shown(path) for path in paths[:3]]
    return f"Labels of {', '.join(named)}{f' and {len(paths) - 3} more' if len(paths) > 3 else ''}"
