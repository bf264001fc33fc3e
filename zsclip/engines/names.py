"""What there is to choose from, for whoever must know it without importing an engine."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

EngineName: TypeAlias = Literal["auto", "torch", "openvino"]
PrecisionName: TypeAlias = Literal["auto", "fp32", "bf16", "fp16", "int8"]

ENGINES: tuple[EngineName, ...] = get_args(EngineName)
PRECISIONS: tuple[PrecisionName, ...] = get_args(PrecisionName)
