"""What `model` and `pretrained` mean."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from zsclip.errors import ModelError
from zsclip.models import configuration, hub, open_clip_data, transformers_format
from zsclip.models.spec import VOCABULARY_FILES, Clean, ModelSpec, TokenizerSpec

logger = logging.getLogger("zsclip")

DEFAULT_MODEL = "ViT-B-32-256"
# The tag an architecture takes where none is given: open weights of the best published ImageNet accuracy for its size.
DEFAULT_TAGS = {
    "ViT-B-32-256": "datacomp_s34b_b86k",
    "ViT-B-32": "datacomp_xl_s13b_b90k",
    "ViT-B-16": "datacomp_xl_s13b_b90k",
    "ViT-L-14": "datacomp_xl_s13b_b90k",
    "ViT-H-14": "laion2b_s32b_b79k",
    "ViT-g-14": "laion2b_s34b_b88k",
    "ViT-bigG-14": "laion2b_s39b_b160k",
    "RN50": "openai",
    "RN101": "openai",
}
DEMO = "demo"
_DEMO_FOLDER = Path(__file__).parents[1] / "demo" / "model"
# The order in which open_clip looks for weights in a folder.
WEIGHT_NAMES = (
    "open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin",
    "open_clip_pytorch_model.pth", "model.safetensors", "pytorch_model.bin", "pytorch_model.pth", "model.pth",
)  # fmt: skip


def resolve(model: str | None = None, pretrained: str | None = None, *, offline: bool = False) -> ModelSpec:
    """Find out what `model` and `pretrained` mean.

    `model` is `demo`, `local-dir:PATH`, `hf-hub:ORG/REPO[@REVISION]` or an architecture of open_clip; `pretrained` one of the
    architecture's tags or a checkpoint file. Both can be written as one: `ARCHITECTURE:TAG`. Only `hf-hub:` may ask the
    network, for the configuration. With `offline` nothing does, neither here nor when the model's files are fetched. Raises
    `ModelError`.
    """
    if model is None:
        model = DEFAULT_MODEL
    if pretrained and brings_weights(model):
        raise ModelError(f"`model={model}` brings its own weights.", remedy=f"Leave out `pretrained={pretrained}`.")
    kind, colon, rest = model.partition(":")
    if model == DEMO:
        spec = _from_folder(DEMO, _DEMO_FOLDER)
    elif colon and kind == "local-dir":
        spec = _from_folder(model, Path(rest).expanduser())
    elif colon and kind == "hf-hub":
        spec = _from_hub(model, rest, offline)
    elif colon and not rest:
        raise ModelError(f"`model={model}` has no tag or checkpoint file after its colon.")
    else:
        spec = _from_open_clip(kind, rest or pretrained)
    return replace(spec, offline=offline)


def brings_weights(model: str) -> bool:
    """Whether a model's name says what its weights are, so that `pretrained` does not belong beside it."""
    return model == DEMO or ":" in model


def _from_open_clip(model: str, pretrained: str | None) -> ModelSpec:
    architecture = model.replace("/", "-")
    config = open_clip_data.model_config(architecture)
    if config is None:
        close = get_close_matches(architecture, [*open_clip_data.architectures(), DEMO], 3, 0.5)
        hint = f"Did you mean {' or '.join(close)}? " if close else ""
        raise ModelError(
            f"There is no architecture {model!r}. {hint}It must be one of open_clip's (zsclip models list shows them), "
            f"alone or with a tag (ARCHITECTURE:TAG), local-dir:PATH, hf-hub:ORG/REPO[@REVISION] or demo.",
            remedy="For a checkpoint file give the architecture too: `model=ViT-B-32:FILE`.",
        )
    return _from_architecture(architecture, config, pretrained)


def without_weights(model: str) -> ModelSpec | None:
    """An architecture of open_clip for which `resolve` wants a tag or a file, for looking at; None for all other names."""
    architecture = model.replace("/", "-")
    config = open_clip_data.model_config(architecture)
    if config is None or default_tag(architecture):
        return None
    tags = open_clip_data.pretrained_tags(architecture)
    return _spec(architecture, None, config, next(iter(tags.values()), {}))


def default_tag(architecture: str) -> str | None:
    """The tag that an architecture takes where none is given: the documented one, or the only one."""
    tags = open_clip_data.pretrained_tags(architecture)
    return DEFAULT_TAGS.get(architecture) or (next(iter(tags)) if len(tags) == 1 else None)


