"""The reference engine: open_clip's modules on PyTorch, on CPU, CUDA or MPS."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from open_clip.model import convert_weights_to_lp, get_cast_dtype
from open_clip.transformer import LayerNormFp32, text_global_pool
from safetensors import SafetensorError
from torch.nn import functional as F

from zsclip.engines import Compute
from zsclip.errors import ModelError
from zsclip.models import ModelSpec
from zsclip.vectors import Embedding, ModelFacts

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_BATCH = {"cpu": 32, "mps": 64, "cuda": 256}
_TOKENS = 16_384  # of one forward pass over texts: bounds its memory, and is enough to fill the machine


def load(spec: ModelSpec, checkpoint: Path, compute: Compute) -> TorchEngine:
    """Build the model and load its weights; raises `ModelError`."""
    return TorchEngine(spec, checkpoint, compute)


class TorchEngine:
    """open_clip's model, in eval mode. See `zsclip.engines.Engine`."""

    def __init__(self, spec: ModelSpec, checkpoint: Path, compute: Compute) -> None:
        self.spec = spec
        self._device = _device(compute.device)
        precision = compute.precision
        if precision == "auto":
            # On CUDA half precision is what CLIP was published in. On a CPU it costs some models (ResNets, MobileCLIP)
            # more than it should, which only a measurement tells.
            precision = "fp16" if self._device.type == "cuda" else "fp32"
        self._dtype = _DTYPES[precision]
        self.exact = precision == "fp32"
        if self.exact:
            torch.backends.cudnn.allow_tf32 = False
            torch.backends.cuda.matmul.allow_tf32 = False
        self.model: Any = _build(spec, checkpoint, precision).to(self._device).eval()
        self.tokenizer = open_clip.SimpleTokenizer(context_length=spec.context_length)
        self._text_tower = getattr(self.model, "text", self.model)
        self.shortens = _padding_is_inert(self._text_tower)
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
        self.streams = 1
        self.batch_size = compute.batch_size or _BATCH.get(self._device.type, 32)
        self.description = f"torch on {self._device}, {precision}"

    def normalise(self, pixels: torch.Tensor) -> torch.Tensor:
        """uint8 (n, height, width, 3) to the model's input, float32 (n, 3, height, width), as torchvision does it."""
        return pixels.permute(0, 3, 1, 2).contiguous().float().div_(255).sub_(self._mean).div_(self._std)

    @torch.inference_mode()
    def encode_images(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `Engine`. A batch too large for the device's memory is halved until it fits."""
        try:
            features = self.model.encode_image(
                self.normalise(torch.from_numpy(pixels).to(self._device)).to(self._dtype)
            )
            return _unit(features)
        except torch.OutOfMemoryError:
            if len(pixels) == 1:
                raise ModelError(f"{self._device} has not enough memory for one image. Try --device cpu.") from None
        torch.cuda.empty_cache()
        half = len(pixels) // 2
        self.batch_size = max(1, min(self.batch_size, half))
        return np.concatenate([self.encode_images(pixels[:half]), self.encode_images(pixels[half:])])

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[str]) -> list[Embedding]:
        """See `Engine`. Texts run sorted by length, each batch at the length of its longest where padding is inert."""
        tokens = self.tokenizer(list(texts))
        lengths = (tokens == self.tokenizer.eot_token_id).int().argmax(dim=1) + 1
        vectors = np.empty((len(texts), self.facts.dimension), np.float32)
        order = torch.argsort(lengths, stable=True)
        start = 0
        while start < len(order):
            stop = self._batch_end(lengths[order], start)
            rows = order[start:stop]
            width = int(lengths[rows].max()) if self.shortens else tokens.shape[1]
            vectors[rows.numpy()] = _unit(self.encode_tokens(tokens[rows, :width].to(self._device)))
            start = stop
        full = tokens[:, -1] != 0
        return [
            Embedding(vector, self.exact, self._cut(text) if is_full else "")
            for text, vector, is_full in zip(texts, vectors, full.tolist(), strict=True)
        ]

    def _batch_end(self, sorted_lengths: torch.Tensor, start: int) -> int:
        stop = start
        while stop < len(sorted_lengths):
            width = int(sorted_lengths[stop]) if self.shortens else self.spec.context_length
            if stop > start and (stop - start + 1) * width > _TOKENS:
                break
            stop += 1
        return stop

    def encode_tokens(self, tokens: torch.Tensor) -> torch.Tensor:
        """open_clip's `encode_text`, which takes full-length input only, over its own modules."""
        if not self.shortens:
            features: torch.Tensor = self.model.encode_text(tokens)
            return features
        tower: Any = self._text_tower
        length = tokens.shape[1]
        dtype = tower.transformer.get_cast_dtype()
        x = tower.token_embedding(tokens).to(dtype) + tower.positional_embedding[:length].to(dtype)
        x = tower.ln_final(tower.transformer(x, attn_mask=tower.attn_mask[:length, :length]))
        pool = getattr(tower, "text_pool_type", None) or tower.pool_type
        end = getattr(tower, "text_eos_id", None) or getattr(tower, "eos_id", None)
        pooled: torch.Tensor = text_global_pool(x, tokens, pool, eos_token_id=end)
        projection = tower.text_projection
        if projection is None:
            return pooled
        projected: torch.Tensor = projection(pooled) if isinstance(projection, torch.nn.Linear) else pooled @ projection
        return projected

    def _cut(self, text: str) -> str:
        tokens = self.tokenizer.encode(text)
        kept = self.spec.context_length - 2  # without begin and end
        return self.tokenizer.decode(tokens[kept:]).strip() if len(tokens) > kept else ""


