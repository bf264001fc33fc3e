"""Which model: a name becomes a configuration, a checkpoint, a preprocessing and an identity, without importing torch."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from difflib import get_close_matches
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from zsclip import open_clip_data
from zsclip.errors import ModelError
from zsclip.images import PREPROCESSING_VERSION, Preprocessing

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
_DEMO_FOLDER = Path(__file__).parent / "demo" / "model"
# The order in which open_clip looks for weights in a folder.
_WEIGHT_NAMES = (
    "open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin",
    "open_clip_pytorch_model.pth", "model.safetensors", "pytorch_model.bin", "pytorch_model.pth", "model.pth",
)  # fmt: skip
_CONFIG_NAME = "open_clip_config.json"
_NETWORK_SECONDS = 5.0


@dataclass(frozen=True)
class ModelSpec:
    """A model as it was resolved; nothing of it is loaded yet.

    `config` is open_clip's model configuration (with the activation in it that the weights want), `checkpoint` the
    file of the weights (None: they must be fetched as `remote` says).
    """

    name: str
    pretrained: str | None
    config: Mapping[str, Any]
    preprocessing: Preprocessing
    checkpoint: Path | None = None
    remote: Mapping[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The model as it is shown: `ViT-B-32 (openai)`."""
        return f"{self.name} ({self.pretrained})" if self.pretrained else self.name

    @property
    def quick_gelu(self) -> bool:
        """Whether the activation is QuickGELU, `x * sigmoid(1.702 x)`."""
        return bool(self.config.get("quick_gelu", False))

    @property
    def context_length(self) -> int:
        """How many tokens a text can have, the begin and end token included."""
        return int(self.config["text_cfg"].get("context_length", 77))

    @property
    def embed_dim(self) -> int:
        """The dimension of the embeddings."""
        return int(self.config["embed_dim"])

    def identity(self, weights: str) -> str:
        """The model's key in the store: JSON of all that decides what its vectors are.

        `weights` names the weights: `tag:…` or `sha256:…`. The machine and the engine are not in it.
        """
        facts = {
            "weights": weights,
            "config": {key: value for key, value in self.config.items() if key != "quick_gelu"},
            "activation": "quick_gelu" if self.quick_gelu else "gelu",
            "tokenizer": "clip",
            "context_length": self.context_length,
            "preprocessing": asdict(self.preprocessing),
            "preprocessing_version": PREPROCESSING_VERSION,
        }
        return json.dumps(facts, sort_keys=True, separators=(",", ":"))

    @property
    def tag_key(self) -> str | None:
        """The name of the weights where a tag gives them, None where only the file's digest can."""
        if not self.pretrained or not self.remote:
            return None
        return f"tag:{self.name.removesuffix('-quickgelu')}/{self.pretrained}"


def short_identity(identity: str) -> str:
    """Twelve hexadecimal digits to tell identities apart by."""
    return hashlib.sha256(identity.encode()).hexdigest()[:12]


def resolve(model: str | None = None, pretrained: str | None = None) -> ModelSpec:
    """Find out what `--model` and `--pretrained` mean.

    `model` is `demo`, `local-dir:PATH`, `hf-hub:ORG/REPO` or an architecture of open_clip; `pretrained` one of the
    architecture's tags or a checkpoint file. Only `hf-hub:` may ask the network, for the configuration.
    Raises `ModelError`.
    """
    if model is None:
        model = DEFAULT_MODEL
    if model == DEMO or model.startswith(("local-dir:", "hf-hub:")):
        if pretrained:
            raise ModelError(f"--model {model} brings its own weights. Leave out --pretrained {pretrained}.")
        if model == DEMO:
            return _from_folder(DEMO, _DEMO_FOLDER)
        if model.startswith("local-dir:"):
            return _from_folder(model, Path(model.removeprefix("local-dir:")).expanduser())
        return _from_hub(model, model.removeprefix("hf-hub:"))
    architecture = model.replace("/", "-")
    config = open_clip_data.model_config(architecture)
    if config is None:
        close = get_close_matches(architecture, [*open_clip_data.architectures(), DEMO], 3, 0.5)
        hint = f"Did you mean {' or '.join(close)}? " if close else ""
        raise ModelError(
            f"There is no architecture {model!r}. {hint}It must be one of open_clip's (such as {DEFAULT_MODEL}), "
            f"local-dir:PATH, hf-hub:ORG/REPO or demo. For a checkpoint file give the architecture too: "
            f"--model ViT-B-32 --pretrained FILE."
        )
    _require_clip_tokenizer(model, architecture, config)
    return _from_architecture(architecture, config, pretrained)


