"""Figures with their intervals, as tables that fit a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from zsclip.evaluation.metrics import Interval
from zsclip.output.cells import fit_width, printable

if TYPE_CHECKING:
    from rich.console import Console


MANY = 2000  # images from which on a second decimal of a percentage says something


class FigurePrinter:
    """Prints shares in % with `decimals`, and names in `name_width` cells."""

    def __init__(self, console: Console, decimals: int, name_width: int) -> None:
        self._console = console
        self._decimals = decimals
        self._name_width = name_width

    def _name(self, name: str) -> str:
        return fit_width(printable(name), self._name_width)

    def _percent(self, share: float | None, decimals: int | None = None) -> str:
        return "–" if share is None else f"{100 * share:.{self._decimals if decimals is None else decimals}f}"

    def _with_interval(self, share: float | None, interval: Interval | None, *, sign: bool = False) -> str:
        if share is None or interval is None:
            return "–"
        plus = "+" if sign else ""
        form = f"{plus}.{self._decimals}f"
        return f"{100 * share:{form}} [{100 * interval.low:{form}}, {100 * interval.high:{form}}]"

    def _line(self, text: str = "", style: str = "") -> None:
        self._console.print(printable(text), style=style, soft_wrap=True)

    def _prose(self, text: str) -> None:
        self._console.print(printable(text))

    def _table(
        self, header: Sequence[str], rows: Sequence[Sequence[str]], *, left: Sequence[int] = (0,), gap: int = 2
    ) -> None:
        """Columns as wide as they must be, numbers to the right; the last column gives way on a narrow terminal."""
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, padding=(0, gap, 0, 0), pad_edge=False, show_edge=False, header_style="dim")
        for number, name in enumerate(header):
            is_left = number in left
            table.add_column(
                Text(name),
                justify="left" if is_left else "right",
                no_wrap=not is_left,
                overflow="fold",
                min_width=self._name_width if header[0] == "prompts" and number == 0 else None,
            )
        for row in rows:
            table.add_row(*map(Text, row))
        self._console.print(table)


def p_value(value: float) -> str:
    """As a table shows it."""
    return "<0.001" if value < 0.001 else f"{value:.3f}"
