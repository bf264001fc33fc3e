"""`zsclip evaluate`: which prompts are better, by how much, and whether that is real."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Optional

import typer

from zsclip.cli import options
from zsclip.cli.messages import console, listen, report_timings, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zsclip.evaluation.calibration import Calibration
    from zsclip.evaluation.dataset import LabelledImages
    from zsclip.evaluation.evaluate import Evaluation
    from zsclip.text.prompts import PromptSet

logger = logging.getLogger("zsclip")

_INPUT, _COMPARE, _BETTER, _TABLES = "Images and labels", "Comparison", "Better prompts, calibration", "Output"

Folder = Annotated[
    Optional[Path],
    typer.Argument(
        metavar="[DIR]",
        help="A folder with a folder of images for each label; with --manifest, where its relative paths start.",
        show_default=False,
    ),
]
Manifest = Annotated[
    Optional[Path],
    typer.Option("--manifest", metavar="FILE", rich_help_panel=_INPUT,
                 help="Images and labels from CSV, TSV or JSON Lines with path and label, such as zsclip's own output."),
]  # fmt: skip
ClassNamesFile = Annotated[
    Optional[Path],
    typer.Option("--class-names", metavar="FILE", rich_help_panel=_INPUT,
                 help="What folders (or a manifest's labels) are called: YAML 'folder: label' or CSV 'folder,label'; "
                      "more names are synonyms."),
]  # fmt: skip
EachPrompts = Annotated[
    Optional[list[str]],
    typer.Option("-p", "--prompts", metavar="NAME|FILE", rich_help_panel=_COMPARE,
                 help="Prompt set; repeat to compare several. Default: openai-simple."),
]  # fmt: skip
EachTemplate = Annotated[
    Optional[list[str]],
    typer.Option("--template", metavar="TEXT", rich_help_panel=_COMPARE,
                 help="A template to be compared by itself; repeatable."),
]  # fmt: skip
Baseline = Annotated[
    Optional[str],
    typer.Option("--baseline", metavar="NAME", rich_help_panel=_COMPARE,
                 help="The set that others are compared with. Default: the first."),
]  # fmt: skip
PerClass = Annotated[
    bool, typer.Option("--per-class", help="Each label: precision, recall, F1.", rich_help_panel=_COMPARE)
]
PerTemplate = Annotated[
    bool, typer.Option("--per-template", help="Each template by itself, ranked.", rich_help_panel=_COMPARE)
]
Confusion = Annotated[bool, typer.Option("--confusion", help="What is taken for what.", rich_help_panel=_COMPARE)]
Errors = Annotated[
    int, typer.Option("--errors", min=0, metavar="N", help="The N most confident mistakes.", rich_help_panel=_COMPARE)
]
WeightTemplates = Annotated[
    Optional[Literal["zpe"]],
    typer.Option("--weight-templates", rich_help_panel=_BETTER,
                 help="Also weigh each set's templates, by zero-shot prompt ensembling: one half of the images, without "
                      "their labels, gives the weights; figures are of the other half."),
]  # fmt: skip
SelectTemplates = Annotated[
    bool,
    typer.Option("--select-templates", rich_help_panel=_BETTER,
                 help="Also select templates greedily on one half of the images; figures are of the other half."),
]  # fmt: skip
SavePrompts = Annotated[
    Optional[Path],
    typer.Option("--save-prompts", metavar="FILE", rich_help_panel=_BETTER,
                 help="Write the weighed or selected set as a prompt set (.yaml)."),
]  # fmt: skip
Calibrate = Annotated[
    Optional[Path],
    typer.Option("--calibrate", metavar="FILE", rich_help_panel=_BETTER,
                 help="Fit a temperature on one half of the images, measure it on the other, and write it (.yaml) for "
                      "classify --calibration."),
]  # fmt: skip
Seed = Annotated[int, typer.Option("--seed", min=0, help="Another seed draws other halves.", rich_help_panel=_BETTER)]
TableFormat = Annotated[
    Optional[Literal["table", "csv", "json"]],
    typer.Option("-f", "--format", rich_help_panel=_TABLES,
                 help="Default: by the output file's extension; else a table on a terminal and CSV into a pipe."),
]  # fmt: skip


def evaluate(
    folder: Folder = None,
    manifest: Manifest = None,
    class_names: ClassNamesFile = None,
    labels: options.Labels = None,
    labels_file: options.LabelsFile = None,
    prompts: EachPrompts = None,
    template: EachTemplate = None,
    baseline: Baseline = None,
    per_class: PerClass = False,
    per_template: PerTemplate = False,
    confusion: Confusion = False,
    errors: Errors = 0,
    weight_templates: WeightTemplates = None,
    select_templates: SelectTemplates = False,
    save_prompts: SavePrompts = None,
    calibrate: Calibrate = None,
    seed: Seed = 0,
    temperature: options.Temperature = 1.0,
    combine: options.Combine = "mean",
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
    format: TableFormat = None,
    output: options.Output = None,
    report: options.Report = None,
    embed_thumbnails: options.EmbedThumbnails = False,
    cache_dir: options.CacheDir = None,
    no_cache: options.NoCache = False,
    rehash: options.Rehash = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    timings: options.ShowTimings = False,
) -> None:
    """Judge prompts on images whose label is known: which set is better, by how much, and is it real?

    zsclip evaluate labelled/ --prompts plain --prompts photo

    zsclip evaluate --manifest labels.csv --template "a photo of a <label>." --errors 20

    Each prompt set and each template stands alone. The first is the baseline: others are compared with it on the same
    images, with an interval for the difference and an exact test.
    """
    from zsclip.classifier import Classifier
    from zsclip.cli.inputs import read_background, read_model, refuse_overwriting, require_folder, write_report
    from zsclip.cli.progress import progress
    from zsclip.evaluation import evaluate as evaluation
    from zsclip.scoring.rules import Rules, require_choice

    listen(quiet=quiet, verbose=verbose)
    asked = {"per_class": per_class, "per_template": per_template, "confusion": confusion, "errors": errors > 0}
    tables = [name for name, is_asked in asked.items() if is_asked]
    rules = Rules(temperature, combine, False, min_probability, min_margin, min_similarity)
    sets = evaluation.named_apart(_read_sets(prompts, template))
    evaluation.require_baseline(sets, baseline, weigh=weight_templates is not None, select=select_templates)
    _require_one_set(sets, save_prompts, calibrate, weight_templates is not None, select_templates)
    for option, path, extensions in (
        ("--output", None if str(output) == "-" else output, (".csv", ".json", ".txt")),
        ("--save-prompts", save_prompts, (".yaml", ".yml")),
        ("--calibrate", calibrate, (".yaml", ".yml")),
        ("--report", report, (".html", ".htm")),
    ):
        refuse_overwriting(path, manifest, class_names, labels_file, prompts, option=option, extensions=extensions)
        require_folder(path, option)
    if embed_thumbnails and report is None:
        raise typer.BadParameter("give the report too: --report FILE.html", param_hint="--embed-thumbnails")
    form = _format(format, output, tables)
    data = _read_images(folder, manifest, class_names, labels, labels_file, unknown_label)
    beside = read_background(background)
    require_choice(data.labels.names, rules, beside, unknown=unknown_label, remedy="`background`")
    for note in data.notes:
        logger.info("%s", note)
    with Classifier.load(
        *read_model(model, pretrained, offline=offline), device=device,
        engine=engine, precision=precision, exact=exact, batch_size=batch_size,
        workers=workers, cache_dir=cache_dir, use_cache=not no_cache, rehash=rehash, max_pixels=max_pixels,
        isolate=isolate, decode_timeout=decode_timeout,
    ) as classifier:  # fmt: skip
        classifier.embedder.fetch_if_new()
        with progress(None, lambda: len(data.paths), hidden=quiet) as advance:
            images = evaluation.embed(classifier, data, advance)
        if known := classifier.embedder.found:
            logger.info("%d of %d images were in the store already.", known, known + classifier.embedder.computed)
        found = evaluation.evaluate(
            classifier, images, sets, rules=rules, background=beside, baseline=baseline, per_template=per_template,
            weigh=weight_templates is not None, select=select_templates, seed=seed,
        )  # fmt: skip
        made = None
        if calibrate is not None:
            from zsclip.evaluation.fitting import calibrate as fit

            made = fit(classifier, images, sets[0], rules=rules, background=beside, seed=seed)
        if timings:
            report_timings(classifier.embedder.timings)
    _print(form, output, found, tables, errors, made, unknown_label)
    if report is not None:
        from zsclip.report.evaluation import evaluation_html

        title = f"Prompts judged on {folder if manifest is None else manifest}"
        write_report(report, lambda pictures: evaluation_html(found, title, pictures, made), embed_thumbnails)
    if save_prompts is not None:
        _write_prompts(found, save_prompts)
    if calibrate is not None and made is not None:
        _write_calibration(made, calibrate)
    if found.unreadable:
        _tell_unreadable(found)
        raise typer.Exit(3)


def _format(asked: str | None, output: Path | None, tables: Sequence[str]) -> str:
    """How to print; raises `typer.BadParameter` for more tables than CSV can hold."""
    by_name = {".csv": "csv", ".json": "json", ".txt": "table"}
    if asked is None and output is not None and str(output) != "-":
        asked = by_name.get(output.suffix.lower())
    form = asked or ("table" if sys.stdout.isatty() else "csv")
    if form == "csv" and len(tables) > 1:
        named = " and ".join(f"--{table.replace('_', '-')}" for table in tables)
        raise typer.BadParameter(
            f"CSV holds one table, not {named}. Take --format json or table.", param_hint="--format"
        )
    return form


def _read_sets(prompts: Sequence[str] | None, templates: Sequence[str] | None) -> list[PromptSet]:
    """Each set and each template by itself, the default set if there are none."""
    from zsclip.text.prompts import DEFAULT, PromptSet

    sets = [PromptSet.load(name) for name in prompts or ([] if templates else [DEFAULT])]
    return sets + [PromptSet.of([template], name=template.strip()) for template in templates or ()]


def _require_one_set(
    sets: Sequence[PromptSet], save_prompts: Path | None, calibrate: Path | None, weigh: bool, select: bool
) -> None:
    if save_prompts is not None and (weigh + select != 1 or len(sets) != 1):
        raise typer.BadParameter(
            "give one prompt set, and either --weight-templates zpe or --select-templates: one set can be saved.",
            param_hint="--save-prompts",
        )
    if calibrate is not None and (weigh or select or len(sets) != 1):
        raise typer.BadParameter(
            "give one prompt set, as it is to be used. One that is chosen here is saved first (--save-prompts), and "
            "calibrated then.",
            param_hint="--calibrate",
        )


def _read_images(
    folder: Path | None,
    manifest: Path | None,
    class_names: Path | None,
    labels: str | None,
    labels_file: str | None,
    unknown: str,
) -> LabelledImages:
    from zsclip.cli.inputs import read_labels
    from zsclip.evaluation import dataset as labelled

    if folder is None and manifest is None:
        raise typer.BadParameter(
            "give a folder with a folder of images for each label, or --manifest FILE.", param_hint="DIR"
        )
    names = None if class_names is None else labelled.ClassNames.load(class_names)
    label_set = None if labels is None and labels_file is None else read_labels(labels, labels_file)
    if manifest is not None:
        return labelled.from_manifest(manifest, folder, label_set, names, unknown)
    assert folder is not None
    return labelled.from_folder(folder, label_set, names, unknown)


def _print(
    form: str, output: Path | None, found: Evaluation, tables: Sequence[str], errors: int, made: Calibration | None,
    unknown: str,
) -> None:  # fmt: skip
    from zsclip.evaluation import tables as rows_of
    from zsclip.output.delimited import write_csv
    from zsclip.output.evaluation import print_tables
    from zsclip.output.targets import open_output

    with open_output(output) as stream:
        if form == "table":
            print_tables(console(stream if output else None), found, tables, errors, made)
        elif form == "json":
            stream.write(json.dumps(rows_of.document(found, tables, errors, made, unknown), indent=2) + "\n")
        else:
            rows = rows_of.DETAILS[tables[0]](found, errors) if tables else rows_of.comparison_rows(found)
            write_csv(stream, rows, rows_of.COLUMNS.get(tables[0], ()) if tables else ())
    for note in found.notes:
        logger.info("%s", note)


def _write_prompts(found: Evaluation, path: Path) -> None:
    from zsclip.output.targets import open_output
    from zsclip.text.prompts import to_yaml

    (chosen,) = (one for one in found.sets if one.kind != "given")
    with open_output(path, "save_prompts") as stream:
        stream.write(to_yaml(chosen.prompts))
    say(f"Wrote {path}. Use it with: zsclip classify … --prompts {path if path.parent != Path() else f'./{path}'}")


def _write_calibration(made: Calibration, path: Path) -> None:
    from zsclip.evaluation.calibration import to_yaml
    from zsclip.output.targets import open_output
    from zsclip.text.wording import counted

    with open_output(path, "calibrate") as stream:
        stream.write("# Written by zsclip evaluate --calibrate; used with: zsclip classify ... --calibration FILE\n")
        stream.write(to_yaml(made))
    say(
        f"Wrote {path}: temperature {made.temperature:.4g}; on {counted(made.measured_on, 'other image')} ECE "
        f"{made.before.ece:.4f} before and {made.after.ece:.4f} after, NLL {made.before.nll:.4f} and {made.after.nll:.4f}."
    )


def _tell_unreadable(found: Evaluation) -> None:
    from zsclip.text.wording import counted

    shown = 5
    for path, error in found.unreadable[:shown]:
        logger.warning("%s could not be read: %s.", path, error)
    more = len(found.unreadable) - shown
    logger.warning(
        "%s could not be read%s; what cannot be read counts neither as right nor as wrong.",
        counted(len(found.unreadable), "image"),
        f", {more} more than these" if more > 0 else "",
    )
