"""Results as a table, CSV, TSV, JSON Lines or paths, one at a time as they come."""

from __future__ import annotations

import csv
import json
import os
import secrets
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol, TextIO, cast

from zsclip.errors import InputError
from zsclip.scoring.results import ImageResult, Match, Prediction

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text


class Writer(Protocol):
    """Takes results one by one and writes them at once."""

    def write(self, result: ImageResult) -> None:
        """Write one result."""


class MatchWriter(Protocol):
    """Takes matches of a search one by one."""

    def write(self, match: Match) -> None:
        """Write one match."""


class Rows(Protocol):
    """What the `csv` module writes rows with."""

    def writerow(self, row: Iterable[object], /) -> object:
        """Write one row."""

    def writerows(self, rows: Iterable[Iterable[object]], /) -> object:
        """Write some rows."""


class _LineFeeds:
    """Lets rows end in a line feed. Told to the `csv` module, that end would leave a carriage return in a field unquoted,
    and a reader would take it for the end of the row (before Python 3.13)."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, row: str) -> None:
        self._stream.write(row.removesuffix("\r\n") + "\n")


def delimited_rows(stream: TextIO, delimiter: str = ",") -> Rows:
    """A writer of rows that read back equal, whatever is in them."""
    return csv.writer(_LineFeeds(stream), delimiter=delimiter, lineterminator="\r\n")


class CsvWriter:
    """One row an image: path, decision, the best label with its numbers, then the runners-up, then the error.

    The best label has a column of its own only where the decision may be another.
    """

    delimiter = ","

    def __init__(self, stream: TextIO, top_k: int, unknown: str | None) -> None:
        self._top_k = top_k
        self._unknown = unknown
        self._rows = delimited_rows(stream, self.delimiter)
        header = ["path", "label", *([] if unknown is None else ["best_label"]), "probability", "similarity"]
        for rank in range(2, top_k + 1):
            header += [f"label_{rank}", f"probability_{rank}", f"similarity_{rank}"]
        self._rows.writerow([*header, "error"])

    def write(self, result: ImageResult) -> None:
        """See `Writer`."""
        label = () if self._unknown is None else (shown_label(result, self._unknown) or "",)
        row: list[str] = [result.path, *label]
        width = len(row) + 3 * self._top_k
        for prediction in result.predictions:
            row += [prediction.label, f"{prediction.probability:.6f}", f"{prediction.similarity:.6f}"]
        row += [""] * (width - len(row))
        self._rows.writerow([*row, result.error or ""])


class TsvWriter(CsvWriter):
    """As CSV, with tabs; a field with a tab or a line break in it is quoted."""

    delimiter = "\t"


class JsonlWriter:
    """One JSON object a line: path, label, predictions, error."""

    def __init__(self, stream: TextIO, unknown: str | None) -> None:
        self._stream, self._unknown = stream, unknown

    def write(self, result: ImageResult) -> None:
        """See `Writer`. Bytes of a path that are not UTF-8 come out as lone surrogate escapes (`\\udcff`)."""
        document = {
            "path": result.path,
            "label": shown_label(result, self._unknown),
            "predictions": [
                {"label": p.label, "probability": round(p.probability, 6), "similarity": round(p.similarity, 6)}
                for p in result.predictions
            ],
            "error": result.error,
        }
        self._stream.write(json_line(document))


class PathsWriter:
    """The paths of the images that could be read, one a line or NUL-separated."""

    def __init__(self, stream: TextIO, null: bool) -> None:
        self._stream = stream
        self._end = "\0" if null else "\n"

    def write(self, result: ImageResult) -> None:
        """See `Writer`."""
        if result.error is None:
            self._stream.write(result.path + self._end)


class TableWriter:
    """A line an image, with as many runners-up as the width holds."""

    def __init__(self, console: Console, labels: Sequence[str], unknown: str | None) -> None:
        from rich.cells import cell_len

        self._console, self._unknown = console, unknown
        width = console.width
        longest = max(cell_len(printable(label)) for label in (*labels, unknown or ""))
        self._label_width = min(longest, max(8, width // 4))
        decision, runner_up = self._label_width + 9, self._label_width + 9
        self._path_width = max(12, min(48, width - decision - runner_up))

    def write(self, result: ImageResult) -> None:
        """See `Writer`."""
        from rich.text import Text

        line = Text(fit_width(printable(result.path), self._path_width, keep_end=True), no_wrap=True)
        line.append("  ")
        if result.error is not None:
            line.append(printable(result.error), style="red")
        else:
            best, *others = result.predictions
            decided = not result.abstained
            if not decided:
                others = [best, *others]
            name = fit_width(printable(shown_label(result, self._unknown) or ""), self._label_width)
            line.append(name, style="bold" if decided else "italic")
            chance = percent(best.probability) if decided else ""
            line.append(f" {chance:>6}", style="green" if best.probability >= 0.5 else "yellow")
            self._append_runners_up(line, others)
        line.truncate(self._console.width, overflow="ellipsis")
        self._console.print(line, soft_wrap=True)

    def _append_runners_up(self, line: Text, others: Sequence[Prediction]) -> None:
        from rich.cells import cell_len

        lead = "   "
        for other in others:
            text = f"{lead}{printable(other.label)} {percent(other.probability).strip()}"
            if line.cell_len + cell_len(text) > self._console.width:
                return
            line.append(text, style="dim")
            lead = ", "


class RankingWriter:
    """One image: a ranked table with bars."""

    def __init__(self, console: Console, unknown: str | None) -> None:
        self._console, self._unknown = console, unknown

    def write(self, result: ImageResult) -> None:
        """See `Writer`."""
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
            line.append(bar(prediction.probability, bar_width), style="green" if rank == 1 else "cyan")
            line.append(f" {percent(prediction.probability)}", style="bold" if rank == 1 else "")
            line.append(f"  {prediction.similarity:7.4f}", style="dim")
            self._console.print(line, soft_wrap=True)
        if result.abstained:
            self._console.print(Text(f"  decided for {printable(self._unknown or '')}", style="italic"), soft_wrap=True)


@dataclass(frozen=True)
class Layout:
    """What a format needs to know beforehand.

    Labels reported per image; what an abstention is called, if there may be any; whether paths end in NUL.
    """

    top_k: int
    unknown: str | None = None
    null: bool = False


def shown_label(result: ImageResult, unknown: str | None) -> str | None:
    """The label, with the word for an abstention; None for an image that could not be read."""
    return unknown if result.abstained else result.label


STREAM_WRITERS: dict[str, Callable[[TextIO, Layout], Writer]] = {
    "csv": lambda stream, how: CsvWriter(stream, how.top_k, how.unknown),
    "tsv": lambda stream, how: TsvWriter(stream, how.top_k, how.unknown),
    "jsonl": lambda stream, how: JsonlWriter(stream, how.unknown),
    "paths": lambda stream, how: PathsWriter(stream, how.null),
}


class MatchRowsWriter:
    """One row a match: path, similarity, error."""

    def __init__(self, stream: TextIO, delimiter: str) -> None:
        self._rows = delimited_rows(stream, delimiter)
        self._rows.writerow(["path", "similarity", "error"])

    def write(self, match: Match) -> None:
        """Write one match."""
        similarity = "" if match.similarity is None else f"{match.similarity:.6f}"
        self._rows.writerow([match.path, similarity, match.error or ""])


class MatchJsonlWriter:
    """One JSON object a line: path, similarity, error."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, match: Match) -> None:
        """Write one match."""
        similarity = None if match.similarity is None else round(match.similarity, 6)
        self._stream.write(json_line({"path": match.path, "similarity": similarity, "error": match.error}))


