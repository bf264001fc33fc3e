"""What several commands read in the same way: labels, prompts, lists of paths."""

from __future__ import annotations

import logging
import os
import select
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from zsclip.errors import InputError, LabelError
from zsclip.images.folders import EXTENSIONS, HEIF, Walk, require_paths
from zsclip.text.labels import LabelSet
from zsclip.text.prompts import DEFAULT, PromptSet, as_prompt_sets
from zsclip.text.wording import counted

if TYPE_CHECKING:
    from zsclip.embedding.embedder import Embedder
    from zsclip.report.pictures import Pictures

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
    from zsclip.classifier import curated_background

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

    def __iter__(self) -> Iterator[str | None]:
        """The paths; None where the next is not known yet, so that what is known can be worked on."""
        for argument in self._arguments:
            if argument == "-":
                yield from self._read_stdin()
            else:
                yield argument

    def _read_stdin(self) -> Iterator[str | None]:
        try:
            descriptor = sys.stdin.fileno()
        except (OSError, ValueError):
            raise InputError("- stands for a list of paths on standard input, which is closed.") from None
        rest = b""
        while True:
            while not _is_ready(descriptor):
                yield None
            try:
                block = os.read(descriptor, 1 << 16)
            except OSError as error:
                raise InputError(f"- stands for standard input, which cannot be read: {error.strerror}.") from None
            *whole, rest = (rest + block).split(self._separator)
            if not block and rest:
                whole = [rest]
            yield from (self._decoded(path) for path in whole if path)
            if not block:
                return

    def _decoded(self, path: bytes) -> str:
        # A list made on Windows ends its lines in CR LF.
        if self._separator == b"\n" and path.endswith(b"\r") and not os.path.lexists(path):
            path = path[:-1]
        return os.fsdecode(path)


@dataclass
class Images:
    """The images that the paths lead to, found as they are consumed."""

    walk: Walk
    found: Iterator[str | None]
    is_one_file: bool
    _again: Walk | None

    def count(self) -> int | None:
        """How many there are, by going through the folders once more; None for a list on standard input."""
        return None if self._again is None else sum(1 for _ in self._again)

    def report(self, embedder: Embedder) -> None:
        """Say what was passed over and how much was known."""
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
    first = next((path for path in found if path is not None), None)
    if first is None:
        said = "; ".join(["No images found", *filter(None, [_passed_over(walk)])])
        if not recursive:
            said += " (folders inside folders are left out: --no-recursive)"
        raise InputError(f"{said}. Name a folder with images in it, or image files.")
    again = None if listed.from_stdin else Walk(listed, recursive=recursive, exclude=exclude)
    return Images(walk, chain([first], found), listed.is_one_file, again)


def refuse_overwriting(
    output: Path | None,
    *inputs: Iterable[str] | str | Path | None,
    option: str = "--output",
    extensions: Sequence[str] = (),
) -> None:
    """Raise `InputError` for an output that is one of the inputs, or whose name promises another format.

    `extensions`, if given, are those it must have one of.
    """
    if output is None:
        return
    if output.suffix.lower() in EXTENSIONS | HEIF:
        raise InputError(f"{option} {output}: that is an image's name. Name a file for the results.")
    if extensions and output.suffix.lower() not in extensions:
        raise InputError(f"{option} {output}: the name must end in {' or '.join(extensions)}.")
    if not extensions and output.suffix.lower() == ".json":
        raise InputError(f"--output {output}: JSON comes as one object a line; call the file {output.stem}.jsonl.")
    for path in _flat(inputs):
        if os.path.isfile(path) and output.exists() and os.path.samefile(path, output):
            raise InputError(f"{option} {output} is also an input, and would be replaced. Name another file.")


def require_folder(output: Path | None, option: str) -> None:
    """Raise `InputError` now, not after the work, for an output in a folder that is not there."""
    if output is not None and str(output) != "-" and not output.resolve().parent.is_dir():
        raise InputError(f"{option} {output}: there is no folder {output.resolve().parent}. Make it first.")


def write_report(report: Path, html: Callable[[Pictures], str], embed_thumbnails: bool) -> None:
    """Write a page, whole or not at all, and say where and how large it is."""
    from zsclip.cli.messages import say
    from zsclip.output.targets import open_output
    from zsclip.report.pictures import Pictures

    text = html(Pictures(report.parent, embed_thumbnails))
    with open_output(report, "report") as stream:
        stream.write(text)
    say(f"Wrote {report} ({report.stat().st_size / 1e6:,.1f} MB).")


def _flat(inputs: Iterable[Iterable[str] | str | Path | None]) -> Iterator[str]:
    for one in inputs:
        if isinstance(one, (str, Path)):
            yield str(one)
        elif one is not None:
            yield from one


def _is_ready(descriptor: int) -> bool:
    """Whether a read would not wait; waits a moment itself."""
    if sys.platform == "win32":  # select is for sockets there
        return True
    return bool(select.select([descriptor], [], [], 0.02)[0])


def read_model(model: str | None, pretrained: str | None, *, offline: bool = False) -> tuple[str | None, str | None]:
    """The model's options. `ZSCLIP_PRETRAINED` is for architectures: a model that brings its weights goes without."""
    if offline:
        from zsclip.models import go_offline

        go_offline()
    brings_its_own = model is not None and (model == "demo" or model.startswith(("local-dir:", "hf-hub:")))
    return model, None if brings_its_own and pretrained == os.environ.get("ZSCLIP_PRETRAINED") else pretrained


def _passed_over(walk: Walk) -> str:
    """How many files of the folders were not taken for images: "passed over 3 other files (2 .txt, 1 .pdf)"."""
    total = sum(walk.passed_over.values())
    if not total:
        return ""
    kinds = [f"{count} {extension or 'without extension'}" for extension, count in walk.passed_over.most_common(4)]
    more = ", …" if len(walk.passed_over) > 4 else ""
    text = f"passed over {counted(total, 'other file')} ({', '.join(kinds)}{more})"
    if any(extension in HEIF for extension in walk.passed_over):
        text += "; HEIC is read with: pip install pillow-heif"
    return text
