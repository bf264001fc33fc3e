"""`zsclip evaluate`: which models and prompts are better, by how much, and whether that is real."""

from __future__ import annotations

from typing import Annotated, Literal, Optional

import typer

from zsclip.cli import groups, options
from zsclip.cli.combinations import TYPED
from zsclip.cli.compared import BetterGroup, ComparedGroup, ModelsGroup, TablesGroup
from zsclip.cli.evaluated import end
from zsclip.cli.grouping import grouped
from zsclip.cli.labelled import LabelledGroup
from zsclip.cli.multi_label import Judging as OnTheirOwn
from zsclip.cli.teaching import JudgedTeachingGroup

TableFormat = Annotated[
    Optional[Literal["table", "csv", "json"]],
    typer.Option("-f", "--format", rich_help_panel="Output",
                 help="Default: by the output file's extension; else a table on a terminal and CSV into a pipe."),
]  # fmt: skip


@grouped
def evaluate(
    context: typer.Context,
    images: LabelledGroup,
    labels: groups.LabelGroup,
    compared: ComparedGroup,
    tables: TablesGroup,
    better: BetterGroup,
    teaching: JudgedTeachingGroup,
    decision: groups.DecisionGroup,
    multi_label: options.MultiLabel = False,
    *,
    model: ModelsGroup,
    reading: groups.ReadingGroup,
    vectors_of_images: options.Vectors = None,
    format: TableFormat = None,
    output: options.Output = None,
    page: groups.ReportGroup,
    store: groups.StoreGroup,
    messages: groups.MessageGroup,
) -> None:
    """Judge prompts and models on images whose label is known: which is better, by how much, and is it real?

    zsclip evaluate labelled/ --prompts plain --prompts photo

    zsclip evaluate --manifest labels.csv --template "a photo of a <label>." --errors 20

    zsclip evaluate labelled/ --shots 1,2,4,8,16

    zsclip evaluate labelled/ -m ViT-B-32:openai -m ViT-B-16-SigLIP2:webli -p plain -p photo

    Each set and each template stands alone, with each model. The first as typed is the baseline of all others, image by image.
    """
    from zsclip.cli import evaluation_outputs
    from zsclip.cli.judging import Judge
    from zsclip.evaluation.evaluate import named_apart
    from zsclip.scoring.rules import require_choice

    messages.listen()
    rules, sets = decision.rules(multi_label=multi_label), named_apart(compared.read(context.meta[TYPED]))
    pair = compared.baseline_pair(sets, better, model.names, taught=teaching.examples is not None)
    model.require_one(better, vectors=vectors_of_images, multi_label=multi_label or None, shots=teaching.shots)
    better.require_one_set(sets)
    outputs = evaluation_outputs.check_outputs(output, format, better, page, offline=model.offline)
    outputs.refuse(images.manifest, images.class_names, labels.labels_file, compared.prompts, decision.background)
    tables.learning = bool(teaching.numbers)
    form = evaluation_outputs.chosen_format(format, output, tables.names)
    if multi_label:
        asked = OnTheirOwn(form, output, outputs, vectors_of_images, compared, tables, better, page)
        asked.run(sets, images, labels, decision, rules, model.each[0], reading, store, messages)
        return
    data = tables.suited(images.read(labels, decision.unknown_label, offline=model.offline))
    files = [file for one in model.each for file in one.files]
    outputs.refuse(data.paths, [one.name for one in data.containers], files, store.files)
    background, examples = decision.read_background(), teaching.read(data.labels, decision.unknown_label, outputs)
    require_choice(data.labels.names, rules, background, unknown=decision.unknown_label, remedy="`background`")
    judge = Judge(data, sets, rules, background, tables, better, reading, store, messages, output, teaching, examples)
    found, made = judge.all(model.each, pair, compared.baseline, vectors_of_images)
    evaluation_outputs.print_found(form, output, found, tables, made, decision.unknown_label)
    evaluation_outputs.write_files(found, made, images, better, page)
    end(found.unreadable)
