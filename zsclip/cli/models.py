"""`zsclip models`: which models there are, what a name stands for, and fetching one ahead of time."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Optional

import typer

from zsclip.cli import groups, options
from zsclip.cli.combinations import Command
from zsclip.cli.messages import console, listen

if TYPE_CHECKING:
    from zsclip.embedding.model import Model
    from zsclip.models import Entry, ModelSpec

logger = logging.getLogger("zsclip")
app = typer.Typer(no_args_is_help=True, help="Models: recommend, list, show and fetch them.")

Filter = Annotated[
    str, typer.Option("--filter", metavar="TEXT", help="Only those whose names have all words of the text in them.")
]
Sort = Annotated[
    Literal["name", "accuracy", "parameters"],
    typer.Option("--sort", help="By name, the most accurate first, or the fewest parameters first."),
]
ListFormat = Annotated[
    Optional[Literal["table", "csv", "json"]],
    typer.Option("-f", "--format", help="Default: a table on a terminal and CSV into a pipe."),
]
ShownModel = Annotated[Optional[str], typer.Argument(metavar="MODEL", help="As --model.", show_default=False)]
ShownTag = Annotated[Optional[str], typer.Argument(metavar="TAG|FILE", help="As --pretrained.", show_default=False)]
PulledModel = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        show_default=False,
        help="An architecture of open_clip, hf-hub:ORG/REPO[@REVISION] or local-dir:PATH.",
    ),
]
To = Annotated[
    Optional[Path],
    typer.Option(
        "--to", metavar="DIR", help="Also write it all into a new folder, for --model local-dir:DIR anywhere."
    ),
]


@app.command("list", cls=Command)
def list_(filter: Filter = "", sort: Sort = "name", format: ListFormat = None) -> None:
    """List open_clip's architectures and their tags, and the demo model.

    With the default tag, what is on this machine, input size, parameters, work for one picture, published ImageNet accuracy, licence.

    zsclip models list --filter "siglip2 384"

    zsclip models list --sort accuracy
    """
    from zsclip.errors import ModelError
    from zsclip.models import ORDERS, catalogue

    entries = sorted(catalogue(filter), key=ORDERS[sort])
    if not entries:
        raise ModelError(f"No architecture or tag has {filter!r} in its name. Try a shorter --filter.")
    if (chosen := _chosen(format)) == "table":
        _write_table(entries)
    else:
        _WRITERS[chosen](map(_row, entries))


@app.command(cls=Command)
def recommend(format: ListFormat = None) -> None:
    """Recommend three models: quick, balanced and best.

    The most accurate under MIT or Apache-2.0 whose work for one picture is at most 1, 10 and 100 times the default model's.

    zsclip models recommend
    """
    from zsclip.models import recommend

    choices = recommend()
    if (chosen := _chosen(format)) == "table":
        _write_choices(choices)
    else:
        _WRITERS[chosen]({"choice": name, **_row(one), "options": _options(one)} for name, one in choices.items())


def _chosen(format: str | None) -> str:
    return format or ("table" if sys.stdout.isatty() else "csv")


_FLAGS = {True: "yes", False: ""}


def _write_csv(rows: Iterable[Mapping[str, object]]) -> None:
    from zsclip.output.delimited import delimited_rows

    writer = delimited_rows(sys.stdout)
    for number, row in enumerate(rows):
        if number == 0:
            writer.writerow(row)
        writer.writerow(_FLAGS[value] if isinstance(value, bool) else value for value in row.values())


def _write_json(rows: Iterable[Mapping[str, object]]) -> None:
    sys.stdout.write(json.dumps(list(rows), indent=2) + "\n")


_WRITERS = {"csv": _write_csv, "json": _write_json}


def _row(one: Entry) -> dict[str, object]:
    """What is known of an entry. Scripts read it: new columns come last."""
    height, width = one.size
    return {
        "model": one.architecture,
        "pretrained": one.tag,
        "default": one.is_default,
        "on_disk": one.on_disk,
        "width": width,
        "height": height,
        "parameters": one.parameters,
        "imagenet_top1": one.accuracy and one.accuracy.percent,
        "imagenet_source": one.accuracy and one.accuracy.source,
        "image_gflop": one.image_flops and round(one.image_flops / 1e9, 3),
        "licence": one.licence,
        "note": one.note or None,
    }


def _write_table(entries: list[Entry]) -> None:
    """An architecture's name stands once, above its tags: both side by side are too wide for a terminal."""
    out = console()
    shown = None
    for one in entries:
        if one.architecture != shown:
            shown = one.architecture
            out.print(one.architecture, style="bold", end="", soft_wrap=True)
            out.print(f"  {_pixels(one)}, {_parameters(one)}{_work(one)}", style="dim", soft_wrap=True)
        marks = [mark for mark, holds in (("default", one.is_default), ("on disk", one.on_disk)) if holds]
        said = f" ({', '.join(marks)})" if marks else ""
        percent = f"{one.accuracy.percent:4.1f} %" if one.accuracy else ""
        name = one.tag or one.note or "no published weights"
        out.print(f"  {percent:6}  {name}{said}{f'  {one.licence}' if one.licence else ''}", soft_wrap=True)
    out.print(
        "\n%: zero-shot top-1 on ImageNet, from open_clip. GFLOP: work for one picture.", style="dim", soft_wrap=True
    )


