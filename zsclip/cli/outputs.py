"""Outputs that are checked before the work: of a known kind, each another file, none of them an input."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Collection, Iterable, Iterator
from itertools import combinations
from pathlib import Path

import typer

from zsclip.errors import InputError
from zsclip.images.archives.named import split
from zsclip.images.formats import PICTURES, VIDEO
from zsclip.images.remote.addresses import address_of, is_address, scheme, shown
from zsclip.images.sources import Finder
from zsclip.images.tables.kinds import PARTS
from zsclip.images.tables.table import Table, split_row
from zsclip.images.videos import file_of


class Outputs:
    """The files that the options of a command name, by setting; None and `-` are no files. Addresses are of buckets.

    Raises `typer.BadParameter` if two are one file, however it is spelled, and `InputError` for an image's name, and for an address
    that cannot be written.
    """

    def __init__(self, *, offline: bool = False, **files: Path | None) -> None:
        named = {_option(name): path for name, path in files.items() if path and str(path) != "-"}
        for option, path in named.items():
            if address := address_of(path):
                _require_writable(option, address, offline=offline)
            if {path.suffix.lower(), os.path.splitext(os.path.realpath(path))[1].lower()} & (PICTURES | VIDEO):
                kind = "a video" if path.suffix.lower() in VIDEO else "an image"
                raise InputError(f"{option} {path}: that is {kind}'s name. Name a file for the results.")
        for (one, first), (other, second) in combinations(named.items(), 2):
            if _is_same(first, second):
                raise typer.BadParameter(f"both would write {second}. Name two files.", param_hint=f"{one} and {other}")
        self._replaced = {identity: one for one in named.items() if (identity := _identity(one[1]))}
        self._objects = {shown(address): option for option, path in named.items() if (address := address_of(path))}
        self._parts = {option: path for option, path in named.items() if path.suffix.lower() in PARTS}

    def refuse(self, *inputs: Iterable[str] | str | Path | None) -> None:
        """Raise `InputError` for an input that one of them would replace."""
        for path in _flat(inputs) if self._replaced or self._objects or self._parts else ():
            file = _holder(path)
            if (identity := _identity(file)) in self._replaced and identity is not None:
                option, output = self._replaced[identity]
                raise InputError(f"{option} {output} is also an input, and would be replaced. Name another file.")
            if self._objects and is_address(file) and shown(file) in self._objects:
                option = self._objects[shown(file)]
                raise InputError(
                    f"{option} {shown(file)} is also an input, and would be replaced. Name another object."
                )
            for option, output in self._parts.items():
                if _is_among_parts(output, path):
                    raise InputError(
                        f"{option} {output}: it would be one of the parts of the table {path}. Name a file elsewhere."
                    )


def _holder(path: str) -> str:
    """What a picture is in, of one in an archive, table or video: that is what must not be replaced."""
    if is_address(path):
        inside = split(path, lambda beginning: True)
    else:
        inside = split(path)
    if inside:
        return inside[0]
    for whole in (split_row(path)[0], file_of(path)):
        if whole != path and (is_address(path) or not os.path.lexists(path)):
            return whole
    return path


def _is_among_parts(output: Path, folder: str) -> bool:
    if is_address(folder) or not os.path.isdir(folder) or address_of(output):
        return False
    around = os.path.join(os.path.realpath(folder), "")
    if not os.path.join(os.path.dirname(os.path.realpath(output)), "").startswith(around):
        return False
    return isinstance(next(Finder([folder]).pieces(), None), Table)


def _require_writable(option: str, address: str, *, offline: bool) -> None:
    said = shown(address)
    if scheme(address) not in ("s3", "gs", "az"):
        raise InputError(
            f"{option} {said}: nothing is written there. Name a file, or an object of s3://, gs:// or az://."
        )
    if option == "--report":
        raise InputError(f"{option} {said}: a report is written to this machine, where its pictures are. Name a file.")
    if offline:
        raise InputError(f"{option} {said}: an address, which --offline forbids to ask.")


def _option(name: str) -> str:
    """What names an output in messages."""
    return "the file of --output's errors" if name == "errors_of_output" else f"--{name.replace('_', '-')}"


def require_format(output: Path | None, asked: str | None, known: Collection[str], *, bare: bool = False) -> None:
    """Raise `typer.BadParameter` for a name that promises a format which is not there, unless one is asked for.

    With `bare`, a name may also have no extension.
    """
    if output is None or str(output) == "-" or asked is not None:
        return
    suffix = output.suffix.lower()
    if suffix in known or (bare and not suffix):
        return
    if suffix == ".json" and ".jsonl" in known:
        raise typer.BadParameter(
            f"JSON comes as one object a line; call the file {output.stem}.jsonl.", param_hint="--output"
        )
    raise typer.BadParameter(f"the name must end in one of {', '.join(known)}.", param_hint=f"--output {output}")


def require_writable(format: str, output: Path | None) -> None:
    """Raise for Parquet that would go to a terminal, and `InputError` where it cannot be written for want of a package."""
    if format != "parquet":
        return
    from zsclip.output.parquet import require_pyarrow

    if (output is None or str(output) == "-") and sys.stdout.isatty():
        raise typer.BadParameter(
            "Parquet is nothing to read on a terminal. Name a file with --output.", param_hint="--format"
        )
    require_pyarrow()


def require_extension(option: str, path: Path | None, extensions: Collection[str]) -> None:
    """Raise `InputError` for a file whose name ends otherwise."""
    if path is not None and path.suffix.lower() not in extensions:
        raise InputError(f"{option} {path}: the name must end in {' or '.join(extensions)}.")


def require_folder(option: str, path: Path | None) -> None:
    """Raise `InputError` now, not after the work, for an output in a folder that is not there."""
    if path is None or str(path) == "-" or address_of(path):
        return
    folder = os.path.dirname(os.path.realpath(path))
    if not os.path.isdir(folder):
        raise InputError(f"{option} {path}: there is no folder {folder}. Make it first.")


def _identity(path: str | Path) -> tuple[int, int] | None:
    """What tells a regular file from every other, whatever it is called."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISREG(status.st_mode) else None


def _is_same(one: Path, other: Path) -> bool:
    known = _identity(one)
    if known is not None and known == _identity(other):
        return True
    return os.path.normcase(os.path.realpath(one)) == os.path.normcase(os.path.realpath(other))


def _flat(inputs: Iterable[Iterable[str] | str | Path | None]) -> Iterator[str]:
    for one in inputs:
        if isinstance(one, (str, Path)):
            yield str(one)
        elif one is not None:
            yield from one
