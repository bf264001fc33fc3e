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
    """Load a model and tell what was resolved: preprocessing, scale, bias, context length, activation, identity.

    zsclip models show --model ViT-B-32 --pretrained weights.pt
    """
    from zsclip.pipeline import Classifier

    listen(quiet=quiet, verbose=verbose)
    with Classifier.load(
        model, pretrained, device=device, engine=engine, precision=precision, cache_dir=cache_dir
    ) as classifier:
        rows = _describe(classifier.embedder)
    out = console()
    for name, value in rows.items():
        out.print(f"{name:<15}{value}", soft_wrap=True)


def _describe(embedder: Embedder) -> dict[str, str]:
    from zsclip import models
    from zsclip.writers import printable

    spec, engine, wanted = embedder.spec, embedder.engine, embedder.spec.preprocessing
    height, width = wanted.size
    rows = {
        "model": spec.name,
        "weights": spec.pretrained or str(spec.checkpoint or spec.remote.get("hf_hub", "")),
        "identity": models.short_identity(embedder.identity),
        "parameters": f"{engine.parameters:,}",
        "embedding": f"{engine.facts.dimension} dimensions",
        "activation": "QuickGELU" if spec.quick_gelu else "GELU",
        "context length": f"{spec.context_length} tokens, CLIP tokenizer",
        "image size": f"{width} x {height} pixels",
        "resize": f"{wanted.resize_mode}, {wanted.interpolation}",
        "mean": ", ".join(f"{value:g}" for value in wanted.mean),
        "std": ", ".join(f"{value:g}" for value in wanted.std),
        "logit scale": f"{engine.facts.logit_scale:.4f}",
        "logit bias": f"{engine.facts.logit_bias:.4f}",
        "engine": engine.description,
    }
    if spec.name == models.DEMO:
        rows["note"] = "the demo model knows coloured shapes and nothing else"
    return {name: printable(value) for name, value in rows.items()}
