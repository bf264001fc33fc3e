"""`zsclip cache`: what the store holds, and how to make it smaller."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from zsclip.cli import options
from zsclip.cli.combinations import Command
from zsclip.cli.messages import console, listen, say
from zsclip.text.wording import counted

if TYPE_CHECKING:
    from zsclip.store.database import Store
    from zsclip.store.exports import Export
    from zsclip.store.maintenance import StoreInfo

logger = logging.getLogger("zsclip")
app = typer.Typer(no_args_is_help=True, help="The store: what it holds, and how to make it smaller.")

# Not the options of the other commands: what ZSCLIP_MODEL names is not meant to be forgotten.
ClearedModel = Annotated[
    Optional[str],
    typer.Option("-m", "--model", metavar="NAME|IDENTITY", help="One model, by name or as info shows it."),
]
ClearedPretrained = Annotated[Optional[str], typer.Option("--pretrained", metavar="TAG|FILE", help="Its weights.")]
Yes = Annotated[bool, typer.Option("-y", "--yes", help="Do not ask; needed where there is no terminal to ask on.")]


@app.command(cls=Command)
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
        ("exports", _told(content)),
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
        weights = models.weights_key(model.identity, digits=12)
        out.print(f"  {models.short_identity(model.identity)}  {title}: {counts}, weights {weights}", soft_wrap=True)


@app.command(cls=Command)
def clear(
    model: ClearedModel = None,
    pretrained: ClearedPretrained = None,
    cache_dir: options.CacheDir = None,
    yes: Yes = False,
) -> None:
    """Forget all vectors and converted models, or with --model those of one model."""
    from zsclip.engines.openvino.export_files import is_of
    from zsclip.store import maintenance as upkeep
    from zsclip.store.exports import exports
    from zsclip.store.keeping import Keeping

    listen(quiet=False, verbose=False)
    if pretrained and not model:
        raise typer.BadParameter(
            "name the model too, or its identity as `cache info` shows it.", param_hint="--pretrained"
        )
    if not yes and not sys.stdin.isatty():
        raise typer.BadParameter("there is no terminal to ask on. Give it to clear without asking.", param_hint="--yes")
    with Keeping(cache_dir).open() as store:
        identity = _identity(store, model, pretrained) if model else None
        if not yes:
            asked = f"Forget all vectors and the converted model of {model}?"
            typer.confirm(asked if model else "Forget all vectors and converted models?", abort=True, err=True)
        chosen = [one for one in exports(store) if identity is None or is_of(one.path, identity)]
        forgot = f"Forgot {upkeep.clear(store, identity):,} vectors"
        say(f"{forgot}{_and_removed(chosen)}.")


def _told(content: StoreInfo) -> str:
    old = len(_outdated(content))
    of_old = f"; {old} that no run takes any more, which prune removes" if old else ""
    return f"{len(content.exports)} ({sum(one.size for one in content.exports) / 1e6:,.1f} MB{of_old})"


def _outdated(content: StoreInfo) -> list[Export]:
    from zsclip.engines.openvino.leftovers import outdated

    is_outdated = outdated(model.identity for model in content.models)
    return [one for one in content.exports if is_outdated(one.path)]


def _and_removed(found: Sequence[Export], what: str = "") -> str:
    """Remove exports, and say how many; those that a process uses stay."""
    from zsclip.store.exports import remove

    removed = [one for one in found if remove(one.path)]
    for one in found:
        if one not in removed:
            logger.warning("%s stays: a process that is running uses it.", one.path)
    size = sum(one.size for one in removed) / 1e6
    return f" and removed {counted(len(removed), 'converted model')}{what} ({size:,.1f} MB)" if removed else ""


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
    identity = Model(spec, store).known_identity()
    if identity is None:
        raise ModelError(f"{spec.title}: its weights are not here. Give its identity, as `zsclip cache info` shows it.")
    return identity


@app.command(cls=Command)
def prune(
    max_size: Annotated[
        Optional[str],
        typer.Option("--max-size", metavar="SIZE", help="Such as 500M or 2G: forget the oldest images above that."),
    ] = None,
    cache_dir: options.CacheDir = None,
) -> None:
    """Forget the images of files that are gone, and remove converted models that no run takes any more."""
    from zsclip.store import maintenance as upkeep
    from zsclip.store.keeping import Keeping

    listen(quiet=False, verbose=False)
    limit = None if max_size is None else _bytes(max_size)
    with Keeping(cache_dir).open() as store:
        removed = _and_removed(_outdated(upkeep.info(store)), " that no run takes any more")
        forgot = f"Forgot {upkeep.prune(store, limit):,} vectors{removed}"
        say(f"{forgot}; the store takes {upkeep.info(store).size / 1e6:,.1f} MB.")


def _bytes(text: str) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)B?", text.strip(), re.IGNORECASE)
    if not match:
        raise typer.BadParameter(f"{text!r} is not a size such as 500M or 2G.", param_hint="--max-size")
    return int(float(match[1]) * 1000 ** " KMGT".index(match[2].upper() or " "))
