"""Sorting images into folders, one a label: a plan first, then links, copies or moves that an interruption cannot hurt."""

from __future__ import annotations

import csv
import errno
import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from zsclip.errors import InputError
from zsclip.results import ImageResult

logger = logging.getLogger("zsclip")

HOW = ("link", "copy", "move")
_RESERVED = {"con", "prn", "aux", "nul", *(f"{name}{n}" for name in ("com", "lpt") for n in range(1, 10))}
_PARTIAL = ".zsclip-partial-"
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Filing:
    """One file's way: from where to where, and the label it has."""

    source: str
    target: str
    label: str


@dataclass(frozen=True)
class Filed:
    """What happened to one file: `done`, `there` (it was done before), or the `error` that kept it where it was."""

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


def folder_names(labels: Iterable[str]) -> dict[str, str]:
    """A folder name for each label, all different, also where upper and lower case are one."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for label in labels:
        name = _apart(folder_name(label), lambda name: name.casefold() in taken)
        taken.add(name.casefold())
        names[label] = name
    return names


def plan(results: Iterable[ImageResult], into: Path, labels: Iterable[str], unknown_label: str) -> Iterator[Filing]:
    """Where each image goes, in order: `into`/label/name. Names that clash are kept apart: `a.jpg`, `a (2).jpg`.

    A file that lies there already, from an earlier run, is planned for the place it has. Images that could not be
    read stay where they are.
    """
    folders = folder_names([unknown_label, *(label for label in labels if label != unknown_label)])
    planned: set[str] = set()
    for result in results:
        if result.error is not None or result.label is None:
            continue
        folder = into / folders[result.label]
        source = result.path

        def is_taken(name: str, folder: Path = folder, source: str = source) -> bool:
            target = os.path.join(folder, name)
            if target.casefold() in planned:
                return True
            return os.path.lexists(target) and not _same_content(source, target)

        target = os.path.join(folder, _apart(os.path.basename(source), is_taken))
        planned.add(target.casefold())
        yield Filing(source, target, result.label)


def write_plan(filings: Iterable[Filing], into: Path) -> Path:
    """Write `from,to,label` as CSV into `into`, under a name that is not taken; raises `InputError`."""
    try:
        into.mkdir(parents=True, exist_ok=True)
        stem = f"plan-{time.strftime('%Y%m%d-%H%M%S')}"
        name = _apart(f"{stem}.csv", lambda name: os.path.lexists(into / name))
        with open(into / name, "x", encoding="utf-8", errors="surrogateescape", newline="") as stream:
            rows = csv.writer(stream, lineterminator="\n")
            rows.writerow(["from", "to", "label"])
            rows.writerows([filing.source, filing.target, filing.label] for filing in filings)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise InputError(f"--into {into}: cannot be written: {error.strerror}.") from None
    return into / name


def carry_out(filings: Iterable[Filing], how: str) -> Iterator[Filed]:
    """Link, copy or move each file to its place; nothing is overwritten.

    A move within a file system is one rename. Across file systems the file is copied under a partial name, synced, renamed
    into place, and only then removed at its old place. Interrupted at any moment, every file is whole at its old place
    or at its new one (for the instant before the removal, at both; the next run finishes that).
    """
    said_copy = False
    for filing in filings:
        try:
            os.makedirs(os.path.dirname(filing.target), exist_ok=True)
            if os.path.lexists(filing.target):
                if not _same_content(filing.source, filing.target):
                    raise FileExistsError(errno.EEXIST, "another file has come to lie there", filing.target)
                if how == "move" and not _is_same_file(filing.source, filing.target):
                    os.unlink(filing.source)
                yield Filed(filing, "there")
                continue
            if how == "link":
                try:
                    os.link(filing.source, filing.target)
                except OSError as error:
                    if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EOPNOTSUPP):
                        raise
                    if not said_copy:
                        logger.warning("Links do not work here (%s); files are copied instead.", error.strerror)
                        said_copy = True
                    _copy(filing.source, filing.target)
            elif how == "copy":
                _copy(filing.source, filing.target)
            else:
                _move(filing.source, filing.target)
            yield Filed(filing, "done")
        except OSError as error:
            yield Filed(filing, "failed", error.strerror or str(error))


def _copy(source: str, target: str) -> None:
    partial = os.path.join(os.path.dirname(target), f"{_PARTIAL}{os.getpid()}")
    try:
        shutil.copy2(source, partial)
        with open(partial, "rb+") as file:
            os.fsync(file.fileno())
        os.rename(partial, target)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(partial)
        raise


def _move(source: str, target: str) -> None:
    try:
        os.rename(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copy(source, target)
        os.unlink(source)


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


def _is_same_file(one: str, other: str) -> bool:
    return os.path.abspath(one) == os.path.abspath(other) or os.path.realpath(one) == os.path.realpath(other)


def _apart(name: str, is_taken: Callable[[str], bool]) -> str:
    """`name`, or `name (2)` and so on before its extension."""
    stem, extension = os.path.splitext(name)
    number = 1
    while is_taken(name):
        number += 1
        name = f"{stem} ({number}){extension}"
    return name