def _write_choices(choices: Mapping[str, Entry]) -> None:
    out = console()
    for name, one in choices.items():
        out.print(f"{name:10}", style="bold", end="", soft_wrap=True)
        out.print(f"{one.architecture} ({one.tag})", soft_wrap=True)
        percent = f"{one.accuracy.percent:.1f} % on ImageNet, " if one.accuracy else ""
        size = "on this machine" if one.on_disk else f"about {4 * (one.parameters or 0) / 1e9:.1f} GB to download"
        out.print(f"{'':10}{percent}{_pixels(one)}{_work(one)}", soft_wrap=True)
        out.print(f"{'':10}{_parameters(one)}, {size}, {one.licence}", soft_wrap=True)
        out.print(f"{'':10}zsclip classify photos/ -l cat,dog {_options(one)}\n", soft_wrap=True)
    out.print("Measure them on your own pictures: zsclip evaluate --help", style="dim", soft_wrap=True)


def _options(one: Entry) -> str:
    return f"--model {one.architecture}" + ("" if one.is_default else f" --pretrained {one.tag}")


def _pixels(one: Entry) -> str:
    height, width = one.size
    return f"{width} x {height} pixels"


def _parameters(one: Entry) -> str:
    return f"{one.parameters / 1e6:,.0f} M parameters" if one.parameters else "unknown number of parameters"


def _work(one: Entry) -> str:
    gflop = (one.image_flops or 0) / 1e9
    return f", {gflop:,.0f} GFLOP" if gflop >= 10 else f", {gflop:.2g} GFLOP" if gflop else ""


