"""What transformers are built of (Vaswani et al., 2017), as operations of a graph. Nodes are float32 (n, tokens, width)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from zsclip.engines.openvino.graphs.weights import Node, Scope
from zsclip.engines.openvino.runtime import openvino, ops
from zsclip.images.preprocessing import Preprocessing

Activation = Callable[[Node], Node]


def quick_gelu(x: Node) -> Node:
    """x * sigmoid(1.702 x), as OpenAI's CLIP has it."""
    return ops.swish(x, np.float32(1.702))


def gelu(x: Node) -> Node:
    """x * Phi(x) (Hendrycks and Gimpel, 2016)."""
    return ops.gelu(x, "erf")


def gelu_tanh(x: Node) -> Node:
    """GELU by way of the hyperbolic tangent."""
    return ops.gelu(x, "tanh")


@dataclass(frozen=True)
class BlockNames:
    """What the tensors of a block's parts are called: the input of attention (queries, keys and values joined), its output, and
    the two layers behind it, each with its normalisation."""

    norm1: str
    joined: str
    out: str
    norm2: str
    hidden: str
    last: str


OPEN_CLIP = BlockNames("ln_1.", "attn.in_proj_", "attn.out_proj.", "ln_2.", "mlp.c_fc.", "mlp.c_proj.")


@dataclass(frozen=True)
class Blocks:
    """A stack of pre-norm transformer blocks: `mlp_width` is that of the hidden layer, `eps` the normalisations'."""

    width: int
    layers: int
    heads: int
    mlp_width: int
    activation: Activation
    eps: float = 1e-5
    scaled: bool = False  # whether each branch has a learnt scale (LayerScale)
    names: BlockNames = OPEN_CLIP


@dataclass(frozen=True)
class Rows:
    """The tokens (n, r, width) that are wanted of all (n, tokens, width), and the mask for them alone.

    What a block computes of a token after attention concerns that token only, so the last block computes no others.
    """

    of: Callable[[Node], Node]
    mask: Node | None = None
    is_one: bool = False  # whether it is one token, which may see all


def linear(x: Node, weights: Scope, width: int, new_width: int, *, bias: bool = True) -> Node:
    """x W^T + b."""
    y = ops.matmul(x, weights.take("weight", new_width, width), False, True)
    return ops.add(y, weights.take("bias", new_width)) if bias else y


def layer_norm(x: Node, weights: Scope, width: int, eps: float = 1e-5) -> Node:
    """Normalisation over the last axis (Ba et al., 2016)."""
    y = ops.mvn(x, ops.constant(np.array([-1], np.int64)), True, eps, "inside_sqrt")
    return ops.add(ops.multiply(y, weights.take("weight", width)), weights.take("bias", width))


