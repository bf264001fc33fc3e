"""Weights that can be mapped into memory: files of safetensors as they are; others are written as such once, and kept."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from zsclip import atomic
from zsclip.engines.openvino.export_files import weights_folder
from zsclip.engines.openvino.graphs.weights import MismatchError
from zsclip.models.spec import ModelSpec
from zsclip.models.weights import SAMPLED, parts
from zsclip.store.exports import Use

logger = logging.getLogger("zsclip")

NAME = "weights.safetensors"
_SECONDS = 600.0  # that another process is given to finish the same


def mappable(spec: ModelSpec, identity: str, checkpoint: Path, exports: Path | None) -> tuple[Path, Use | None]:
    """The weights as safetensors, a file or the index of several, and what keeps them from being removed if they are ours.

    Others than safetensors are read by PyTorch (`weights_only`) and kept in a folder in `exports`. Raises `MismatchError` if that
    cannot be, and whoever reads them otherwise says why.
    """
    files = parts(checkpoint)
    if all(file.suffix == SAMPLED for file in files):
        return checkpoint, None
    if exports is None:
        raise MismatchError("its weights are no file of safetensors, and there is no folder to keep them as one")
    folder = weights_folder(exports, spec, identity)
    while True:
        if not (folder / NAME).is_file():
            _make(spec, files, folder)
        use = Use(folder)
        if (folder / NAME).is_file():  # else it was removed in between
            return folder / NAME, use


def _make(spec: ModelSpec, files: Sequence[Path], folder: Path) -> None:
    try:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock", timeout=_SECONDS):
            if (folder / NAME).is_file():  # another process made it meanwhile
                return
            atomic.remove_unfinished_folders(folder)
            shutil.rmtree(folder, ignore_errors=True)
            size = sum(file.stat().st_size for file in files)
            logger.info("Reading the weights of %s (%.1f GB) by way of PyTorch, once.", spec.title, size / 1e9)
            from zsclip.engines.openvino.state_dict import save_as_safetensors

            with atomic.new_folder(folder) as made:
                save_as_safetensors(files, made / NAME)
    except (OSError, Timeout) as error:
        raise MismatchError(f"its weights cannot be kept in {folder.parent} ({error})") from None
