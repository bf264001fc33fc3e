"""`zsclip sort`: one folder a label."""

from __future__ import annotations

import logging
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zsclip.cli import options
from zsclip.cli.messages import listen, report_timings, say

if TYPE_CHECKING:
    from zsclip.output.folders import Filing

logger = logging.getLogger("zsclip")

Into = Annotated[Path, typer.Option("--into", metavar="DIR", help="The folder that gets a folder for each label.")]
Link = Annotated[bool, typer.Option("--link", help="Hard links (the default): no space, the originals stay.")]
Copy = Annotated[bool, typer.Option("--copy", help="Copies: the originals stay.")]
Move = Annotated[bool, typer.Option("--move", help="Move the files themselves.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the plan (from, to, label) and do nothing.")]


def sort(
    paths: options.Paths,
    into: Into,
    labels: options.Labels = None,
    labels_file: options.LabelsFile = None,
    link: Link = False,
    copy: Copy = False,
    move: Move = False,
    dry_run: DryRun = False,
    prompts: options.Prompts = None,
    template: options.Template = None,
    no_recursive: options.NoRecursive = False,
    null: options.Null = False,
    temperature: options.Temperature = 1.0,
    combine: options.Combine = "mean",
    multi_label: options.MultiLabel = False,
    background: options.Background = None,
    min_probability: options.MinProbability = None,
    min_margin: options.MinMargin = None,
    min_similarity: options.MinSimilarity = None,
    unknown_label: options.UnknownLabel = "unknown",
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
    """Sort images into folders by their label.

    zsclip sort photos/ --labels cat,dog --into sorted/ --dry-run

    The plan is written into the folder as CSV before the first file is touched. Nothing is overwritten; names that
    clash are kept apart. Images without a decision go to unknown/.
    """
    from zsclip.classifier import Classifier
    from zsclip.cli.inputs import open_images, read_background, read_labels, read_model, read_prompts
    from zsclip.cli.progress import progress
    from zsclip.output import folders as filing
    from zsclip.scoring.rules import Rules, require_choice

    listen(quiet=quiet, verbose=verbose)
    if link + copy + move > 1:
        raise typer.BadParameter("give one of --link, --copy and --move.", param_hint="--link")
    rules = Rules(temperature, combine, multi_label, min_probability, min_margin, min_similarity)
    label_set, beside = read_labels(labels, labels_file), read_background(background)
    require_choice(label_set.names, rules, beside)
    prompt_sets = read_prompts(prompts, template)
    images = open_images(paths, null=null, recursive=not no_recursive, exclude=into)
    with Classifier.load(
        *read_model(model, pretrained, offline=offline), device=device,
        engine=engine, precision=precision, exact=exact, batch_size=batch_size,
        workers=workers, cache_dir=cache_dir, use_cache=not no_cache, rehash=rehash, max_pixels=max_pixels,
        isolate=isolate, decode_timeout=decode_timeout,
    ) as classifier:  # fmt: skip
        classifier.embedder.fetch_if_new()
        results = []
        with (
            progress(None, images.count, hidden=quiet) as advance,
            closing(
                classifier.classify(images.found, label_set, prompt_sets, top_k=1, rules=rules, background=beside)
            ) as found,
        ):
            for result in found:
                results.append(result)
                advance()
        images.report(classifier.embedder)
        if timings:
            report_timings(classifier.embedder.timings)
    unreadable = [result for result in results if result.error is not None]
    for result in unreadable:
        logger.warning("%s stays where it is: %s.", result.path, result.error)
    how = "copy" if copy else "move" if move else "link"
    plan = list(filing.plan(results, into, label_set.names, unknown_label, how))
    failed = _print_plan(plan) if dry_run else _carry_out(plan, into, how)
    if unreadable or failed:
        raise typer.Exit(3)


def _print_plan(plan: list[Filing]) -> int:
    from zsclip.output.folders import write_rows
    from zsclip.output.targets import open_output

    with open_output(None) as stream:
        write_rows(plan, stream)
    return 0


def _carry_out(plan: list[Filing], into: Path, how: str) -> int:
    """Do what was planned; the number of files that stayed where they were."""
    from zsclip.output import folders as filing

    written = filing.write_plan(plan, into)
    counts: Counter[str] = Counter()
    for filed in filing.carry_out(plan, how):
        counts[filed.outcome] += 1
        if filed.error is not None:
            logger.warning("%s stays where it is: %s.", filed.filing.source, filed.error)
    past = {"link": "linked", "copy": "copied", "move": "moved"}[how]
    there = f", {counts['there']} were there already" if counts["there"] else ""
    say(f"{counts['done']} files {past} into {into}{there}. The plan is {written}.")
    return counts["failed"]
