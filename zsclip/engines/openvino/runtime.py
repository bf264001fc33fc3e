"""OpenVINO itself, imported without its converters, and what it can do on this processor."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from zsclip.models.lean_imports import import_without

# Running a model needs none of the tools that convert them, which are most of what there is to import.
openvino = import_without("openvino", "openvino.tools.ovc")
ops = import_without("openvino.opset15")  # the operations that graphs are made of
# Its tables of data types are made at their first use; two threads that do so at once wait for each other for ever.
openvino.Tensor(np.zeros(1, np.float32), shared_memory=True)
openvino.Type.f32.to_dtype()


@cache
def core() -> Any:
    """OpenVINO's `Core`, one for the process."""
    return openvino.Core()


@cache
def computes_in_bf16() -> bool:
    """Whether this processor has instructions for bf16."""
    return "BF16" in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def processor() -> str:
    """The processor's name."""
    return str(core().get_property("CPU", "FULL_DEVICE_NAME"))
