"""The reference engine: open_clip's modules on PyTorch, on CPU, CUDA or MPS."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from open_clip.transformer import text_global_pool
from torch.nn import functional as F

from zsclip.engines import Computing, require_known
from zsclip.engines.building import DTYPES, build, padding_is_inert
from zsclip.engines.tokenizing import load_tokenizer
from zsclip.errors import ModelError
from zsclip.models import ModelSpec
from zsclip.models.spec import ModelFacts
from zsclip.unit_vectors import Embedding, Quality

_BATCH = {"cpu": 32, "mps": 64}
_LARGEST_BATCH = 512
_SAMPLE = 8  # images by which the memory that one takes is measured
_TOKENS = 16_384  # of one forward pass over texts: bounds its memory, and is enough to fill the machine


def load(spec: ModelSpec, checkpoint: Path, compute: Computing) -> TorchEngine:
    """Build the model and load its weights; raises `ModelError`."""
    return TorchEngine(spec, checkpoint, compute)


class TorchEngine:
    """open_clip's model, in eval mode. See `zsclip.engines.Engine`."""

    def __init__(self, spec: ModelSpec, checkpoint: Path, compute: Computing) -> None:
        self.spec = spec
        self._device = _device(compute.device)
        precision = compute.precision
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
        self.text_tower = getattr(self.model, "text", self.model)
        self.shortens = padding_is_inert(self.text_tower)
        channel = (1, 3, 1, 1)
        self._mean = torch.tensor(spec.preprocessing.mean, device=self._device).view(channel)
        self._std = torch.tensor(spec.preprocessing.std, device=self._device).view(channel)
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
        self.batch_size = compute.batch_size or (self._fitting_batch() if is_cuda else _BATCH[self._device.type])
        self.description = f"torch on {self._device}, {precision}"

    def normalise(self, pixels: torch.Tensor) -> torch.Tensor:
        """uint8 (n, height, width, 3) to the model's input, float32 (n, 3, height, width), as torchvision does it."""
        return pixels.permute(0, 3, 1, 2).contiguous().float().div_(255).sub_(self._mean).div_(self._std)

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
        return ModelError(f"{self._device} has not enough memory for {what}. Try --device cpu.")

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
        require_known(self.spec.title, int(tokens.max()), self.vocabulary)
        lengths = self.lengths(tokens)
        vectors = np.empty((len(texts), self.facts.dimension), np.float32)
        order = torch.argsort(lengths, stable=True)
        start = 0
        while start < len(order):
            stop = self._batch_end(lengths[order], start)
            rows = order[start:stop]
            width = int(lengths[rows].max())
            try:
                vectors[rows.numpy()] = _unit(self.encode_tokens(tokens[rows, :width].to(self._device)))
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

    @cached_property
    def vocabulary(self) -> int:
        """How many different tokens the text tower knows; 0 if it does not say."""
        size = getattr(self.model, "vocab_size", 0) or getattr(self.text_tower, "vocab_size", 0)
        inner: Any = getattr(self.text_tower, "transformer", None)
        if not size and hasattr(inner, "get_input_embeddings"):
            size = inner.get_input_embeddings().weight.shape[0]
        return int(size)

    def lengths(self, tokens: torch.Tensor) -> torch.Tensor:
        """How many tokens of each row the tower needs: up to the one it pools at, or all."""
        if not self.shortens:
            return torch.full((len(tokens),), tokens.shape[1])
        pool, end = pooling(self.text_tower)
        return (tokens if pool == "argmax" else torch.eq(tokens, end).int()).argmax(dim=1) + 1

    def _batch_end(self, sorted_lengths: torch.Tensor, start: int) -> int:
        stop = start
        while stop < len(sorted_lengths):
            width = int(sorted_lengths[stop])
            if stop > start and (stop - start + 1) * width > self._tokens:
                break
            stop += 1
        return stop

    def encode_tokens(self, tokens: torch.Tensor) -> torch.Tensor:
        """open_clip's `encode_text`, which takes full-length input only, over its own modules."""
        if not self.shortens:
            features: torch.Tensor = self.model.encode_text(tokens)
            return features
        tower: Any = self.text_tower
        length = tokens.shape[1]
        dtype = tower.transformer.get_cast_dtype()
        x = tower.token_embedding(tokens).to(dtype) + tower.positional_embedding[:length].to(dtype)
        x = tower.ln_final(tower.transformer(x, attn_mask=tower.attn_mask[:length, :length]))
        pool, end = pooling(tower)
        return project(tower, text_global_pool(x, tokens, pool, eos_token_id=end))


def pooling(tower: Any) -> tuple[str, int]:
    """How a text tower of open_clip pools, and the token at which it does so if that is `eos`."""
    pool = getattr(tower, "text_pool_type", None) or tower.pool_type
    return pool, tower.text_eos_id if hasattr(tower, "text_eos_id") else tower.eos_id


def project(tower: Any, pooled: torch.Tensor) -> torch.Tensor:
    """Pooled features (n, width) of a text tower of open_clip as features (n, d)."""
    projection = tower.text_projection
    if projection is None:
        return pooled
    features: torch.Tensor = projection(pooled) if isinstance(projection, torch.nn.Linear) else pooled @ projection
    return features


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
        raise ModelError(f"--device {name}: there is no such CUDA device; {have}. Try --device cpu or auto.")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ModelError("--device mps: torch finds no Apple GPU on this machine. Try --device cpu.")
    return device
