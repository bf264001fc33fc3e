"""Towers of a model, compiled for this processor when they are first needed: most runs need one of the two."""

from __future__ import annotations

import queue
import threading
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zsclip.engines import memory
from zsclip.engines.hardware import available_cores
from zsclip.engines.openvino import runtime
from zsclip.engines.openvino.source import Source
from zsclip.engines.openvino.tokenizer import Tokenizer
from zsclip.errors import ModelError

HINTS = {"fp32": "f32", "bf16": "bf16"}  # OpenVINO's words for the precisions in which it computes


class Tower:
    """A compiled graph; threads may share it, as many at once as it has streams.

    `graph` is one of OpenVINO's, or the path of its XML file, `precision` fp32 or bf16, `threads` how many cores it may use
    (None: all). `remedy` is what helps if it cannot be compiled. Raises `ModelError`.
    """

    def __init__(self, graph: Any, precision: str, threads: int | None = None, remedy: str = "") -> None:
        options = {
            "INFERENCE_PRECISION_HINT": HINTS[precision],
            "PERFORMANCE_HINT": "THROUGHPUT",
            "INFERENCE_NUM_THREADS": threads or available_cores(),
        }
        try:
            compiled = runtime.core().compile_model(graph, "CPU", options)
        except RuntimeError as error:
            what = str(graph) if isinstance(graph, Path) else f"The {graph.get_friendly_name()}"
            raise ModelError(
                f"{what} cannot be loaded by OpenVINO {version('openvino')}: {str(error).strip().splitlines()[-1]}",
                remedy=remedy,
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


class Towers:
    """A model's two towers and its tokenizer, each made when it is first needed; threads may share them."""

    def __init__(self, source: Source, precision: str, threads: int | None) -> None:
        self._source = source
        self._precision = precision
        self._settings = (precision, threads, source.remedy)
        self._towers: dict[str, Tower] = {}
        self._lock = threading.Lock()

    @property
    def image(self) -> Tower:
        """The image tower; raises `ModelError`."""
        return self._tower("image", self._source.image)

    @property
    def text(self) -> Tower:
        """The text tower; raises `ModelError`."""
        return self._tower("text", self._source.text)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """What the text tower is given."""
        return self._source.tokenizer()

    def adopt(self, other: Towers) -> None:
        """Take what others compiled in the same way."""
        self._towers.update(other._towers)

    def release(self) -> None:
        """Give up what is compiled, and its memory, as soon as nothing runs on it; it is compiled again if it is needed."""
        self._towers.clear()

    def _tower(self, name: str, graph: Any) -> Tower:
        if name not in self._towers:
            with self._lock:
                if name not in self._towers:
                    self._require_memory(name)
                    self._towers[name] = Tower(graph, *self._settings)
        return self._towers[name]

    def _require_memory(self, name: str) -> None:
        """Before a tower is compiled, and before texts for the images that they are for, as a rule."""
        wanted = [name] if name == "image" or "image" in self._towers else ["image", "text"]
        memory.require(
            self._source.facts.title,
            sum(self._source.tower_parameters[one] for one in wanted),
            self._precision,
            may_be_bf16=runtime.computes_in_bf16(),
            free=memory.available(),
        )
