"""A model in a folder of its own that works on a machine that has never seen a network."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zsclip import atomic
from zsclip.errors import ModelError
from zsclip.models import configuration, hub, transformers_format, weights
from zsclip.models.files import fetch, fetch_text_tower, fetch_tokenizer
from zsclip.models.spec import TOKENIZER_FILES, ModelSpec


def pack(spec: ModelSpec, folder: Path) -> None:
    """Write a model into a new or empty folder, for `model=local-dir:FOLDER`; what is not here of it is fetched.

    The folder appears whole or not at all. open_clip reads it too. Raises `ModelError`.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ModelError(f"{folder} is there already. Name a new folder.")
    checkpoint = fetch(spec)
    try:
        with atomic.new_folder(folder) as part:
            for source, name in _files(spec, checkpoint):
                shutil.copyfile(source, part / name)
            if spec.layout == "open_clip":
                text = json.dumps(_document(spec), indent=2) + "\n"
                (part / configuration.CONFIG_NAME).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ModelError(f"{folder} cannot be written: {error.strerror or error}.") from None


def _files(spec: ModelSpec, checkpoint: Path) -> Iterator[tuple[Path, str]]:
    """The files to copy, and what they are called in the folder."""
    tokenizer = fetch_tokenizer(spec)
    if tokenizer is not None:
        yield from (
            (tokenizer / name, name) for name in (*TOKENIZER_FILES, "config.json") if (tokenizer / name).is_file()
        )
    if tower := fetch_text_tower(spec):
        yield tower, "config.json"
    if spec.layout == "open_clip":
        if checkpoint.suffix in (".npz", ".npy"):
            raise ModelError(
                "weights of big_vision cannot be packed. Save the model's state dict instead.",
                where=str(checkpoint),
            )
        yield (
            checkpoint,
            f"open_clip_{'model.safetensors' if checkpoint.suffix == '.safetensors' else 'pytorch_model.bin'}",
        )
        return
    parts = weights.parts(checkpoint)
    if parts == (checkpoint,):
        yield checkpoint, f"{'model.safetensors' if checkpoint.suffix == '.safetensors' else 'pytorch_model.bin'}"
    else:
        yield from ((file, file.name) for file in (checkpoint, *parts))
    source = spec.tokenizer.source
    for names in ((transformers_format.CONFIG_NAME,), transformers_format.IMAGE_CONFIG_NAMES):
        if isinstance(source, Path):
            found = next((source / name for name in names if (source / name).is_file()), None)
        else:
            found = hub.first_cached(source, names)
        if found:
            yield found, found.name


def _document(spec: ModelSpec) -> dict[str, Any]:
    """open_clip's configuration file of the model as it was resolved, its tag's activation and preprocessing in it."""
    tokenizer, wanted = spec.tokenizer, spec.preprocessing
    arguments: dict[str, Any] = {**tokenizer.options, "clean": tokenizer.clean}
    if tokenizer.strip_sep_token:
        arguments["strip_sep_token"] = True
    if tokenizer.language:
        arguments["language"] = tokenizer.language
    if tokenizer.special_tokens:
        arguments["additional_special_tokens"] = list(tokenizer.special_tokens)
    text = {**spec.config["text_cfg"], "tokenizer_kwargs": arguments}
    return {
        "model_cfg": {**spec.config, "text_cfg": text},
        "preprocess_cfg": {
            "size": list(wanted.size),
            "mode": "RGB",
            "mean": list(wanted.mean),
            "std": list(wanted.std),
            "interpolation": wanted.interpolation,
            "resize_mode": wanted.resize_mode,
            "fill_color": wanted.fill_color,
        },
    }
