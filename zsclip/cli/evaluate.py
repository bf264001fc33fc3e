"""`zsclip evaluate`: which prompts are better, by how much, and whether that is real."""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Optional

import typer

from zsclip.cli import groups, options
from zsclip.cli.combinations import TYPED
from zsclip.cli.evaluated import end, known_images, write_calibration
from zsclip.cli.grouping import grouped
from zsclip.cli.labelled import LabelledGroup
from zsclip.cli.messages import console, in_options, say
from zsclip.cli.multi_label import Judging

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zsclip.classifier import Classifier
    from zsclip.cli.outputs import Outputs
    from zsclip.evaluation.evaluate import EmbeddedImages, Evaluation
    from zsclip.scoring.calibration import Calibration
    from zsclip.scoring.rules import Rules
    from zsclip.text.prompts import PromptSet

logger = logging.getLogger("zsclip")

_FORMATS = {".csv": "csv", ".json": "json", ".txt": "table"}  # by the output's extension

_COMPARE, _BETTER, _TABLES = "Comparison", "Better prompts, calibration", "Output"

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
                 help="Fit a temperature, with --multi-label also a threshold for each label, on one half of the images, measure it on "
                      "the other, and write it (.yaml) for classify and sort --calibration."),
]  # fmt: skip
Seed = Annotated[int, typer.Option("--seed", min=0, help="Another seed draws other halves.", rich_help_panel=_BETTER)]
TableFormat = Annotated[
    Optional[Literal["table", "csv", "json"]],
    typer.Option("-f", "--format", rich_help_panel=_TABLES,
                 help="Default: by the output file's extension; else a table on a terminal and CSV into a pipe."),
]  # fmt: skip


@dataclass(repr=False, eq=False)
class ComparedGroup:
    """Prompt sets and templates, each by itself."""

    prompts: EachPrompts = None
    template: EachTemplate = None
    baseline: Baseline = None

    def read(self, typed: Sequence[str]) -> list[PromptSet]:
        """The sets in the order of the options as `typed`, the default one if there are none; raises `PromptSetError`."""
        from zsclip.text.prompts import DEFAULT, PromptSet

        sets = {
            "prompts": (PromptSet.load(name) for name in self.prompts or ()),
            "template": (PromptSet.of([template], name=template.strip()) for template in self.template or ()),
        }
        return [next(sets[option]) for option in typed if option in sets] or [PromptSet.load(DEFAULT)]


@dataclass(repr=False, eq=False)
class TablesGroup:
    """Tables beside the comparison."""

    per_class: PerClass = False
    per_template: PerTemplate = False
    confusion: Confusion = False
    errors: Errors = 0

    @property
    def names(self) -> list[str]:
        """Those asked for."""
        return [name for name in ("per_class", "per_template", "confusion", "errors") if getattr(self, name)]


@dataclass(repr=False, eq=False)
class BetterGroup:
    """Templates weighed or selected, and a temperature fitted, on one half of the images."""

    weight_templates: WeightTemplates = None
    select_templates: SelectTemplates = False
    save_prompts: SavePrompts = None
    calibrate: Calibrate = None
    seed: Seed = 0

    @property
    def weigh(self) -> bool:
        """Whether templates are weighed."""
        return self.weight_templates is not None

    def calibrated(
        self,
        classifier: Classifier,
        images: EmbeddedImages,
        one: PromptSet,
        rules: Rules,
        background: Sequence[str] | None,
    ) -> Calibration | None:
        """A temperature for the set, if one is asked for."""
        from zsclip.evaluation.calibration import calibrate

        if self.calibrate is None:
            return None
        return calibrate(classifier, images, one, rules=rules, background=background, seed=self.seed)

    def require_one_set(self, sets: Sequence[PromptSet]) -> None:
        """Raise where what is to be written could be of several sets."""
        if self.save_prompts is not None and (self.weigh + self.select_templates != 1 or len(sets) != 1):
            raise typer.BadParameter(
                "give one prompt set, and either --weight-templates zpe or --select-templates: one set can be saved.",
                param_hint="--save-prompts",
            )
        if self.calibrate is not None and (self.weigh or self.select_templates or len(sets) != 1):
            raise typer.BadParameter(
                "give one prompt set, as it is to be used. One that is chosen here is saved first (--save-prompts), and "
                "calibrated then.",
                param_hint="--calibrate",
            )


