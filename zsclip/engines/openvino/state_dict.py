"""State dicts that `torch.save` wrote, as safetensors. Of PyTorch alone, without open_clip, whose import takes longer."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from zsclip.engines.openvino.graphs.weights import MismatchError


def save_as_safetensors(files: Sequence[Path], path: Path) -> None:
    """Write the tensors in some files as one file; raises `MismatchError` for what can run code or is no state dict, `OSError`."""
    tensors: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    for file in files:
        for name, tensor in _state_dict(file).items():
            if isinstance(tensor, torch.Tensor):
                is_shared = tensor.data_ptr() in seen  # which safetensors does not write
                seen.add(tensor.data_ptr())
                tensors[name] = tensor.clone() if is_shared else tensor.contiguous()
    save_file(tensors, path)


def _state_dict(file: Path) -> dict[str, Any]:
    try:
        found = torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
    except (
        RuntimeError,
        pickle.UnpicklingError,
        EOFError,
        ValueError,
        KeyError,
        AttributeError,
        zipfile.BadZipFile,
    ) as error:
        raise MismatchError(f"{file} holds no weights that can be read safely ({error})") from None
    if isinstance(found, dict) and "state_dict" in found:
        found = found["state_dict"]
    if not isinstance(found, dict):
        raise MismatchError(f"{file} holds no state dict")
    return found
