"""The fast engine on CPUs: OpenVINO, over a model that was exported once. Imports neither torch nor open_clip.

The towers are compiled when they are first needed, for most runs need one of the two.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from zsclip.engines import EXPORT_VERSION, Computing, ExportError, available_cores, probes, require_known
from zsclip.engines.prefixes import forests
from zsclip.engines.tokenizer import Tokenizer
from zsclip.errors import ModelError
from zsclip.images.preprocessing import Preprocessing
from zsclip.models import ModelSpec
from zsclip.models.lean_imports import import_without
from zsclip.models.spec import ModelFacts
from zsclip.unit_vectors import Embedding, Quality

# Running a model needs none of the tools that convert them, which are most of what there is to import.
openvino = import_without("openvino", "openvino.tools.ovc")
# Its tables of data types are made at their first use; two threads that do so at once wait for each other for ever.
openvino.Tensor(np.zeros(1, np.float32), shared_memory=True)
openvino.Type.f32.to_dtype()

logger = logging.getLogger("zsclip")

EXPORT_FACTS = "export.json"
BF16_FACTS = "bf16.json"
ALL, LARGEST = "all", "largest"  # where a text tower pools, if not at a token of a certain number
LEAST_COSINE = 0.9995  # between bf16 and fp32, for `auto` to take bf16

_HINTS = {"fp32": "f32", "bf16": "bf16"}
_BATCH = 16  # as fast as 32, and less to wait for
_TOKENS = 256  # of one forward pass over texts that share their beginnings: its mask grows with their square
_WHOLE_TEXTS = 32  # of one forward pass
_EXPORT_SECONDS = 1800.0  # that another process is given to finish the same export


def load(spec: ModelSpec, weights: Callable[[], Path], compute: Computing, folder: Path | None) -> OpenVinoEngine:
    """The engine over the export in `folder`, which is made if it is not there (whole or not at all).

    Raises `ModelError` if the model cannot be loaded or this machine cannot compute it as asked, `ExportError` if it
    cannot be exported.
    """
    if compute.precision not in ("auto", *_HINTS):
        raise ModelError(f"The engine openvino computes in fp32 or bf16, not {compute.precision}. Try --engine torch.")
    if compute.precision == "bf16" and not computes_in_bf16():
        raise ModelError("This processor does not compute in bf16. Leave out --precision bf16, or use --engine torch.")
    if folder is None:
        raise ExportError("there is no folder to keep the converted model in")
    if not _is_whole(folder):
        _refuse_known_failure(folder)
        _make(spec, weights, folder)
    _touch(folder)
    precision, reason = _choose(folder, spec.preprocessing) if compute.precision == "auto" else (compute.precision, "")
    return OpenVinoEngine(folder, precision, reason, compute.batch_size)


def _make(spec: ModelSpec, weights: Callable[[], Path], folder: Path) -> None:
    checkpoint = weights()
    try:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock", timeout=_EXPORT_SECONDS):
            if _is_whole(folder):  # another process made it meanwhile,
                return
            _refuse_known_failure(folder)  # or failed to
            _remove(folder)
            logger.info("Converting %s for this processor, once: this may take a minute.", spec.title)
            from zsclip.engines import export

            try:
                export.make(spec, checkpoint, folder)
            except ExportError as error:
                _remember_failure(folder, str(error))
                raise
    except (OSError, Timeout) as error:
        raise ExportError(f"the converted model cannot be kept in {folder.parent}: {error}") from None


def _touch(folder: Path) -> None:
    """Leave a mark that the export was used: what was not for longest is pruned first."""
    with contextlib.suppress(OSError):  # somebody else's, or on a read-only disk: it can be used all the same
        os.utime(folder / EXPORT_FACTS)


def _failure_file(folder: Path) -> Path:
    versions = "-".join(version(name) for name in ("openvino", "torch", "open_clip_torch"))
    return folder.with_name(f"{folder.name}.failed-{versions}")


def _remember_failure(folder: Path, reason: str) -> None:
    """So that the next run does not try again, with these versions of the libraries, what takes a minute to fail."""
    _failure_file(folder).write_text(reason, encoding="utf-8")


def _refuse_known_failure(folder: Path) -> None:
    try:
        reason = _failure_file(folder).read_text(encoding="utf-8")
    except OSError:
        return
    raise ExportError(f"{reason} (so it was when it was tried, as {_failure_file(folder)} says)")


def _remove(folder: Path) -> None:
    """Clear what an interrupted export left, and an export that is not whole."""
    import shutil

    for path in (folder, *folder.parent.glob(f".{folder.name}-*")):
        shutil.rmtree(path, ignore_errors=True)


def _is_whole(folder: Path) -> bool:
    try:
        document = json.loads((folder / EXPORT_FACTS).read_text(encoding="utf-8"))
        sizes = document["sizes"]
        return document["version"] == EXPORT_VERSION and all(
            (folder / name).stat().st_size == size for name, size in sizes.items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


@cache
def _core() -> Any:
    return openvino.Core()


@cache
def computes_in_bf16() -> bool:
    """Whether this processor has instructions for bf16."""
    return "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _choose(folder: Path, preprocessing: Preprocessing) -> tuple[str, str]:
    """bf16 where the processor computes in it and these weights bear it; and why."""
    if not computes_in_bf16():
        return "fp32", "this processor does not compute in bf16"
    measured = Bf16.of(folder, preprocessing)
    text = f"bf16 gives cosines of {measured.images:.6f} (images) and {measured.texts:.6f} (texts) or more to fp32"
    if measured.worst >= LEAST_COSINE:
        return "bf16", text
    return "fp32", f"{text}, under {LEAST_COSINE}"


@dataclass(frozen=True)
class Bf16:
    """The smallest cosines between bf16 and fp32 over the probes."""

    images: float
    texts: float

    @property
    def worst(self) -> float:
        """The smaller of the two; what is no number counts as 0."""
        return min(value if np.isfinite(value) else 0.0 for value in (self.images, self.texts))

    @classmethod
    def of(cls, folder: Path, preprocessing: Preprocessing) -> Bf16:
        """What was measured on this kind of processor, measured now if it was not, and kept with the export."""
        path = folder / BF16_FACTS
        processor = _core().get_property("CPU", "FULL_DEVICE_NAME")
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            if kept.pop("processor") == processor:
                return cls(**kept)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            pass
        measured = cls.measure(folder, preprocessing)
        temporary = path.with_name(f".{path.name}-{id(measured)}")
        try:
            temporary.write_text(json.dumps({**vars(measured), "processor": processor}), encoding="utf-8")
            temporary.replace(path)
        except OSError as error:
            logger.debug("%s cannot be written (%s); it is measured again next time.", path, error)
        return measured

    @classmethod
    def measure(cls, folder: Path, preprocessing: Preprocessing) -> Bf16:
        """Computing the probes both ways."""
        pixels = probes.pixels(preprocessing)
        images, texts = [], []
        for precision in _HINTS:
            engine = OpenVinoEngine(folder, precision)
            images.append(engine.encode_images(pixels))
            texts.append(np.stack([one.vector for one in engine.encode_texts(probes.TEXTS)]))
        return cls(_least_cosine(*images), _least_cosine(*texts))


def _least_cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    return float(np.einsum("nd,nd->n", a, b, dtype=np.float64).min())


class OpenVinoEngine:
    """An exported model on the CPU. See `zsclip.engines.Engine`."""

    def __init__(self, folder: Path, precision: str, reason: str = "", batch_size: int | None = None) -> None:
        document = json.loads((folder / EXPORT_FACTS).read_text(encoding="utf-8"))
        self._folder = folder
        self._hint = _HINTS[precision]
        self._pooled_at: str | int = document["pooled_at"]
        self._vocabulary = int(document["vocabulary"])
        self.facts = ModelFacts(**document["facts"])
        self.parameters = int(document["parameters"])
        self.exact = precision == "fp32"
        self.batch_size = batch_size or _BATCH
        self.description = f"openvino on the CPU, {precision}" + (f": {reason}" if reason else "")

    @cached_property
    def _images(self) -> _Tower:
        return _Tower(self._folder / "image.xml", self._hint)

    @cached_property
    def _texts(self) -> _Tower:
        return _Tower(self._folder / "text.xml", self._hint)

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        try:
            return Tokenizer.load(self._folder)
        except Exception as error:  # the library raises nothing narrower
            raise ModelError(f"{self._folder} cannot be read ({error}). Remove it; it is made again.") from None

    @property
    def streams(self) -> int:
        """See `Engine`."""
        return self._images.streams

    def encode_images(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `Engine`."""
        return _unit(self._images(pixels))

    def encode_texts(self, texts: Sequence[str]) -> list[Embedding]:
        """See `Engine`. Where padding is inert, texts run at their own length, and what they begin with in common once."""
        tokens = self._tokenizer(texts)
        require_known(self.facts.title, int(tokens.max()), self._vocabulary)
        vectors = np.empty((len(texts), self.facts.dimension), np.float32)

        def run(batch: tuple[NDArray[np.intp], tuple[NDArray[Any], ...]]) -> None:
            rows, inputs = batch
            vectors[rows] = _unit(self._texts(*inputs)[: len(rows)])

        with ThreadPoolExecutor(self._texts.streams) as pool:
            list(pool.map(run, self._batches(tokens)))
        return [
            Embedding(vector, Quality.of(fp32=self.exact), cut)
            for vector, cut in zip(vectors, self._tokenizer.cuts(texts, tokens), strict=True)
        ]

    def _batches(self, tokens: NDArray[np.int32]) -> Iterator[tuple[NDArray[np.intp], tuple[NDArray[Any], ...]]]:
        """Rows of texts, and what the tower is given for them."""
        if self._pooled_at == ALL:
            for start in range(0, len(tokens), _WHOLE_TEXTS):
                rows = np.arange(start, min(start + _WHOLE_TEXTS, len(tokens)))
                yield rows, (tokens[rows],)
            return
        marks = tokens if self._pooled_at == LARGEST else tokens == self._pooled_at
        for forest in forests(tokens, np.argmax(marks, axis=1) + 1, _TOKENS, self._texts.streams):
            yield forest.rows, forest.inputs


