"""`zsclip evaluate --multi-label`: labels on their own, on images that may have several."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from zsclip.cli import groups
from zsclip.cli.evaluated import end, known_images, write_calibration
from zsclip.cli.messages import console, in_options

if TYPE_CHECKING:
    from zsclip.cli.compared import BetterGroup, ComparedGroup, TablesGroup
    from zsclip.cli.labelled import LabelledGroup
    from zsclip.cli.outputs import Outputs
    from zsclip.evaluation.multi_label.judge import MultiLabelEvaluation
    from zsclip.scoring.calibration import Calibration
    from zsclip.scoring.rules import Rules
    from zsclip.text.prompts import PromptSet

logger = logging.getLogger("zsclip")


@dataclass(frozen=True)
class Judging:
    """What is asked of the figures, and where they go; `form` is one of table, csv and json."""

    form: str
    output: Path | None
    outputs: Outputs
    vectors: str | None
    compared: ComparedGroup
    tables: TablesGroup
    better: BetterGroup
    page: groups.ReportGroup

    def run(
        self,
        sets: Sequence[PromptSet],
        images: LabelledGroup,
        labels: groups.LabelGroup,
        decision: groups.DecisionGroup,
        rules: Rules,
        model: groups.ModelGroup,
        reading: groups.ReadingGroup,
        store: groups.StoreGroup,
        messages: groups.MessageGroup,
    ) -> None:
        """Judge the sets; raises `typer.Exit` where images could not be read, and `ZsclipError`."""
        from zsclip.cli.inputs import report_known
        from zsclip.cli.progress import into_pipe, progress
        from zsclip.evaluation.multi_label.calibration import calibrate
        from zsclip.evaluation.multi_label.data import embed
        from zsclip.evaluation.multi_label.judge import evaluate
        from zsclip.scoring.rules import require_choice

        self._refuse_report()
        background = decision.read_background()
        data = images.read_several(labels, decision.unknown_label, offline=model.offline)
        self.outputs.refuse(data.paths, model.files, store.files)
        require_choice(data.labels.names, rules, background, unknown=decision.unknown_label)
        with groups.open_classifier(model, reading, store) as classifier:
            hidden = messages.quiet or into_pipe(self.output)
            with progress(classifier, lambda: len(data.paths), hidden=hidden) as advance:
                known = known_images(self.vectors, classifier, data.paths, offline=model.offline)
                embedded = embed(classifier, data, advance, known)
            unreadable = tuple((path, in_options(why)) for path, why in embedded.unreadable)
            embedded = replace(embedded, unreadable=unreadable)
            report_known(classifier.counts)
            baseline = self.compared.baseline
            found = evaluate(classifier, embedded, sets, rules=rules, background=background, baseline=baseline)
            made = None
            if self.better.calibrate is not None:
                seed = self.better.seed
                made = calibrate(classifier, embedded, sets[0], rules=rules, background=background, seed=seed)
            messages.report(classifier)
        self._print(found, made, decision.unknown_label)
        if made is not None and self.better.calibrate is not None:
            write_calibration(made, self.better.calibrate)
        end(unreadable)

    def _print(self, found: MultiLabelEvaluation, made: Calibration | None, unknown: str) -> None:
        from zsclip.evaluation.multi_label import tables
        from zsclip.output.delimited import write_csv
        from zsclip.output.multi_label import print_tables
        from zsclip.output.targets import open_output

        with open_output(self.output) as stream:
            if self.form == "table":
                terminal = console(stream if self.output else None)
                print_tables(terminal, found, made, in_options, per_class=self.tables.per_class)
            elif self.form == "json":
                document = tables.document(found, made, unknown, per_class=self.tables.per_class)
                stream.write(json.dumps(document, indent=2) + "\n")
            else:
                write_csv(stream, tables.label_rows(found) if self.tables.per_class else tables.comparison_rows(found))
        if self.form != "table" or self.output is not None:  # a table has them
            for warning in found.warnings:
                logger.warning("%s", warning)
        for note in found.notes:
            logger.info("%s", note)

    def _refuse_report(self) -> None:
        """Raise for a report, which shows what one label is taken for."""
        if self.page.report is not None:
            raise typer.BadParameter(
                "the report shows which one label an image got, and what it is taken for, which labels on their own do not "
                "have. Take --format json, or leave out one of the two.",
                param_hint="--multi-label and --report",
            )
