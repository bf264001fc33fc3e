"""What several commands read in the same way: paths."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import typer

from zsclip.cli.outputs import Outputs
from zsclip.errors import InputError
from zsclip.images.container import Container
from zsclip.images.folders import Search
from zsclip.images.listing import BackgroundListing, Listing, size
from zsclip.images.remote.addresses import is_address
from zsclip.images.selection import sampled
from zsclip.images.sources import Finder, require_paths, source_of

if TYPE_CHECKING:
    from zsclip.classifier import Classifier
    from zsclip.cli.groups import FileGroup
    from zsclip.embedding.records import Counts
    from zsclip.images.reading import Reading

logger = logging.getLogger("zsclip")


def read_top_k(text: str) -> int | None:
    """A number from 1, or None for `all`."""
    if text == "all":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise typer.BadParameter(f"{text!r} is not a number from 1, nor 'all'.", param_hint="--top-k")
    return int(text)


class PathList:
    """The paths of the command line, with those of standard input in the place of `-`.

    `refuse` is called with each of those, and may raise.
    """

    def __init__(
        self, arguments: Sequence[str], *, null: bool, refuse: Callable[[str], None] = lambda path: None
    ) -> None:
        self._arguments = arguments
        self._refuse = refuse
        self._separator = b"\0" if null else b"\n"
        self._listed = hashlib.sha256()

    @property
    def digest(self) -> str:
        """Of the paths that came from standard input so far."""
        return self._listed.hexdigest()

    @property
    def named(self) -> list[str]:
        """The arguments that are paths."""
        return [argument for argument in self._arguments if argument != "-"]

    @property
    def from_stdin(self) -> bool:
        """Whether standard input is read, so that the paths can be gone through once only."""
        return "-" in self._arguments

    @property
    def is_one_file(self) -> bool:
        """Whether there is one path, and it is one picture's."""
        return len(self._arguments) == 1 and not self.from_stdin and source_of(self._arguments[0]).is_one

    def __iter__(self) -> Iterator[str]:
        for argument in self._arguments:
            if argument == "-":
                for path in self._read_stdin():
                    self._refuse(path)
                    self._listed.update(os.fsencode(path) + b"\0")
                    yield path
            else:
                yield argument

    def _read_stdin(self) -> Iterator[str]:
        try:
            descriptor = sys.stdin.fileno()
        except (OSError, ValueError):
            raise InputError("- stands for a list of paths on standard input, which is closed.") from None
        rest, block = b"", b" "
        while block:
            try:
                block = os.read(descriptor, 1 << 16)
            except OSError as error:
                raise InputError(f"- stands for standard input, which cannot be read: {error.strerror}.") from None
            *whole, rest = (rest + block).split(self._separator)
            yield from (self._decoded(path) for path in ([*whole, rest] if not block else whole) if path)

    def _decoded(self, path: bytes) -> str:
        # A list made on Windows ends its lines in CR LF.
        if self._separator == b"\n" and path.endswith(b"\r") and not os.path.lexists(path):
            path = path[:-1]
        return os.fsdecode(path)


@dataclass
class FoundImages:
    """The images that the paths lead to, found as they are consumed."""

    listing: Listing
    is_one_file: bool
    _finder: Finder
    _again: Finder | None
    _columns: Collection[str] = ()  # options that are for tables only

    def count(self) -> int | None:
        """How many there are, by going through the folders once more; None while a list is still being read, for addresses, and where
        some are in containers, which only opening them would tell."""
        again, self._again = self._again, None
        found = self.listing.total if again is None else _count(again)
        limit = self.listing.limit
        return found if found is None or limit is None else min(found, limit)

    def is_listing(self) -> bool:
        """Whether more is being looked for."""
        return self.listing.is_running

    def require(self, classifier: Classifier) -> None:
        """Any model will do."""

    def report(self, counts: Counts) -> None:
        """Say what was passed over and how much was known."""
        report_found(self._finder, self._columns)
        report_known(counts)


class KnownImages:
    """The images of a run in parts, whose vectors are there; see `FoundImages`. Raises `InputError`."""

    is_one_file = False

    def __init__(self, folder: str, *, offline: bool) -> None:
        from zsclip.cluster.results import result_folder
        from zsclip.cluster.vectors import RunVectors

        self.listing = RunVectors(result_folder(folder, offline=offline))

    def count(self) -> int | None:
        """How many there are, if the run is whole."""
        return None if self.listing.whole is None else self.listing.whole.pictures

    def is_listing(self) -> bool:
        """Whether more is being looked for."""
        return False

    def require(self, classifier: Classifier) -> None:
        """Raise `ModelError` for another model than that of the vectors."""
        self.listing.require_made_with(classifier.model)

    def report(self, counts: Counts) -> None:
        """There is nothing to say."""


