"""int8 for images, on demand: calibrated on the first pictures of a run, measured on the next, and kept.

NNCF (Apache-2.0) replaces matrix products of float32 by products of 8-bit integers, whose ranges it takes from pictures that the
model computes. What that costs depends on the model and the pictures, so it is measured on pictures that it has not seen, and
told. Texts stay as they are: they are few, and every image is compared with them.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zsclip import atomic
from zsclip.engines import probes
from zsclip.engines.base import Computing, Engine
from zsclip.engines.hardware import multiplies_int8
from zsclip.engines.openvino import runtime
from zsclip.engines.openvino.engine import OpenVinoEngine
from zsclip.engines.openvino.source import Source
from zsclip.engines.openvino.tower import Tower
from zsclip.errors import ModelError
from zsclip.models.lean_imports import absent
from zsclip.scoring.probability import probabilities, similarities
from zsclip.store.exports import Use
from zsclip.unit_vectors import Floats

logger = logging.getLogger("zsclip")

CALIBRATED_ON, MEASURED_ON = 100, 50  # pictures
# Below these the user is warned: the 5th percentile of the cosine to fp32, and how often the first label stays.
LEAST_COSINE, LEAST_SAME = 0.99, 0.95
_FACTS, _VERSION = "int8.json", 1


@dataclass(frozen=True)
class Cost:
    """What int8 costs over `pictures` that it was not calibrated on, beside fp32: quantiles of the cosine, how many have the `same`
    first of so many `labels`, and the 95th percentile of how far its probability moves, at the model's own scale."""

    pictures: int
    median_cosine: float
    low_cosine: float
    same: int
    labels: int
    probability_shift: float

    @classmethod
    def of(cls, fp32: Floats, int8: Floats, labels: Floats, scale: float, bias: float) -> Cost:
        """Of unit vectors (n, d) of the same pictures, and of class vectors (labels, d)."""
        cosines = np.einsum("nd,nd->n", fp32, int8, dtype=np.float64)
        chances = [probabilities(similarities(one, labels), scale, bias) for one in (fp32, int8)]
        first = chances[0].argmax(axis=1)
        rows = np.arange(len(first))
        shifts = np.abs(chances[0][rows, first] - chances[1][rows, first])
        low, median = np.quantile(cosines, [0.05, 0.5])
        same = int((first == chances[1].argmax(axis=1)).sum())
        return cls(len(fp32), float(median), float(low), same, len(labels), float(np.quantile(shifts, 0.95)))

    @property
    def holds(self) -> bool:
        """Whether it is within the bounds."""
        return self.low_cosine >= LEAST_COSINE and self.same / self.pictures >= LEAST_SAME

    def told(self) -> str:
        """The same in words."""
        from scipy.stats import binomtest

        interval = binomtest(self.same, self.pictures).proportion_ci(method="wilson")
        return (
            f"on {self.pictures} pictures that int8 was not calibrated on, its vectors keep a cosine of {self.median_cosine:.4f} "
            f"to those of fp32 (median; 5th percentile {self.low_cosine:.4f}). The first of {self.labels} labels stays for "
            f"{self.same} of them ({interval.low:.0%} to {interval.high:.0%}, 95 % interval), and its probability moves by "
            f"{self.probability_shift:.3f} or less for 95 of 100"
        )


def engine_for(source: Source, computing: Computing, folder: Path | None, text_precision: str) -> OpenVinoEngine:
    """The engine that computes images in int8, once it is calibrated; what is calibrated is kept in `folder` (None: nowhere).

    Raises `ModelError` where NNCF, which calibrates, is wanted and is not installed.
    """
    if not multiplies_int8():
        logger.warning(
            "This processor has no instructions for products of int8 (VNNI or AMX): int8 is slower than fp32 here."
        )
    if folder is not None and _is_complete(folder):
        return Int8Engine(source, computing, folder / "image.xml", text_precision, Use(folder))
    if find_spec("nncf") is None:
        raise ModelError("`precision=int8` needs NNCF: pip install 'zsclip[int8]'")
    logger.info(
        "int8 is calibrated on the first %d new pictures and measured on the next %d, which are computed in fp32.",
        CALIBRATED_ON, MEASURED_ON,
    )  # fmt: skip
    return UncalibratedEngine(source, computing, folder, text_precision)


