"""`zsclip classify`: a row of labels per image."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Optional

import typer

from zsclip.cli import groups, options
from zsclip.cli.grouping import grouped

logger = logging.getLogger("zsclip")

CalibrationFile = Annotated[
    Optional[Path],
    typer.Option("--calibration", metavar="FILE", rich_help_panel="Decision",
                 help="What evaluate --calibrate wrote, for this model, these labels and these prompts: its temperature."),
]  # fmt: skip


@grouped
def classify(
    labels: groups.LabelGroup,
    prompts: groups.PromptGroup,
    where: groups.PathGroup,
    model: groups.ModelGroup,
    reading: groups.ReadingGroup,
    decision: groups.DecisionGroup,
    *,
    multi_label: options.MultiLabel = False,
    calibration: CalibrationFile = None,
    rows: groups.RowsGroup,
    page: groups.ReportGroup,
    store: groups.StoreGroup,
    messages: groups.MessageGroup,
) -> None:
    """Tell which label fits each image.

    zsclip classify photos/ --labels cat,dog,"a hot dog"

    find . -name '*.jpg' -print0 | zsclip classify -0 - -L labels.txt -f jsonl

    A single image gives a ranked table, more give a row each. Probabilities are a softmax
    over your labels: they say which of them fits best, not whether any does.
    """
    from zsclip.cli.inputs import open_images, read_top_k
    from zsclip.cli.outputs import Outputs
    from zsclip.cli.printing import Printing, print_results
    from zsclip.output.provenance import Provenance
    from zsclip.output.rows import result_layout
    from zsclip.scoring.calibration import read_file
    from zsclip.scoring.rules import require_choice

    messages.listen()
    kept, rules = read_top_k(rows.top_k), decision.rules(multi_label=multi_label)
    label_set, background = labels.read(where.paths), decision.read_background()
    require_choice(label_set.names, rules, background, unknown=decision.unknown_label)
    unknown = decision.unknown_label if rules.abstains or background is not None else None
    outputs = Outputs(output=rows.output, report=page.report, offline=model.offline)
    rows.check((*label_set.names, unknown))
    sets, calibrated = prompts.read(), read_file(calibration) if calibration else None
    page.check()
    outputs.refuse(labels.labels_file, decision.background, prompts.prompts, calibration, model.files, store.files)
    images = open_images(where, outputs, offline=model.offline, reading=reading.settings)
    with groups.open_classifier(model, reading, store) as classifier:
        if calibrated and calibration:
            rules = classifier.calibrated(rules, calibrated, label_set, sets, background, calibration)
        verb = partial(classifier.classify_batches, top_k=kept, rules=rules, background=background, pool=where.pool)
        shown = min(kept or len(label_set), len(label_set))
        layout = result_layout(shown, unknown, several=multi_label, timed=where.pool is not None)
        how = Printing(
            rows, messages.quiet, label_set.names, layout, unknown, where.null, images.is_one_file,
            page.gallery(label_set.names, unknown, classifier), Provenance(classifier.model, label_set, sets, rules.combine, background),
        )  # fmt: skip
        unreadable = print_results(classifier, partial(verb, images.listing, label_set, sets), images, how)
        images.report(classifier.counts)
        messages.report(classifier)
    if gallery := how.gallery:
        page.write(lambda pictures: gallery.html(_title(where.paths or [str(where.retry)]), pictures))
    if unreadable:
        raise typer.Exit(3)


def _title(paths: Sequence[str]) -> str:
    from zsclip.images.remote.addresses import shown

    named = ["paths on standard input" if path == "-" else shown(path) for path in paths[:3]]
    return f"Labels of {', '.join(named)}{f' and {len(paths) - 3} more' if len(paths) > 3 else ''}"