@grouped
def evaluate(
    context: typer.Context,
    images: LabelledGroup,
    labels: groups.LabelGroup,
    compared: ComparedGroup,
    tables: TablesGroup,
    better: BetterGroup,
    decision: groups.DecisionGroup,
    multi_label: options.MultiLabel = False,
    *,
    model: groups.ModelGroup,
    reading: groups.ReadingGroup,
    vectors_of_images: options.Vectors = None,
    format: TableFormat = None,
    output: options.Output = None,
    page: groups.ReportGroup,
    store: groups.StoreGroup,
    messages: groups.MessageGroup,
) -> None:
    """Judge prompts on images whose label is known: which set is better, by how much, and is it real?

    zsclip evaluate labelled/ --prompts plain --prompts photo

    zsclip evaluate --manifest labels.csv --template "a photo of a <label>." --errors 20

    Each set and each template stands alone. The first as typed is the baseline that others are compared with, image by image.
    """
    from zsclip.cli.inputs import report_known
    from zsclip.cli.progress import into_pipe, progress
    from zsclip.evaluation import evaluate as evaluation
    from zsclip.scoring.rules import require_choice

    messages.listen()
    rules, sets = decision.rules(multi_label=multi_label), _sets(context.meta[TYPED], compared, better)
    outputs = _check_outputs(output, format, better, page, offline=model.offline)
    outputs.refuse(images.manifest, images.class_names, labels.labels_file, compared.prompts, decision.background)
    form = _format(format, output, tables.names)
    if multi_label:
        judging = Judging(form, output, outputs, vectors_of_images, compared, tables, better, page)
        judging.run(sets, images, labels, decision, rules, model, reading, store, messages)
        return
    data = images.read(labels, decision.unknown_label, offline=model.offline)
    outputs.refuse(data.paths, [one.name for one in data.containers], model.files, store.files)
    background = decision.read_background()
    require_choice(data.labels.names, rules, background, unknown=decision.unknown_label, remedy="`background`")
    with groups.open_classifier(model, reading, store) as classifier:
        with progress(classifier, lambda: len(data.paths), hidden=messages.quiet or into_pipe(output)) as advance:
            known = known_images(vectors_of_images, classifier, data.paths, offline=model.offline)
            embedded = evaluation.embed(classifier, data, advance, known)
        embedded = replace(embedded, unreadable=tuple((path, in_options(why)) for path, why in embedded.unreadable))
        report_known(classifier.counts)
        found = evaluation.evaluate(
            classifier, embedded, sets, rules=rules, background=background, baseline=compared.baseline,
            per_template=tables.per_template, weigh=better.weigh, select=better.select_templates, seed=better.seed,
        )  # fmt: skip
        made = better.calibrated(classifier, embedded, sets[0], rules, background)
        messages.report(classifier)
    _print(form, output, found, tables, made, decision.unknown_label)
    _write_files(found, made, images, better, page)
    end(found.unreadable)


def _sets(typed: Sequence[str], compared: ComparedGroup, better: BetterGroup) -> list[PromptSet]:
    """The sets to compare; raises where one of them cannot be the baseline, or nothing can be written of so many."""
    from zsclip.evaluation.evaluate import named_apart, require_baseline

    sets = named_apart(compared.read(typed))
    require_baseline(sets, compared.baseline, weigh=better.weigh, select=better.select_templates)
    better.require_one_set(sets)
    return sets


def _write_files(
    found: Evaluation, made: Calibration | None, images: LabelledGroup, better: BetterGroup, page: groups.ReportGroup
) -> None:
    if page.report is not None:
        from zsclip.report.evaluation import evaluation_html

        title = f"Prompts judged on {images.folder if images.manifest is None else images.manifest}"
        page.write(lambda pictures: evaluation_html(found, title, pictures, made))
    if better.save_prompts is not None:
        _write_prompts(found, better.save_prompts)
    if better.calibrate is not None and made is not None:
        write_calibration(made, better.calibrate)


def _check_outputs(
    output: Path | None, format: str | None, better: BetterGroup, page: groups.ReportGroup, *, offline: bool
) -> Outputs:
    """Raise for an output that cannot be written, before the work."""
    from zsclip.cli.outputs import Outputs, require_extension, require_folder, require_format

    outputs = Outputs(
        output=output, save_prompts=better.save_prompts, calibrate=better.calibrate, report=page.report, offline=offline
    )
    require_format(output, format, _FORMATS)
    require_folder("--output", output)
    for option, path in (("--save-prompts", better.save_prompts), ("--calibrate", better.calibrate)):
        require_extension(option, path, (".yaml", ".yml"))
        require_folder(option, path)
    page.check()
    return outputs


def _format(asked: str | None, output: Path | None, tables: Sequence[str]) -> str:
    """How to print; raises `typer.BadParameter` for more tables than CSV can hold."""
    if asked is None and output is not None and str(output) != "-":
        asked = _FORMATS[output.suffix.lower()]
    form = asked or ("table" if sys.stdout.isatty() else "csv")
    if form == "csv" and len(tables) > 1:
        named = " and ".join(f"--{table.replace('_', '-')}" for table in tables)
        raise typer.BadParameter(
            f"CSV holds one table, not {named}. Take --format json or table.", param_hint="--format"
        )
    return form


def _print(
    form: str, output: Path | None, found: Evaluation, asked: TablesGroup, made: Calibration | None, unknown: str
) -> None:
    from zsclip.evaluation import tables as rows_of
    from zsclip.output.delimited import write_csv
    from zsclip.output.evaluation import print_tables
    from zsclip.output.targets import open_output

    tables, errors = asked.names, asked.errors
    with open_output(output) as stream:
        if form == "table":
            print_tables(console(stream if output else None), found, tables, errors, made, in_options)
        elif form == "json":
            stream.write(json.dumps(rows_of.document(found, tables, errors, made, unknown), indent=2) + "\n")
        else:
            rows = rows_of.DETAILS[tables[0]](found, errors) if tables else rows_of.comparison_rows(found)
            write_csv(stream, rows, rows_of.COLUMNS.get(tables[0], ()) if tables else ())
    if form == "csv" and tables and found.abstains:
        logger.warning("CSV holds one table, which knows no thresholds: --format json and table show what they do.")
    if form != "table" or output is not None:  # a table has them
        for warning in found.warnings:
            logger.warning("%s", warning)
    for note in found.notes:
        logger.info("%s", note)


def _write_prompts(found: Evaluation, path: Path) -> None:
    from zsclip.output.targets import open_output
    from zsclip.text.prompts import to_yaml

    (chosen,) = (one for one in found.sets if one.kind != "given")
    with open_output(path, "save_prompts") as stream:
        stream.write(to_yaml(chosen.prompts))
    say(f"Wrote {path}. Use it with: zsclip classify … --prompts {path if path.parent != Path() else f'./{path}'}")