def from_tag(architecture: str, tag: str) -> ModelSpec:
    """An architecture of open_clip with one of its tags, which brings its activation and preprocessing along."""
    config = open_clip_data.model_config(architecture) or {}
    details = open_clip_data.pretrained_tags(architecture)[tag]
    config = {**config, "quick_gelu": bool(config.get("quick_gelu")) or bool(details.get("quick_gelu"))}
    return _spec(architecture, tag, config, details, remote=details)


def _spec(
    name: str,
    pretrained: str | None,
    config: Mapping[str, Any],
    details: Mapping[str, Any],
    checkpoint: Path | None = None,
    remote: Mapping[str, Any] | None = None,
    tokenizer_folder: Path | None = None,
) -> ModelSpec:
    """A model of open_clip's configuration, with `details` of its preprocessing; `tokenizer_folder` has its own tokenizer."""
    pixels = configuration.preprocessing(config, details)
    tokenizer = configuration.tokenizer(name, config, tokenizer_folder)
    tower = config["text_cfg"].get("hf_model_name")
    return ModelSpec(name, pretrained, config, pixels, checkpoint, remote or {}, tokenizer, text_tower=tower)


def _from_architecture(architecture: str, config: Mapping[str, Any], pretrained: str | None) -> ModelSpec:
    tags = open_clip_data.pretrained_tags(architecture)
    if pretrained is None:
        pretrained = default_tag(architecture)
        if pretrained is None:
            known = f"Its tags are: {', '.join(tags)}." if tags else "It has no published weights."
            raise ModelError(f"{architecture} needs `pretrained` with a tag or a checkpoint file.", remedy=known)
    tag = open_clip_data.clean_tag(pretrained)
    if tag in tags:
        spec = from_tag(architecture, tag)
        if spec.quick_gelu and not config.get("quick_gelu"):
            logger.info(
                "%s was trained with QuickGELU under this tag (%s), so it runs with QuickGELU.", architecture, tag
            )
        return spec
    checkpoint = Path(pretrained).expanduser()
    if not _is_file(checkpoint):
        known = f"Its tags are: {', '.join(tags)}." if tags else "It has no tags."
        raise ModelError(f"{pretrained!r} is neither a file nor a tag of {architecture}.", remedy=known)
    if not config.get("quick_gelu") and f"{architecture}-quickgelu" in open_clip_data.architectures():
        logger.warning(
            "A checkpoint file does not tell its activation; %s runs with GELU. If these weights were trained with "
            "QuickGELU (OpenAI's, MetaCLIP's and DFN's were), use `model=%s-quickgelu`.",
            architecture,
            architecture,
        )
    return _spec(architecture, str(checkpoint), config, _common(architecture, tags), checkpoint)


