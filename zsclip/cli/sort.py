"""`zsclip sort`: one folder a label."""

from __future__ import annotations

import logging
from collections import Counter
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zsclip.cli import groups, options
from zsclip.cli.grouping import grouped
from zsclip.cli.messages import say, tell_if_interrupted
from zsclip.cli.teaching import TeachingGroup
from zsclip.text.wording import counted

if TYPE_CHECKING:
    from zsclip.classifier import Classifier
    from zsclip.cli.asked import Asked
    from zsclip.cli.inputs import FoundImages, KnownImages
    from zsclip.output.folders import Filing
    from zsclip.scoring.results import ImageResult

logger = logging.getLogger("zsclip")

Into = Annotated[Path, typer.Option("--into", metavar="DIR", help="The folder that gets a folder for each label.")]
Link = Annotated[bool, typer.Option("--link", help="Hard links (the default): no space, the originals stay.")]
Copy = Annotated[bool, typer.Option("--copy", help="Copies: the originals stay.")]
Move = Annotated[bool, typer.Option("--move", help="Move the files themselves.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the plan (from, to, label) and do nothing.")]


@grouped
def sort(
    into: Into,
    labels: groups.LabelGroup,
    prompts: groups.PromptGroup,
    where: groups.FileGroup,
    decision: groups.DecisionGroup,
    multi_label: options.MultiLabel = False,
    calibration: options.CalibrationFile = None,
    link: Link = False,
    copy: Copy = False,
    move: Move = False,
    dry_run: DryRun = False,
    *,
    teaching: TeachingGroup,
    model: groups.ModelGroup,
    reading: groups.ReadingGroup,
    store: groups.StoreGroup,
    messages: groups.MessageGroup,
) -> None:
    """Sort images into folders by their label, of labels in levels into folders in folders.

    zsclip sort photos/ --labels cat,dog --into sorted/ --dry-run

    The plan is written into the folder as CSV before the first file is touched. Nothing is overwritten; names that
    clash are kept apart. Images without a decision go to unknown/.
    """
    from zsclip.cli.asked import Asked
    from zsclip.cli.inputs import open_images
    from zsclip.cli.outputs import Outputs
    from zsclip.cli.progress import into_pipe
    from zsclip.images.sources import require_files
    from zsclip.output import folders

    messages.listen()
    rules, label_set = decision.rules(multi_label=multi_label), teaching.labels(labels, where.paths)
    asked = Asked.read(label_set, prompts, decision, rules, 1, calibration, saved=teaching.saved, unknown_apart=True)
    outputs = Outputs(save_classifier=teaching.save_classifier)
    outputs.refuse(labels.labels_file, decision.background, prompts.prompts, calibration, model.files, store.files)
    examples = teaching.read(label_set, decision.unknown_label, outputs)
    # Where `into` is itself the folder that is searched, what was sorted before is still passed over.
    exclude = (into, *(into / one for one in folders.homes(label_set, decision.unknown_label).values()))
    search = replace(where.search, libraries=not move, exclude=exclude, files_only=True)
    images = open_images(where, search=search, refuse=require_files)
    with groups.open_classifier(model, reading, store) as classifier:
        asked = teaching.teach(asked, classifier, examples)
        results = _results(asked, classifier, images, hidden=messages.quiet or (dry_run and into_pipe(None)))
        images.report(classifier.counts)
        messages.report(classifier)
    for result in (unreadable := [result for result in results if result.error is not None]):
        logger.warning("%s stays where it is: %s.", result.path, result.error)
    how = next((name for name, asked in (("link", link), ("copy", copy), ("move", move)) if asked), "link")
    plan = list(folders.plan(results, into, label_set, decision.unknown_label, how))
    failed = _print_plan(plan) if dry_run else _carry_out(plan, into, how, store)
    if unreadable or failed:
        raise typer.Exit(3)


def _results(
    asked: Asked, classifier: Classifier, images: FoundImages | KnownImages, *, hidden: bool
) -> list[ImageResult]:
    from zsclip.cli.progress import progress

    results: list[ImageResult] = []
    with (
        progress(classifier, images.count, hidden=hidden, is_listing=images.is_listing) as advance,
        closing(asked.results(classifier, images.listing)) as found,
    ):
        for batch in found:
            results += batch
            advance(len(batch))
    return results


def _print_plan(plan: list[Filing]) -> int:
    from zsclip.output.folders import write_rows
    from zsclip.output.targets import open_output

    with open_output(None) as stream:
        write_rows(plan, stream)
    return 0


def _carry_out(plan: list[Filing], into: Path, how: str, store: groups.StoreGroup) -> int:
    """Do what was planned; the number of files that stayed where they were."""
    from zsclip.output import folders
    from zsclip.output.stamps import keep_stamps

    written = folders.write_plan(plan, into)
    counts: Counter[str] = Counter()
    past = {"link": "linked", "copy": "copied", "move": "moved"}[how]
    tell_if_interrupted(
        lambda: f"{counts['done']} of {counted(len(plan), 'file')} are {past}; the same command goes on from there."
    )
    with store.settings.open() as kept:
        for filed in keep_stamps(folders.carry_out(plan, how), plan, kept):
            counts[filed.outcome] += 1
            if filed.error is not None:
                logger.warning("%s stays where it is: %s.", filed.filing.source, filed.error)
    there = f", {counts['there']} were there already" if counts["there"] else ""
    plan_is = f" The plan is {written}." if written else ""
    say(f"{counts['done']} files {past} into {into}{there}.{plan_is}")
    return counts["failed"]