def _from_architecture(architecture: str, config: Mapping[str, Any], pretrained: str | None) -> ModelSpec:
    tags = open_clip_data.pretrained_tags(architecture)
    if pretrained is None:
        pretrained = DEFAULT_TAGS.get(architecture) or (next(iter(tags)) if len(tags) == 1 else None)
        if pretrained is None:
            known = f"Its tags are: {', '.join(tags)}." if tags else "It has no published weights."
            raise ModelError(f"{architecture} needs --pretrained with a tag or a checkpoint file. {known}")
    tag = open_clip_data.clean_tag(pretrained)
    if tag in tags:
        details = tags[tag]
        quick_gelu = bool(config.get("quick_gelu")) or bool(details.get("quick_gelu"))
        if quick_gelu and not config.get("quick_gelu"):
            logger.info(
                "%s was trained with QuickGELU under this tag (%s), so it runs with QuickGELU.", architecture, tag
            )
        config = {**config, "quick_gelu": quick_gelu}
        return ModelSpec(architecture, tag, config, _preprocessing(config, details), remote=details)
    checkpoint = Path(pretrained).expanduser()
    if not _is_file(checkpoint):
        known = f"Its tags are: {', '.join(tags)}." if tags else "It has no tags."
        raise ModelError(f"{pretrained!r} is neither a file nor a tag of {architecture}. {known}")
    if not config.get("quick_gelu") and f"{architecture}-quickgelu" in open_clip_data.architectures():
        logger.warning(
            "A checkpoint file does not tell its activation; %s runs with GELU. If these weights were trained with "
            "QuickGELU (OpenAI's, MetaCLIP's and DFN's were), use --model %s-quickgelu.",
            architecture,
            architecture,
        )
    return ModelSpec(architecture, str(checkpoint), config, _preprocessing(config, _common(tags)), checkpoint)


def _common(tags: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    """What all tags of an architecture say of preprocessing, for a checkpoint that says nothing: all MobileCLIPs have
    mean 0, whoever trained them further."""
    keys = ("mean", "std", "interpolation", "resize_mode")
    variants = [{key: details.get(key) for key in keys} for details in tags.values()]
    return variants[0] if variants and all(variant == variants[0] for variant in variants) else {}


def _from_folder(name: str, folder: Path) -> ModelSpec:
    if not folder.is_dir():
        raise ModelError(f"{name}: there is no folder {folder}.")
    checkpoint = next((folder / weights for weights in _WEIGHT_NAMES if _is_file(folder / weights)), None)
    if checkpoint is None:
        others = sorted(path for path in folder.iterdir() if path.suffix in (".safetensors", ".bin", ".pth"))
        if not others:
            raise ModelError(f"{name}: no weights in {folder}. There should be one of: {', '.join(_WEIGHT_NAMES)}.")
        checkpoint = others[0]
    return _from_config(name, folder / _CONFIG_NAME, checkpoint)


def _from_hub(name: str, repository: str) -> ModelSpec:
    config = fetch_from_hub(name, repository, (_CONFIG_NAME,))
    return _from_config(name, config, None, remote={"hf_hub": f"{repository}/"})


def _from_config(name: str, path: Path, checkpoint: Path | None, remote: Mapping[str, Any] | None = None) -> ModelSpec:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        config = dict(document["model_cfg"])
        details = dict(document.get("preprocess_cfg") or {})
        for key in ("vision_cfg", "text_cfg", "embed_dim"):
            if key not in config:
                raise ModelError(f"{path}: `model_cfg` has no `{key}`, so this is no open_clip model.")
        _check_types(path, config, details)
    except FileNotFoundError:
        raise ModelError(f"{name}: there is no {path}. open_clip's format needs it beside the weights.") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: not a configuration of open_clip ({type(error).__name__}: {error}).") from None
    _require_clip_tokenizer(name, "", config)
    return ModelSpec(name, None, config, _preprocessing(config, details), checkpoint, remote or {})


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}.") from None


