"""Which devices this machine has."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path


@cache
def cuda_is_available() -> bool:
    """Asked only when a test for a GPU is about to run: importing torch takes seconds, and nothing else here does."""
    if not (shutil.which("nvidia-smi") or Path("/proc/driver/nvidia").exists()):
        return False
    import torch

    return bool(torch.cuda.is_available())
