"""An evaluation as tables on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from zsclip.evaluation import metrics
from zsclip.evaluation.evaluate import Evaluation, SetResult
from zsclip.evaluation.speed import ComparedModel
from zsclip.evaluation.tables import mistakes
from zsclip.output.cells import fit_width, printable
from zsclip.output.figures import MANY, FigurePrinter, p_value
from zsclip.scoring.calibration import Calibration
from zsclip.text.wording import counted, listed

if TYPE_CHECKING:
    from rich.console import Console

_PAIRS = 30


def print_tables(
    console: Console,
    found: Evaluation,
    tables: Sequence[str],
    errors: int,
    calibration: Calibration | None,
    shown: Callable[[str], str] = str,
) -> None:
    """All tables, one below the other. `shown` makes of settings in backticks what the user calls them."""
    printer = _Printer(console, found, errors, shown)
    printer.comparison()
    for name in tables:
        for one in found.sets:
            if _has(name, one, found):
                console.print()
                PRINTED[name](printer, one)
    if calibration:
        console.print()
        printer.calibration(calibration)


def _has(table: str, one: SetResult, found: Evaluation) -> bool:
    """Whether there is anything in a table of a set."""
    if table == "learning":
        return any(curve.prompts == one.prompts.name for curve in found.curves)
    return table != "per_template" or bool(one.templates)


class _Printer(FigurePrinter):
    def __init__(self, console: Console, found: Evaluation, errors: int, shown: Callable[[str], str]) -> None:
        self._found, self._errors, self._shown = found, errors, shown
        self._told: set[ComparedModel] = set()
        decimals = 2 if found.baseline.summary.images >= MANY else 1
        longest = max(len(one.prompts.name) for one in found.sets) + (2 if found.models else 0)
        figures = 60 if decimals == 1 else 68
        self._narrow = console.width < figures + min(longest, 12)
        super().__init__(console, decimals, max(8, min(longest, console.width - figures + (14 if self._narrow else 0))))

    def comparison(self) -> None:
        found = self._found
        images = found.baseline.summary.images
        which = counted(len(found.models), "model") if found.models else found.model
        self._line(f"{counted(images, 'image')}, {counted(len(found.labels), 'label')}, {which}. Shares in %.")
        self._line()
        means = [] if self._narrow else ["recall", "F1"]
        self._of_sets(
            ["prompts", "n", "top-1 [95 %]", "top-5", *means, "ECE", "NLL"],
            found.sets,
            [
                [
                    self._set_name(one),
                    str(len(one.prompts.templates)),
                    self._with_interval(one.summary.top1, one.summary.top1_interval),
                    self._percent(one.summary.top5),
                    *map(self._percent, (one.summary.mean_recall, one.summary.macro_f1) if means else ()),
                    self._percent(one.summary.ece),
                    f"{one.summary.nll:.3f}",
                ]
                for one in found.sets
            ],
        )
        label, share = found.commonest
        always = f"; always answering {label!r} would give {self._percent(share)}" if share > found.chance else ""
        self._line()
        self._prose(f"Chance is {self._percent(found.chance)} (one of {counted(len(found.labels), 'label')}){always}.")
        if found.abstains:
            self._line()
            self._of_sets(
                ["with abstention", "coverage", "accuracy on the covered [95 %]"],
                found.sets,
                [
                    [
                        self._set_name(one),
                        self._percent(one.summary.coverage),
                        self._with_interval(one.summary.covered_accuracy, one.summary.covered_interval),
                    ]
                    for one in found.sets
                ],
            )
        self._differences()
        for warning in found.warnings:
            self._line()
            self._prose(warning)

    def _differences(self) -> None:
        found = self._found
        if found.comparisons:
            self._line()
            self._line(f"Against {found.baseline.name}, image by image:")
            self._of_sets(
                ["prompts", "difference [95 %]", *([] if self._narrow else ["gained", "lost"]), "p", "Holm", ""],
                found.others,
                [
                    [
                        self._set_name(one),
                        self._with_interval(against.difference, against.interval, sign=True),
                        *([] if self._narrow else [str(against.gained), str(against.lost)]),
                        p_value(against.p_value),
                        p_value(against.p_adjusted),
                        against.verdict,
                    ]
                    for one, against in zip(found.others, found.comparisons, strict=True)
                ],
            )

    def _set_name(self, one: SetResult) -> str:
        return self._name(f"{'  ' if one.model else ''}{one.prompts.name}")

    def _of_sets(self, header: Sequence[str], sets: Sequence[SetResult], rows: Sequence[Sequence[str]]) -> None:
        """A table with a row for each set; of several models, below the name of each, the first time with its speed."""
        if not self._found.models:
            self._table(header, rows)
            return
        first, *lines = _aligned([header, *rows])
        self._line(first, style="dim")
        for model in self._found.models:
            of_model = [line for line, one in zip(lines, sets, strict=True) if one.model == model.name]
            if of_model:
                self._line(model.shown if model in self._told else f"{model.shown}: {_speed(model)}", style="bold")
                self._told.add(model)
            for line in of_model:
                self._line(line)

    def per_class(self, one: SetResult) -> None:
        names = self._found.labels.names
        rows = []
        for scores in metrics.per_label(one.predictions, len(names)):
            confused = ""
            if scores.confused_with is not None:
                confused = f"{self._label(scores.confused_with, 44)} ({scores.confused})"
            rows.append(
                [
                    self._label(scores.label, 44),
                    *map(self._percent, (scores.precision, scores.recall, scores.f1)),
                    str(scores.images),
                    confused,
                ]
            )
        self._line(one.name, style="bold")
        self._table(["label", "precision", "recall", "F1", "images", "most confused with"], rows, left=(0, 5))

    def per_template(self, one: SetResult) -> None:
        self._line(f"{one.name}: each template by itself", style="bold")
        rows = [
            [printable(score.template), self._with_interval(score.top1, score.interval), f"{score.nll:.3f}"]
            for score in one.templates
        ]
        self._table(["template", "top-1 [95 %]", "NLL"], rows)

    def per_level(self, one: SetResult) -> None:
        found = one.levels
        if found is None:
            return
        self._line(f"{one.name}: each level", style="bold")
        rows = [
            [
                str(level.level), str(level.choices), self._with_interval(level.top1.value, level.top1.interval),
                self._percent(level.decided.of / found.images),
                self._with_interval(level.decided.value, level.decided.interval),
            ]
            for level in found.levels
        ]  # fmt: skip
        self._table(["level", "choices", "top-1 [95 %]", "decided here", "right of these [95 %]"], rows)
        self._prose(
            f"Decided on any level: {self._percent(found.decided.of / found.images)}, right of these: "
            f"{self._with_interval(found.decided.value, found.decided.interval)}. "
            f"Mean level {'–' if found.mean_level is None else f'{found.mean_level:.2f}'}; a decision tells "
            f"{found.information:.2f} of {found.most_information:.2f} bits in the mean."
        )

    def learning(self, one: SetResult) -> None:
        found = next((curve for curve in self._found.curves if curve.prompts == one.prompts.name), None)
        if found is None:
            return
        self._line(f"{one.name}: learning curve", style="bold")
        rows = [
            [
                str(point.shots), self._percent(point.texts), self._mean(point.taught, point.taught_interval),
                self._mean(point.gain, point.gain_interval, sign=True),
            ]
            for point in found.points
        ]  # fmt: skip
        self._table(["shots", "zero-shot", "taught [95 %]", "difference [95 %]"], rows)
        last = found.points[-1]
        told = f"Means over {counted(found.seeds, 'seed')}; {last.judged:,.0f} images judged, none of them an example."
        if found.scarce:
            told += (
                f" Fewer examples than asked for, as half of a label's images teach at most: {listed(found.scarce)}."
            )
        if found.copies:
            told += f" Left out as copies of others: {counted(found.copies, 'image')}."
        if found.near:
            told += f" Nearly the same as another, and perhaps on the other side: {counted(found.near, 'image')}."
        self._prose(told)

    def _mean(self, value: float, interval: metrics.Interval | None, *, sign: bool = False) -> str:
        return self._with_interval(value, interval, sign=sign) if interval else self._percent(value)

    def confusion(self, one: SetResult) -> None:
        names = self._found.labels.names
        pairs = metrics.confusions(one.predictions)
        cells = {(true, said): count for true, said, count in pairs}
        width = max(len(str(count)) for count in cells.values()) + 1
        longest = min(20, max(len(printable(name)) for name in names))
        self._line(f"{one.name}: confusion matrix", style="bold")
        if longest + 5 + len(names) * max(width, 3) <= self._console.width:
            numbers = [str(n + 1) for n in range(len(names))]
            rows = [
                [f"{fit_width(printable(name), longest)} {n + 1:>2}"]
                + [str(cells.get((n, said), "·")) for said in range(len(names))]
                for n, name in enumerate(names)
            ]
            self._table(["label \\ predicted", *numbers], rows, gap=1)
            return
        wrong = sorted((pair for pair in pairs if pair[0] != pair[1]), key=lambda pair: -pair[2])
        rows = [[self._label(true, 12), self._label(said, 12), str(count)] for true, said, count in wrong[:_PAIRS]]
        if not wrong:
            self._line("No mistakes.")
            return
        self._line(self._shown("The pairs most confused (all of them: `format=csv`):"))
        self._table(["label", "predicted", "images"], rows, left=(0, 1))

    def errors(self, one: SetResult) -> None:
        from rich.cells import cell_len

        said = one.predictions
        chosen = mistakes(one, self._errors)
        wrong = int((~said.correct).sum())
        what = f"the {len(chosen)} most confident of {counted(wrong, 'mistake')}" if wrong else "No mistakes."
        self._line(f"{one.name}: {what}", style="bold")
        if not chosen:
            return
        columns = [
            ["predicted", *(self._label(said.predicted[n], 40) for n in chosen)],
            ["label", *(self._label(said.truth[n], 40) for n in chosen)],
        ]
        widths = [max(map(cell_len, column)) for column in columns]
        padded = [[fit_width(cell, width) for cell in column] for column, width in zip(columns, widths, strict=True)]
        self._line("  ".join(["    %", padded[0][0], padded[1][0], "path"]), style="dim")
        for n, predicted, label in zip(chosen, padded[0][1:], padded[1][1:], strict=True):
            # The path last and whole, however long, so that it can be copied.
            self._line("  ".join([f"{100 * said.confidence[n]:5.1f}", predicted, label, self._found.paths[n]]))

    def calibration(self, made: Calibration) -> None:
        self._line(f"{made.prompts}: calibration", style="bold")
        self._line(
            f"Temperature {made.temperature:.4g}, fitted on {counted(made.fitted_on, 'image')}; on the other {made.measured_on:,}:"
        )
        self._table(
            ["", "ECE", "NLL"],
            [
                [name, self._percent(quality.ece, 2), f"{quality.nll:.4f}"]
                for name, quality in (("before", made.before), ("after", made.after))
            ],
        )
        if made.thresholds:
            self._line()
            self._table(
                ["accuracy aimed at", self._shown("`min_probability`"), "coverage", "accuracy"],
                [
                    [
                        self._percent(one.target, 0),
                        f"{one.min_probability:.6f}",
                        self._percent(one.coverage),
                        self._percent(one.accuracy),
                    ]
                    for one in made.thresholds
                ],
            )

    def _label(self, number: int, others: int) -> str:
        """A label, cut where two of them and `others` cells would not fit into a line."""
        name = printable(self._found.labels.names[number])
        return fit_width(name, max(8, (self._console.width - others) // 2)).rstrip()


def _aligned(rows: Sequence[Sequence[str]], gap: int = 2) -> list[str]:
    """Rows as lines: columns as wide as they must be, the first to the left, the others to the right."""
    from rich.cells import cell_len

    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        numbers = (" " * (gap + width - cell_len(cell)) + cell for cell, width in zip(others, widths[1:], strict=True))
        lines.append((fit_width(first, widths[0]) + "".join(numbers)).rstrip())
    return lines


def _speed(model: ComparedModel) -> str:
    if model.images_per_second is not None:
        return f"{model.images_per_second:,.1f} images/s"
    return f"{counted(model.computed, 'new image')}, too few for a speed" if model.computed else "all images known"


PRINTED: dict[str, Callable[[_Printer, SetResult], None]] = {
    "per_class": _Printer.per_class,
    "per_template": _Printer.per_template,
    "per_level": _Printer.per_level,
    "confusion": _Printer.confusion,
    "learning": _Printer.learning,
    "errors": _Printer.errors,
}
