"""Sorting images into folders, one a label: a plan first, then links, copies or moves that an interruption cannot hurt."""

from __future__ import annotations

import contextlib
import csv
import errno
import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from zsclip import atomic
from zsclip.errors import InputError
from zsclip.images.folders import is_in_library
from zsclip.output.delimited import delimited_rows
from zsclip.output.targets import text_stream
from zsclip.scoring.results import ImageResult
from zsclip.text.label_files import SEPARATOR
from zsclip.text.labels import LabelsLike, as_label_set

logger = logging.getLogger("zsclip")

_RESERVED = {"con", "prn", "aux", "nul", *(f"{name}{n}" for name in ("com", "lpt") for n in range(1, 10))}
_BLOCK = 1 << 20
_COLUMNS = ["from", "to", "label"]


@dataclass(frozen=True)
class Filing:
    """One file's way: from where to where, and the label it has."""

    source: str
    target: str
    label: str


@dataclass(frozen=True)
class Filed:
    """What happened to one file: `done`, `there` (it was before), or `failed` with the `error` that kept it in place."""

    filing: Filing
    outcome: str
    error: str | None = None


def folder_name(label: str) -> str:
    """A folder name for a label that is safe on every system: no separators, nothing reserved, nothing hidden.

    `../x` is `_.._x`, `AC/DC` is `AC_DC`, `CON` is `_CON`.
    """
    name = re.sub(r'[\x00-\x1f\x7f/\\:*?"<>|]', "_", label).strip().rstrip(". ")
    if not name or name.startswith(".") or name.split(".")[0].strip().lower() in _RESERVED:
        name = f"_{name}"
    while len(os.fsencode(name)) > 200:
        name = name[:-1]
    return name


def folder_names(labels: Iterable[str]) -> list[str]:
    """A folder name for each label, all different, also where upper and lower case are one."""
    names: list[str] = []
    taken: set[str] = set()
    for label in labels:
        names.append(_apart(folder_name(label), lambda name: name.casefold() in taken))
        taken.add(names[-1].casefold())
    return names


def homes(labels: LabelsLike, unknown_label: str) -> dict[str | None, Path]:
    """The folder of each label, and of all that is above some, by name; under None that of images without a label.

    That is no label's, not even of one called `unknown_label`. A label below others has its folder in theirs.
    """
    paths = [label.path for label in as_label_set(labels).labels]
    folder, *top = folder_names([unknown_label, *dict.fromkeys(path[0] for path in paths)])
    found: dict[tuple[str, ...], Path] = {}
    below: dict[tuple[str, ...], dict[str, None]] = {}
    for path in paths:
        for depth, name in enumerate(path):
            below.setdefault(path[:depth], {})[name] = None
    for above, names in below.items():  # what is above comes before what is below it
        own = folder_names(names) if above else top
        found |= {(*above, name): found.get(above, Path()) / one for name, one in zip(names, own, strict=True)}
    return {None: Path(folder), **{SEPARATOR.join(path): one for path, one in found.items()}}


def plan(
    results: Iterable[ImageResult], into: Path, labels: LabelsLike, unknown_label: str, how: str
) -> Iterator[Filing]:
    """Where each image goes, in order: `into`/label/name. Names that clash are kept apart: `a.jpg`, `a (2).jpg`.

    Images without a label go to the folder of `unknown_label`, which is no label's, not even of one of that name. A file
    that is in its place already, from an earlier run, is planned for it again. A file that is reached by two ways is
    planned once, and one that could not be read stays where it is.
    """
    folders = homes(labels, unknown_label)
    earlier = _earlier_plans(into) if how == "move" else set()
    sources: set[str] = set()
    targets = {_entry(os.path.join(into, folder)).casefold() for folder in folders.values()}
    for result in results:
        entry = _entry(result.path)
        if result.error is not None or entry in sources:
            continue
        sources.add(entry)
        label = result.label
        folder = into / folders[label]
        source = result.path

        def is_taken(name: str, folder: Path = folder, source: str = source) -> bool:
            target = os.path.join(folder, name)
            if _entry(target).casefold() in targets:
                return True
            if not os.path.lexists(target):
                return False
            # What equals it by chance is not it: a move must not take that for an excuse to remove a file.
            is_it = _same_file(source, target) or (how != "move" or (_entry(source), _entry(target)) in earlier)
            return not (is_it and _same_content(source, target))

        target = os.path.join(folder, _apart(os.path.basename(source), is_taken))
        targets.add(_entry(target).casefold())
        yield Filing(source, target, unknown_label if label is None else label)


def _earlier_plans(into: Path) -> set[tuple[str, str]]:
    """What earlier runs meant to do here: pairs of source and target."""
    pairs: set[tuple[str, str]] = set()
    for path in into.glob("plan-*.csv"):
        if not path.is_file():
            continue
        try:
            with open(path, encoding="utf-8", errors="surrogateescape", newline="") as stream:
                rows = csv.DictReader(stream)
                if rows.fieldnames == _COLUMNS:  # else it is some other file of this name
                    pairs |= {(_entry(row["from"]), _entry(row["to"])) for row in rows if row["to"]}
        except (OSError, ValueError, csv.Error) as error:
            logger.warning("%s cannot be read as the plan of an earlier run: %s.", path, error)
    return pairs


def write_plan(filings: Iterable[Filing], into: Path) -> Path | None:
    """Write what is still to be done as CSV (`from,to,label`) into `into`, under a name that is not taken.

    Its paths are absolute, so that it can be read from any folder. None if nothing is to be done. Raises `InputError`.
    """
    here = os.getcwd()
    undone = [
        Filing(os.path.join(here, one.source), os.path.join(here, one.target), one.label)
        for one in filings
        if not os.path.lexists(one.target)
    ]
    if not undone:
        return None
    try:
        into.mkdir(parents=True, exist_ok=True)
        path = _written_apart(undone, into / f"plan-{time.strftime('%Y%m%d-%H%M%S')}.csv")
        atomic.sync_folder(into)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}.", where=f"`into={into}`") from None
    return path


