"""What this machine has to compute with, asked without importing torch where that can be helped."""

from __future__ import annotations

import logging
import math
import os
import platform
import re
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

logger = logging.getLogger("zsclip")


def available_cores() -> int:
    """How many cores this process may use: those it may run on, and no more than its container is given time for."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        return max(1, min(cores, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # no such limit: "max"
        return cores


@cache
def multiplies_int8() -> bool:
    """Whether the processor has instructions for products of int8; where it does not say (Linux does), it is assumed to."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return True
    flags = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    wanted = {"avx_vnni", "avx512_vnni", "amx_int8", "asimddp", "i8mm"}
    return flags is None or bool(wanted & set(flags[1].split()))


@cache
def gpu() -> str | None:
    """PyTorch's word for the GPU that it computes on, "cuda" or "mps"; None if there is none. One that does not work is warned of.

    PyTorch, which takes seconds, is asked only if a driver has one.
    """
    if not _has_driver():
        return None
    import torch

    kind = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else None
    if kind is not None and (fault := fault_of(torch.device(kind))):
        logger.warning("The %s cannot be used: %s. Computing on the CPU instead.", *fault)
        return None
    return kind


def fault_of(device: torch.device) -> tuple[str, str] | None:
    """A GPU, and why nothing can be computed on it; None if it works.

    PyTorch comes without code for GPUs that are old, and for those that are newer than it is; that shows in the first
    operation only.
    """
    import torch

    try:
        _compute(device)
        return None
    except RuntimeError as error:
        name = f"GPU ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else "GPU"
        if "no kernel image" in str(error):
            return name, f"PyTorch {torch.__version__} has no code for it"
        return name, str(error).splitlines()[0].rstrip(".")


def _compute(device: torch.device) -> None:
    import torch

    torch.ones(2, device=device).add(1).sum().item()


def _has_driver() -> bool:
    if sys.platform == "darwin":
        return platform.machine() == "arm64"
    if os.path.exists("/dev/kfd"):  # AMD's
        return True
    import ctypes

    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        count = ctypes.c_int()
        return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0
    except (OSError, AttributeError):
        return False
