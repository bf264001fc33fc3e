"""The reference engine: open_clip's modules on PyTorch, on CPU, CUDA or MPS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zsclip.models.lean_imports import import_beside


def _as_it_is(function: Callable[..., Any] | None = None, *_: Any, **__: Any) -> Any:
    """The decorator that keeps PyTorch's compiler from a function."""
    return function or _as_it_is


# torchvision and timm import PyTorch's compiler for a question about GPUs and for a decorator, and that takes as long as all
# of open_clip besides. Nothing is compiled here.
import_beside(
    "open_clip",
    {
        "torch._dynamo": {"disable": _as_it_is},
        "torch._dynamo.utils": {"is_compile_supported": lambda _device: False},
    },
)