def _is_complete(folder: Path) -> bool:
    try:
        document = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
        return document["version"] == _VERSION and all(
            (folder / name).stat().st_size == size for name, size in document["sizes"].items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


class Int8Engine(OpenVinoEngine):
    """Images by `graph`, a quantised image tower or the path of its XML file, texts as ever in `text_precision`."""

    def __init__(
        self, source: Source, computing: Computing, graph: Any, text_precision: str, use: Use | None = None
    ) -> None:
        super().__init__(source, text_precision, computing)
        self.use = use
        self.precision = "int8"
        self.description = "openvino on the CPU, int8 (images)"
        beside = "bf16" if runtime.computes_in_bf16() else "fp32"  # what is no matrix product
        self._image = Tower(
            graph, beside, computing.threads, "Remove what `cache info` shows, or leave out `precision=int8`."
        )

    @property
    def streams(self) -> int:
        """See `Engine`."""
        return self._image.streams

    def encode_images(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `Engine`."""
        return self.as_units(self._image(pixels))


class UncalibratedEngine(OpenVinoEngine):
    """In fp32 until enough pictures have come by to calibrate int8 with; `settled` does so."""

    def __init__(self, source: Source, computing: Computing, folder: Path | None, text_precision: str) -> None:
        super().__init__(source, "fp32", computing, "int8 is calibrated as soon as there are enough pictures")
        self._computing, self._folder, self._text_precision = computing, folder, text_precision
        self._pixels: list[NDArray[np.uint8]] = []
        self._vectors: list[Floats] = []
        self._settled: Int8Engine | None = None
        self._lock = threading.Lock()

    def encode_images(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `Engine`."""
        vectors = super().encode_images(pixels)
        with self._lock:
            if self._settled is None:
                self._pixels += [np.array(one) for one in pixels]
                self._vectors += list(vectors)
        return vectors

    def settled(self, labels: Floats | None = None) -> Engine:
        """See `Engine`."""
        with self._lock:
            if self._settled is None and len(self._pixels) >= CALIBRATED_ON + MEASURED_ON:
                self._settled = self._calibrated(labels)
                self._pixels, self._vectors = [], []
        return self._settled or self

    def _calibrated(self, labels: Floats | None) -> Int8Engine:
        logger.info("Calibrating int8 for %s on %d pictures.", self.facts.title, CALIBRATED_ON)
        graph = _quantised(self.source.image, self._pixels[:CALIBRATED_ON])
        engine = Int8Engine(self.source, self._computing, graph, self._text_precision)
        if labels is None:
            labels = np.stack([one.vector for one in self.encode_texts(probes.TEXTS)])
        unseen = slice(CALIBRATED_ON, CALIBRATED_ON + MEASURED_ON)
        found = engine.encode_images(np.stack(self._pixels[unseen]))
        facts = self.facts
        cost = Cost.of(np.stack(self._vectors[unseen]), found, labels, facts.logit_scale, facts.logit_bias)
        logger.info("%s: %s.", facts.title, cost.told())
        if not cost.holds:
            instead = "`precision=bf16`" if runtime.computes_in_bf16() else "`precision=fp32`"
            logger.warning(
                "int8 costs more than zsclip advises (a cosine of %.2f at the 5th percentile, and the same first label for %.0f %%). "
                "Consider %s.", LEAST_COSINE, 100 * LEAST_SAME, instead,
            )  # fmt: skip
        if self._folder is not None:
            _keep(graph, cost, self._folder)
        self._towers.release()
        return engine


def _quantised(graph: Any, pixels: list[NDArray[np.uint8]]) -> Any:
    """The graph with products of int8; raises `ModelError`."""
    graph = runtime.core().read_model(graph) if isinstance(graph, Path) else graph
    # NNCF would tell its makers what it does, if the user ever agreed to that for another program; and it imports whatever
    # frameworks there are, which takes seconds.
    with absent("openvino_telemetry", "torch", "onnx"), _quiet():
        import nncf

        try:
            dataset = nncf.Dataset([one[None] for one in pixels])
            return nncf.quantize(graph, dataset, model_type=nncf.ModelType.TRANSFORMER, subset_size=len(pixels))
        except Exception as error:  # whatever it stumbles over
            raise ModelError(f"int8 cannot be calibrated ({error}).", remedy="Leave out `precision=int8`.") from None


@contextmanager
def _quiet() -> Iterator[None]:
    """NNCF logs what it does, and draws bars by Rich's own console, on stdout, where rows belong."""
    import rich

    nncfs = logging.getLogger("nncf")
    before = nncfs.level
    nncfs.setLevel(logging.ERROR)
    rich.reconfigure(quiet=True, force_terminal=False)
    try:
        yield
    finally:
        rich.reconfigure()
        nncfs.setLevel(before)


def _keep(graph: Any, cost: Cost, folder: Path) -> None:
    try:
        atomic.remove_unfinished_folders(folder)
        with atomic.new_folder(folder) as made:
            runtime.openvino.save_model(graph, made / "image.xml", compress_to_fp16=False)
            document = {
                "version": _VERSION,
                "cost": asdict(cost),
                "openvino": version("openvino"),
                "nncf": version("nncf"),
                "sizes": {path.name: path.stat().st_size for path in sorted(made.iterdir())},
            }
            (made / _FACTS).write_text(json.dumps(document, indent=1), encoding="utf-8")
    except (OSError, RuntimeError) as error:
        logger.warning("int8 cannot be kept in %s (%s); it is calibrated again next time.", folder.parent, error)
