"""The tensors of a model's file, mapped into memory: the graph's constants are the file itself, read as they are needed."""

from __future__ import annotations

import json
import math
import mmap
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zsclip.engines.openvino.runtime import openvino, ops

Node = Any  # an operation of a graph, as OpenVINO has it
Shape = tuple[int, ...]

_LONGEST_HEADER = 100_000_000  # bytes; safetensors' own limit
_COUNTED = ("running_mean", "running_var", "num_batches_tracked")  # by normalisations over a batch: PyTorch's buffers
# What weights are published in, as NumPy has it, which knows no bfloat16. Integers count what trained a model.
_TYPES = {"F32": np.float32, "F16": np.float16, "BF16": np.uint16, "I64": np.int64}


class MismatchError(Exception):
    """A file of weights is not what an architecture is built of, tensor by tensor; another way may know better."""


@dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor of weights, or something made of some: its shape, a float32 constant of a graph, and its numbers in memory."""

    shape: Shape
    node: Callable[[], Node]
    numbers: Callable[[], NDArray[np.float32]]


def transposed(of: Tensor) -> Tensor:
    """A matrix with its axes exchanged."""
    return Tensor(of.shape[::-1], lambda: ops.transpose(of.node(), [1, 0]), lambda: of.numbers().T)


def reshaped(of: Tensor, shape: Shape) -> Tensor:
    """The same numbers in another shape."""
    if math.prod(of.shape) != math.prod(shape):
        raise MismatchError(f"a tensor is {of.shape}, which cannot become {shape}")
    target = np.array(shape, np.int64)
    return Tensor(shape, lambda: ops.reshape(of.node(), target, False), lambda: of.numbers().reshape(shape))


def rows(of: Tensor, begin: int, end: int) -> Tensor:
    """Some of a tensor, along its first axis."""
    return Tensor(
        (end - begin, *of.shape[1:]),
        lambda: ops.slice(of.node(), [begin], [end], [1], [0]),
        lambda: of.numbers()[begin:end],
    )


def joined(of: Sequence[Tensor]) -> Tensor:
    """Some tensors as one, along their first axis."""
    if len({one.shape[1:] for one in of}) != 1:
        raise MismatchError(f"tensors of the shapes {[one.shape for one in of]} make none together")
    return Tensor(
        (sum(one.shape[0] for one in of), *of[0].shape[1:]),
        lambda: ops.concat([one.node() for one in of], 0),
        lambda: np.concatenate([one.numbers() for one in of]),
    )


def mapped(files: Sequence[Path]) -> dict[str, Tensor]:
    """The tensors in files of safetensors, by name; raises `MismatchError` for what is none or holds other numbers, `OSError`."""
    found: dict[str, Tensor] = {}
    for file in files:
        found.update(_tensors(file))
    return found


def _tensors(path: Path) -> Iterator[tuple[str, Tensor]]:
    with path.open("rb") as file:
        try:
            # Private and writable: OpenVINO takes no memory that may not be written to, and writes none.
            memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
            (length,) = struct.unpack_from("<Q", memory)
            if length > _LONGEST_HEADER:
                raise MismatchError(f"{path} is no file of safetensors")
            header = json.loads(memory[8 : 8 + length])
            for name, entry in header.items():
                if name != "__metadata__":
                    begin, end = entry["data_offsets"]
                    yield name, _tensor(memory, entry["dtype"], tuple(entry["shape"]), 8 + length + begin, end - begin)
        except (struct.error, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise MismatchError(f"{path} is no sound file of safetensors ({error})") from None


def _tensor(memory: mmap.mmap, kind: str, shape: Shape, offset: int, size: int) -> Tensor:
    if kind not in _TYPES:
        raise MismatchError(f"weights are in {kind}")
    count = math.prod(shape)
    if size != count * np.dtype(_TYPES[kind]).itemsize:
        raise MismatchError("a tensor's size is not that of its numbers")
    data = np.frombuffer(memory, _TYPES[kind], count, offset)
    if offset % data.itemsize:  # safetensors aligns what it writes; others need not
        data = data.copy()
    data = data.reshape(shape)

    def node() -> Node:
        # Made of an array, a constant keeps it and so the file's memory; made of a tensor, as bfloat16 needs, it does not.
        array = openvino.Tensor(data, shape, openvino.Type.bf16) if kind == "BF16" else data
        constant = ops.constant(array, shared_memory=True)
        return constant if kind == "F32" else ops.convert(constant, "f32")

    def numbers() -> NDArray[np.float32]:
        if kind == "BF16":  # the upper half of a float32
            return (data.astype(np.uint32) << 16).view(np.float32)
        return data.astype(np.float32, copy=False)

    return Tensor(shape, node, numbers)


class Weights:
    """The tensors by name, of which each is taken once."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._tensors = dict(tensors)
        self._taken: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def within(self, prefix: str) -> Scope:
        """The tensors whose names begin so."""
        return Scope(self, prefix)

    def take(self, name: str, shape: Shape) -> Tensor:
        """The tensor of that name; raises `MismatchError` if there is none of that shape."""
        tensor = self._tensors.get(name)
        if tensor is None:
            raise MismatchError(f"there is no {name}")
        if tensor.shape != shape:
            raise MismatchError(f"{name} is {tensor.shape}, not {shape}")
        self._taken.add(name)
        return tensor

    def shape(self, name: str, axes: int) -> Shape:
        """The shape of a tensor, which is not taken by that; raises `MismatchError` if there is none of so many axes."""
        tensor = self._tensors.get(name)
        if tensor is None or len(tensor.shape) != axes:
            raise MismatchError(f"there is no {name} of {axes} axes")
        return tensor.shape

    def number(self, name: str) -> float:
        """A tensor of one number."""
        tensor = self._tensors.get(name)
        if tensor is None or math.prod(tensor.shape) != 1:
            raise MismatchError(f"there is no number {name}")
        self._taken.add(name)
        return float(tensor.numbers().reshape(()))

    def leave(self, prefix: str) -> None:
        """Leave out the tensors whose names begin so: of a part of the model that makes no embeddings."""
        self._taken.update(name for name in self._tensors if name.startswith(prefix))

    def require_all_taken(self) -> None:
        """Raise `MismatchError` if tensors are left, for then the graph is not the model."""
        if left := sorted(self._tensors.keys() - self._taken):
            raise MismatchError(f"{len(left)} tensors are left over, such as {left[0]}")

    def count(self, prefix: str = "") -> int:
        """How many numbers were learnt in the tensors whose names begin so."""
        found = (one for name, one in self._tensors.items() if name.startswith(prefix) and not name.endswith(_COUNTED))
        return sum(math.prod(one.shape) for one in found)

    def without_numbers(self) -> str | None:
        """The name of a tensor that holds NaN or infinity, if one does. Reads all."""
        # The sum of absolute values is enough to see both, in one pass without a copy of the size of the tensor.
        return next(
            (name for name, one in self._tensors.items() if not np.isfinite(np.abs(one.numbers()).max(initial=0))), None
        )


@dataclass(frozen=True)
class Scope:
    """Weights whose names begin with `prefix`, called by what follows it."""

    weights: Weights
    prefix: str

    def __contains__(self, name: str) -> bool:
        return self.prefix + name in self.weights

    def within(self, prefix: str) -> Scope:
        """Those among them whose names go on so."""
        return Scope(self.weights, self.prefix + prefix)

    def shape(self, name: str, axes: int) -> Shape:
        """See `Weights.shape`."""
        return self.weights.shape(self.prefix + name, axes)

    def leave(self, prefix: str) -> None:
        """Leave out those among them whose names go on so."""
        self.weights.leave(self.prefix + prefix)

    def take(self, name: str, *shape: int) -> Node:
        """A tensor as a constant of a graph; raises `MismatchError` if there is none of that shape."""
        return self.weights.take(self.prefix + name, shape).node()
