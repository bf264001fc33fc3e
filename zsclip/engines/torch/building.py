"""Models built of open_clip's modules, with weights that cannot run code.

Weights are read as safetensors or with torch's `weights_only`, with no other way beside; configurations come checked from
`zsclip.models`; nothing is fetched here that is not on this machine already.
"""

from __future__ import annotations

import json
import pickle
import tempfile
import threading
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.coca_model import CoCa
from open_clip.hf_model import HFTextEncoder
from open_clip.model import convert_weights_to_lp, get_cast_dtype
from open_clip.transformer import LayerNormFp32
from safetensors import SafetensorError
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.overrides import TorchFunctionMode

from zsclip.engines.torch import positions, transformers_weights
from zsclip.engines.torch.memory import shortage
from zsclip.errors import ModelError
from zsclip.models import ModelSpec, fetch_text_tower
from zsclip.models.weights import parts

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_BIG_VISION = (".npz", ".npy")
# Keys of a text tower's `config.json` that name code, or where to find some.
_CODE = ("auto_map", "custom_pipelines", "trust_remote_code", "quantization_config", "torch_dtype", "dtype")


def build(spec: ModelSpec, checkpoint: Path, precision: str = "fp32") -> Any:
    """open_clip's module of the model, with its weights, in eval mode on the CPU.

    `precision` is fp32, bf16 or fp16 (matrices and convolutions in it, normalisations in fp32, as open_clip has it). The
    module has `encode_image`, `encode_text`, `logit_scale` and `logit_bias`. Raises `ModelError` for weights that cannot be
    read safely, do not fit or hold no numbers, `MemoryError` for want of memory.
    """
    try:
        with warnings.catch_warnings(), shortage():
            warnings.simplefilter("ignore")
            # big_vision's arrays are copied into a module, all others become its parameters as they are.
            is_copied = checkpoint.suffix in _BIG_VISION
            model = module(spec, precision) if is_copied else _module_without_numbers(spec, precision)
            _load(model, spec, checkpoint, is_copied=is_copied)
    except RuntimeError as error:
        if "TorchScript" not in str(error):
            raise _does_not_fit(spec, checkpoint, error) from None
        raise ModelError(
            f"{checkpoint} is a TorchScript archive, as OpenAI publishes its models; it holds code, which zsclip does not run.",
            where=spec.title,
            remedy="Use the tag instead (`pretrained=openai`), or save its state_dict().",
        ) from None
    except FileNotFoundError:
        raise ModelError(f"there is no file {checkpoint}.", where=spec.title) from None
    except (pickle.UnpicklingError, EOFError, SafetensorError, OSError, zipfile.BadZipFile) as error:
        raise ModelError(
            f"{checkpoint} holds no weights that can be read safely: {_first_line(error)}",
            where=spec.title,
            remedy="It must be a whole state dict, saved by torch.save or as safetensors.",
        ) from None
    except (KeyError, TypeError, ValueError, AttributeError, AssertionError, StopIteration, IndexError) as error:
        raise _does_not_fit(spec, checkpoint, error) from None
    _require_numbers(model, spec, checkpoint)
    return model.eval()


def module(spec: ModelSpec, precision: str = "fp32") -> Any:
    """open_clip's module of the model without its weights, in the precision asked for."""
    if spec.layout == "siglip":
        model = transformers_weights.siglip_module(spec.config, get_cast_dtype(precision))
        is_timm = True
    else:
        config = {
            **spec.config,
            "vision_cfg": dict(spec.config["vision_cfg"]),
            "text_cfg": dict(spec.config["text_cfg"]),
        }
        is_timm = "timm_model_name" in config["vision_cfg"]
        if is_timm:
            config["vision_cfg"]["timm_model_pretrained"] = False
        config["text_cfg"].pop("tokenizer_kwargs", None)
        with _text_tower(spec, config["text_cfg"]):
            custom = config.pop("custom_text", False) or config["text_cfg"].get("hf_model_name")
            kind = CoCa if "multimodal_cfg" in config else open_clip.CustomTextCLIP if custom else open_clip.CLIP
            model = kind(**config, cast_dtype=get_cast_dtype(precision))
    if precision != "fp32":
        _to_half(model, DTYPES[precision], is_timm=is_timm)
    return model


@contextmanager
def _text_tower(spec: ModelSpec, text: dict[str, Any]) -> Iterator[None]:
    """Lets open_clip make a text tower of transformers from a copy of its configuration in which nothing names code."""
    if not text.get("hf_model_name"):
        yield
        return
    path = fetch_text_tower(spec)
    assert path is not None
    document = json.loads(path.read_text(encoding="utf-8"))
    harmless = {
        key: value
        for key, value in document.items()
        if key not in _CODE and not key.startswith("_") and "implementation" not in key and not isinstance(value, dict)
    }
    with tempfile.TemporaryDirectory(prefix="zsclip-") as folder:
        (Path(folder) / "config.json").write_text(json.dumps(harmless), encoding="utf-8")
        text.update(hf_model_name=folder, hf_model_pretrained=False)
        yield