@app.command(cls=Command)
def show(
    context: typer.Context,
    name: ShownModel = None,
    tag: ShownTag = None,
    model: options.Model = None,
    pretrained: options.Pretrained = None,
    offline: options.Offline = False,
    device: options.Device = "auto",
    engine: options.Engine = "auto",
    precision: options.Precision = "auto",
    cache_dir: options.CacheDir = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Tell what was resolved: preprocessing, scale, bias, tokenizer, activation, parameters, identity.

    What only the weights tell is left open where they are not on this machine; nothing is downloaded.

    zsclip models show ViT-B-32 openai
    """
    from zsclip.models import without_weights

    listen(quiet=quiet, verbose=verbose)
    if name:  # the environment's are meant for where nothing is named
        model, pretrained = (_typed(context, option) for option in ("model", "pretrained"))
    which, weights = _only(name, model, "--model"), _only(tag, pretrained, "--pretrained")
    if which and not weights and (spec := without_weights(which)):
        rows = _describe(spec, None)
    else:
        group = groups.ModelGroup(which, weights, offline, device, engine, precision)
        with groups.open_classifier(group, groups.ReadingGroup(), groups.StoreGroup(cache_dir)) as classifier:
            rows = _describe(classifier.model.spec, classifier.model)
    out = console()
    for key, value in rows.items():
        out.print(f"{key:<15}{value}", soft_wrap=True)


def _typed(context: typer.Context, option: str) -> str | None:
    """An option's value if it stands on the command line, not if it comes from the environment."""
    source = context.get_parameter_source(option)
    return context.params[option] if source is not None and source.name == "COMMANDLINE" else None


def _only(argument: str | None, option: str | None, name: str) -> str | None:
    """What was given, as an argument or as an option; two different things are wrong usage."""
    if argument and option and argument != option:
        raise typer.BadParameter(f"{argument} is given already.", param_hint=name)
    return argument or option


def _describe(spec: ModelSpec, model: Model | None) -> dict[str, str]:
    from zsclip import models
    from zsclip.models import published
    from zsclip.output.cells import printable

    wanted, known = spec.preprocessing, model.known_identity() if model else None
    height, width = wanted.size
    rows = {
        "model": spec.name,
        "pretrained": spec.pretrained or "",
        "weights": _weights(spec),
        "revision": _revision(spec),
        "digest": models.weights_key(known) if known else "",
        "identity": models.short_identity(known) if known else "",
        "embedding": f"{spec.embed_dim} dimensions",
        "activation": "QuickGELU" if spec.quick_gelu else "GELU",
        "context length": f"{spec.context_length} tokens",
        "tokenizer": _tokenizer(spec),
        "image size": f"{width} x {height} pixels",
        "resize": f"{wanted.resize_mode}, {wanted.interpolation}",
        "mean": ", ".join(f"{value:g}" for value in wanted.mean),
        "std": ", ".join(f"{value:g}" for value in wanted.std),
    }
    if model and models.is_complete(spec):
        engine = model.load()
        rows["logit scale"] = f"{engine.facts.logit_scale:.4f}"
        rows["logit bias"] = f"{engine.facts.logit_bias:.4f}"
        rows["parameters"] = f"{engine.parameters:,}"
        rows["engine"] = engine.description
    elif counted := models.parameter_counts().get(spec.name):
        rows["parameters"] = f"{counted:,}"
    if operations := models.operation_counts().get(spec.name):
        rows["work"] = f"{operations / 1e9:,.2f} GFLOP for one picture"
    if figure := published.accuracy(spec):
        rows["accuracy"] = f"{figure.percent:g} % on ImageNet, zero-shot ({figure.source} of open_clip)"
    rows["licence"] = published.licence(spec) or ""
    if spec.name == models.DEMO:
        rows["note"] = "the demo model knows coloured shapes and nothing else"
    return {name: printable(value) for name, value in rows.items() if value}


def _weights(spec: ModelSpec) -> str:
    from zsclip import models
    from zsclip.models import open_clip_data

    if checkpoint := models.on_disk(spec):
        return str(checkpoint)
    if repository := spec.remote.get("hf_hub"):
        return f"not on this machine; at {repository} on the hub"
    tags = ", ".join(open_clip_data.pretrained_tags(spec.name))
    return f"to be chosen; its tags are: {tags}" if tags else "none published; it needs a checkpoint file"


def _revision(spec: ModelSpec) -> str:
    """The commit that the weights come from, where Hugging Face's cache tells."""
    from zsclip import models
    from zsclip.models.weights import revision

    checkpoint = models.on_disk(spec)
    return (checkpoint and revision(checkpoint)) or ""


def _tokenizer(spec: ModelSpec) -> str:
    from zsclip import models

    here = spec.tokenizer.kind == "clip" or models.tokenizer_folder(spec)
    cleaned = {"canonicalize": ", texts without punctuation and in lower case", "lower": ", texts in lower case"}
    how = cleaned.get(spec.tokenizer.clean, "") if spec.tokenizer.kind == "hf" else ""
    return f"{spec.tokenizer.title}{how}{'' if here else ' (not on this machine)'}"


@app.command(cls=Command)
def pull(
    model: PulledModel,
    tag: ShownTag = None,
    to: To = None,
    offline: options.Offline = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Fetch a model ahead of time: weights, configuration and tokenizer.

    zsclip models pull ViT-B-16-SigLIP2 --to siglip2

    The folder works on a machine that has never seen a network: --model local-dir:siglip2
    """
    from zsclip import models
    from zsclip.cli.messages import say

    listen(quiet=quiet, verbose=verbose)
    spec = groups.resolve_model(model, tag, offline=offline)
    if to is None:
        say(f"{spec.title} is on this machine: {models.fetch(spec)}")
    else:
        models.pack(spec, to)
        say(f"{spec.title} is in {to}. Use it with: --model local-dir:{to}")
