"""How open_clip's text towers run: at a text's own length where that changes nothing."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
from open_clip.transformer import text_global_pool


class TextTower:
    """The text side of one of open_clip's models.

    `module` is the tower (`model.text`, or the model itself), `shortens` whether texts run at their own length.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.module = getattr(model, "text", model)
        self.shortens = _padding_is_inert(self.module)

    @cached_property
    def vocabulary(self) -> int:
        """How many different tokens the text tower knows; 0 if it does not say."""
        size = getattr(self.model, "vocab_size", 0) or getattr(self.module, "vocab_size", 0)
        inner: Any = getattr(self.module, "transformer", None)
        if not size and hasattr(inner, "get_input_embeddings"):
            size = inner.get_input_embeddings().weight.shape[0]
        return int(size)

    def lengths(self, tokens: torch.Tensor) -> torch.Tensor:
        """How many tokens of each row the tower needs: up to the one it pools at, or all."""
        if not self.shortens:
            return torch.full((len(tokens),), tokens.shape[1])
        pool, end = pooling(self.module)
        return (tokens if pool == "argmax" else torch.eq(tokens, end).int()).argmax(dim=1) + 1

    def encode(self, tokens: torch.Tensor) -> torch.Tensor:
        """open_clip's `encode_text`, which takes full-length input only, over its own modules."""
        if not self.shortens:
            features: torch.Tensor = self.model.encode_text(tokens)
            return features
        tower: Any = self.module
        length = tokens.shape[1]
        dtype = tower.transformer.get_cast_dtype()
        x = tower.token_embedding(tokens).to(dtype) + tower.positional_embedding[:length].to(dtype)
        x = tower.ln_final(tower.transformer(x, attn_mask=tower.attn_mask[:length, :length]))
        pool, end = pooling(tower)
        return project(tower, text_global_pool(x, tokens, pool, eos_token_id=end))


def _padding_is_inert(tower: Any) -> bool:
    """Whether what follows the end token cannot reach the text's vector, so that texts may run at their own length: a causal
    mask, pooling at the end token, and no class token appended behind the padding (CoCa's).

    `tower` is `model.text` where there is one, else the model.
    """
    pool = getattr(tower, "text_pool_type", None) or getattr(tower, "pool_type", None)
    causal = getattr(tower, "attn_mask", None) is not None
    return causal and getattr(tower, "cls_emb", None) is None and pool in ("argmax", "eos")


def pooling(tower: Any) -> tuple[str, int]:
    """How a text tower of open_clip pools, and the token at which it does so if that is `eos`."""
    pool = getattr(tower, "text_pool_type", None) or tower.pool_type
    return pool, tower.text_eos_id if hasattr(tower, "text_eos_id") else tower.eos_id


def project(tower: Any, pooled: torch.Tensor) -> torch.Tensor:
    """Pooled features (n, width) of a text tower of open_clip as features (n, d)."""
    projection = tower.text_projection
    if projection is None:
        return pooled
    features: torch.Tensor = projection(pooled) if isinstance(projection, torch.nn.Linear) else pooled @ projection
    return features
