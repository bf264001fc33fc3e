"""SigLIP's and SigLIP 2's image tower (Zhai et al., 2023; Tschannen et al., 2025): timm's VisionTransformer over all patches,
without a class token, and a head of attention whose one learnt query is what an image's embedding is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from zsclip.engines.openvino.graphs import layers
from zsclip.engines.openvino.graphs.layers import Activation, BlockNames, Blocks, gelu, gelu_tanh
from zsclip.engines.openvino.graphs.weights import MismatchError, Node, Scope
from zsclip.engines.openvino.runtime import ops
from zsclip.images.preprocessing import Preprocessing

TIMM = BlockNames("norm1.", "attn.qkv.", "attn.proj.", "norm2.", "mlp.fc1.", "mlp.fc2.")
_EPS = 1e-6  # timm's, of all normalisations


@dataclass(frozen=True)
class Published:
    """What shapes of tensors cannot tell of one of timm's models. Its depth is among it, for a file without the last blocks
    would look like a shallower model."""

    layers: int
    heads: int
    activation: Activation


# timm's names of the models, which is all that a configuration of open_clip says of them. Of one size some have the exact GELU
# and some the other, as timm has it.
PUBLISHED: Mapping[str, Published] = {
    **dict.fromkeys((f"vit_base_patch16_siglip_{size}" for size in (224, 256, 384, 512)), Published(12, 12, gelu)),
    "vit_base_patch32_siglip_256": Published(12, 12, gelu_tanh),
    **dict.fromkeys((f"vit_large_patch16_siglip_{size}" for size in (256, 384)), Published(24, 16, gelu)),
    "vit_large_patch16_siglip_512": Published(24, 16, gelu_tanh),
    **dict.fromkeys((f"vit_so400m_patch14_siglip_{size}" for size in (224, 378, 384)), Published(27, 16, gelu)),
    **dict.fromkeys((f"vit_so400m_patch16_siglip_{size}" for size in (256, 384, 512)), Published(27, 16, gelu_tanh)),
    **dict.fromkeys((f"vit_giantopt_patch16_siglip_{size}" for size in (256, 384)), Published(40, 16, gelu_tanh)),
}


@dataclass(frozen=True)
class Siglip:
    """Its shape. The head's attention and hidden layer are as wide as those of the blocks."""

    blocks: Blocks
    patch: int


def published(model: Published, dimension: int, weights: Scope, preprocessing: Preprocessing) -> Any:
    """`graph` of a published model with embeddings of `dimension`, whose weights are `trunk.` to open_clip. Its widths are those
    in the file. Raises `MismatchError`."""
    trunk = weights.within("trunk.")
    width, _, patch, _ = trunk.shape("patch_embed.proj.weight", 4)
    hidden, _ = trunk.shape("blocks.0.mlp.fc1.weight", 2)
    if width != dimension or width % model.heads:
        raise MismatchError(f"images' vectors have {width} numbers, not {dimension} in {model.heads} heads")
    blocks = Blocks(width, model.layers, model.heads, hidden, model.activation, _EPS, names=TIMM)
    return graph(Siglip(blocks, patch), trunk, preprocessing)


def graph(shape: Siglip, weights: Scope, preprocessing: Preprocessing) -> Any:
    """uint8 (n, height, width, 3) -> float32 (n, width of the blocks), not of unit length. Raises `MismatchError`."""
    blocks, patch = shape.blocks, shape.patch
    height, width = (side // patch for side in preprocessing.size)  # what remains of a side is not seen
    pixels, x = layers.pixels_in(preprocessing)
    embed = weights.within("patch_embed.proj.")
    matrix, bias = embed.take("weight", blocks.width, 3, patch, patch), embed.take("bias", blocks.width)
    x = ops.add(layers.patches(x, matrix, patch, bias), weights.take("pos_embed", 1, height * width, blocks.width))
    x = layers.transformer(x, weights.within("blocks."), blocks)
    x = layers.layer_norm(x, weights.within("norm."), blocks.width, blocks.eps)
    return layers.model([pixels], _attention_pool(x, blocks, weights.within("attn_pool.")), "image tower")


def _attention_pool(x: Node, shape: Blocks, weights: Scope) -> Node:
    """What the learnt query sees of all patches, and a hidden layer beside it: (n, width)."""
    width = shape.width
    query = layers.linear(weights.take("latent", 1, 1, width), weights.within("q."), width, width)
    keys, values = ops.split(weights.take("kv.weight", 2 * width, width), np.int64(0), 2).outputs()
    _, to_v = ops.split(weights.take("kv.bias", 2 * width), np.int64(0), 2).outputs()
    query = layers.repeated(ops.squeeze(query, [0, 1]), x, width)
    seen = ops.add(layers.attend_once(query, x, keys, values, shape.heads, width), to_v)
    seen = layers.linear(seen, weights.within("proj."), width, width)
    normalised = layers.layer_norm(seen, weights.within("norm."), width, shape.eps)
    hidden = shape.activation(layers.linear(normalised, weights.within("mlp.fc1."), width, shape.mlp_width))
    return layers.only(ops.add(seen, layers.linear(hidden, weights.within("mlp.fc2."), shape.mlp_width, width)))
