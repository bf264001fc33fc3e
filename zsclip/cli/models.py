"""`zsclip models`: what a model's name stands for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from zsclip.cli import options
from zsclip.cli.messages import console, listen

if TYPE_CHECKING:
    from zsclip.embedding import Embedder

app = typer.Typer(no_args_is_help=True, help="What a model's name stands for.")


@app.callback()
def _models() -> None:
    """What a model's name stands for."""


@app.command()
def show(
    model: options.Model = None,
    pretrained: options.Pretrained = None,
    device: options.Device = "auto",
    engine: options.Engine = "auto",
    precision: options.Precision = "auto",
    cache_dir: options.CacheDir = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Tell what was resolved: preprocessing, scale, bias, context length, activation, parameters, identity.

    What only the weights tell is left open where they are not on this machine; nothing is downloaded.

    zsclip models show --model ViT-B-32 --pretrained weights.pt
    """
    from zsclip.cli.inputs import read_model
    from zsclip.pipeline import Classifier

    listen(quiet=quiet, verbose=verbose)
    with Classifier.load(
        *read_model(model, pretrained), device=device, engine=engine, precision=precision, cache_dir=cache_dir
    ) as classifier:
        rows = _describe(classifier.embedder)
    out = console()
    for name, value in rows.items():
        out.print(f"{name:<15}{value}", soft_wrap=True)


def _describe(embedder: Embedder) -> dict[str, str]:
    from zsclip import models
    from zsclip.writers import printable

    spec, wanted = embedder.spec, embedder.spec.preprocessing
    checkpoint = models.on_disk(spec)
    height, width = wanted.size
    rows = {
        "model": spec.name,
        "pretrained": spec.pretrained or "",
        "weights": str(checkpoint) if checkpoint else f"not on this machine; at {spec.remote.get('hf_hub')} on the hub",
        "identity": models.short_identity(embedder.identity) if checkpoint or spec.tag_key else "",
        "embedding": f"{spec.embed_dim} dimensions",
        "activation": "QuickGELU" if spec.quick_gelu else "GELU",
        "context length": f"{spec.context_length} tokens",
        "tokenizer": spec.tokenizer.title,
        "image size": f"{width} x {height} pixels",
        "resize": f"{wanted.resize_mode}, {wanted.interpolation}",
        "mean": ", ".join(f"{value:g}" for value in wanted.mean),
        "std": ", ".join(f"{value:g}" for value in wanted.std),
    }
    if checkpoint:
        engine = embedder.engine
        rows["logit scale"] = f"{engine.facts.logit_scale:.4f}"
        rows["logit bias"] = f"{engine.facts.logit_bias:.4f}"
        rows["parameters"] = f"{engine.parameters:,}"
        rows["engine"] = engine.description
    if spec.name == models.DEMO:
        rows["note"] = "the demo model knows coloured shapes and nothing else"
    return {name: printable(value) for name, value in rows.items() if value}
