"""Makes exports (see `export_files`): converts open_clip's own modules for OpenVINO, and compares what both compute.

Only this module needs torch, open_clip and OpenVINO at once.
"""

from __future__ import annotations

import logging
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from zsclip import atomic
from zsclip.engines import probes
from zsclip.engines.base import Computing, ExportError
from zsclip.engines.openvino import converted_tokenizer
from zsclip.engines.openvino.engine import OpenVinoEngine
from zsclip.engines.openvino.export_files import Export, ExportFacts
from zsclip.engines.openvino.prefixes import forests
from zsclip.engines.openvino.runtime import openvino
from zsclip.engines.openvino.source import ALL, LARGEST
from zsclip.engines.torch.engine import TorchEngine
from zsclip.engines.torch.text_tower import TextTower, pooling, project
from zsclip.images.preprocessing import fit
from zsclip.models import ModelSpec
from zsclip.models.lean_imports import import_without
from zsclip.steps import Steps
from zsclip.unit_vectors import Embedding

# The converter would tell its makers what it converts, if the user ever agreed to that for another program.
converter = import_without("openvino.tools.ovc", "openvino_telemetry")

logger = logging.getLogger("zsclip")

_BESIDE_WEIGHTS = 16 << 20  # bytes of graphs, tokenizer and constants, and to spare
TOLERANCE = 1e-5  # of an element of a unit vector, between PyTorch and OpenVINO in fp32
# Compared: one that is cut, one that another begins with, one that is not ASCII, and none at all.
_TEXTS = probes.TEXTS[-5:]


def make(spec: ModelSpec, checkpoint: Path, folder: Path, computing: Computing, steps: Steps) -> OpenVinoEngine:
    """Convert a model into `folder`, which must not be there yet. Of `computing` the batch size and threads count; `steps` are
    reading, the two towers, and comparing.

    Gives the engine, in fp32, that was compared with PyTorch: its towers are compiled. Raises `ModelError` if the model cannot
    be loaded, `ExportError` if it cannot be converted or the result does not give the vectors that PyTorch gives, `OSError` if
    it cannot be written.
    """
    steps.next()
    reference = TorchEngine(spec, checkpoint, Computing("cpu", "torch", "fp32", threads=computing.threads))
    _require_room(folder.parent, reference.parameters)
    try:
        with atomic.new_folder(folder) as made:
            return _converted(reference, made, computing, steps)
    except (ExportError, OSError):
        raise
    except Exception as error:
        raise _failure("it cannot be run after conversion", error) from error


def _converted(reference: TorchEngine, made: Path, computing: Computing, steps: Steps) -> OpenVinoEngine:
    tower = reference.text_tower
    tokenizer = converted_tokenizer.convert(reference.spec, reference.tokenizer)
    tokenizer.save(made)
    pixels, tokens = _pictures(reference.spec), tokenizer(_TEXTS)
    steps.next()
    _save(_ImageTower(reference), [(torch.from_numpy(pixels[:1]), [-1, *pixels.shape[1:]])], made / "image.xml")
    steps.next()
    _save(*_text_tower(reference, tokens[-1:]), made / "text.xml")
    steps.next()
    engine = _opened(reference, made, computing)
    _require_equal("images", reference.encode_images(pixels), engine.encode_images(pixels))
    expected, found = _whole_texts(reference, tokens), _vectors(engine.encode_texts(_TEXTS))
    if tower.shortens and not _difference(expected, found) <= TOLERANCE:
        logger.debug("%s: shortened texts differ; they run at full length.", reference.facts.title)
        tower.shortens = False
        del engine  # which has the files mapped
        _save(*_text_tower(reference, tokens[-1:]), made / "text.xml")
        engine = _opened(reference, made, computing)
        found = _vectors(engine.encode_texts(_TEXTS))
    _require_equal("texts", expected, found)
    return engine


def _opened(reference: TorchEngine, made: Path, computing: Computing) -> OpenVinoEngine:
    tower = reference.text_tower
    ExportFacts(reference.facts, reference.parameters, _pooled_at(tower), tower.vocabulary).write(made)
    return OpenVinoEngine(Export(made), "fp32", computing)


def _failure(what: str, error: Exception) -> ExportError | OSError:
    """What to raise for whatever the libraries raise. Want of memory passes, so it says nothing about the model."""
    text = next(iter(str(error).strip().splitlines()), "")[:200] or type(error).__name__
    if isinstance(error, MemoryError) or "alloc" in text or "out of memory" in text:
        return OSError(f"{what} for want of memory ({text})")
    return ExportError(f"{what}: {text}")