def _padding_is_inert(tower: Any) -> bool:
    """Whether what follows the end token cannot reach the text's vector: a causal mask, pooling at the end token, and no
    class token appended behind the padding (CoCa's)."""
    pool = getattr(tower, "text_pool_type", None) or getattr(tower, "pool_type", None)
    causal = getattr(tower, "attn_mask", None) is not None
    return causal and getattr(tower, "cls_emb", None) is None and pool in ("argmax", "eos")


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


def _build(spec: ModelSpec, checkpoint: Path, precision: str) -> Any:
    """The model with its weights. Weights are read with `weights_only` or as safetensors: they cannot run code."""
    config = {**spec.config, "vision_cfg": dict(spec.config["vision_cfg"]), "text_cfg": dict(spec.config["text_cfg"])}
    custom = config.pop("custom_text", False)
    kind = open_clip.CustomTextCLIP if custom else open_clip.CLIP
    if "timm_model_name" in config["vision_cfg"]:
        config["vision_cfg"]["timm_model_pretrained"] = False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = kind(**config, cast_dtype=get_cast_dtype(precision))
            if precision != "fp32":
                _to_half(model, _DTYPES[precision], is_timm="timm_model_name" in config["vision_cfg"])
            open_clip.load_checkpoint(model, str(checkpoint), strict=True, weights_only=True)
    except RuntimeError as error:
        if "TorchScript" not in str(error):
            raise _does_not_fit(spec, checkpoint, error) from None
        raise ModelError(
            f"{spec.title}: {checkpoint} is a TorchScript archive, as OpenAI publishes its models; it holds code, which "
            f"zsclip does not run. Use the tag instead (--pretrained openai), or save its state_dict()."
        ) from None
    except FileNotFoundError:
        raise ModelError(f"{spec.title}: there is no file {checkpoint}.") from None
    except (pickle.UnpicklingError, EOFError, SafetensorError, OSError) as error:
        raise ModelError(
            f"{spec.title}: {checkpoint} holds no weights that can be read safely: {_first_line(error)} It must be a "
            f"whole state dict, saved by torch.save or as safetensors."
        ) from None
    except (KeyError, TypeError, ValueError, AttributeError, AssertionError, StopIteration) as error:
        raise _does_not_fit(spec, checkpoint, error) from None
    if not torch.isfinite(model.logit_scale.detach()).all():
        raise ModelError(f"{spec.title}: the weights in {checkpoint} hold no finite logit_scale; the file is broken.")
    return model


def _does_not_fit(spec: ModelSpec, checkpoint: Path, error: Exception) -> ModelError:
    return ModelError(
        f"{spec.title}: the weights in {checkpoint} do not fit this architecture: {_first_line(error)} "
        f"Check --model, or the file (is it whole?)."
    )


def _to_half(model: torch.nn.Module, dtype: torch.dtype, *, is_timm: bool) -> None:
    """Half precision as open_clip does it: matrices and convolutions in `dtype`, normalisations in float32."""
    if not is_timm:
        convert_weights_to_lp(model, dtype=dtype)
        return
    model.to(dtype)
    for module in model.modules():
        if isinstance(module, LayerNormFp32):
            module.float()


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    # torch names the class first and the trouble after; one example is enough.
    text = lines[1] if lines[0].endswith(":") and len(lines) > 1 else lines[0]
    text = text if len(text) <= 200 else text[:200] + "…"
    return text if text.endswith((".", "…")) else text + "."