def _common(architecture: str, tags: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    """What all tags of an architecture say of preprocessing, for a checkpoint that says nothing: all MobileCLIPs have
    mean 0, whoever trained them further. Where they differ, what most of them say, and a warning."""
    keys = ("mean", "std", "interpolation", "resize_mode")
    variants = {tag: {key: details.get(key) for key in keys} for tag, details in tags.items()}
    if not variants:
        return {}
    most = max(variants.values(), key=list(variants.values()).count)
    if others := [tag for tag, variant in variants.items() if variant != most]:
        logger.warning(
            "A checkpoint file does not tell how its images are prepared, and the tags of %s differ: these weights get what "
            "most have. If they come from %s, put them into a folder with an open_clip_config.json (zsclip models pull "
            "makes one) and use `model=local-dir:FOLDER`.",
            architecture,
            " or ".join(others),
        )
    return most


def _from_folder(name: str, folder: Path) -> ModelSpec:
    if not folder.is_dir():
        raise ModelError(f"there is no folder {folder}.", where=name)
    folder = folder.absolute()
    if not _is_file(folder / configuration.CONFIG_NAME) and _is_file(folder / transformers_format.CONFIG_NAME):
        image_config = _first_file(folder, transformers_format.IMAGE_CONFIG_NAMES)
        if image_config is None:
            raise ModelError(
                f"there is no {folder / transformers_format.IMAGE_CONFIG_NAMES[0]}, so how the model wants its "
                f"images is not known. It belongs to transformers' format.",
                where=name,
            )
        checkpoint = _first_file(folder, transformers_format.WEIGHT_NAMES)
        if checkpoint is None:
            raise _no_weights(name, folder, transformers_format.WEIGHT_NAMES)
        return _from_transformers(name, folder / transformers_format.CONFIG_NAME, image_config, checkpoint, folder)
    checkpoint = _first_file(folder, WEIGHT_NAMES)
    if checkpoint is None:
        others = sorted(path for path in folder.iterdir() if path.suffix in (".safetensors", ".bin", ".pth", ".pt"))
        if not others:
            raise _no_weights(name, folder, WEIGHT_NAMES)
        if len(others) > 1:
            raise ModelError(
                f"{folder} has several files that may be its weights: {', '.join(one.name for one in others)}.",
                where=name,
                remedy=f"Leave one of them there, or call the right one {WEIGHT_NAMES[0]} or {WEIGHT_NAMES[2]}.",
            )
        checkpoint = others[0]
    path = folder / configuration.CONFIG_NAME
    if not _is_file(path):
        raise ModelError(
            f"there is no {path}, nor a config.json. open_clip's or transformers' configuration is needed beside the weights.",
            where=name,
            remedy=f"For weights alone give `model=ARCHITECTURE` `pretrained={checkpoint}`.",
        )
    config, details = configuration.read_configuration(name, path)
    configuration.require_harmless(name, config)
    tokenizer_folder = folder if _first_file(folder, VOCABULARY_FILES) else None
    spec = _spec(name, None, config, details, checkpoint, tokenizer_folder=tokenizer_folder)
    has_tower = spec.text_tower and _is_file(folder / "config.json")
    return replace(spec, text_tower=folder) if has_tower else spec


def _from_hub(name: str, repository: str, offline: bool) -> ModelSpec:
    if "/" not in hub.split(repository)[0]:
        raise hub.no_repository(name, repository)
    hub.require_repository(name, repository)
    wanted = hub.Wanted(name, name, "configuration files", repository, offline)
    remote = {"hf_hub": f"{repository}/"}
    path = hub.fetch(wanted, configuration.CONFIG_NAME) if _may_have_own(wanted) else None
    if path is None:
        path = hub.fetch_first(wanted, (transformers_format.CONFIG_NAME,))
        image_config = hub.fetch_first(wanted, transformers_format.IMAGE_CONFIG_NAMES)
        return _from_transformers(name, path, image_config, None, wanted, remote)
    config, details = configuration.read_configuration(name, path)
    configuration.require_harmless(name, config)
    spec = _spec(name, None, config, details, remote=remote)
    if spec.tokenizer.source == hub.split(repository)[0]:  # then of the same revision
        spec = replace(spec, tokenizer=replace(spec.tokenizer, source=repository))
    return spec


def _may_have_own(wanted: hub.Wanted) -> bool:
    """Whether a repository may have open_clip's configuration. Without a network, one whose other format is in the cache and
    whose own was never asked for is taken for transformers'."""
    if not wanted.stays_offline or hub.cached(wanted.repository, configuration.CONFIG_NAME):
        return True
    return hub.cached(wanted.repository, transformers_format.CONFIG_NAME) is None


def _from_transformers(
    name: str,
    path: Path,
    image_config: Path,
    checkpoint: Path | None,
    home: hub.Wanted | Path,
    remote: Mapping[str, Any] | None = None,
) -> ModelSpec:
    """A model whose other files are at `home`, in the repository or the folder."""
    layout, config = transformers_format.read_model(name, path)
    pixels = transformers_format.read_preprocessing(name, image_config, config)
    source = home if isinstance(home, Path) else home.repository
    tokenizer = TokenizerSpec("hf", config["text_cfg"]["context_length"], source, _cleaning(name, layout, home))
    return ModelSpec(name, None, config, pixels, checkpoint, remote or {}, tokenizer, layout)


def _cleaning(name: str, layout: str, home: hub.Wanted | Path) -> Clean:
    """transformers' tokenizers clean texts themselves, except one: SigLIP 2 was trained on lower case, which Gemma's
    tokenizer, under which it is published, leaves as it is."""
    if layout != "siglip":
        return "none"
    if isinstance(home, Path):
        path: Path | None = home / "tokenizer_config.json"
    else:
        path = hub.fetch(replace(home, what="tokenizer's files"), "tokenizer_config.json")
    if path is None or not _is_file(path):
        return "none"
    kind = configuration.read_json(name, path).get("tokenizer_class")
    return "lower" if str(kind).startswith("Gemma") else "none"


def _no_weights(name: str, folder: Path, names: tuple[str, ...]) -> ModelError:
    if any(folder.glob("*.index.json")):
        return ModelError(
            f"the weights in {folder} are split into several files; save them as one ({names[0]}).",
            where=name,
        )
    return ModelError(f"no weights in {folder}. There should be one of: {', '.join(names)}.", where=name)


def _first_file(folder: Path, names: tuple[str, ...]) -> Path | None:
    return next((folder / name for name in names if _is_file(folder / name)), None)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}.") from None
