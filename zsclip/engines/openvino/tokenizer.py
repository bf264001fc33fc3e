"""Texts to token ids as open_clip makes them, without importing torch, open_clip or transformers.

A tokenizer is kept as two files: `tokenizer.json` in the format of the `tokenizers` library, which splits words into the
pieces of the vocabulary, and `tokenizer_settings.json`, which says what happens around that: how a text is cleaned first,
and how many tokens the model takes.
"""

from __future__ import annotations

import html
import json
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Pieces

FILES = ("tokenizer.json", "tokenizer_settings.json")
# CLIP's words: its two special tokens, English endings, runs of letters, single digits, runs of anything else.
_WORDS = r"<start_of_text>|<end_of_text>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


@dataclass(frozen=True)
class Settings:
    """What surrounds the splitting into pieces.

    `clean` is `lower`, `whitespace` or `canonicalize`, as open_clip names them, or `none`. CLIP's own tokenizer (`by_words`)
    splits a text into words first and has a `start` and an `end` token. `pad` fills a text up to `context_length`;
    `blanked` is a token that is replaced by 0.
    """

    context_length: int
    clean: str
    by_words: bool = False
    start: int = 0
    end: int = 0
    pad: int = 0
    blanked: int | None = None


class Tokenizer:
    """Texts to int32 (n, context_length), padded and cut as the model was trained with."""

    def __init__(self, pieces: Pieces, settings: Settings) -> None:
        self.settings = settings
        self._pieces = pieces
        self._clean = CLEAN[settings.clean]
        if settings.by_words:
            import regex

            self._words = regex.compile(_WORDS, regex.IGNORECASE)
            self._special = {"<start_of_text>": [settings.start], "<end_of_text>": [settings.end]}
            self._ids_of = lru_cache(1 << 16)(self._ids_of_word)  # the words of templates come again and again

    @classmethod
    def load(cls, folder: Path) -> Tokenizer:
        """Read what `save` wrote; raises `OSError` or `ValueError`."""
        from tokenizers import Tokenizer as Pieces

        settings = json.loads((folder / FILES[1]).read_text(encoding="utf-8"))
        return cls(Pieces.from_str((folder / FILES[0]).read_text(encoding="utf-8")), Settings(**settings))

    def save(self, folder: Path) -> None:
        """Write the two files."""
        (folder / FILES[0]).write_text(self._pieces.to_str(), encoding="utf-8")
        (folder / FILES[1]).write_text(json.dumps(asdict(self.settings)), encoding="utf-8")

    @classmethod
    def clip(cls, vocabulary: Mapping[str, int], merges: Sequence[tuple[str, str]], settings: Settings) -> Tokenizer:
        """CLIP's byte-pair encoding: `vocabulary` of pieces, and which pairs of pieces are joined, the first first."""
        from tokenizers import Tokenizer as Pieces
        from tokenizers import decoders
        from tokenizers.models import BPE
        from tokenizers.pre_tokenizers import ByteLevel

        pieces = Pieces(BPE(dict(vocabulary), list(merges), end_of_word_suffix="</w>"))
        pieces.pre_tokenizer = ByteLevel(add_prefix_space=False, use_regex=False)
        pieces.decoder = decoders.ByteLevel()
        return cls(pieces, settings)

    def __call__(self, texts: Sequence[str]) -> NDArray[np.int32]:
        """Token ids int32 (n, context_length)."""
        cleaned = [self._clean(text) for text in texts]
        if not self.settings.by_words:
            found = [one.ids for one in self._pieces.encode_batch(cleaned)]
            rows: NDArray[np.int32] = np.array(found, np.int32).reshape(len(texts), self.settings.context_length)
            if self.settings.blanked is not None:
                rows[rows == self.settings.blanked] = 0
            return rows
        tokens = np.zeros((len(texts), self.settings.context_length), np.int32)
        for row, text in zip(tokens, cleaned, strict=True):
            ids = [self.settings.start, *self._ids_of_words(text), self.settings.end][: len(row)]
            row[: len(ids)] = ids
            row[len(ids) - 1] = self.settings.end
        return tokens

    def cuts(self, texts: Sequence[str], tokens: NDArray[np.int32]) -> list[str]:
        """Of each text the end that its tokens do not hold; "" for a text that is whole."""
        # What is filled up ends with padding; the very last token may be an end token behind it.
        full = tokens[:, -1 if self.settings.by_words else -2] != self.settings.pad
        return [self._cut(text) if is_full else "" for text, is_full in zip(texts, full.tolist(), strict=True)]

    def _cut(self, text: str) -> str:
        cleaned = self._clean(text)
        if self.settings.by_words:
            ids = self._ids_of_words(cleaned)[max(0, self.settings.context_length - 2) :]
        else:
            kept = self.settings.context_length - self._pieces.num_special_tokens_to_add(False)
            ids = self._unbounded.encode(cleaned, add_special_tokens=False).ids[kept:]
        left: str = self._pieces.decode(ids, skip_special_tokens=False)
        # Pairs of bytes know where a word ends, and their decoder does not.
        end = getattr(self._pieces.model, "end_of_word_suffix", None)
        return (left.replace(end, " ") if end else left).strip()

    @cached_property
    def _unbounded(self) -> Pieces:
        """The pieces of a text without cutting it or filling it up."""
        from tokenizers import Tokenizer as Pieces

        pieces = Pieces.from_str(self._pieces.to_str())
        pieces.no_truncation()
        pieces.no_padding()
        return pieces

    def _ids_of_words(self, text: str) -> list[int]:
        return [token for word in self._words.findall(text) for token in self._ids_of(word)]

    def _ids_of_word(self, word: str) -> list[int]:
        return self._special.get(word) or self._pieces.encode([word], is_pretokenized=True).ids


def _basic(text: str) -> str:
    # On plain ASCII without entities there is nothing to mend, and importing ftfy takes longer than a batch of texts.
    if text.isascii() and text.isprintable() and "&" not in text:
        return text.strip()
    import ftfy

    return html.unescape(html.unescape(ftfy.fix_text(text))).strip()


def _whitespace(text: str) -> str:
    return " ".join(_basic(text).split())


_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)

CLEAN: Mapping[str, Callable[[str], str]] = {
    "none": lambda text: text,
    "lower": lambda text: _whitespace(text).lower(),
    "whitespace": _whitespace,
    "canonicalize": lambda text: " ".join(_basic(text).replace("_", " ").translate(_NO_PUNCTUATION).lower().split()),
}
