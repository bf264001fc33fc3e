"""open_clip's text towers: CLIP's causal one (Radford et al., 2021), those that see all of a text (SigLIP, CLIPA), CoCa's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from zsclip.engines.openvino.graphs import layers
from zsclip.engines.openvino.graphs.layers import Blocks, Rows
from zsclip.engines.openvino.graphs.weights import Node, Scope
from zsclip.engines.openvino.runtime import ops

_NEVER = np.float32(-np.inf)


@dataclass(frozen=True)
class TextTransformer:
    """Its shape. `pool` is where a text's embedding stands: at its largest token (`argmax`), at the first token `end` (`eos`), at
    the `first` place or the `last`. `appended` is CoCa's: a learnt token behind the text, and `pad` the token that fills it up.
    `projection` is `matrix`, `linear` (with a bias) or `none`."""

    blocks: Blocks
    vocabulary: int
    context_length: int
    dimension: int
    causal: bool = True
    pool: str = "argmax"
    end: int = 2
    appended: bool = False
    pad: int = 0
    projection: str = "matrix"

    @property
    def shares_prefixes(self) -> bool:
        """Whether what follows the token that a text is pooled at cannot reach its embedding, so that texts run without what
        fills them up, and what they begin with in common once."""
        return self.causal and not self.appended and self.pool in ("argmax", "eos")


def graph(shape: TextTransformer, weights: Scope) -> Any:
    """int32 (n, context length) -> float32 (n, dimension), not of unit length; or where prefixes are shared, a
    `prefixes.Forest` of n tokens -> float32 (ends, dimension). Raises `MismatchError`."""
    return _over_forests(shape, weights) if shape.shares_prefixes else _over_whole_texts(shape, weights)


def _over_forests(shape: TextTransformer, weights: Scope) -> Any:
    tokens, depths, ends = (ops.parameter([-1], np.int32, name) for name in ("tokens", "depths", "ends"))
    sees = ops.parameter([-1, -1], np.bool_, "sees")
    x = ops.add(_embedded(tokens, shape, weights), ops.gather(_positions(shape, weights), depths, np.int64(0)))
    mask = ops.select(sees, np.float32(0), _NEVER)
    rows = Rows(lambda y: ops.gather(y, ends, np.int64(1)), ops.gather(mask, ends, np.int64(0)))
    x = layers.transformer(ops.unsqueeze(x, [0]), weights.within("transformer.resblocks."), shape.blocks, mask, rows)
    x = layers.layer_norm(ops.squeeze(x, [0]), weights.within("ln_final."), shape.blocks.width, shape.blocks.eps)
    return layers.model([tokens, depths, sees, ends], _projected(x, shape, weights), "text tower")


def _over_whole_texts(shape: TextTransformer, weights: Scope) -> Any:
    width, length = shape.blocks.width, shape.context_length + shape.appended
    tokens = ops.parameter([-1, shape.context_length], np.int32, "tokens")
    x = _embedded(tokens, shape, weights)
    if shape.appended:
        x = ops.concat([x, layers.repeated(weights.take("cls_emb", width), x, width)], 1)
    x = ops.add(x, _positions(shape, weights))
    mask = np.triu(np.full((length, length), _NEVER), 1)[None, None] if shape.causal else None
    if shape.appended:
        padding = _padding(tokens, shape)
        mask = padding if mask is None else ops.add(mask, padding)
    x = layers.transformer(x, weights.within("transformer.resblocks."), shape.blocks, mask, _rows(tokens, mask, shape))
    x = layers.layer_norm(layers.only(x), weights.within("ln_final."), width, shape.blocks.eps)
    return layers.model([tokens], _projected(x, shape, weights), "text tower")


def _embedded(tokens: Node, shape: TextTransformer, weights: Scope) -> Node:
    table = weights.take("token_embedding.weight", shape.vocabulary, shape.blocks.width)
    return ops.gather(table, tokens, np.int64(0))


def _positions(shape: TextTransformer, weights: Scope) -> Node:
    return weights.take("positional_embedding", shape.context_length + shape.appended, shape.blocks.width)


def _padding(tokens: Node, shape: TextTransformer) -> Node:
    """A mask (n, 1, 1, tokens + 1) that hides what fills a text up, as CoCa was trained with: off by one place, for the appended
    token is counted in front."""
    text = ops.not_equal(tokens, np.int32(shape.pad))
    seen = ops.pad(text, [0, 1], [0, 0], "constant", np.bool_(True))
    return ops.unsqueeze(ops.select(seen, np.float32(0), _NEVER), [1, 2])


def _rows(tokens: Node, mask: Node | None, shape: TextTransformer) -> Rows:
    """The token that a text is pooled at."""
    if shape.appended or shape.pool in ("first", "last"):
        place = 0 if shape.pool == "first" and not shape.appended else -1
        of = layers.token_at(place).of
        own = None if mask is None else ops.slice(mask, [place], [place + 1 or 2**31 - 1], [1], [2])
        return Rows(of, own)
    marks = tokens if shape.pool == "argmax" else ops.convert(ops.equal(tokens, np.int32(shape.end)), "i32")
    places = ops.topk(marks, np.int64(1), 1, "max", "value", "i32", stable=True).output(
        1
    )  # (n, 1): the first of equals
    own = None if mask is None else ops.unsqueeze(ops.gather(ops.squeeze(mask, [0, 1]), places, np.int64(0)), [1])
    return Rows(lambda y: ops.gather(y, places, np.int64(1), 1), own)


def _projected(x: Node, shape: TextTransformer, weights: Scope) -> Node:
    width = shape.blocks.width
    if shape.projection == "none":
        return x
    if shape.projection == "linear":
        return layers.linear(x, weights.within("text_projection."), width, shape.dimension)
    return ops.matmul(x, weights.take("text_projection", width, shape.dimension), False, False)