def in_heads(x: Node, heads: int, width: int) -> Node:
    """(n, tokens, width) as (n, heads, tokens, width / heads)."""
    return ops.transpose(ops.reshape(x, [0, 0, heads, width // heads], True), [0, 2, 1, 3])


def attend(q: Node, k: Node, v: Node, heads: int, width: int, mask: Node | None = None) -> Node:
    """Attention of queries (n, r, width) to keys and values (n, tokens, width), in heads; (n, r, width)."""
    separate = [in_heads(one, heads, width) for one in (q, k, v)]
    seen = (
        ops.scaled_dot_product_attention(*separate, mask)
        if mask is not None
        else ops.scaled_dot_product_attention(*separate)
    )
    return ops.reshape(ops.transpose(seen, [0, 2, 1, 3]), [0, 0, width], True)


def attend_once(q: Node, x: Node, keys: Node, values: Node, heads: int, width: int) -> Node:
    """Attention of one query (n, 1, width) to tokens (n, tokens, w), of which two matrices (width, w) make keys and values;
    (n, 1, width). A bias of the keys would change nothing, and one of the values is to be added to what this gives.

    Neither keys nor values are computed: softmax(q (x K')') x V' is softmax((q K) x') x V', in which a head's matrices meet one
    token instead of all.
    """
    depth = width // heads
    keys, values = (ops.reshape(one, [heads, depth, -1], False) for one in (keys, values))
    q = ops.reshape(ops.multiply(q, np.float32(depth**-0.5)), [-1, heads, depth], False)
    # Not as products of matrices: int8's calibration takes those with constants for layers, of which these are none.
    asked = ops.einsum([q, keys], "nhd,hdw->nhw")
    shares = ops.softmax(ops.matmul(asked, x, False, True), -1)  # (n, heads, tokens)
    found = ops.einsum([ops.matmul(shares, x, False, False), values], "nhw,hdw->nhd")
    return ops.reshape(found, [-1, 1, width], False)


def transformer(x: Node, weights: Scope, shape: Blocks, mask: Node | None = None, rows: Rows | None = None) -> Node:
    """All blocks, one after the other. With `rows`, (n, r, width): only those."""
    for number in range(shape.layers):
        is_last = number == shape.layers - 1
        x = _block(x, weights.within(f"{number}."), shape, mask, rows if is_last else None)
    return x


def _block(x: Node, weights: Scope, shape: Blocks, mask: Node | None, rows: Rows | None) -> Node:
    width, names = shape.width, shape.names
    normalised = layer_norm(x, weights.within(names.norm1), width, shape.eps)
    if rows is not None and rows.is_one:
        seen = _seen_by_one(rows.of(normalised), normalised, weights.within(names.joined), shape)
    else:
        joined = linear(normalised, weights.within(names.joined), width, 3 * width)
        q, k, v = ops.split(joined, np.int64(2), 3).outputs()
        seen = attend(rows.of(q) if rows else q, k, v, shape.heads, width, rows.mask if rows else mask)
    x = rows.of(x) if rows else x
    x = ops.add(x, _scaled(linear(seen, weights.within(names.out), width, width), weights, "ls_1.gamma", shape))
    normalised = layer_norm(x, weights.within(names.norm2), width, shape.eps)
    hidden = linear(normalised, weights.within(names.hidden), width, shape.mlp_width)
    said = linear(shape.activation(hidden), weights.within(names.last), shape.mlp_width, width)
    return ops.add(x, _scaled(said, weights, "ls_2.gamma", shape))


def _seen_by_one(token: Node, x: Node, joined: Scope, shape: Blocks) -> Node:
    """What one token (n, 1, width) sees of all of them (n, tokens, width)."""
    width = shape.width
    queries, keys, values = ops.split(joined.take("weight", 3 * width, width), np.int64(0), 3).outputs()
    to_q, _, to_v = ops.split(joined.take("bias", 3 * width), np.int64(0), 3).outputs()
    q = ops.add(ops.matmul(token, queries, False, True), to_q)
    return ops.add(attend_once(q, x, keys, values, shape.heads, width), to_v)


def _scaled(x: Node, weights: Scope, name: str, shape: Blocks) -> Node:
    return ops.multiply(x, weights.take(name, shape.width)) if shape.scaled else x


def pixels_in(preprocessing: Preprocessing) -> tuple[Any, Node]:
    """The input of an image tower, uint8 (n, height, width, 3), and the same normalised, float32 (n, 3, height, width)."""
    height, width = preprocessing.size
    pixels = ops.parameter([-1, height, width, 3], np.uint8, "pixels")
    x = ops.divide(ops.convert(ops.transpose(pixels, [0, 3, 1, 2]), "f32"), np.float32(255))
    channel = (1, 3, 1, 1)
    mean, std = (np.array(one, np.float32).reshape(channel) for one in (preprocessing.mean, preprocessing.std))
    return pixels, ops.divide(ops.subtract(x, mean), std)


def patches(x: Node, weights: Node, patch: int, bias: Node | None = None) -> Node:
    """Images (n, 3, height, width) as (n, patches, width): a convolution that steps by its own size."""
    y = ops.convolution(x, weights, [patch, patch], [0, 0], [0, 0], [1, 1])
    flat = ops.transpose(ops.reshape(y, [0, 0, -1], True), [0, 2, 1])
    return flat if bias is None else ops.add(flat, bias)


def repeated(token: Node, like: Node, width: int) -> Node:
    """A learnt token (width,) in front of each of a batch: (n, 1, width)."""
    count = ops.slice(ops.shape_of(like), [0], [1], [1])
    return ops.broadcast(token, ops.concat([count, np.array([1, width], np.int64)], 0))


def token_at(place: int) -> Rows:
    """The token at that place alone; -1 is the last. It may see all."""
    return Rows(lambda x: ops.slice(x, [place], [place + 1 or 2**31 - 1], [1], [1]), is_one=True)


def only(x: Node) -> Node:
    """(n, 1, width) as (n, width)."""
    return ops.squeeze(x, [1])


def model(inputs: list[Any], output: Node, title: str) -> Any:
    """A graph of one output."""
    return openvino.Model([output], inputs, title)


ACTIVATIONS: Mapping[str, Activation] = {"quick_gelu": quick_gelu, "gelu": gelu, "gelu_tanh": gelu_tanh}