def _written_apart(filings: Sequence[Filing], wanted: Path) -> Path:
    """A plan under that name, or the next that is free, also where another process takes it in the same moment."""
    while True:
        path = wanted.with_name(_apart(wanted.name, lambda name: os.path.lexists(wanted.with_name(name))))
        with contextlib.suppress(FileExistsError):
            with atomic.new_file(path, replace=False) as binary, text_stream(binary) as stream:
                write_rows(filings, stream)
            return path


def write_rows(filings: Iterable[Filing], stream: TextIO) -> None:
    """A plan as CSV."""
    rows = delimited_rows(stream)
    rows.writerow(_COLUMNS)
    rows.writerows((filing.source, filing.target, filing.label) for filing in filings)


def carry_out(filings: Iterable[Filing], how: str) -> Iterator[Filed]:
    """Link, copy or move each file to its place; nothing is ever overwritten.

    A link that is moved with the file that it leads to leads to that file's new place: it comes right after the file.

    A move within a file system is one rename that refuses to replace anything (Linux), else a link followed by the removal of
    the old name. Across file systems the file is copied under a partial name, synced, put into place, and only then removed
    at its old place. Interrupted at any moment, every file is whole at its old place or at its new one; for the instant
    before a removal at both, which the next run of the same sort finishes.
    """
    said_copy = False
    cleaned: set[str] = set()
    moved: dict[str, str] = {}  # where files were, and where those are that have been moved
    for filing, real in _files_before_links(filings) if how == "move" else ((one, "") for one in filings):
        folder = os.path.dirname(filing.target)
        try:
            if how == "move" and is_in_library(filing.source):
                # That program would miss it.
                yield Filed(filing, "failed", "it is in a photo library; `copy` leaves it there")
                continue
            os.makedirs(folder, exist_ok=True)
            if folder not in cleaned:
                cleaned.add(folder)
                atomic.remove_dead(folder)
            if os.path.lexists(filing.target):
                if not _same_content(filing.source, filing.target):
                    raise FileExistsError(errno.EEXIST, "another file has come to lie there", filing.target)
                finished = how == "move" and _may_be_removed(filing.source, filing.target)
                if finished:
                    os.unlink(filing.source)
                    moved[real] = filing.target
                yield Filed(filing, "done" if finished else "there")
                continue
            if how == "move" and os.path.islink(filing.source):
                # A relative link would lead nowhere from elsewhere.
                os.symlink(_entry(moved.get(real, real)), filing.target)
                os.unlink(filing.source)
            elif how == "move":
                _move(filing.source, filing.target)
                moved[real] = filing.target
            elif how == "copy" or not atomic.linked(os.path.realpath(filing.source), filing.target):
                if how == "link" and not said_copy:
                    logger.warning("Links do not work between these folders; files are copied instead.")
                    said_copy = True
                _copy(os.path.realpath(filing.source), filing.target)
            yield Filed(filing, "done")
        except OSError as error:
            yield Filed(filing, "failed", error.strerror or str(error))


def _files_before_links(filings: Iterable[Filing]) -> Iterator[tuple[Filing, str]]:
    """Filings with the real path of their file, in order, but each file followed by the links to it."""
    groups: dict[str, list[Filing]] = {}
    for filing in filings:
        groups.setdefault(os.path.realpath(filing.source), []).append(filing)
    for real, group in groups.items():
        yield from ((filing, real) for filing in sorted(group, key=lambda one: os.path.islink(one.source)))


def _copy(source: str, target: str) -> None:
    """Copy content, times and permissions; the target appears whole, synced, and replaces nothing."""
    with open(source, "rb") as original, atomic.new_file(Path(target), replace=False, like=source) as copy:
        shutil.copyfileobj(original, copy, _BLOCK)


def _move(source: str, target: str) -> None:
    try:
        atomic.rename_without_replacing(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copy(source, target)
        atomic.sync_folder(os.path.dirname(target))
        os.unlink(source)


def _may_be_removed(source: str, target: str) -> bool:
    """Whether `target`, of the same content, is certainly another entry than `source`, so that one of them may go.

    One file may be reached under two paths (a mount, a share, upper and lower case): then there is one entry only.
    """
    if not _same_file(source, target):
        return True
    if os.path.islink(source) or os.path.islink(target) or os.stat(source).st_nlink < 2:
        return False
    one, other = (os.stat(os.path.dirname(path) or ".") for path in (source, target))
    names = {os.path.basename(path).casefold() for path in (source, target)}
    return (one.st_dev, one.st_ino) != (other.st_dev, other.st_ino) or len(names) == 2


def _same_file(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


def _entry(path: str) -> str:
    """The name of a directory entry: its folder resolved, itself not."""
    return os.path.join(os.path.realpath(os.path.dirname(path) or "."), os.path.basename(path))


def _same_content(one: str, other: str) -> bool:
    """Whether two paths hold the same bytes."""
    try:
        if os.path.samefile(one, other):
            return True
        if os.path.getsize(one) != os.path.getsize(other):
            return False
        with open(one, "rb") as first, open(other, "rb") as second:
            while block := first.read(_BLOCK):
                if block != second.read(_BLOCK):
                    return False
            return True
    except OSError:
        return False


def _apart(name: str, is_taken: Callable[[str], bool]) -> str:
    """`name`, or `name (2)` and so on before its extension."""
    stem, extension = os.path.splitext(name)
    number = 1
    while is_taken(name):
        number += 1
        name = f"{stem} ({number}){extension}"
    return name
