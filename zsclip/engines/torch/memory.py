"""Want of memory, which PyTorch reports in as many ways as it computes in places."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from safetensors import SafetensorError

_SIGNS = (
    "out of memory",  # CUDA and MPS
    "can't allocate memory",  # PyTorch on a CPU, Linux and macOS
    "not enough memory",  # the same on Windows
    "Cannot allocate memory",  # the operating system's own words, where a file is mapped
    "STATUS_ALLOC_FAILED",  # cuBLAS, cuDNN
    "could not create a primitive",  # oneDNN, which says no more
)


@contextmanager
def shortage() -> Iterator[None]:
    """Raise want of memory inside, whoever reports it, as `MemoryError`."""
    try:
        yield
    except (RuntimeError, OSError, SafetensorError) as error:
        if getattr(error, "errno", None) == errno.ENOMEM or any(sign in str(error) for sign in _SIGNS):
            raise MemoryError(str(error)) from None
        raise


def release(device: torch.device) -> None:
    """Give back what PyTorch holds of a GPU's memory without using it."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
