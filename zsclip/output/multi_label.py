"""An evaluation of labels on their own as tables on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from zsclip.evaluation.multi_label.judge import Difference, Figure, MultiLabelEvaluation, MultiLabelResult
from zsclip.evaluation.multi_label.tables import label_figures
from zsclip.output.cells import fit_width, printable
from zsclip.output.figures import MANY, FigurePrinter, p_value
from zsclip.scoring.calibration import Calibration, IndependentQuality
from zsclip.text.wording import counted

if TYPE_CHECKING:
    from rich.console import Console

_THRESHOLDS_SHOWN = 40
_NARROWEST, _COMFORTABLE = 8, 12  # cells of a name


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
        super().__init__(console, 2 if len(found.images) >= MANY else 1, _NARROWEST)
        self._found, self._shown = found, shown

    def comparison(self) -> None:
        found = self._found
        without = int((~found.images.truth.any(axis=1)).sum())
        none = f" ({without:,} with none)" if without else ""
        self._line(
            f"{counted(len(found.images), 'image')}{none}, {counted(len(found.labels), 'label')}, each on its own, {found.model}. "
            f"Shares in %."
        )
        self._line()
        self._names(
            "prompts",
            [one.name for one in found.sets],
            {
                "n": [str(len(one.prompts.templates)) for one in found.sets],
                "mAP [95 %]": [self._figure(one.means["map"]) for one in found.sets],
                "micro F1 [95 %]": [self._figure(one.means["micro_f1"]) for one in found.sets],
                "macro F1 [95 %]": [self._figure(one.means["macro_f1"]) for one in found.sets],
            },
            spare=("macro F1 [95 %]", "n"),
        )
        self._line()
        rates = ("micro_precision", "micro_recall", "macro_precision", "macro_recall")
        columns = {
            rate.replace("_", " "): [self._percent(one.means[rate].value) for one in found.sets] for rate in rates
        }
        self._names("prompts", [one.name for one in found.sets], columns, spare=("macro precision", "macro recall"))
        self._line()
        self._prose(f"A random order has a mAP of {self._percent(found.chance)}. {self._where()}")
        if found.comparisons:
            self._line()
            self._line(f"Against {found.baseline.name}, on the same resamples of the images:")
            self._names(
                "prompts",
                [one.name for one in found.others],
                {
                    "mAP [95 %]": [self._figure(one.differences["map"], sign=True) for one in found.comparisons],
                    "micro F1 [95 %]": [
                        self._figure(one.differences["micro_f1"], sign=True) for one in found.comparisons
                    ],
                    "p": [p_value(one.differences["map"].p_value) for one in found.comparisons],
                    "Holm": [p_value(one.p_adjusted) for one in found.comparisons],
                    "": [one.verdict for one in found.comparisons],
                },
                spare=("micro F1 [95 %]", "p"),
            )
        for warning in found.warnings:
            self._line()
            self._prose(warning)

    def per_class(self, one: MultiLabelResult) -> None:
        self._line(one.name, style="bold")
        rows = list(label_figures(one))
        self._names(
            "label",
            [self._found.labels.names[row[0]] for row in rows],
            {
                "images": [str(images) for *_, images in rows],
                "AP [95 %]": [self._figure(ap) for _, ap, *_ in rows],
                "precision": [self._percent(precision) for _, _, precision, *_ in rows],
                "recall": [self._percent(recall) for _, _, _, recall, *_ in rows],
                "F1 [95 %]": [self._figure(f1) for *_, f1, _ in rows],
            },
            spare=("recall", "precision"),
        )

    def _names(self, what: str, names: Sequence[str], columns: dict[str, list[str]], spare: Sequence[str]) -> None:
        """Names and columns of figures; without some of the `spare` ones, in this order, where names would be left no room."""

        def room() -> int:
            return self._console.width - sum(2 + max(map(len, (title, *cells))) for title, cells in columns.items())

        longest = max(_NARROWEST, *(len(printable(name)) for name in names))
        for title in spare:
            if room() < min(longest, _COMFORTABLE):
                del columns[title]
        cut = [fit_width(printable(name), max(_NARROWEST, min(longest, room()))).rstrip() for name in names]
        self._table([what, *columns], list(zip(cut, *columns.values(), strict=True)))

    def _figure(self, figure: Figure | Difference, *, sign: bool = False) -> str:
        return self._with_interval(figure.value, figure.interval, sign=sign)

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