def _module_without_numbers(spec: ModelSpec, precision: str) -> Any:
    """`module`, whose parameters have no numbers as long as nothing needs some: a few towers are run while they are made
    (ViTamin), or make a mask beside a parameter (Swin).
    """
    try:
        with _without_numbers():
            model = module(spec, precision)
        if not any(buffer.is_meta for buffer in model.buffers()):
            return model
    except RuntimeError as error:
        if "device meta" not in str(error):
            raise
    return module(spec, precision)


class _NothingInPlace(TorchFunctionMode):
    """Leaves tensors without numbers as they are, whatever a method (`normal_`) or one of `torch.nn.init` would make of their
    numbers. PyTorch would import its compiler for that, and make nothing.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        tensor = args[0] if args else (kwargs or {}).get("tensor")
        name = func.__name__
        is_in_place = name.endswith("_") and not name.endswith("__") and name != "requires_grad_"
        if is_in_place and isinstance(tensor, torch.Tensor) and tensor.is_meta:
            return tensor
        return func(*args, **(kwargs or {}))


@contextmanager
def _without_numbers() -> Iterator[None]:
    """Parameters of modules that are made inside have a shape and no numbers: making random ones up takes longer than reading
    a file. Buffers are computed as ever, for some (masks, rotations) are in no file.
    """
    thread = threading.get_ident()

    def emptied(_module: torch.nn.Module, _name: str, parameter: torch.nn.Parameter) -> torch.nn.Parameter | None:
        if threading.get_ident() != thread or parameter.is_meta:
            return None
        return torch.nn.Parameter(parameter.to("meta"), parameter.requires_grad)

    hook = register_module_parameter_registration_hook(emptied)  # type: ignore[arg-type]  # they let it return one
    try:
        with _NothingInPlace():
            yield
    finally:
        hook.remove()


def _load(model: torch.nn.Module, spec: ModelSpec, checkpoint: Path, *, is_copied: bool) -> None:
    if is_copied:
        open_clip.load_checkpoint(model, str(checkpoint), strict=True, weights_only=True)
        return
    if spec.layout == "open_clip":
        positions.require_same(spec, checkpoint, model, positions.shapes(checkpoint))
        model.load_state_dict = partial(_take, model)  # type: ignore[method-assign]  # where open_clip's function ends
        open_clip.load_checkpoint(model, str(checkpoint), strict=True, weights_only=True)
        del model.load_state_dict
        return
    state: dict[str, Any] = {}
    for part in parts(checkpoint):
        state |= open_clip.factory.load_state_dict(str(part), weights_only=True)
    state = transformers_weights.renamed(state, spec.layout)
    positions.require_same(spec, checkpoint, model, {name: tuple(tensor.shape) for name, tensor in state.items()})
    _take(model, state)


def _take(model: torch.nn.Module, state: Mapping[str, Any], strict: bool = True) -> Any:
    """Make these tensors the module's, in its own precisions; what is right already, in a file that is mapped, is not copied."""
    dtypes = {name: tensor.dtype for name, tensor in model.state_dict().items()}
    own = {name: tensor.to(dtypes.get(name)).contiguous() for name, tensor in state.items()}
    return torch.nn.Module.load_state_dict(model, own, strict, assign=True)


def _require_numbers(model: torch.nn.Module, spec: ModelSpec, checkpoint: Path) -> None:
    for name, tensor in model.state_dict().items():
        # One NaN or infinity makes the sum one, which takes a tenth of the time of looking at each.
        if tensor.is_floating_point() and not tensor.sum().isfinite() and not tensor.isfinite().all():
            raise ModelError(
                f"the weights in {checkpoint} are broken: {name} holds NaN or infinite numbers.",
                where=spec.title,
                remedy="Get them again.",
            )


def _does_not_fit(spec: ModelSpec, checkpoint: Path, error: Exception) -> ModelError:
    return ModelError(
        f"the weights in {checkpoint} do not fit this architecture: {_first_line(error)}",
        where=spec.title,
        remedy="Check `model`, or the file (is it whole?).",
    )


def _to_half(model: torch.nn.Module, dtype: torch.dtype, *, is_timm: bool) -> None:
    """Half precision as open_clip does it: matrices and convolutions in `dtype`, normalisations in float32.

    Scale and bias, which open_clip rounds with the towers of timm, keep the weights' own numbers. What open_clip leaves for
    autocast to mend is mended here: CoCa's learnt tokens, and text towers of transformers, which stay in float32 (T5's
    overflows in float16).
    """
    if is_timm:
        model.to(dtype)
        for module in model.modules():
            if isinstance(module, LayerNormFp32):
                module.float()
    else:
        convert_weights_to_lp(model, dtype=dtype)
    for name in ("logit_scale", "logit_bias"):
        if isinstance(number := getattr(model, name, None), torch.nn.Parameter):
            number.data = number.data.float()
    for module in model.modules():
        if isinstance(module, HFTextEncoder):
            module.float()
        for name in ("query", "cls_emb"):
            if isinstance(token := getattr(module, name, None), torch.nn.Parameter):
                token.data = token.data.to(dtype)


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    # torch names the class first and the trouble after; one example is enough.
    text = lines[1] if lines[0].endswith(":") and len(lines) > 1 else lines[0]
    text = text if len(text) <= 200 else text[:200] + "…"
    return text if text.endswith((".", "…")) else text + "."
