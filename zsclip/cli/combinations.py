"""Which options go together: one table for all commands, so that none is silently without effect."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import typer

from zsclip.images.formats import VIDEO
from zsclip.images.remote.addresses import extension, is_address

# Options of which one can be given, and why: two of them contradict each other.
CONTRADICTIONS = (
    (("quiet", "verbose"), "one asks for silence, the other for more to be said"),
    (("no_cache", "rehash"), "without a store there is nothing to be made anew"),
    (("link", "copy", "move"), "a file is filed in one way"),
    (("calibration", "temperature"), "a calibration brings its temperature"),
    *((("classifier_file", other), "a classifier brings its labels, their prompts and how these are combined")
      for other in ("labels", "labels_file", "prompts", "template", "combine")),
    (("dry_run", "save_classifier"), "one writes nothing, the other a file"),
    (("classifier_file", "examples"), "one was taught already, the other teaches anew"),
    *((("multi_label", other), "examples teach labels that compete") for other in ("examples", "classifier_file")),
    (("examples", "shots"), "one brings examples, the other draws them from the labelled images"),
    *(((mine, other), "what is chosen on some of the images is not mixed with what examples bring")
      for mine in ("examples", "shots") for other in ("weight_templates", "select_templates", "save_prompts", "calibrate")),
    (("multi_label", "shots"), "examples teach labels that compete"),
    *((("calibration", other), "a calibration is for labels by their texts alone, and says nothing of what examples teach")
      for other in ("examples", "classifier_file")),
    (("parts_folder", "examples"), "a run in parts goes on with the same; save a classifier, and name it"),
    (("multi_label", "min_margin"), "labels on their own do not lead each other"),
    *((("multi_label", other), "this is of pictures with one label")
      for other in ("per_level", "per_template", "confusion", "errors", "label_from", "label_column")),
    *((("multi_label", other), "templates are chosen by labels that compete")
      for other in ("weight_templates", "select_templates", "save_prompts")),
    (("name", "model"), "both name a model"),
    (("tag", "pretrained"), "both name its weights"),
    (("limit", "sample"), "each chooses a part of the images"),
    (("retry", "paths"), "the file's names stand in the place of paths"),
    *((("parts_folder", other), "results in parts go into a folder, with all that is told of each image")
      for other in ("output", "format", "only", "report", "embed_thumbnails")),
    *((("parts_folder", other), "a run in parts takes all that it was planned with") for other in ("limit", "sample", "retry")),
    *((("parts_folder", other), "parts are kept in the place of the store") for other in ("no_cache", "rehash")),
    (("parts_folder", "pool"), "parts have a row for each frame"),
    (("parts_folder", "timings"), "each part is timed by itself"),
    (("parts_folder", "texts"), "texts are embedded at once"),
    *((("vectors", other), "no pictures are looked for")
      for other in ("paths", "no_recursive", "hidden", "limit", "sample", "retry", "column", "id_column", "every", "exact_times", "pool",
                    "per_host", "allow_private", "no_sign_request", "part_size")),
    *(((name, other), "no pictures are read")
      for name in ("vectors", "vectors_of_images")
      for other in ("rehash", "workers", "readers", "max_pixels", "isolate", "decode_timeout", "batch_size", "exact")),
    *((("vectors", other), "what could not be read stays so") for other in ("retry_errors", "max_errors")),
    (("vectors", "report"), "a report takes pictures as they are looked at"),
    (("restart", "retry_errors"), "one removes what is there, the other goes on with it"),
    *((("texts", other), "with texts no pictures are read")
      for other in ("no_recursive", "null", "hidden", "limit", "sample", "seed", "retry", "column", "id_column", "every", "rehash",
                    "workers", "readers", "max_pixels", "isolate", "decode_timeout", "per_host", "allow_private", "no_sign_request")),
)  # fmt: skip
# What does nothing unless one of these is given too.
NEEDS = {
    **dict.fromkeys(("part_size", "restart", "retry_errors", "max_errors", "cluster"), ("parts_folder",)),
    **dict.fromkeys(("actors", "cpus_per_actor", "gpus_per_actor", "part_timeout"), ("cluster",)),
    "decode_timeout": ("isolate",),
    "save_classifier": ("examples",),
    "seeds": ("shots",),
    "allow_predictions": ("manifest",),
    "embed_thumbnails": ("report",),
    "seed": ("weight_templates", "select_templates", "calibrate", "sample"),
    "unknown_label": (
        "min_probability",
        "min_margin",
        "min_similarity",
        "background",
        "multi_label",
        "folder",
        "manifest",
    ),  # evaluate's data may name what has no label
    "prompts": ("text", "minus"),
    "template": ("text", "minus"),
}

# The same of one command. Sorting looks at the best label alone, which a temperature does not change.
NEEDS_OF = {"sort": {"calibration": ("min_probability", "min_margin", "multi_label", "combine")}}

# What matters to addresses only: those of the command line, and those in lists and tables.
FOR_ADDRESSES = ("readers", "per_host", "allow_private", "no_sign_request")

TYPED = "zsclip.typed"  # in a context's `meta`: the names of the options, in the order in which they were typed


class Command(typer.core.TyperCommand):
    """A command that refuses options which contradict each other, do nothing, or are given twice, and keeps their order."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """See click. Of an option that takes one value click would take the last, silently."""
        _, _, order = self.make_parser(ctx).parse_args(list(args))
        ctx.meta[TYPED] = [one.name for one in order]
        times = Counter(one.name for one in order if not (getattr(one, "is_flag", True) or one.multiple))
        for name, count in times.items():
            if count > 1:
                ctx.fail(f"{self._shown(name)} was given {count} times and takes one value.")
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """See click."""
        given = {name for name in ctx.params if ctx.get_parameter_source(name).name == "COMMANDLINE"}
        refusals = (*self._missing(given), *self._contradictions(given), *self._without_effect(given, ctx.params))
        for refusal in refusals:
            ctx.fail(refusal)
        return super().invoke(ctx)

    def _missing(self, given: set[str]) -> Iterator[str]:
        """Paths can be left out where something stands in their place."""
        if "retry" in {one.name for one in self.params} and not given.intersection(
            ("paths", "retry", "texts", "vectors")
        ):
            yield "Missing argument 'PATHS...'."

    def _contradictions(self, given: set[str]) -> Iterator[str]:
        for names, reason in CONTRADICTIONS:
            for pair in combinations(names, 2):
                if given.issuperset(pair):
                    yield f"{' and '.join(map(self._shown, pair))}: {reason}. Leave out one of the two."

    def _without_effect(self, given: set[str], values: dict[str, Any]) -> Iterator[str]:
        mine = {one.name for one in self.params}
        for name, others in {**NEEDS, **NEEDS_OF.get(self.name or "", {})}.items():
            known = [other for other in others if other in mine]
            if name in given and known and not given.intersection(known):
                yield f"{self._shown(name)} does nothing without {' or '.join(map(self._shown, known))}."
        if "paths" in values and "retry" not in given and not any(map(_may_lead_to_addresses, values["paths"])):
            yield from (
                f"{self._shown(name)} does nothing without addresses." for name in FOR_ADDRESSES if name in given
            )
        if "paths" in values and not given & {"every", "retry"} and not any(map(_may_lead_to_videos, values["paths"])):
            videos = (name for name in ("exact_times", "pool") if name in given)
            yield from (f"{self._shown(name)} does nothing without --every or a named video." for name in videos)
        to_paths = values.get("format") == "paths"
        if "null" in given and not to_paths and "-" not in values["paths"]:
            needed = " or --format paths" if "format" in mine else ""
            yield f"{self._shown('null')} does nothing without a list of paths on standard input (-){needed}."
        if to_paths and "top_k" in given and "report" in mine - given:
            yield "--top-k does nothing with --format paths, which come without labels."

    def _shown(self, name: str | None) -> str:
        shown = next(max(one.opts, key=len) for one in self.params if one.name == name)
        return shown if shown.startswith("-") else shown.upper()


def _may_lead_to_videos(path: str) -> bool:
    return path == "-" or extension(path.partition("#")[0]) in VIDEO


def _may_lead_to_addresses(path: str) -> bool:
    """Whether it is an address, or a list or table, in which there may be some."""
    if os.path.isdir(path):
        from zsclip.images.sources import Finder
        from zsclip.images.tables.table import Table

        return isinstance(next(Finder([path]).pieces(), None), Table)
    path = path if is_address(path) else path.partition("#")[0]
    return is_address(path) or path == "-" or extension(path) in (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
