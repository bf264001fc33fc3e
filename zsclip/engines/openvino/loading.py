"""The engine over a model's export, which is made first if it is not there."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from filelock import FileLock, Timeout

from zsclip import atomic
from zsclip.engines.base import Computing, ExportError
from zsclip.engines.openvino import runtime
from zsclip.engines.openvino.engine import OpenVinoEngine
from zsclip.engines.openvino.export_files import EXPORT_FACTS, export_folder, is_complete
from zsclip.engines.openvino.precision import choose
from zsclip.engines.openvino.tower import HINTS
from zsclip.errors import ModelError
from zsclip.models.spec import ModelSpec
from zsclip.store.exports import Use

logger = logging.getLogger("zsclip")

_EXPORT_SECONDS = 1800.0  # that another process is given to finish the same export


def load(
    spec: ModelSpec, identity: str, weights: Callable[[], Path], computing: Computing, exports: Path | None
) -> OpenVinoEngine:
    """The engine over the model's export in the folder `exports`; arguments as of `zsclip.engines.choice.load`.

    Raises `ModelError` if the model cannot be loaded or this machine cannot compute it as asked, `ExportError` if it
    cannot be exported.
    """
    precision, reason = computing.effective_precision, ""
    if precision not in ("auto", *HINTS):
        raise ModelError(
            f"The engine openvino computes in fp32 or bf16, not {precision}.", remedy="Try `engine=torch`."
        )
    if precision == "bf16" and not runtime.computes_in_bf16():
        remedy = "Leave out `precision=bf16`, or use `engine=torch`."
        raise ModelError("This processor does not compute in bf16.", remedy=remedy)
    if exports is None:
        raise ExportError("there is no folder to keep the converted model in")
    folder = export_folder(exports, spec, identity)
    use = _used(spec, weights, folder, computing.threads)
    _touch(folder)
    if precision == "auto":
        precision, reason = choose(folder, spec.preprocessing, computing.threads)
    engine = OpenVinoEngine(folder, precision, reason, computing.batch_size, computing.threads)
    engine.use = use  # its towers are read when they are first needed
    return engine


def _used(spec: ModelSpec, weights: Callable[[], Path], folder: Path, threads: int | None) -> Use:
    """The use of an export that is complete, made first if it is not there."""
    while True:
        if not is_complete(folder):
            _refuse_known_failure(folder)
            _make(spec, weights, folder, threads)
        use = Use(folder)
        if is_complete(folder):  # else it was removed in between
            return use


def _make(spec: ModelSpec, weights: Callable[[], Path], folder: Path, threads: int | None) -> None:
    checkpoint = weights()
    try:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock", timeout=_EXPORT_SECONDS):
            if is_complete(folder):  # another process made it meanwhile,
                return
            _refuse_known_failure(folder)  # or failed to
            atomic.remove_unfinished_folders(folder)  # what interrupted conversions left,
            shutil.rmtree(folder, ignore_errors=True)  # and an export that is not complete
            logger.info("Converting %s for this processor, once: this may take a minute.", spec.title)
            from zsclip.engines.openvino import export

            try:
                export.make(spec, checkpoint, folder, threads)
            except ExportError as error:
                # So that the next run does not try again, with the same libraries, what takes a minute to fail.
                _failure_file(folder).write_text(str(error), encoding="utf-8")
                raise
    except (OSError, Timeout) as error:
        raise ExportError(f"the converted model cannot be kept in {folder.parent}: {error}") from None


def _touch(folder: Path) -> None:
    """Leave a mark that the export was used: what was not for longest is pruned first."""
    with contextlib.suppress(OSError):  # somebody else's, or on a read-only disk: it can be used all the same
        os.utime(folder / EXPORT_FACTS)


def _failure_file(folder: Path) -> Path:
    versions = "-".join(version(name) for name in ("openvino", "torch", "open_clip_torch"))
    return folder.with_name(f"{folder.name}.failed-{versions}")


def _refuse_known_failure(folder: Path) -> None:
    try:
        reason = _failure_file(folder).read_text(encoding="utf-8")
    except OSError:
        return
    raise ExportError(f"{reason} (so it was when it was tried, as {_failure_file(folder)} says)")
