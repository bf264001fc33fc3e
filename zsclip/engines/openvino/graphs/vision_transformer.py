"""open_clip's VisionTransformer (ViT: Dosovitskiy et al., 2021, as CLIP has it: a normalisation before the blocks).

With it CLIPA's (mean over the patches instead of the class token, no normalisation before) and CoCa's (a pooler of attention
with learnt queries, of which the first is the image's embedding).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from zsclip.engines.openvino.graphs import layers
from zsclip.engines.openvino.graphs.layers import Blocks
from zsclip.engines.openvino.graphs.weights import Node, Scope
from zsclip.engines.openvino.runtime import ops
from zsclip.images.preprocessing import Preprocessing


@dataclass(frozen=True)
class VisionTransformer:
    """Its shape. `pool` is `tok` (the class token) or `avg` (the patches' mean); `queries` and `pooler_heads` are those of a
    pooler of attention, 0 where there is none."""

    blocks: Blocks
    patch: int
    dimension: int
    pool: str = "tok"
    normalised_before: bool = True
    normalised_after_pool: bool = False
    queries: int = 0
    pooler_heads: int = 8


def graph(shape: VisionTransformer, weights: Scope, preprocessing: Preprocessing) -> Any:
    """uint8 (n, height, width, 3) -> float32 (n, dimension), not of unit length. Raises `MismatchError`."""
    width, eps = shape.blocks.width, shape.blocks.eps
    height_in_patches, width_in_patches = (side // shape.patch for side in preprocessing.size)
    tokens = height_in_patches * width_in_patches + 1
    pixels, x = layers.pixels_in(preprocessing)
    x = layers.patches(x, weights.take("conv1.weight", width, 3, shape.patch, shape.patch), shape.patch)
    x = ops.concat([layers.repeated(weights.take("class_embedding", width), x, width), x], 1)
    x = ops.add(x, weights.take("positional_embedding", tokens, width))
    if shape.normalised_before:
        x = layers.layer_norm(x, weights.within("ln_pre."), width, eps)
    rows = layers.token_at(0) if shape.pool == "tok" and not shape.queries else None
    x = layers.transformer(x, weights.within("transformer.resblocks."), shape.blocks, rows=rows)
    pooled = _pooled(x, shape, weights)
    inside = shape.dimension if shape.queries else width
    features = ops.matmul(pooled, weights.take("proj", inside, shape.dimension), False, False)
    return layers.model([pixels], features, "image tower")


def _pooled(x: Node, shape: VisionTransformer, weights: Scope) -> Node:
    """(n, width), or (n, dimension) of a pooler of attention."""
    eps, after = shape.blocks.eps, weights.within("ln_post.")
    if shape.queries:
        x = _attention_pool(x, shape, weights.within("attn_pool."))
        return layers.layer_norm(layers.only(x), after, shape.dimension, eps)
    if shape.pool == "tok":  # the class token is all that there is
        return layers.layer_norm(layers.only(x), after, shape.blocks.width, eps)
    if not shape.normalised_after_pool:
        x = layers.layer_norm(x, after, shape.blocks.width, eps)
    x = ops.reduce_mean(ops.slice(x, [1], [2**31 - 1], [1], [1]), [1])
    return layers.layer_norm(x, after, shape.blocks.width, eps) if shape.normalised_after_pool else x


def _attention_pool(x: Node, shape: VisionTransformer, weights: Scope) -> Node:
    """What the first of the learnt queries sees: (n, 1, dimension)."""
    width, dimension = shape.blocks.width, shape.dimension
    x = layers.layer_norm(x, weights.within("ln_k."), width)
    learnt = ops.slice(weights.take("query", shape.queries, dimension), [0], [1], [1], [0])
    query = layers.layer_norm(learnt, weights.within("ln_q."), dimension)
    attention = weights.within("attn.")
    to_q, _, to_v = ops.split(attention.take("in_proj_bias", 3 * dimension), np.int64(0), 3).outputs()
    if width == dimension:
        queries, keys, values = ops.split(attention.take("in_proj_weight", 3 * width, width), np.int64(0), 3).outputs()
    else:
        queries = attention.take("q_proj_weight", dimension, dimension)
        keys, values = (attention.take(f"{one}_proj_weight", dimension, width) for one in "kv")
    q = ops.squeeze(ops.add(ops.matmul(query, queries, False, True), to_q), [0])
    seen = layers.attend_once(layers.repeated(q, x, dimension), x, keys, values, shape.pooler_heads, dimension)
    return layers.linear(ops.add(seen, to_v), attention.within("out_proj."), dimension, dimension)
