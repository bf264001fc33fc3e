"""`zsclip cache`: what the store holds, and how to make it smaller."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from zsclip.cli import options
from zsclip.cli.messages import console, listen, say

if TYPE_CHECKING:
    from zsclip.store.database import Store

app = typer.Typer(no_args_is_help=True, help="The store: what it holds, and how to make it smaller.")

# Not the options of the other commands: what ZSCLIP_MODEL names is not meant to be forgotten.
ClearedModel = Annotated[
    Optional[str],
    typer.Option("-m", "--model", metavar="NAME|IDENTITY", help="One model, by name or as info shows it."),
]
ClearedPretrained = Annotated[Optional[str], typer.Option("--pretrained", metavar="TAG|FILE", help="Its weights.")]
Yes = Annotated[bool, typer.Option("-y", "--yes", help="Do not ask.")]


@app.command()
def info(cache_dir: options.CacheDir = None) -> None:
    """Tell where the store is, how large, and what it holds of each model."""
    from zsclip import models
    from zsclip.output.cells import printable
    from zsclip.store import maintenance as upkeep
    from zsclip.store.keeping import Keeping

    listen(quiet=False, verbose=False)
    with Keeping(cache_dir).open() as store:
        content = upkeep.info(store)
    out = console()
    rows = [
        ("store", printable(str(content.path))),
        ("size", f"{content.size / 1e6:,.1f} MB"),
        ("images", f"{sum(model.images for model in content.models):,}"),
        ("texts", f"{sum(model.texts for model in content.models):,}"),
        ("paths", f"{content.files:,}"),
        ("models", f"{len(content.models):,}"),
        ("exports", f"{len(content.exports)} ({sum(export.size for export in content.exports) / 1e6:,.1f} MB)"),
    ]
    if content.shared:
        rows.append(
            ("shared", f"{content.shared}: a network file system; writing is slower there than on a local disk")
        )
    for name, value in rows:
        out.print(f"{name:<9}{value}", soft_wrap=True)
    for model in content.models:
        title = printable(model.title or "a model that was not loaded")
        counts = f"{model.images:,} images, {model.texts:,} texts"
        out.print(f"  {models.short_identity(model.identity)}  {title}: {counts}", soft_wrap=True)


@app.command()
def clear(
    model: ClearedModel = None,
    pretrained: ClearedPretrained = None,
    cache_dir: options.CacheDir = None,
    yes: Yes = False,
) -> None:
    """Forget all vectors, or with --model those of one model."""
    from zsclip.store import maintenance as upkeep
    from zsclip.store.keeping import Keeping

    listen(quiet=False, verbose=False)
    if pretrained and not model:
        raise typer.BadParameter(
            "name the model too, or its identity as `cache info` shows it.", param_hint="--pretrained"
        )
    with Keeping(cache_dir).open() as store:
        identity = _identity(store, model, pretrained) if model else None
        if sys.stdin.isatty() and not yes:
            typer.confirm(f"Forget all vectors of {model}?" if model else "Forget all vectors?", abort=True, err=True)
        say(f"Forgot {upkeep.clear(store, identity):,} vectors.")


def _identity(store: Store, model: str, pretrained: str | None) -> str:
    """The identity of a model that the store holds, by its short identity or its name; downloads nothing."""
    from zsclip import models
    from zsclip.embedding.model import Model
    from zsclip.errors import ModelError
    from zsclip.store import maintenance as upkeep

    held = upkeep.info(store).models
    for content in held:
        if model in (models.short_identity(content.identity), content.title):
            return content.identity
    spec = models.resolve(model, pretrained)
    if not spec.tag_key and models.on_disk(spec) is None:
        raise ModelError(f"{spec.title}: its weights are not here. Give its identity, as `zsclip cache info` shows it.")
    return Model(spec, store).identity


@app.command()
def prune(
    max_size: Annotated[
        Optional[str],
        typer.Option("--max-size", metavar="SIZE", help="Such as 500M or 2G: forget the oldest images above that."),
    ] = None,
    cache_dir: options.CacheDir = None,
) -> None:
    """Forget the images of files that are gone."""
    from zsclip.store import maintenance as upkeep
    from zsclip.store.keeping import Keeping

    listen(quiet=False, verbose=False)
    limit = None if max_size is None else _bytes(max_size)
    with Keeping(cache_dir).open() as store:
        say(f"Forgot {upkeep.prune(store, limit):,} vectors; the store takes {upkeep.info(store).size / 1e6:,.1f} MB.")


def _bytes(text: str) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)B?", text.strip(), re.IGNORECASE)
    if not match:
        raise typer.BadParameter(f"{text!r} is not a size such as 500M or 2G.", param_hint="--max-size")
    return int(float(match[1]) * 1000 ** " KMGT".index(match[2].upper() or " "))
