"""What `zsclip evaluate` prints and writes."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from zsclip.cli.evaluated import write_calibration
from zsclip.cli.messages import console, in_options, say

if TYPE_CHECKING:
    from zsclip.cli.compared import BetterGroup, TablesGroup
    from zsclip.cli.groups import ReportGroup
    from zsclip.cli.labelled import LabelledGroup
    from zsclip.cli.outputs import Outputs
    from zsclip.evaluation.evaluate import Evaluation
    from zsclip.scoring.calibration import Calibration

logger = logging.getLogger("zsclip")

_FORMATS = {".csv": "csv", ".json": "json", ".txt": "table"}  # by the output's extension


def write_files(
    found: Evaluation, made: Calibration | None, images: LabelledGroup, better: BetterGroup, page: ReportGroup
) -> None:
    """Write the report, the set and the calibration that are asked for."""
    if page.report is not None:
        from zsclip.report.evaluation import evaluation_html

        what = "Models and prompts" if found.models else "Prompts"
        title = f"{what} judged on {images.folder if images.manifest is None else images.manifest}"
        page.write(lambda pictures: evaluation_html(found, title, pictures, made))
    if better.save_prompts is not None:
        _write_prompts(found, better.save_prompts)
    if better.calibrate is not None and made is not None:
        write_calibration(made, better.calibrate)


def check_outputs(
    output: Path | None, format: str | None, better: BetterGroup, page: ReportGroup, *, offline: bool
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


def chosen_format(asked: str | None, output: Path | None, tables: Sequence[str]) -> str:
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


def print_found(
    form: str, output: Path | None, found: Evaluation, asked: TablesGroup, made: Calibration | None, unknown: str
) -> None:
    """Print the comparison and the tables asked for, and what is to be said of them."""
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
            write_csv(stream, rows, rows_of.columns(found, tables[0]) if tables else ())
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
