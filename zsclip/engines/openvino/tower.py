"""One tower of an exported model, compiled for this processor."""

from __future__ import annotations

import queue
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zsclip.engines.hardware import available_cores
from zsclip.engines.openvino import runtime
from zsclip.errors import ModelError

HINTS = {"fp32": "f32", "bf16": "bf16"}  # OpenVINO's words for the precisions in which it computes


class Tower:
    """A compiled graph; threads may share it, as many at once as it has streams.

    `path` is its XML file, `precision` fp32 or bf16, `threads` how many cores it may use (None: all). Raises `ModelError`.
    """

    def __init__(self, path: Path, precision: str, threads: int | None = None) -> None:
        options = {
            "INFERENCE_PRECISION_HINT": HINTS[precision],
            "PERFORMANCE_HINT": "THROUGHPUT",
            "INFERENCE_NUM_THREADS": threads or available_cores(),
        }
        try:
            compiled = runtime.core().compile_model(path, "CPU", options)
        except RuntimeError as error:
            raise ModelError(
                f"{path} cannot be loaded by OpenVINO {version('openvino')}: {str(error).strip().splitlines()[-1]}",
                remedy=f"Remove the folder {path.parent}; it is made again.",
            ) from None
        self.streams = int(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        self._idle: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for _ in range(self.streams):
            self._idle.put(compiled.create_infer_request())

    def __call__(self, *inputs: NDArray[Any]) -> NDArray[np.float32]:
        """What the graph gives for its inputs: float32 (n, d), not yet of unit length."""
        request = self._idle.get()
        try:
            request.infer([np.ascontiguousarray(one) for one in inputs], share_inputs=True)
            return np.array(request.get_output_tensor().data, np.float32)
        except RuntimeError as error:
            raise ModelError(f"OpenVINO failed: {str(error).strip()[:300]}", remedy="Try `engine=torch`.") from None
        finally:
            self._idle.put(request)
