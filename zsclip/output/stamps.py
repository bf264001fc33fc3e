"""What the store knows of files, kept up while they are linked and moved."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from zsclip.images.files import File
from zsclip.images.item import Stamp
from zsclip.output.folders import Filed, Filing
from zsclip.store.database import Store

_AT_ONCE = 1000


def keep_stamps(filed: Iterable[Filed], plan: Sequence[Filing], store: Store) -> Iterator[Filed]:
    """The same as it happens to the files of a plan, whose new change times and names the store is told.

    A link or a move changes them; without this the next run would read and hash every file again.
    """
    before = {filing: File(filing.source).stamp() for filing in plan}
    changes: list[tuple[Stamp, Stamp]] = []
    for one in filed:
        if one.outcome == "done" and (old := before[one.filing]):
            changes += _changes(old, one.filing)
        if len(changes) >= _AT_ONCE:
            store.restamp(changes)
            changes = []
        yield one
    store.restamp(changes)


def _changes(old: Stamp, filing: Filing) -> Iterator[tuple[Stamp, Stamp]]:
    for path in (filing.target, filing.source):  # in this order, for the second takes the place of what was known
        new = File(path).stamp()
        if new and new != old and (new.size, new.mtime_ns, new.inode) == (old.size, old.mtime_ns, old.inode):
            yield old, new