class _Tower:
    """One compiled graph; threads may share it, as many at once as it has streams."""

    def __init__(self, path: Path, hint: str) -> None:
        options = {
            "INFERENCE_PRECISION_HINT": hint,
            "PERFORMANCE_HINT": "THROUGHPUT",
            "INFERENCE_NUM_THREADS": available_cores(),
        }
        try:
            compiled = _core().compile_model(path, "CPU", options)
        except RuntimeError as error:
            raise ModelError(
                f"{path} cannot be loaded by OpenVINO {version('openvino')}: {str(error).strip().splitlines()[-1]} "
                f"Remove the folder {path.parent}; it is made again."
            ) from None
        self.streams = int(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        self._idle: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for _ in range(self.streams):
            self._idle.put(compiled.create_infer_request())

    def __call__(self, *inputs: NDArray[Any]) -> NDArray[np.float32]:
        request = self._idle.get()
        try:
            request.infer([np.ascontiguousarray(one) for one in inputs], share_inputs=True)
            return np.array(request.get_output_tensor().data, np.float32)
        except RuntimeError as error:
            raise ModelError(f"OpenVINO failed: {str(error).strip()[:300]} Try --engine torch.") from None
        finally:
            self._idle.put(request)


def _unit(features: NDArray[np.float32]) -> NDArray[np.float32]:
    # A length of nothing, which broken weights may give, is reported by the caller.
    with np.errstate(invalid="ignore", divide="ignore"):
        unit: NDArray[np.float32] = features / np.linalg.norm(features, axis=-1, keepdims=True)
    return unit
