"""CLIP's ModifiedResNet (Radford et al., 2021, section 2.4): ResNet-D (He et al., 2019) with blurred strides (Zhang, 2019) and a
pool of attention.

Three convolutions instead of one come first. Where a block halves its image, the mean of 2 x 2 pixels does so before a convolution
of stride 1. Nodes are float32 (n, channels, height, width).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from zsclip.engines.openvino.graphs import layers
from zsclip.engines.openvino.graphs.weights import Node, Scope
from zsclip.engines.openvino.runtime import ops
from zsclip.images.preprocessing import Preprocessing

_EXPANSION = 4  # channels that a block gives for each that it computes in
_EPS = 1e-5  # of normalisations over a batch, as PyTorch has it


@dataclass(frozen=True)
class ModifiedResNet:
    """Its shape: the blocks of its four stages, and the `width` (channels) that the first computes in."""

    blocks: tuple[int, ...]
    width: int
    heads: int
    dimension: int


def graph(shape: ModifiedResNet, weights: Scope, preprocessing: Preprocessing) -> Any:
    """uint8 (n, height, width, 3) -> float32 (n, dimension), not of unit length. Raises `MismatchError`."""
    width = shape.width
    pixels, x = layers.pixels_in(preprocessing)
    x = ops.relu(_convolved(x, weights, "1", 3, width // 2, 3, stride=2))
    x = ops.relu(_convolved(x, weights, "2", width // 2, width // 2, 3))
    x = ops.relu(_convolved(x, weights, "3", width // 2, width, 3))
    x, channels = _halved(x), width
    for stage, count in enumerate(shape.blocks):
        for number in range(count):
            block = weights.within(f"layer{stage + 1}.{number}.")
            x = _bottleneck(x, block, channels, width << stage, halves=stage > 0 and number == 0)
            channels = (width << stage) * _EXPANSION
    places = preprocessing.size[0] // 32 * (preprocessing.size[1] // 32)
    return layers.model([pixels], _attention_pool(x, shape, weights.within("attnpool."), places), "image tower")


def _bottleneck(x: Node, weights: Scope, channels: int, width: int, *, halves: bool) -> Node:
    """A residual block: 1 x 1, 3 x 3, 1 x 1, and a shortcut that is convolved where it must change its shape."""
    y = ops.relu(_convolved(x, weights, "1", channels, width, 1))
    y = ops.relu(_convolved(y, weights, "2", width, width, 3))
    y = _convolved(_halved(y) if halves else y, weights, "3", width, width * _EXPANSION, 1)
    if halves or channels != width * _EXPANSION:
        x = _halved(x) if halves else x
        convolved = _convolution(x, weights.take("downsample.0.weight", width * _EXPANSION, channels, 1, 1))
        x = _batch_norm(convolved, weights.within("downsample.1."), width * _EXPANSION)
    return ops.relu(ops.add(y, x))


def _convolved(x: Node, weights: Scope, number: str, channels: int, new: int, size: int, stride: int = 1) -> Node:
    """Convolution and normalisation of that number."""
    y = _convolution(x, weights.take(f"conv{number}.weight", new, channels, size, size), size // 2, stride)
    return _batch_norm(y, weights.within(f"bn{number}."), new)


def _convolution(x: Node, kernel: Node, padding: int = 0, stride: int = 1) -> Node:
    return ops.convolution(x, kernel, [stride] * 2, [padding] * 2, [padding] * 2, [1, 1])


def _batch_norm(x: Node, weights: Scope, channels: int) -> Node:
    """Normalisation by what was counted in training (Ioffe and Szegedy, 2015); OpenVINO makes it a part of the convolution."""
    weights.leave("num_batches_tracked")
    scale, shift, mean, variance = (
        weights.take(name, channels) for name in ("weight", "bias", "running_mean", "running_var")
    )
    return ops.batch_norm_inference(x, scale, shift, mean, variance, _EPS)


def _halved(x: Node) -> Node:
    """The mean of 2 x 2 pixels; what is over at an odd side is left out."""
    return ops.avg_pool(x, [2, 2], [0, 0], [0, 0], [2, 2], True, "floor")


def _attention_pool(x: Node, shape: ModifiedResNet, weights: Scope, places: int) -> Node:
    """What the mean of all places sees in them and in itself: (n, dimension)."""
    width = shape.width * 8 * _EXPANSION
    flat = ops.transpose(ops.reshape(x, [0, 0, -1], True), [0, 2, 1])
    x = ops.concat([ops.reduce_mean(flat, np.array([1]), True), flat], 1)
    x = ops.add(x, weights.take("positional_embedding", places + 1, width))
    q = layers.linear(layers.token_at(0).of(x), weights.within("q_proj."), width, width)
    keys, values = weights.within("k_proj."), weights.within("v_proj.")
    pooled = layers.attend_once(
        q, x, keys.take("weight", width, width), values.take("weight", width, width), shape.heads, width
    )
    keys.take("bias", width)  # adds the same to all of a head's scores, and so changes no share
    pooled = layers.only(ops.add(pooled, values.take("bias", width)))
    return layers.linear(pooled, weights.within("c_proj."), width, shape.dimension)
