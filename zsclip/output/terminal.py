"""Results and matches as tables on a terminal, a line at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from zsclip.output.cells import bar, fit_width, percent, printable
from zsclip.output.rows import shown_label
from zsclip.scoring.batches import ImageResults
from zsclip.scoring.results import ImageResult, Match, Prediction

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text


class _ConsoleWriter:
    """Lines that are complete as they are printed."""

    def close(self) -> None:
        """See `rows.Writer`."""


class TableWriter(_ConsoleWriter):
    """A line an image, with as many runners-up as the width holds."""

    def __init__(self, console: Console, labels: Sequence[str], unknown: str | None) -> None:
        from rich.cells import cell_len

        self._console, self._unknown = console, unknown
        width = console.width
        longest = max(cell_len(printable(label)) for label in (*labels, unknown or ""))
        self._label_width = min(longest, max(8, width // 4))
        decision, runner_up = self._label_width + 9, self._label_width + 9
        self._path_width = max(12, min(48, width - decision - runner_up))

    def write(self, results: ImageResults) -> None:
        """Write some results."""
        for result in results:
            self._write(result)

    def _write(self, result: ImageResult) -> None:
        from rich.text import Text

        line = Text(fit_width(printable(result.path), self._path_width, keep_end=True), no_wrap=True)
        line.append("  ")
        if result.error is not None:
            line.append(printable(result.error), style="red")
        else:
            best, *others = result.predictions
            decided = not result.abstained
            chance = best.probability if result.level_probability is None else result.level_probability
            if not decided or result.decided is not None:
                others = [best, *others]
            name = fit_width(printable(shown_label(result, self._unknown) or ""), self._label_width)
            line.append(name, style="bold" if decided else "italic")
            line.append(f" {percent(chance) if decided else '':>6}", style="green" if chance >= 0.5 else "yellow")
            self._append_runners_up(line, others, result.labels[1:] and result.labels)
        line.truncate(self._console.width, overflow="ellipsis")
        self._console.print(line, soft_wrap=True)

    def _append_runners_up(self, line: Text, others: Sequence[Prediction], holding: Sequence[str]) -> None:
        """As many as fit, those that hold beside the best bright; of these, how many more there are."""
        from rich.cells import cell_len

        lead = "   "
        for number, other in enumerate(others):
            text = f"{lead}{printable(other.label)} {percent(other.probability).strip()}"
            left = sum(one.label in holding for one in others[number + 1 :])
            if line.cell_len + cell_len(text) + (4 if left else 0) > self._console.width:
                if left := left + (other.label in holding):
                    line.append(f" +{left}", style="bold")
                return
            line.append(text, style="bold" if other.label in holding else "dim")
            lead = ", "


class RankingWriter(_ConsoleWriter):
    """One image: a ranked table with bars."""

    def __init__(self, console: Console, unknown: str | None) -> None:
        self._console, self._unknown = console, unknown

    def write(self, results: ImageResults) -> None:
        """Write some results."""
        for result in results:
            self._write(result)

    def _write(self, result: ImageResult) -> None:
        from rich.cells import cell_len
        from rich.text import Text

        width = self._console.width
        self._console.print(Text(fit_width(printable(result.path), width - 1, keep_end=True).rstrip(), style="bold"))
        if result.error is not None:
            self._console.print(Text(f"  {printable(result.error)}", style="red"))
            return
        longest = max(cell_len(printable(p.label)) for p in result.predictions)
        label_width = min(longest, max(8, width // 3))
        bar_width = max(4, min(60, width - label_width - 26))
        for rank, prediction in enumerate(result.predictions, 1):
            line = Text(f"{rank:>3}  {fit_width(printable(prediction.label), label_width)}  ", no_wrap=True)
            is_decided = rank == 1 or prediction.label in result.labels
            line.append(bar(prediction.probability, bar_width), style="green" if is_decided else "cyan")
            line.append(f" {percent(prediction.probability)}", style="bold" if rank == 1 else "")
            line.append(f"  {prediction.similarity:7.4f}", style="dim")
            self._console.print(line, soft_wrap=True)
        if result.abstained or result.decided is not None:
            chance = "" if result.level_probability is None else f" {percent(result.level_probability)}"
            said = f"  decided for {printable(shown_label(result, self._unknown) or '')}{chance}"
            self._console.print(Text(said, style="italic"), soft_wrap=True)


class MatchTableWriter(_ConsoleWriter):
    """A line a match, with its rank."""

    def __init__(self, console: Console) -> None:
        self._console, self._rank = console, 0

    def write(self, matches: Sequence[Match]) -> None:
        """Write some matches."""
        for match in matches:
            self._write(match)

    def _write(self, match: Match) -> None:
        from rich.text import Text

        self._rank += match.error is None
        rank = f"{self._rank:>4}" if match.error is None else "    "
        line = Text(f"{rank}  ", no_wrap=True)
        line.append("        " if match.similarity is None else f"{match.similarity:7.4f} ", style="green")
        line.append(fit_width(printable(match.path), max(12, self._console.width - 16), keep_end=True).rstrip())
        if match.error is not None:
            line.append(f"  {printable(match.error)}", style="red")
        line.truncate(self._console.width, overflow="ellipsis")
        self._console.print(line, soft_wrap=True)
