"""What a model is, as plain data: configuration, weights, tokenizer, preprocessing, and the identity made of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from zsclip.images.preprocessing import PREPROCESSING_VERSION, Preprocessing

TokenizerKind = Literal["clip", "hf"]
Clean = Literal["lower", "whitespace", "canonicalize", "none"]
Layout = Literal["open_clip", "clip", "siglip"]


@dataclass(frozen=True)
class TokenizerSpec:
    """Which tokenizer a model's text tower was trained with, as plain data.

    `clip` is open_clip's `SimpleTokenizer`, whose vocabulary comes with open_clip. `hf` is a tokenizer of transformers:
    `source` is the hub's repository that has it (`ORG/REPO`, or a name without organisation) or a folder, and
    `models.tokenizer_folder(spec)` is where its files (`tokenizer.json` among them, as a rule) lie on this machine.

    `clean` is what open_clip does to a text first (`open_clip.tokenizer.get_clean_fn`; `none`: nothing, as transformers
    itself). `strip_sep_token` and `mode` are those of `open_clip.HFTokenizer`. `options` are further arguments for
    `AutoTokenizer.from_pretrained`, from a list of harmless ones. Sequences are filled up to `context_length`.
    """

    kind: TokenizerKind = "clip"
    context_length: int = 77
    source: str | Path = ""
    clean: Clean = "lower"
    mode: str = ""
    strip_sep_token: bool = False
    language: str | None = None
    special_tokens: tuple[str, ...] = ()  # of `clip`: tokens beside the usual two
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The tokenizer as it is shown."""
        return "CLIP" if self.kind == "clip" else str(self.source)

    def identity(self) -> dict[str, Any] | str:
        """All that decides which tokens a text becomes. Of a folder, what is in it and not where it lies."""
        if self == TokenizerSpec(context_length=self.context_length):
            return "clip"
        source = self.source if isinstance(self.source, str) else folder_digest(self.source, TOKENIZER_FILES)
        return {**asdict(self), "options": dict(self.options), "source": source}


# What a tokenizer of transformers may consist of: its vocabulary, in one form or another, and what is said about it.
VOCABULARY_FILES = (
    "tokenizer.json", "vocab.json", "merges.txt", "vocab.txt", "spiece.model", "tokenizer.model", "sentencepiece.bpe.model",
)  # fmt: skip
TOKENIZER_FILES = (*VOCABULARY_FILES, "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")


@dataclass(frozen=True)
class ModelSpec:
    """A model as it was resolved; nothing of it is loaded yet.

    `config` is open_clip's model configuration (with the activation in it that the weights want), `checkpoint` the
    file of the weights (None: they must be fetched as `remote` says). `layout` says whose names the weights have:
    open_clip's, or those of transformers' `CLIPModel` or `SiglipModel`. `text_tower` is where the configuration of a text
    tower of transformers is (open_clip's `hf_model_name`): a hub's repository, or a folder with a `config.json`. `offline`
    is no part of the model: it says that fetching its files must not use the network.
    """

    name: str
    pretrained: str | None
    config: Mapping[str, Any]
    preprocessing: Preprocessing
    checkpoint: Path | None = None
    remote: Mapping[str, Any] = field(default_factory=dict)
    tokenizer: TokenizerSpec = field(default_factory=TokenizerSpec)
    layout: Layout = "open_clip"
    text_tower: str | Path | None = None
    offline: bool = field(default=False, compare=False)

    @classmethod
    def of_identity(cls, identity: str) -> ModelSpec | None:
        """What an identity tells of a model: all that its towers are made of, but neither names nor files; None if it is none."""
        try:
            facts = json.loads(identity)
            return cls(
                "",
                None,
                {**facts["config"], "quick_gelu": facts["activation"] == "quick_gelu"},
                Preprocessing(**{**facts["preprocessing"], "size": tuple(facts["preprocessing"]["size"])}),
                tokenizer=TokenizerSpec(context_length=facts["context_length"]),
                layout=facts.get("layout", "open_clip"),
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            return None

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
        return self.tokenizer.context_length

    @property
    def embed_dim(self) -> int:
        """The dimension of the embeddings."""
        return int(self.config["embed_dim"])

    def identity(self, weights: str) -> str:
        """The model's key in the store: JSON of all that decides what its vectors are.

        `weights` is what the weights are known by (`weights.Fingerprint.key`). The machine and the engine are not in it.
        """
        facts: dict[str, Any] = {
            "weights": weights,
            "config": {key: value for key, value in self.config.items() if key != "quick_gelu"},
            "activation": "quick_gelu" if self.quick_gelu else "gelu",
            "tokenizer": self.tokenizer.identity(),
            "context_length": self.context_length,
            "preprocessing": self.preprocessing.identity(),
            "preprocessing_version": PREPROCESSING_VERSION,
        }
        if self.layout != "open_clip":
            facts["layout"] = self.layout
        if isinstance(self.text_tower, Path):
            facts["text_tower"] = folder_digest(self.text_tower, ("config.json",))
        return json.dumps(facts, sort_keys=True, separators=(",", ":"))

    @property
    def tag_key(self) -> str | None:
        """What zsclip 0.1 knew a tag's weights by: its name, whatever the file; None for weights without a tag."""
        if not self.pretrained or not self.remote:
            return None
        return f"tag:{self.name.removesuffix('-quickgelu')}/{self.pretrained}"


@dataclass(frozen=True)
class ModelFacts:
    """What scoring needs to know of a model when nothing has to be computed."""

    logit_scale: float
    logit_bias: float
    dimension: int
    title: str = ""


def short_identity(identity: str) -> str:
    """Twelve hexadecimal digits to tell identities apart by."""
    return hashlib.sha256(identity.encode()).hexdigest()[:12]


def weights_key(identity: str, digits: int = 64) -> str:
    """The weights in a model's identity, with so many digits of their digest."""
    try:
        kind, _, digest = str(json.loads(identity)["weights"]).partition(":")
    except (ValueError, KeyError, TypeError):
        return "not known"
    return f"{kind}:{digest}" if kind == "tag" else f"{kind}:{digest[:digits]}"


def folder_digest(folder: Path, names: tuple[str, ...]) -> str:
    """SHA-256 over those of the files that are there, and their names."""
    digest = hashlib.sha256()
    for name in names:
        path = folder / name
        if path.is_file():
            digest.update(f"{name}\0{path.stat().st_size}\0".encode())
            digest.update(path.read_bytes())
    return f"sha256:{digest.hexdigest()}"
