"""The files that a model consists of: where they are on this machine, and how they come here."""

from __future__ import annotations

from pathlib import Path

from zsclip.errors import ModelError
from zsclip.models import hub, transformers_format, weights
from zsclip.models.spec import TOKENIZER_FILES, VOCABULARY_FILES, ModelSpec

# Without all of these (or the hub's word that they do not exist) transformers asks the network.
_NEEDED = ("tokenizer.json", "tokenizer_config.json", "config.json")


def fetch(spec: ModelSpec) -> Path:
    """The weights' file. What is not on this machine of the weights, the tokenizer and the text tower's configuration is
    downloaded into the Hugging Face cache; raises `ModelError`.
    """
    fetch_tokenizer(spec)
    fetch_text_tower(spec)
    if found := on_disk(spec):
        return found
    repository, filenames = _weights_on_hub(spec)
    if not repository:
        remedy = hub.remedy(_arguments(spec))
        raise ModelError("its weights are not on the Hugging Face hub.", where=spec.title, remedy=remedy)
    wanted = _wanted(spec, "weights", repository)
    checkpoint = hub.fetch_first(wanted, filenames)
    if checkpoint.name.endswith(weights.INDEX_ENDING):
        for name in weights.part_names(checkpoint):
            hub.fetch(wanted, name, alone=True)
    return checkpoint


def on_disk(spec: ModelSpec) -> Path | None:
    """The weights' file if it is on this machine; asks no network."""
    if spec.checkpoint:
        return spec.checkpoint
    repository, filenames = _weights_on_hub(spec)
    found = hub.first_cached(repository, filenames) if repository else None
    return found if found and all(part.is_file() for part in weights.parts(found)) else None


def address(spec: ModelSpec) -> str | None:
    """Where on the hub the weights are; None for those that are a file on this machine."""
    return f"hf://{spec.remote['hf_hub']}" if spec.remote.get("hf_hub") else None


def is_complete(spec: ModelSpec) -> bool:
    """Whether all that the model needs is on this machine; asks no network."""
    tower = spec.text_tower
    return (
        on_disk(spec) is not None
        and (spec.tokenizer.kind == "clip" or tokenizer_folder(spec) is not None)
        and (not isinstance(tower, str) or hub.cached(tower, "config.json") is not None)
    )


def tokenizer_folder(spec: ModelSpec) -> Path | None:
    """The folder on this machine with the tokenizer's files (`tokenizer.json`, as a rule), whole; asks no network.

    None for the CLIP tokenizer, which comes with open_clip, and for one that must be fetched first.
    """
    source = spec.tokenizer.source
    if spec.tokenizer.kind == "clip" or isinstance(source, Path):
        return source if isinstance(source, Path) else None
    if not all(hub.cached(source, name) or hub.is_known_missing(source, name) for name in _NEEDED):
        return None
    found = hub.first_cached(source, VOCABULARY_FILES)
    return found.parent if found else None


def fetch_tokenizer(spec: ModelSpec) -> Path | None:
    """`tokenizer_folder`, downloaded if need be; raises `ModelError`."""
    source = spec.tokenizer.source
    if isinstance(source, Path) and not any((source / name).is_file() for name in VOCABULARY_FILES):
        what = f"there is no tokenizer in {source}; it belongs beside the weights (tokenizer.json)."
        raise ModelError(what, where=spec.title)
    if (found := tokenizer_folder(spec)) or spec.tokenizer.kind == "clip" or isinstance(source, Path):
        return found
    what = "tokenizer's files" if on_disk(spec) else "weights and its tokenizer's files"
    wanted = _wanted(spec, what, source)
    for name in (*_NEEDED, *TOKENIZER_FILES):
        hub.fetch(wanted, name)
    found = tokenizer_folder(spec)
    if found is None:
        raise ModelError(f"the repository {source}, named for its tokenizer, has none.", where=spec.title)
    return found


def fetch_text_tower(spec: ModelSpec) -> Path | None:
    """The `config.json` of a text tower of transformers, downloaded if need be; raises `ModelError`."""
    tower = spec.text_tower
    if tower is None or isinstance(tower, Path):
        return tower / "config.json" if tower else None
    return hub.fetch(_wanted(spec, "text tower's files", tower), "config.json", alone=True)


def _wanted(spec: ModelSpec, what: str, repository: str) -> hub.Wanted:
    return hub.Wanted(spec.title, _arguments(spec), what, repository, spec.offline)


def _arguments(spec: ModelSpec) -> str:
    return " ".join(filter(None, (spec.name, spec.pretrained)))


def _weights_on_hub(spec: ModelSpec) -> tuple[str, tuple[str, ...]]:
    """The repository, and the names its weights may have there: as safetensors first, as open_clip looks for them."""
    repository, _, filename = str(spec.remote.get("hf_hub") or "").rpartition("/")
    if spec.layout != "open_clip":
        return repository, transformers_format.WEIGHT_NAMES
    if not filename:
        return repository, ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
    if filename.endswith((".bin", ".pth")):
        return repository, (f"{filename[:-4]}.safetensors", filename)
    return repository, (filename,)
