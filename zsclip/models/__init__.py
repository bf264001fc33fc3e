"""Which model: a name becomes a configuration, weights, tokenizer, preprocessing and an identity, without importing torch."""

from __future__ import annotations

from zsclip.models.catalogue import ORDERS, Entry, catalogue, operation_counts, parameter_counts
from zsclip.models.files import (
    address,
    fetch,
    fetch_text_tower,
    fetch_tokenizer,
    is_complete,
    on_disk,
    tokenizer_folder,
)
from zsclip.models.packing import pack
from zsclip.models.recommendation import recommend
from zsclip.models.resolution import (
    DEFAULT_MODEL,
    DEFAULT_TAGS,
    DEMO,
    brings_weights,
    default_tag,
    resolve,
    without_weights,
)
from zsclip.models.several import obtain
from zsclip.models.spec import ModelSpec, TokenizerSpec, short_identity, weights_key

__all__ = [
    "DEFAULT_MODEL",
    "DEFAULT_TAGS",
    "DEMO",
    "ORDERS",
    "Entry",
    "ModelSpec",
    "TokenizerSpec",
    "address",
    "brings_weights",
    "catalogue",
    "default_tag",
    "fetch",
    "fetch_text_tower",
    "fetch_tokenizer",
    "is_complete",
    "obtain",
    "on_disk",
    "operation_counts",
    "pack",
    "parameter_counts",
    "recommend",
    "resolve",
    "short_identity",
    "tokenizer_folder",
    "weights_key",
    "without_weights",
]
