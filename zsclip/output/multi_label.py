"""An evaluation of labels on their own as tables on a terminal."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from zsclip.evaluation.multi_label.judge import MultiLabelEvaluation, MultiLabelResult
from zsclip.evaluation.multi_label.tables import label_figures
from zsclip.output.cells import fit_width, printable
from zsclip.output.figures import MANY, FigurePrinter, p_value
from zsclip.scoring.calibration import Calibration, IndependentQuality
from zsclip.text.wording import counted

if TYPE_CHECKING:
    from rich.console import Console

_THRESHOLDS_SHOWN = 40


def print_tables(
    console: Console,
    found: MultiLabelEvaluation,
    calibration: Calibration | None,
    shown: Callable[[str], str] = str,
    *,
    per_class: bool,
) -> None:
    """All tables, one below the other. `shown` makes of settings in backticks what the user calls them."""
    printer = _Printer(console, found, shown)
    printer.comparison()
    for one in found.sets if per_class else ():
        console.print()
        printer.per_class(one)
    if calibration:
        console.print()
        printer.calibration(calibration)


class _Printer(FigurePrinter):
    def __init__(self, console: Console, found: MultiLabelEvaluation, shown: Callable[[str], str]) -> None:
        self._found, self._shown = found, shown
        decimals = 2 if len(found.images) >= MANY else 1
        figures = 62 if decimals == 1 else 71
        self._narrow = console.width < figures + 8
        longest = max(len(one.name) for one in found.sets)
        super().__init__(console, decimals, max(8, min(longest, console.width - figures + (19 if self._narrow else 0))))

    def comparison(self) -> None:
        found = self._found
        without = int((~found.images.truth.any(axis=1)).sum())
        none = f" ({without:,} with none)" if without else ""
        self._line(
            f"{counted(len(found.images), 'image')}{none}, {counted(len(found.labels), 'label')}, each on its own, {found.model}. "
            f"Shares in %."
        )
        self._line()
        columns = {"map": "mAP [95 %]", "micro_f1": "micro F1 [95 %]", "macro_f1": "macro F1 [95 %]"}
        if self._narrow:
            del columns["macro_f1"]
        self._table(
            ["prompts", "n", *columns.values()],
            [
                [
                    self._name(one.name),
                    str(len(one.prompts.templates)),
                    *(self._with_interval(one.means[name].value, one.means[name].interval) for name in columns),
                ]
                for one in found.sets
            ],
        )
        self._line()
        rates = ("micro_precision", "micro_recall", "macro_precision", "macro_recall")
        self._table(
            ["prompts", "micro precision", "recall", "macro precision", "recall"],
            [[self._name(one.name), *(self._percent(one.means[name].value) for name in rates)] for one in found.sets],
        )
        self._line()
        self._prose(f"A random order has a mAP of {self._percent(found.chance)}. {self._where()}")
        if found.comparisons:
            is_wide = self._console.width >= self._name_width + (71 if self._decimals == 1 else 79)
            self._line()
            self._line(f"Against {found.baseline.name}, on the same resamples of the images:")
            self._table(
                ["prompts", "mAP [95 %]", *(["micro F1 [95 %]"] if is_wide else []), "p", "Holm", ""],
                [
                    [
                        self._name(one.name),
                        *(
                            self._with_interval(
                                against.differences[name].value, against.differences[name].interval, sign=True
                            )
                            for name in ("map", "micro_f1")[: 1 + is_wide]
                        ),
                        p_value(against.differences["map"].p_value),
                        p_value(against.p_adjusted),
                        against.verdict,
                    ]
                    for one, against in zip(found.others, found.comparisons, strict=True)
                ],
            )
        for warning in found.warnings:
            self._line()
            self._prose(warning)

    def per_class(self, one: MultiLabelResult) -> None:
        self._line(one.name, style="bold")
        names = self._found.labels.names
        others = 66 if self._decimals == 1 else 76
        width = max(8, self._console.width - others + (19 if self._narrow else 0))
        header = ["label", "images", "AP [95 %]", "precision", "recall", "F1" if self._narrow else "F1 [95 %]"]
        self._table(
            header,
            [
                [
                    fit_width(printable(names[n]), width).rstrip(),
                    str(images),
                    self._with_interval(ap.value, ap.interval),
                    self._percent(precision),
                    self._percent(recall),
                    self._percent(f1.value) if self._narrow else self._with_interval(f1.value, f1.interval),
                ]
                for n, ap, precision, recall, f1, images in label_figures(one)
            ],
        )

    def calibration(self, made: Calibration) -> None:
        self._line(f"{made.prompts}: calibration", style="bold")
        self._line(
            f"Thresholds and temperature {made.temperature:.4g}, chosen on {counted(made.fitted_on, 'image')}; "
            f"on the other {made.measured_on:,}:"
        )
        self._table(
            ["", "micro F1", "macro F1", "ECE", "NLL"],
            [
                [
                    name,
                    self._percent(of.micro_f1),
                    self._percent(of.macro_f1),
                    self._percent(of.ece, 2),
                    f"{of.nll:.4f}",
                ]
                for name, of in (("before", made.before), ("after", made.after))
                if isinstance(of, IndependentQuality)
            ],
        )
        self._line()
        first = made.label_thresholds[:_THRESHOLDS_SHOWN]
        self._table(
            ["label", "threshold (logit)", "chosen by", "F1"],
            [
                [
                    fit_width(printable(one.label), 30).rstrip(),
                    f"{one.logit:.3f}",
                    counted(one.positives, "image") if one.positives else "all labels",
                    self._percent(one.f1),
                ]
                for one in first
            ],
        )
        if len(first) < len(made.label_thresholds):
            self._line(f"and {len(made.label_thresholds) - len(first):,} more in the file")

    def _where(self) -> str:
        rules = self._found.rules
        similarity = f" and a similarity of {rules.min_similarity:g}" if rules.min_similarity is not None else ""
        return f"A label holds from a probability of {rules.least_probability:g}{similarity} on."
