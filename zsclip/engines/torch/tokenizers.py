"""Texts to tokens with open_clip's own tokenizers, and what of a text the context does not hold."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Protocol

import open_clip
import torch

from zsclip.errors import ModelError
from zsclip.models import ModelSpec, TokenizerSpec, fetch_tokenizer


class Tokenizer(Protocol):
    """What an engine needs of a tokenizer; `reference` is open_clip's own."""

    reference: Any

    def __call__(self, texts: Sequence[str]) -> torch.Tensor:
        """Tokens, int64 (n, context length): filled up behind the text, or cut."""

    def cuts(self, texts: Sequence[str], tokens: torch.Tensor) -> list[str]:
        """Of each text the end that its tokens do not hold, "" for a whole text."""


def load_tokenizer(spec: ModelSpec) -> Tokenizer:
    """The model's tokenizer. Its files are fetched if need be; none of them can run code. Raises `ModelError`."""
    if spec.tokenizer.kind == "clip":
        return _Clip(spec.tokenizer)
    folder = fetch_tokenizer(spec)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tokenizer = _HuggingFace(spec.tokenizer, str(folder))
            tokenizer(["a"])
            return tokenizer
    except Exception as error:  # transformers raises what it likes for files that are not as it likes them
        text = " ".join(str(error).split())
        raise ModelError(
            f"its tokenizer in {folder} cannot be used ({type(error).__name__}: {text:.200}).",
            where=spec.title,
            remedy="Code that comes with a tokenizer is not run.",
        ) from None


class _Clip:
    def __init__(self, spec: TokenizerSpec) -> None:
        special = list(spec.special_tokens) or None
        self.reference = open_clip.SimpleTokenizer(
            context_length=spec.context_length, clean=spec.clean, additional_special_tokens=special
        )
        self._kept = spec.context_length - 2  # without begin and end

    def __call__(self, texts: Sequence[str]) -> torch.Tensor:
        tokens: torch.Tensor = self.reference(list(texts))
        return tokens

    def cuts(self, texts: Sequence[str], tokens: torch.Tensor) -> list[str]:
        full = tokens[:, -1] != 0
        return [self._cut(text) if is_full else "" for text, is_full in zip(texts, full.tolist(), strict=True)]

    def _cut(self, text: str) -> str:
        tokens = self.reference.encode(text)
        return str(self.reference.decode(tokens[self._kept :])).strip() if len(tokens) > self._kept else ""


class _HuggingFace:
    def __init__(self, spec: TokenizerSpec, folder: str) -> None:
        self.reference: Any = open_clip.tokenizer.HFTokenizer(
            folder,
            spec.context_length,
            clean="whitespace" if spec.clean == "none" else spec.clean,
            strip_sep_token=spec.strip_sep_token,
            language=spec.language,
            tokenizer_mode=spec.mode or None,
            **spec.options,
            trust_remote_code=False,
            local_files_only=True,
        )
        if spec.clean == "none":
            self.reference.clean_fn = lambda text: text
        inner = self.reference.tokenizer
        self._kept = spec.context_length - (3 if spec.mode == "clips" else inner.num_special_tokens_to_add())

    def __call__(self, texts: Sequence[str]) -> torch.Tensor:
        tokens: torch.Tensor = self.reference(list(texts))
        return tokens

    def cuts(self, texts: Sequence[str], tokens: torch.Tensor) -> list[str]:
        # What is filled up ends with at least one token of padding; the very last place may be the end token's or a
        # class token's. A text that just fits looks like one that does not.
        full = tokens[:, -2] != self.reference.tokenizer.pad_token_id
        return [self._cut(text) if is_full else "" for text, is_full in zip(texts, full.tolist(), strict=True)]

    def _cut(self, text: str) -> str:
        inner = self.reference.tokenizer
        tokens = inner(self.reference.clean_fn(text), add_special_tokens=False).input_ids
        return str(inner.decode(tokens[self._kept :])).strip() if len(tokens) > self._kept else ""
