"""What this machine has to compute with, asked without importing torch where that can be helped."""

from __future__ import annotations

import math
import os
import platform
import sys
from functools import cache
from pathlib import Path


def available_cores() -> int:
    """How many cores this process may use: those it may run on, and no more than its container is given time for."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        return max(1, min(cores, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # no such limit: "max"
        return cores


@cache
def has_gpu() -> bool:
    """Whether there is a GPU that PyTorch can run on. PyTorch, which takes seconds, is asked only if a driver has one."""
    if not _has_driver():
        return False
    import torch

    return torch.cuda.is_available() or torch.backends.mps.is_available()


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