def _check_types(path: Path, config: Mapping[str, Any], details: Mapping[str, Any]) -> None:
    """Raise `ModelError` for values of a configuration file that could only fail later, or be taken for others."""

    def is_size(value: Any) -> bool:
        sides = value if isinstance(value, list) else [value]
        return len(sides) in (1, 2) and all(isinstance(side, int) and side > 0 for side in sides)

    def is_colour(value: Any) -> bool:
        parts = value if isinstance(value, list) else [value]
        return len(parts) in (1, 3) and all(isinstance(part, (int, float)) for part in parts)

    vision, text = config["vision_cfg"], config["text_cfg"]
    for key, value, sound, wanted in (
        ("vision_cfg", vision, isinstance(vision, dict), "a mapping"),
        ("text_cfg", text, isinstance(text, dict), "a mapping"),
        ("embed_dim", config["embed_dim"], is_size(config["embed_dim"]), "a number"),
        (
            "image_size",
            vision,
            isinstance(vision, dict) and is_size(vision.get("image_size", 224)),
            "one or two numbers",
        ),
        ("context_length", text, isinstance(text, dict) and is_size(text.get("context_length", 77)), "a number"),
        *(
            (key, details[key], is_colour(details[key]), "one or three numbers")
            for key in ("mean", "std")
            if details.get(key)
        ),
        *(
            (key, details[key], details[key] in known, f"one of {', '.join(known)}")
            for key, known in (
                ("resize_mode", ("shortest", "longest", "squash")),
                ("interpolation", ("bicubic", "bilinear", "random")),
            )
            if details.get(key)
        ),
    ):
        if not sound:
            raise ModelError(f"{path}: `{key}` must be {wanted}, not {value!r:.80}.")


def _require_clip_tokenizer(name: str, architecture: str, config: Mapping[str, Any]) -> None:
    text = config["text_cfg"]
    tokenizer = text.get("hf_tokenizer_name") or text.get("hf_model_name")
    if not tokenizer and "siglip" in architecture.lower():
        tokenizer = "SigLIP's"
    if tokenizer or text.get("tokenizer_kwargs") or "multimodal_cfg" in config:
        what = f"the tokenizer {tokenizer}" if tokenizer else "a text tower of its own kind"
        raise ModelError(
            f"{name} has {what}, which this version does not run. It runs open_clip's architectures with the CLIP "
            f"tokenizer: ViT, ResNet and their QuickGELU variants, ConvNeXt, EVA, MobileCLIP."
        )


def _preprocessing(config: Mapping[str, Any], details: Mapping[str, Any]) -> Preprocessing:
    size = config["vision_cfg"].get("image_size", 224)
    height, width = (size, size) if isinstance(size, int) else (size[0], size[-1])
    default = Preprocessing()

    def triple(key: str, fallback: tuple[float, float, float]) -> tuple[float, float, float]:
        value = details.get(key) or fallback
        values = tuple(value) if isinstance(value, (list, tuple)) and len(value) == 3 else (_only(value),) * 3
        return cast("tuple[float, float, float]", tuple(float(v) for v in values))

    return Preprocessing(
        size=(int(height), int(width)),
        mean=triple("mean", default.mean),
        std=triple("std", default.std),
        resize_mode=details.get("resize_mode") or "shortest",
        # "random" is for training; open_clip's inference takes bicubic for it.
        interpolation="bilinear" if details.get("interpolation") == "bilinear" else "bicubic",
        fill_color=int(details.get("fill_color") or 0),
    )


