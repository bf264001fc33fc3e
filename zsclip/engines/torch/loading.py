"""PyTorch's engine in the precision that the device and the model allow."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from zsclip.engines import probes
from zsclip.engines.agreement import Agreement
from zsclip.engines.base import Computing
from zsclip.engines.torch.engine import TorchEngine, device_of
from zsclip.models import ModelSpec, short_identity


def load(spec: ModelSpec, identity: str, checkpoint: Path, computing: Computing, exports: Path | None) -> TorchEngine:
    """The engine; arguments as of `zsclip.engines.choice.load`. Raises `ModelError`.

    On CUDA `auto` is fp16, in which CLIP was published, if this model tolerates it: that is measured once and kept in
    `exports`. On a CPU PyTorch has no half precision that is faster, and on Apple's GPUs nobody has measured one.
    """
    if computing.effective_precision != "auto" or device_of(computing.device).type != "cuda":
        return TorchEngine(spec, checkpoint, computing)
    half = TorchEngine(spec, checkpoint, replace(computing, precision="fp16"))
    bound_to = {
        "device": torch.cuda.get_device_name(half.device),
        "torch": torch.__version__,
        "probes": str(probes.VERSION),
    }

    path = exports / f"{short_identity(identity)}.fp16.json" if exports else None
    measured = Agreement.read(path, bound_to)
    if measured is None:
        fp32 = TorchEngine(spec, checkpoint, replace(computing, precision="fp32"))
        measured = Agreement.measure(fp32, half, spec.preprocessing)
        measured.write(path, bound_to)
    engine = half if measured.holds else TorchEngine(spec, checkpoint, replace(computing, precision="fp32"))
    engine.description += f": {measured.told('fp16')}"
    return engine