def _require_room(folder: Path, parameters: int) -> None:
    """Not everything that writes an export would say that the disk was full."""
    needed, free = 4 * parameters + _BESIDE_WEIGHTS, shutil.disk_usage(folder).free
    if free < needed:
        raise OSError(f"it takes {needed / 1e6:,.0f} MB, and {free / 1e6:,.0f} MB of the disk are free")


class _ImageTower(torch.nn.Module):
    """Pixels are scaled and normalised inside the graph, so that a batch comes in as bytes."""

    def __init__(self, engine: TorchEngine) -> None:
        super().__init__()
        self.model = engine.model
        self._engine = engine

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.model.encode_image(self._engine.normalise(pixels))
        return features


_Inputs = list[tuple[torch.Tensor, list[int]]]  # an example of each input, and its shape, with -1 for any size


def _text_tower(engine: TorchEngine, tokens: NDArray[np.int32]) -> tuple[torch.nn.Module, _Inputs]:
    """The tower as it is run: over trees of tokens if texts run at their own length, else over whole texts."""
    tower = engine.text_tower
    if not tower.shortens:
        return _WholeTexts(engine), [(torch.from_numpy(tokens), [-1, tokens.shape[1]])]
    (forest,) = forests(tokens, tower.lengths(torch.from_numpy(tokens)).numpy(), tokens.size)
    examples = [torch.from_numpy(one) for one in forest.inputs]
    return _SharedPrefixes(engine), [(one, [-1] * one.ndim) for one in examples]


class _WholeTexts(torch.nn.Module):
    def __init__(self, engine: TorchEngine) -> None:
        super().__init__()
        self.model = engine.model

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.model.encode_text(tokens)
        return features


class _SharedPrefixes(torch.nn.Module):
    """A causal tower over a `Forest`: what a token sees is told by the mask, where it stands by its depth."""

    def __init__(self, engine: TorchEngine) -> None:
        super().__init__()
        self.tower = engine.text_tower.module

    def forward(
        self, tokens: torch.Tensor, depths: torch.Tensor, sees: torch.Tensor, ends: torch.Tensor
    ) -> torch.Tensor:
        x = self.tower.token_embedding(tokens) + self.tower.positional_embedding[depths]
        mask = torch.zeros(sees.shape).masked_fill(~sees, float("-inf"))
        x = self.tower.transformer(x[None], attn_mask=mask)[0]
        return project(self.tower, self.tower.ln_final(x[ends]))


def _save(tower: torch.nn.Module, inputs: _Inputs, path: Path) -> None:
    try:
        with warnings.catch_warnings(), _quiet(), torch.no_grad():
            warnings.simplefilter("ignore")
            examples = tuple(example for example, _ in inputs)
            traced = torch.jit.trace(tower, examples, check_trace=False)  # type: ignore[no-untyped-call]
            graph = converter.convert_model(traced)
            graph.reshape({number: shape for number, (_, shape) in enumerate(inputs)})
    except Exception as error:  # the converters raise whatever they stumble over
        raise _failure(f"its {path.stem} tower cannot be converted", error) from error
    try:
        openvino.save_model(graph, path, compress_to_fp16=False)
    except RuntimeError as error:
        raise OSError(str(error).strip()[:200]) from None


@contextmanager
def _quiet() -> Iterator[None]:
    """The converter logs what it tries."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _pictures(spec: ModelSpec) -> NDArray[np.uint8]:
    """Two pictures to compare: a conversion is right or wrong on any, and in its batches of more than the one it was traced with."""
    size = (320, 240)
    return np.stack([fit(one, spec.preprocessing) for one in (probes.photo_like(size, 0), probes.occluding(size, 4))])


@torch.inference_mode()
def _whole_texts(reference: TorchEngine, tokens: NDArray[np.int32]) -> NDArray[np.float32]:
    """Unit vectors of texts at full length, as open_clip has them."""
    features = reference.model.encode_text(torch.from_numpy(tokens))
    return torch.nn.functional.normalize(features, dim=-1).numpy()


def _vectors(embeddings: list[Embedding]) -> NDArray[np.float32]:
    return np.stack([one.vector for one in embeddings])


def _pooled_at(tower: TextTower) -> str | int:
    """See `ExportFacts`."""
    if not tower.shortens:
        return ALL
    pool, end = pooling(tower.module)
    return LARGEST if pool == "argmax" else end


def _difference(expected: NDArray[np.float32], found: NDArray[np.float32]) -> float:
    return float(np.abs(expected - found).max())


def _require_equal(kind: str, expected: NDArray[np.float32], found: NDArray[np.float32]) -> None:
    difference = _difference(expected, found)
    if not difference <= TOLERANCE:
        raise ExportError(f"its vectors of {kind} differ from PyTorch's by {difference:.1e} after conversion")