def _only(value: Any) -> Any:
    return value[0] if isinstance(value, (list, tuple)) else value


def fetch(spec: ModelSpec) -> Path:
    """The weights' file, downloaded into the Hugging Face cache if it is not there; raises `ModelError`."""
    if found := on_disk(spec):
        return found
    repository, filenames = _weights_on_hub(spec)
    if not repository:
        raise ModelError(f"{spec.title}: its weights are not on the Hugging Face hub. {_REMEDY}")
    return fetch_from_hub(spec.title, repository, filenames)


def on_disk(spec: ModelSpec) -> Path | None:
    """The weights' file if it is on this machine; asks no network."""
    if spec.checkpoint:
        return spec.checkpoint
    repository, filenames = _weights_on_hub(spec)
    return _cached(repository, filenames) if repository else None


def _weights_on_hub(spec: ModelSpec) -> tuple[str, tuple[str, ...]]:
    """The repository, and the names its weights may have there: as safetensors first, as open_clip looks for them."""
    repository, _, filename = str(spec.remote.get("hf_hub") or "").rpartition("/")
    if not filename:
        return repository, ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
    if filename.endswith((".bin", ".pth")):
        return repository, (f"{filename[:-4]}.safetensors", filename)
    return repository, (filename,)


def _cached(repository: str, filenames: tuple[str, ...]) -> Path | None:
    import huggingface_hub

    for filename in filenames:
        cached = huggingface_hub.try_to_load_from_cache(repository, filename)
        if isinstance(cached, str):
            return Path(cached)
    return None


_REMEDY = (
    "Give a checkpoint file (--pretrained FILE), a folder (--model local-dir:PATH), or try zsclip without any download: "
    "--model demo."
)


def fetch_from_hub(title: str, repository: str, filenames: tuple[str, ...]) -> Path:
    """The first of `filenames` that the repository has, from the cache or the network; raises `ModelError`."""
    import huggingface_hub
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError, RepositoryNotFoundError

    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise ModelError(f"{title}: {repository!r} is no repository of the hub, which is written ORG/REPO.")
    if cached := _cached(repository, filenames):
        return cached
    if not huggingface_hub.constants.HF_HUB_OFFLINE:
        _require_network(title, huggingface_hub.constants.ENDPOINT)
    for filename in filenames:
        try:
            logger.info("Fetching %s of %s from the hub, once.", filename, repository)
            return Path(
                huggingface_hub.hf_hub_download(
                    repository, filename, library_name="zsclip", library_version=version("zsclip")
                )
            )
        except LocalEntryNotFoundError as error:  # no network, or told to do without
            offline = "HF_HUB_OFFLINE is set" if huggingface_hub.constants.HF_HUB_OFFLINE else str(error)
            raise ModelError(f"{title}: its weights are not on this machine, and {offline}. {_REMEDY}") from None
        except RepositoryNotFoundError:
            raise ModelError(f"{title}: there is no public repository {repository!r} on the hub. {_REMEDY}") from None
        except EntryNotFoundError:
            continue
        except (OSError, RuntimeError, ValueError) as error:
            raise ModelError(f"{title}: the download from {repository} failed: {error}. {_REMEDY}") from None
    raise ModelError(f"{title}: the repository {repository} has none of {', '.join(filenames)}. {_REMEDY}")


def _require_network(title: str, endpoint: str) -> None:
    """Fail within seconds where the hub cannot be reached; its client would retry for most of a minute."""
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
        return  # a direct connection says nothing then
    url = urlsplit(endpoint)
    try:
        port = url.port or (80 if url.scheme == "http" else 443)
        socket.create_connection((url.hostname or endpoint, port), timeout=_NETWORK_SECONDS).close()
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{title}: its weights are not on this machine, and {endpoint} cannot be reached ({error}). {_REMEDY}"
        ) from None