class MatchPathsWriter:
    """The paths of the matches, one a line or NUL-separated."""

    def __init__(self, stream: TextIO, null: bool) -> None:
        self._stream, self._end = stream, "\0" if null else "\n"

    def write(self, match: Match) -> None:
        """Write one match."""
        if match.error is None:
            self._stream.write(match.path + self._end)


class MatchTableWriter:
    """A line a match, with its rank."""

    def __init__(self, console: Console) -> None:
        self._console, self._rank = console, 0

    def write(self, match: Match) -> None:
        """Write one match."""
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


MATCH_WRITERS: dict[str, Callable[[TextIO, bool], MatchWriter]] = {
    "csv": lambda stream, null: MatchRowsWriter(stream, ","),
    "tsv": lambda stream, null: MatchRowsWriter(stream, "\t"),
    "jsonl": lambda stream, null: MatchJsonlWriter(stream),
    "paths": MatchPathsWriter,
}
_PARTIAL = ".partial"
_unfinished: set[str] = set()  # outputs under their temporary names
_EXTENSIONS = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl"}


def choose_format(asked: str | None, output: Path | None, on_terminal: bool) -> str:
    """The format asked for; else by the output's extension; else a table on a terminal and CSV elsewhere."""
    if asked:
        return asked
    if output is not None:
        return _EXTENSIONS.get(output.suffix.lower(), "csv")
    return "table" if on_terminal else "csv"


