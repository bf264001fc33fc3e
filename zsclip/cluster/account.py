"""What is in all parts of a run, and how many errors are too many."""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from zsclip import __version__
from zsclip.cluster.identity import FORMAT, MANIFEST, SUCCESS
from zsclip.cluster.part_file import Error, Tally, done_parts, read_tally
from zsclip.cluster.results import ResultFolder
from zsclip.errors import InputError
from zsclip.text.wording import counted

_TELLING = 100  # pictures, of which a share says something


@dataclass(frozen=True)
class MostErrors:
    """How many pictures may be unreadable before a run is ended: a `count`, or a `share` once a hundred were read."""

    count: int | None = None
    share: float | None = None

    @classmethod
    def parse(cls, text: str) -> MostErrors:
        """`20`, or `5%`; raises `InputError`."""
        with suppress(ValueError):
            if text.endswith("%") and 0 <= (share := float(text[:-1])) < 100:
                return cls(share=share / 100)
            if (count := int(text)) >= 0:
                return cls(count=count)
        raise InputError(f"{text!r} is neither a number of pictures nor a share such as 5%.", where="`max_errors`")

    def __str__(self) -> str:
        return f"{self.count}" if self.share is None else f"{100 * self.share:g}%"

    def exceeded(self, unread: int, pictures: int) -> bool:
        """Whether so many of so many pictures are too many."""
        if self.share is not None:
            return pictures >= _TELLING and unread > self.share * pictures
        return self.count is not None and unread > self.count


class ErrorsSoFar:
    """Ends a run that cannot read what it should."""

    def __init__(self, most: MostErrors | None) -> None:
        self._most = most
        self._pictures = self._unread = 0

    def add(self, pictures: int, unread: int, last: Callable[[], Error | None]) -> None:
        """Count some pictures, of which some could not be read; raises `InputError`. `last` is the last of those."""
        self._pictures += pictures
        self._unread += unread
        if self._most is None or not unread or not self._most.exceeded(self._unread, self._pictures):
            return
        said = f"{self._unread:,} of {counted(self._pictures, 'picture')} could not be read"
        if (one := last()) is not None:
            said += f", the last of them {one.path}: {one.error}"
        raise InputError(
            f"{said}.",
            where=f"`max_errors={self._most}`",
            remedy="Mend what is wrong, and run it again. Parts that are there are kept: with `retry_errors` errors that may have passed "
            "are tried again, with `restart` everything.",
        )


class Account:
    """What is in all parts: some ten bytes of each, and their digests."""

    def __init__(self) -> None:
        self._rows, self._unread = array("q"), array("q")
        self._digests = bytearray()
        self.errors: Counter[str] = Counter()
        self.pictures = 0

    def add(self, part: int, tally: Tally) -> None:
        """Add a part, once."""
        missing = part + 1 - len(self._rows)
        if missing > 0:
            self._rows.extend([-1] * missing)
            self._unread.extend([0] * missing)
            self._digests.extend(bytes(32 * missing))
        unread = sum(tally.errors.values())
        self._rows[part], self._unread[part] = tally.rows, unread
        self._digests[32 * part : 32 * part + 32] = bytes.fromhex(tally.digest)
        self.errors.update(tally.errors)
        self.pictures += tally.rows + unread

    def finish(self, results: ResultFolder, parts: int) -> None:
        """Write the manifest of all parts, of which those that were not added are read, and then what says that the run is whole."""
        import pyarrow
        import pyarrow.parquet

        for number in range(parts):
            if number >= len(self._rows) or self._rows[number] < 0:
                self.add(number, read_tally(results, number))
        digests = [self._digests[32 * part : 32 * part + 32].hex() for part in range(parts)]
        table = pyarrow.table({
            "part": pyarrow.array(range(parts), pyarrow.int64()),
            "rows": pyarrow.array(self._rows, pyarrow.int64()),
            "errors": pyarrow.array(self._unread, pyarrow.int64()),
            "digest": digests,
        })  # fmt: skip
        with results.write(MANIFEST) as stream:
            pyarrow.parquet.write_table(table, stream, compression="zstd")
        said = {
            "format": FORMAT, "version": __version__, "parts": parts, "pictures": self.pictures,
            "errors": dict(sorted(self.errors.items())), "manifest": MANIFEST,
        }  # fmt: skip
        results.put(SUCCESS, json.dumps(said, indent=1).encode())


@dataclass(frozen=True)
class Whole:
    """A run that is whole: its parts, its pictures, and those without a row by kind of error. `done` parts are new."""

    parts: int
    pictures: int
    errors: Mapping[str, int]
    done: int = 0


def read_whole(results: ResultFolder) -> Whole | None:
    """What `_SUCCESS` says; None without it, and where parts are gone."""
    data = results.read(SUCCESS)
    if data is None:
        return None
    said, there = json.loads(data), sum(1 for _ in done_parts(results))
    return Whole(said["parts"], said["pictures"], said["errors"]) if there == said["parts"] else None
