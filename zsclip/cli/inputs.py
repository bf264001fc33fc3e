"""What several commands read in the same way: labels, prompts, lists of paths."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence

import typer

from zsclip.errors import LabelError
from zsclip.labels import LabelSet
from zsclip.prompts import DEFAULT, PromptSet, as_prompt_sets


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
