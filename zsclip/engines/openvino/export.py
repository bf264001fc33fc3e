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
from typing import Any

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
from zsclip.engines.openvino.tokenizer import Tokenizer
from zsclip.engines.torch.engine import TorchEngine
from zsclip.engines.torch.text_tower import TextTower, pooling, project
from zsclip.models import ModelSpec
from zsclip.models.lean_imports import import_without

# The converter would tell its makers what it converts, if the user ever agreed to that for another program.
converter = import_without("openvino.tools.ovc", "openvino_telemetry")

logger = logging.getLogger("zsclip")

_BESIDE_WEIGHTS = 16 << 20  # bytes of graphs, tokenizer and constants, and to spare
TOLERANCE = 1e-5  # of an element of a unit vector, between PyTorch and OpenVINO in fp32


def make(spec: ModelSpec, checkpoint: Path, folder: Path, threads: int | None = None) -> None:
    """Convert a model into `folder`, which must not be there yet; `threads` as in `Computing`.

    Raises `ModelError` if the model cannot be loaded, `ExportError` if it cannot be converted or the result does not give
    the vectors that PyTorch gives, `OSError` if it cannot be written.
    """
    engine = TorchEngine(spec, checkpoint, Computing("cpu", "torch", "fp32", threads=threads))
    _require_room(folder.parent, engine.parameters)
    try:
        with atomic.new_folder(folder) as made:
            tokenizer = converted_tokenizer.convert(spec, engine.tokenizer)
            tokenizer.save(made)
            tower = engine.text_tower
            tower.shortens = _shortens(engine, tokenizer)
            height, width = spec.preprocessing.size
            _save(_ImageTower(engine), [(_example_pixels(spec), [-1, height, width, 3])], made / "image.xml")
            _save(*_text_tower(engine, tokenizer(probes.TEXTS[:2])), made / "text.xml")
            ExportFacts(engine.facts, engine.parameters, _pooled_at(tower), tower.vocabulary).write(made)
            _require_equal(engine, made)
    except (ExportError, OSError):
        raise
    except Exception as error:
        raise _failure("it cannot be run after conversion", error) from error


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


def _example_pixels(spec: ModelSpec) -> torch.Tensor:
    return torch.from_numpy(probes.pixels(spec.preprocessing)[:2])


def _shortens(engine: TorchEngine, tokenizer: Tokenizer) -> bool:
    """Whether texts may run at their own length: told by the tower, and measured."""
    if not engine.text_tower.shortens:
        return False
    texts = list(probes.TEXTS)
    with torch.inference_mode():
        full = torch.nn.functional.normalize(
            engine.model.encode_text(torch.from_numpy(tokenizer(texts))), dim=-1
        ).numpy()
    short = _vectors([engine.encode_texts([text])[0] for text in texts])  # alone, so that each has its own length
    difference = float(np.abs(short - full).max())
    if difference > TOLERANCE:
        logger.debug("%s: shortened texts differ by %.1e; they run at full length.", engine.facts.title, difference)
    return difference <= TOLERANCE


def _vectors(embeddings: list[Any]) -> NDArray[np.float32]:
    return np.stack([one.vector for one in embeddings])


def _pooled_at(tower: TextTower) -> str | int:
    """See `ExportFacts`."""
    if not tower.shortens:
        return ALL
    pool, end = pooling(tower.module)
    return LARGEST if pool == "argmax" else end


def _require_equal(reference: TorchEngine, folder: Path) -> None:
    engine = OpenVinoEngine(Export(folder), "fp32", Computing("cpu"))
    pixels, texts = probes.pixels(reference.spec.preprocessing), list(probes.TEXTS)
    for kind, expected, found in (
        ("images", reference.encode_images(pixels), engine.encode_images(pixels)),
        ("texts", _vectors(reference.encode_texts(texts)), _vectors(engine.encode_texts(texts))),
    ):
        difference = float(np.abs(expected - found).max())
        if not difference <= TOLERANCE:
            raise ExportError(f"its vectors of {kind} differ from PyTorch's by {difference:.1e} after conversion")
