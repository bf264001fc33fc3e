"""Which model: a name becomes a configuration, weights, tokenizer, preprocessing and an identity, without importing torch."""

from __future__ import annotations

from zsclip.models.files import fetch, fetch_text_tower, fetch_tokenizer, on_disk, tokenizer_folder
from zsclip.models.resolution import DEFAULT_MODEL, DEFAULT_TAGS, DEMO, default_tag, resolve
from zsclip.models.spec import ModelSpec, TokenizerSpec, short_identity

__all__ = [
    "DEFAULT_MODEL",
    "DEFAULT_TAGS",
    "DEMO",
    "ModelSpec",
    "TokenizerSpec",
    "default_tag",
    "fetch",
    "fetch_text_tower",
    "fetch_tokenizer",
    "on_disk",
    "resolve",
    "short_identity",
    "tokenizer_folder",
]
