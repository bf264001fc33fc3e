"""Which engine runs a model."""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from zsclip.engines.base import Computing, Engine, ExportError
from zsclip.engines.hardware import gpu
from zsclip.errors import ModelError
from zsclip.models.spec import ModelSpec

logger = logging.getLogger("zsclip")


def load(
    spec: ModelSpec, identity: str, weights: Callable[[], Path], computing: Computing, exports: Path | None
) -> Engine:
    """Load a model into the engine asked for; raises `ModelError`.

    `identity` is the model's key in the store. `weights` gives the checkpoint's file, and is asked only if the file is
    needed: `exports` is the folder of what is made of models once (None: there is nowhere to keep it).
    """
    if _wants_openvino(computing):
        try:
            _require_openvino()
            from zsclip.engines.openvino import loading

            return loading.load(spec, identity, weights, computing, exports)
        except ExportError as error:
            if computing.engine == "openvino":
                remedy = "Leave out `engine=openvino`."
                raise ModelError(f"{spec.title} cannot run on OpenVINO: {error}.", remedy=remedy) from error
            logger.warning("%s runs on PyTorch, not on OpenVINO, which would be faster: %s.", spec.title, error)
    from zsclip.engines.torch import loading as on_torch

    return on_torch.load(spec, identity, weights(), computing, exports)


def _wants_openvino(computing: Computing) -> bool:
    device, precision, installed = computing.device, computing.effective_precision, find_spec("openvino") is not None
    if computing.engine == "openvino":
        if device not in ("auto", "cpu"):
            raise ModelError(f"The engine openvino runs on the CPU, not on {device}.", remedy="Leave out `device`.")
        if not installed:
            raise ModelError("The engine openvino needs OpenVINO: pip install openvino")
        return True
    if precision == "int8":
        if device not in ("auto", "cpu") or computing.engine == "torch" or not installed:
            remedy = "Leave out `engine` and `device`, or `precision=int8`."
            raise ModelError("int8 runs on the CPU, by OpenVINO.", remedy=remedy)
        return True
    if computing.engine == "torch" or not installed or precision == "fp16":
        return False
    try:
        if precision == "bf16" and not _require_openvino():
            return False
    except ExportError:
        return False
    return device == "cpu" or (device == "auto" and gpu() is None)


def _require_openvino() -> bool:
    """Whether it computes in bf16; raises `ExportError` if it does not work at all."""
    try:
        from zsclip.engines.openvino import runtime

        return runtime.computes_in_bf16()
    except (ImportError, OSError, RuntimeError) as error:
        raise ExportError(f"OpenVINO does not work here ({error})") from error
