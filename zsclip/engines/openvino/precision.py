"""Whether a model runs in bf16 on this processor."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from zsclip.engines import probes
from zsclip.engines.agreement import Agreement
from zsclip.engines.openvino import runtime
from zsclip.engines.openvino.engine import OpenVinoEngine
from zsclip.images.preprocessing import Preprocessing

BF16_FACTS = "bf16.json"


def choose(folder: Path, preprocessing: Preprocessing, threads: int | None = None) -> tuple[str, str]:
    """The precision for the export in `folder`, and why: bf16 where the processor computes in it and the weights tolerate it."""
    if not runtime.computes_in_bf16():
        return "fp32", "this processor does not compute in bf16"

    def measure() -> Agreement:
        fp32, half = (OpenVinoEngine(folder, precision, threads=threads) for precision in ("fp32", "bf16"))
        return Agreement.measure(fp32, half, preprocessing)

    measured = Agreement.kept(folder / BF16_FACTS, bound_to(), measure)
    return "bf16" if measured.holds else "fp32", measured.told("bf16")


def bound_to() -> dict[str, str]:
    """What a measurement depends on, beside the model."""
    return {"processor": runtime.processor(), "openvino": version("openvino"), "probes": str(probes.VERSION)}