def _count(finder: Finder) -> int | None:
    total = 0
    for piece in finder.pieces():
        if isinstance(piece, Container):
            return None
        total += size(piece)
    return total


def report_found(finder: Finder, columns: Collection[str]) -> None:
    """Say what was passed over, and that options for tables were of no use."""
    if others := str(finder.passed_over):
        logger.info("%s%s.", others[0].upper(), others[1:])
    if columns and not finder.tables:
        logger.warning("%s had no effect: there was no table.", " and ".join(columns))


def report_known(counts: Counts) -> None:
    """Say of how many images the store had the vector."""
    if counts.found:
        logger.info("%d of %d images were in the store already.", counts.found, counts.found + counts.computed)
    if not counts.computed:
        logger.debug("No image had to be computed.")


def open_images(
    where: FileGroup,
    outputs: Outputs | None = None,
    search: Search | None = None,
    *,
    offline: bool = False,
    reading: Reading | None = None,
    refuse: Callable[[str], None] = lambda path: None,
    vectors: str | None = None,
) -> FoundImages | KnownImages:
    """Find the images, at least one of them; raises `InputError` for paths that are not there, lead to none, or are among
    the `outputs`, those of a list on standard input when they come by. `refuse` is called with each path, and may raise.
    With `vectors` they are those of the run in parts in that folder.
    """
    if vectors is not None:
        return KnownImages(vectors, offline=offline)
    paths, finder = find(where, outputs, search, offline=offline, refuse=refuse)
    # Another program may still be writing its list, and a server be listing: what is known is worked on meanwhile.
    in_background = paths.from_stdin or where.sample is not None or any(map(is_address, paths.named))
    pieces = finder.pieces() if where.sample is None else sampled(finder.pieces(), where.sample, where.seed, reading)
    listing = (BackgroundListing if in_background else Listing)(pieces, limit=where.limit)
    if listing.is_empty():
        raise no_images(finder)
    again = None if in_background else Finder(paths, finder.search, finder.opening)
    return FoundImages(listing, paths.is_one_file, finder, again, where.columns)


def find(
    where: FileGroup,
    outputs: Outputs | None = None,
    search: Search | None = None,
    *,
    offline: bool = False,
    refuse: Callable[[str], None] = lambda path: None,
) -> tuple[PathList, Finder]:
    """What is to be looked at, and what finds images there; see `open_images`."""
    outputs, search = outputs or Outputs(), search or where.search
    named = where.named
    outputs.refuse(named, where.retry)

    def check(path: str) -> None:
        outputs.refuse(path)
        refuse(path)

    paths = PathList(named, null=where.null, refuse=check)
    opening = where.opening
    opening = replace(opening, network=replace(opening.network, offline=offline))
    require_paths(paths.named, opening.network)
    if where.columns and not (paths.from_stdin or any(source_of(path).may_be_table for path in paths.named)):
        raise typer.BadParameter("this is for tables, and none is named.", param_hint=next(iter(where.columns)))
    for path in paths.named:
        refuse(path)
    finder = Finder(paths, search, opening, typed=frozenset(where.paths))
    finder.passed_over.offers_frames = not search.files_only
    return paths, finder


def no_images(finder: Finder) -> InputError:
    """The error to raise where nothing was found."""
    said = "; ".join(["No images found", *filter(None, [str(finder.passed_over)])])
    if not finder.search.recursive:
        said += " (folders inside folders are left out: --no-recursive)"
    return InputError(f"{said}. Name a folder with images in it, or image files.")


def require_commas(labels: Sequence[str], paths: Sequence[str]) -> None:
    """Raise `InputError` where missing paths may be the rest of labels given without commas, as in `--labels cat dog`."""
    words = [path for path in paths if re.fullmatch(r"[^/\\.]+", path) and path != "-" and not os.path.lexists(path)]
    if labels and words:
        raise InputError(
            "there is no such file or folder.",
            where=words[0],
            remedy=f"It was read as a path; if it is a label, separate labels by commas: --labels '{','.join([*labels, *words])}'",
        )
