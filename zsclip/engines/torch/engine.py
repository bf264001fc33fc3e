"""The reference engine: open_clip's modules on PyTorch, on CPU, CUDA or MPS."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from zsclip.engines import hardware
from zsclip.engines.base import Computing, Engine, require_known
from zsclip.engines.torch import memory
from zsclip.engines.torch.building import DTYPES, build
from zsclip.engines.torch.text_tower import TextTower
from zsclip.engines.torch.tokenizers import load_tokenizer
from zsclip.errors import ModelError
from zsclip.images.preprocessing import Preprocessing
from zsclip.models import ModelSpec
from zsclip.models.spec import ModelFacts
from zsclip.unit_vectors import Embedding, Floats, Quality

_BATCH = {"cpu": 32, "mps": 64, "cuda": 256}  # images, to begin with
_TOKENS = 16_384  # of one forward pass over texts: bounds its memory, and is enough to fill the machine


class Normalisation:
    """Pixels to a model's input, as torchvision does it."""

    def __init__(self, preprocessing: Preprocessing, device: torch.device | None = None) -> None:
        channel = (1, 3, 1, 1)
        self._mean = torch.tensor(preprocessing.mean, device=device).view(channel)
        self._std = torch.tensor(preprocessing.std, device=device).view(channel)

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """uint8 (n, height, width, 3) as float32 (n, 3, height, width)."""
        return pixels.permute(0, 3, 1, 2).contiguous().float().div_(255).sub_(self._mean).div_(self._std)


class TorchEngine:
    """open_clip's model, in eval mode. See `zsclip.engines.base.Engine`. Raises `ModelError`.

    `computing.threads`, if given, is set for all that PyTorch does in this process.
    """

    def __init__(self, spec: ModelSpec, checkpoint: Path, computing: Computing) -> None:
        self.spec = spec
        if computing.threads is not None:
            torch.set_num_threads(computing.threads)
        self.device = device_of(computing.device)
        precision = computing.effective_precision
        if precision == "auto":
            precision = "fp32"  # what a model loses in another is measured by `loading`
        self._dtype = DTYPES[precision]
        self.precision = precision
        if precision == "fp32":
            torch.backends.cudnn.allow_tf32 = False
            torch.backends.cuda.matmul.allow_tf32 = False
        self._tokens = _TOKENS
        try:
            with memory.shortage():
                self.model: Any = build(spec, checkpoint, precision).to(self.device)
        except MemoryError:
            raise self._too_small("this model") from None
        self.tokenizer = load_tokenizer(spec)
        self.text_tower = TextTower(self.model)
        self.normalise = Normalisation(spec.preprocessing, self.device)
        bias = getattr(self.model, "logit_bias", None)
        self.facts = ModelFacts(
            logit_scale=float(self.model.logit_scale.detach().float().exp()),
            logit_bias=0.0 if bias is None else float(bias.detach().float()),
            dimension=spec.embed_dim,
            title=spec.title,
        )
        self.parameters = sum(parameter.numel() for parameter in self.model.parameters())
        # On a GPU one batch is put together and handed over while another is computed.
        self.streams = 2 if self.device.type == "cuda" else 1
        self.batch_size = computing.batch_size or _BATCH[self.device.type]
        self.description = f"torch on {self.device}, {precision}"

    def encode_images(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `Engine`. The batch size is halved whenever memory does not suffice."""
        vectors = np.empty((len(pixels), self.facts.dimension), np.float32)
        start = 0
        while start < len(pixels):
            batch = pixels[start : start + self.batch_size]
            try:
                with memory.shortage():
                    vectors[start : start + len(batch)] = self._encode(batch)
                start += len(batch)
                continue
            except MemoryError:
                if len(batch) == 1:
                    raise self._too_small("one image") from None
            memory.release(self.device)  # not above, where the error still holds on to what was computed
            self.batch_size = min(self.batch_size, len(batch) // 2)
        return vectors

    @torch.inference_mode()
    def _encode(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """All threads share PyTorch's one stream: what is computed and copied there follows one after the other."""
        tensor = torch.from_numpy(pixels)
        if self.device.type == "cuda":
            tensor = tensor.pin_memory()
        on_device = tensor.to(self.device, non_blocking=True)
        return _unit(self.model.encode_image(self.normalise(on_device).to(self._dtype)))

    def settled(self, labels: Floats | None = None) -> Engine:  # noqa: ARG002  (there is nothing to measure)
        """See `Engine`."""
        return self

    def _too_small(self, what: str) -> ModelError:
        on_cpu = self.device.type == "cpu"
        place = "This machine" if on_cpu else f"The device {self.device}"
        remedy = "Close other programs, or take a smaller `model`." if on_cpu else "Try `device=cpu`."
        return ModelError(f"{place} has not enough memory for {what}.", remedy=remedy)

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[str]) -> list[Embedding]:
        """See `Engine`. Texts run sorted by length, each batch at the length of its longest where padding is inert."""
        tokens = self.tokenizer(texts)
        require_known(self.spec.title, int(tokens.max()), self.text_tower.vocabulary)
        lengths = self.text_tower.lengths(tokens)
        vectors = np.empty((len(texts), self.facts.dimension), np.float32)
        order = torch.argsort(lengths, stable=True)
        start = 0
        while start < len(order):
            stop = self._batch_end(lengths[order], start)
            rows = order[start:stop]
            width = int(lengths[rows].max())
            try:
                with memory.shortage():
                    vectors[rows.numpy()] = _unit(self.text_tower.encode(tokens[rows, :width].to(self.device)))
                start = stop
                continue
            except MemoryError:
                if len(rows) == 1:
                    raise self._too_small("one text") from None
            memory.release(self.device)
            self._tokens = width * len(rows) // 2
        return [
            Embedding(vector, Quality.of(self.precision), cut)
            for vector, cut in zip(vectors, self.tokenizer.cuts(texts, tokens), strict=True)
        ]

    def _batch_end(self, sorted_lengths: torch.Tensor, start: int) -> int:
        stop = start
        while stop < len(sorted_lengths):
            width = int(sorted_lengths[stop])
            if stop > start and (stop - start + 1) * width > self._tokens:
                break
            stop += 1
        return stop


def _unit(features: torch.Tensor) -> NDArray[np.float32]:
    return F.normalize(features.float(), dim=-1).cpu().numpy()


def device_of(name: str) -> torch.device:
    """The device of that name, on which PyTorch computes; raises `ModelError`."""
    if name == "auto":
        return torch.device(hardware.gpu() or "cpu")
    device = torch.device(name)
    where = f"`device={name}`"
    count = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= count:
        have = f"this machine has {count} (numbered from 0)" if count else "torch finds none on this machine"
        raise ModelError(f"there is no such CUDA device; {have}.", where=where, remedy="Try `device=cpu` or auto.")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ModelError("torch finds no Apple GPU on this machine.", where=where, remedy="Try `device=cpu`.")
    if device.type != "cpu" and (fault := hardware.fault_of(device)):
        gpu, why = fault
        remedy = "Install a PyTorch that supports it, or try `device=cpu`."
        raise ModelError(f"the {gpu} cannot be used: {why}.", where=where, remedy=remedy)
    return device