@contextmanager
def open_output(output: Path | None, option: str = "--output") -> Iterator[TextIO]:
    """Standard output, or a file that appears (or is replaced) whole when the block ends well, and not at all else.

    Text is UTF-8; bytes of paths that are not come out as they were. Raises `InputError`.
    """
    if output is not None and str(output) != "-":
        with open_binary_output(output, option) as binary:
            stream = TextIOWrapper(binary, encoding="utf-8", errors="surrogateescape", newline="")
            yield stream
            stream.flush()
            stream.detach()
        return
    yield cast("TextIO", _Terminal(sys.stdout)) if sys.stdout.isatty() else sys.stdout
    sys.stdout.flush()


@contextmanager
def open_binary_output(output: Path, option: str = "--output") -> Iterator[BinaryIO]:
    """A file that appears (or is replaced) whole when the block ends well, and not at all else; raises `InputError`."""
    target = output.resolve()
    try:
        mode = output.stat().st_mode if output.exists() else None
        if mode is not None and not stat.S_ISREG(mode):  # a pipe or a device has no "whole"
            if stat.S_ISDIR(mode):
                raise InputError(f"{option} {output}: that is a folder. Name a file in it.")
            with open(output, "wb") as device:
                yield device
            return
        temporary = str(target.with_name(f".zsclip-{secrets.token_hex(8)}{_PARTIAL}"))
        _unfinished.add(temporary)
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    except FileNotFoundError:
        raise InputError(f"{option} {output}: there is no folder {target.parent}. Make it first.") from None
    except OSError as error:
        raise InputError(f"{option} {output}: cannot be written: {error.strerror}.") from None
    try:
        with open(handle, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, stat.S_IMODE(mode) if mode is not None else 0o666 & ~_umask())
        os.replace(temporary, target)
    except BaseException as error:
        Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None and error.errno is not None:
            raise InputError(f"{option} {output}: cannot be written: {error.strerror}.") from None
        raise
    finally:
        _unfinished.discard(temporary)


def remove_unfinished() -> None:
    """Take away the outputs that are being written, because the process is about to end; raises nothing."""
    for temporary in tuple(_unfinished):
        try:
            os.unlink(temporary)
        except OSError:
            continue


class _Terminal:
    """A terminal on which a file's name cannot move the cursor: control characters come out escaped."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return self._stream.write("".join(c if c in "\n\t" else printable(c) for c in text))

    def flush(self) -> None:
        self._stream.flush()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def printable(text: str) -> str:
    """Text that is safe on a terminal: control characters and bytes that are no UTF-8 shown escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def counted(count: int, noun: str) -> str:
    """A number with its noun, as in "1 image" and "1,200 images"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def json_line(document: object) -> str:
    """One line of JSON in UTF-8; escaped throughout if there are bytes in it that are no UTF-8, or other ends of lines."""
    line = json.dumps(document, ensure_ascii=False)
    if any("\ud800" <= character <= "\udfff" or character in "\x85\u2028\u2029" for character in line):
        line = json.dumps(document)
    return line + "\n"


def percent(probability: float) -> str:
    """A probability in six characters; not 0 % or 100 % unless it is."""
    if 0 < probability < 0.0005:
        return " <0.1%"
    if 0.9995 <= probability < 1:
        return ">99.9%"
    return f"{100 * probability:5.1f}%"


def bar(share: float, width: int) -> str:
    """A bar of `width` cells, filled to `share` in eighths of a cell."""
    eighths = round(share * width * 8)
    full, rest = divmod(eighths, 8)
    return ("█" * full + ("▏▎▍▌▋▊▉"[rest - 1] if rest else "")).ljust(width)


def fit_width(text: str, width: int, *, keep_end: bool = False) -> str:
    """Padded or cut to `width` cells, with an ellipsis; `keep_end` cuts at the front (for paths)."""
    from rich.cells import cell_len, set_cell_size

    if cell_len(text) <= width:
        return set_cell_size(text, width)
    if not keep_end:
        return set_cell_size(text, width - 1) + "…"
    tail = text
    while cell_len(tail) > width - 1:
        tail = tail[1:]
    return set_cell_size("…" + tail, width)
