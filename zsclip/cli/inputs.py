"""What several commands read in the same way: labels, prompts, lists of paths."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from zsclip.errors import InputError, LabelError
from zsclip.images import HEIF, Walk, require_paths
from zsclip.labels import LabelSet
from zsclip.prompts import DEFAULT, PromptSet, as_prompt_sets

if TYPE_CHECKING:
    from zsclip.embedding import Embedder

logger = logging.getLogger("zsclip")


def read_labels(labels: str | None, labels_file: str | None) -> LabelSet:
    """The labels of both options, joined."""
    parts = []
    if labels is not None:
        parts.append(LabelSet.parse(labels))
    if labels_file is not None:
        parts.append(LabelSet.load(labels_file))
    if not parts:
        raise LabelError("No labels. Give some with --labels cat,dog or --labels-file FILE.")
    return parts[0] if len(parts) == 1 else parts[0] + parts[1]


def read_prompts(prompts: Sequence[str] | None, templates: Sequence[str] | None) -> tuple[PromptSet, ...]:
    """The prompt sets of both options, the default one if there are none."""
    names = list(prompts or []) or ([] if templates else [DEFAULT])
    inline = (PromptSet.of(templates),) if templates else ()
    return (*(as_prompt_sets(names) if names else ()), *inline)


def read_background(source: str | None) -> tuple[str, ...] | None:
    """The texts of `--background`: a file's, or the curated ones."""
    from zsclip.pipeline import curated_background

    if source is None:
        return None
    return curated_background() if source == "curated" else LabelSet.load(source).names


def read_top_k(text: str) -> int | None:
    """A number from 1, or None for `all`."""
    if text == "all":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise typer.BadParameter(f"{text!r} is not a number from 1, nor 'all'.", param_hint="--top-k")
    return int(text)


class PathList:
    """The paths of the command line, with those of standard input in the place of `-`."""

    def __init__(self, arguments: Sequence[str], *, null: bool) -> None:
        self._arguments = arguments
        self._separator = b"\0" if null else b"\n"

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
        """Whether there is one path, and it is no folder."""
        return len(self._arguments) == 1 and not self.from_stdin and not os.path.isdir(self._arguments[0])

    def __iter__(self) -> Iterator[str]:
        for argument in self._arguments:
            if argument == "-":
                yield from self._read_stdin()
            else:
                yield argument

    def _read_stdin(self) -> Iterator[str]:
        rest = b""
        while block := os.read(sys.stdin.fileno(), 1 << 16):
            *whole, rest = (rest + block).split(self._separator)
            yield from (os.fsdecode(path) for path in whole if path)
        if rest:
            yield os.fsdecode(rest)


@dataclass
class Images:
    """The images that the paths lead to, found as they are consumed."""

    walk: Walk
    found: Iterator[str]
    is_one_file: bool
    _again: Walk | None

    def count(self) -> int | None:
        """How many there are, by going through the folders once more; None for a list on standard input."""
        return None if self._again is None else sum(1 for _ in self._again)

    def report(self, embedder: Embedder) -> None:
        """Say what was passed over, what could not be looked into, and how much was known."""
        for folder, reason in self.walk.unreadable.items():
            logger.warning("The folder %s could not be read: %s.", folder, reason)
        if others := _passed_over(self.walk):
            logger.info("%s%s.", others[0].upper(), others[1:])
        if known := embedder.found:
            logger.info("%d of %d images were in the store already.", known, known + embedder.computed)


def open_images(
    paths: Sequence[str], *, null: bool = False, recursive: bool = True, exclude: Path | None = None
) -> Images:
    """Find the images, at least one of them; raises `InputError` for paths that are not there or lead to none."""
    listed = PathList(paths, null=null)
    require_paths(listed.named)
    walk = Walk(listed, recursive=recursive, exclude=exclude)
    found = iter(walk)
    first = next(found, None)
    if first is None:
        reasons = [_passed_over(walk), *(f"{folder}: {reason}" for folder, reason in walk.unreadable.items())]
        said = "; ".join(["No images found", *filter(None, reasons)])
        raise InputError(f"{said}. Name a folder with images in it, or image files.")
    again = None if listed.from_stdin else Walk(listed, recursive=recursive, exclude=exclude)
    return Images(walk, chain([first], found), listed.is_one_file, again)


def _passed_over(walk: Walk) -> str:
    """How many files of the folders were not taken for images: "passed over 3 other files (2 .txt, 1 .pdf)"."""
    total = sum(walk.passed_over.values())
    if not total:
        return ""
    kinds = [f"{count} {extension or 'without extension'}" for extension, count in walk.passed_over.most_common(4)]
    more = ", …" if len(walk.passed_over) > 4 else ""
    text = f"passed over {total} other file{'s' if total > 1 else ''} ({', '.join(kinds)}{more})"
    if any(extension in HEIF for extension in walk.passed_over):
        text += "; HEIC is read with: pip install 'zsclip[heic]'"
    return text
