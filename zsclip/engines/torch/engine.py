"""The reference engine: open_clip's modules on PyTorch, on CPU, CUDA or MPS."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from zsclip.engines.base import Computing, require_known
from zsclip.engines.torch.building import DTYPES, build
from zsclip.engines.torch.text_tower import TextTower
from zsclip.engines.torch.tokenizers import load_tokenizer
from zsclip.errors import ModelError
from zsclip.images.preprocessing import Preprocessing
from zsclip.models import ModelSpec
from zsclip.models.spec import ModelFacts
from zsclip.unit_vectors import Embedding, Quality

_BATCH = {"cpu": 32, "mps": 64}
_LARGEST_BATCH = 512
_SAMPLE = 8  # images by which the memory that one takes is measured
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
        self._device = _device(computing.device)
        precision = computing.effective_precision
        if precision == "auto":
            # On CUDA half precision is what CLIP was published in. On a CPU it costs some models (ResNets, MobileCLIP)
            # more than it should, which only a measurement tells.
            precision = "fp16" if self._device.type == "cuda" else "fp32"
        self._dtype = DTYPES[precision]
        self.exact = precision == "fp32"
        if self.exact:
            torch.backends.cudnn.allow_tf32 = False
            torch.backends.cuda.matmul.allow_tf32 = False
        self._tokens = _TOKENS
        try:
            self.model: Any = build(spec, checkpoint, precision).to(self._device)
        except torch.OutOfMemoryError:
            raise self._too_small("this model") from None
        self.tokenizer = load_tokenizer(spec)
        self.text_tower = TextTower(self.model)
        self.normalise = Normalisation(spec.preprocessing, self._device)
        bias = getattr(self.model, "logit_bias", None)
        self.facts = ModelFacts(
            logit_scale=float(self.model.logit_scale.detach().float().exp()),
            logit_bias=0.0 if bias is None else float(bias.detach().float()),
            dimension=spec.embed_dim,
            title=spec.title,
        )
        self.parameters = sum(parameter.numel() for parameter in self.model.parameters())
        is_cuda = self._device.type == "cuda"
        # On a GPU one batch is copied while another is computed.
        self.streams = 2 if is_cuda else 1
        self._own = threading.local()
        self.batch_size = computing.batch_size or (self._fitting_batch() if is_cuda else _BATCH[self._device.type])
        self.description = f"torch on {self._device}, {precision}"

    def encode_images(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `Engine`. A batch too large for the device's memory is halved until it fits."""
        try:
            with torch.inference_mode(), self._stream():
                return _unit(self.model.encode_image(self.normalise(self._on_device(pixels)).to(self._dtype)))
        except torch.OutOfMemoryError:
            if len(pixels) == 1:
                raise self._too_small("one image") from None
        torch.cuda.empty_cache()
        half = len(pixels) // 2
        self.batch_size = max(1, min(self.batch_size, half))
        return np.concatenate([self.encode_images(pixels[:half]), self.encode_images(pixels[half:])])

    def _too_small(self, what: str) -> ModelError:
        return ModelError(f"{self._device} has not enough memory for {what}.", remedy="Try `device=cpu`.")

    def _on_device(self, pixels: NDArray[np.uint8]) -> torch.Tensor:
        tensor = torch.from_numpy(pixels)
        if self._device.type == "cuda":
            return tensor.pin_memory().to(self._device, non_blocking=True)
        return tensor.to(self._device)

    def _stream(self) -> AbstractContextManager[Any]:
        """The queue of the GPU that this thread uses."""
        if self._device.type != "cuda":
            return nullcontext()
        if not hasattr(self._own, "stream"):
            self._own.stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        return torch.cuda.stream(self._own.stream)  # type: ignore[no-any-return, no-untyped-call, unused-ignore]

    def _fitting_batch(self) -> int:
        """A power of two of images whose batches, on all streams, fill at most half of the GPU's free memory."""
        height, width = self.spec.preprocessing.size
        sample = np.zeros((_SAMPLE, height, width, 3), np.uint8)
        self.batch_size = _SAMPLE
        self.encode_images(sample)  # what is set up once does not count
        before = torch.cuda.memory_allocated(self._device)
        torch.cuda.reset_peak_memory_stats(self._device)
        self.encode_images(sample)
        each = max(1, torch.cuda.max_memory_allocated(self._device) - before) / _SAMPLE
        free, _ = torch.cuda.mem_get_info(self._device)
        room = int(free / 2 / self.streams / each)
        return max(1, min(_LARGEST_BATCH, 1 << max(0, room.bit_length() - 1)))

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
                vectors[rows.numpy()] = _unit(self.text_tower.encode(tokens[rows, :width].to(self._device)))
            except torch.OutOfMemoryError:
                if len(rows) == 1:
                    raise self._too_small("one text") from None
                torch.cuda.empty_cache()
                self._tokens = width * len(rows) // 2
                continue
            start = stop
        return [
            Embedding(vector, Quality.of(fp32=self.exact), cut)
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


def _device(name: str) -> torch.device:
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    device = torch.device(name)
    count = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= count:
        have = f"this machine has {count} (numbered from 0)" if count else "torch finds none on this machine"
        what, remedy = f"there is no such CUDA device; {have}.", "Try `device=cpu` or auto."
        raise ModelError(what, where=f"`device={name}`", remedy=remedy)
    if device.type == "mps" and not torch.backends.mps.is_available():
        what = "torch finds no Apple GPU on this machine."
        raise ModelError(what, where="`device=mps`", remedy="Try `device=cpu`.")
    return device
