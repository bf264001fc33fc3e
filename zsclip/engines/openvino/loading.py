"""The engine over a model's towers: built from its weights' file where that can be done, else converted once."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from filelock import FileLock, Timeout

from zsclip import atomic, models
from zsclip.engines.base import Computing, ExportError
from zsclip.engines.openvino import int8, kept_weights, runtime
from zsclip.engines.openvino.engine import OpenVinoEngine
from zsclip.engines.openvino.export_files import EXPORT_FACTS, Export, export_folder, int8_folder, is_complete
from zsclip.engines.openvino.graphs import architecture
from zsclip.engines.openvino.graphs.model import BuiltModel
from zsclip.engines.openvino.graphs.weights import MismatchError
from zsclip.engines.openvino.precision import engine_for, measured_precision
from zsclip.engines.openvino.source import Source
from zsclip.engines.openvino.tower import HINTS
from zsclip.errors import ModelError
from zsclip.models.spec import ModelSpec, short_identity
from zsclip.models.weights import parts
from zsclip.steps import Steps
from zsclip.store.exports import Use
from zsclip.text.wording import in_bytes

logger = logging.getLogger("zsclip")

_STEPS = ("importing PyTorch", "reading the weights", "the image tower", "the text tower", "comparing with PyTorch")
_ATTEMPTS = 3  # to use an export, for another process may remove it in between
_EXPORT_SECONDS = 1800.0  # that another process is given to finish the same export


def load(
    spec: ModelSpec, identity: str, weights: Callable[[], Path], computing: Computing, exports: Path | None
) -> OpenVinoEngine:
    """The engine over the model's towers; arguments as of `zsclip.engines.choice.load`.

    Raises `ModelError` if the model cannot be loaded or this machine cannot compute it as asked, `ExportError` if it can
    neither be built nor exported.
    """
    precision = computing.effective_precision
    if precision not in ("auto", "int8", *HINTS):
        raise ModelError(
            f"The engine openvino computes in fp32, bf16 or int8, not {precision}.", remedy="Try `engine=torch`."
        )
    if precision == "bf16" and not runtime.computes_in_bf16():
        remedy = "Leave out `precision=bf16`, or use `engine=torch`."
        raise ModelError("This processor does not compute in bf16.", remedy=remedy)
    source, compared = _built(spec, identity, weights, exports), None
    if source is None:
        source, compared = _exported(spec, identity, weights, computing, exports)
    engine = _engine(spec, identity, source, computing, exports)
    if compared is not None and engine.precision == compared.precision:
        engine.adopt(compared)
    return engine


def _engine(
    spec: ModelSpec, identity: str, source: Source, computing: Computing, exports: Path | None
) -> OpenVinoEngine:
    precision = computing.effective_precision
    measured_in = exports / f"{short_identity(identity)}.bf16.json" if exports else None
    if precision == "int8":
        folder = int8_folder(exports, spec, identity) if exports else None
        return int8.engine_for(source, computing, folder, measured_precision(measured_in))
    if precision == "auto":
        return engine_for(source, spec.preprocessing, computing, measured_in)
    return OpenVinoEngine(source, precision, computing)


def _built(spec: ModelSpec, identity: str, weights: Callable[[], Path], exports: Path | None) -> Source | None:
    """The model built from its weights' file; None if it is none that can be."""
    if architecture.read(spec) is None:
        return None
    if models.on_disk(spec) is None and exports and is_complete(export_folder(exports, spec, identity)):
        return None  # zsclip 0.1 converted it, and its weights are gone since
    try:
        return BuiltModel(spec, *kept_weights.mappable(spec, identity, weights(), exports))
    except MismatchError as error:
        logger.debug("%s is not built from its file: %s.", spec.title, error)
        return None


def _exported(
    spec: ModelSpec, identity: str, weights: Callable[[], Path], computing: Computing, exports: Path | None
) -> tuple[Source, OpenVinoEngine | None]:
    """The model's export in the folder `exports`, made first if it is not there; and the engine that it was then compared in."""
    if exports is None:
        raise ExportError("there is no folder to keep the converted model in")
    folder = export_folder(exports, spec, identity)
    use, compared = _used(spec, weights, folder, computing)
    _touch(folder)
    return Export(folder, use), compared  # whose towers are read when they are first needed


def _used(
    spec: ModelSpec, weights: Callable[[], Path], folder: Path, computing: Computing
) -> tuple[Use, OpenVinoEngine | None]:
    """The use of an export that is complete, made first if it is not there; and the engine that it was then compared in."""
    compared = None
    for _ in range(_ATTEMPTS):
        if not is_complete(folder):
            _refuse_known_failure(folder)
            compared = _make(spec, weights, folder, computing)
        use = Use(folder)
        if is_complete(folder):  # else it was removed in between
            return use, compared
    raise ExportError(f"what is converted into {folder} does not stay there")


def _make(spec: ModelSpec, weights: Callable[[], Path], folder: Path, computing: Computing) -> OpenVinoEngine | None:
    checkpoint = weights()
    try:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock", timeout=_EXPORT_SECONDS):
            if is_complete(folder):  # another process made it meanwhile,
                return None
            _refuse_known_failure(folder)  # or failed to
            atomic.remove_unfinished_folders(folder)  # what interrupted conversions left,
            shutil.rmtree(folder, ignore_errors=True)  # and an export that is not complete
            size = sum(part.stat().st_size for part in parts(checkpoint))
            logger.info("Converting %s for this processor, once (%s of weights).", spec.title, in_bytes(size))
            try:
                with Steps(f"converting {spec.title}", _STEPS) as steps:
                    steps.next()
                    from zsclip.engines.openvino import export

                    return export.make(spec, checkpoint, folder, computing, steps)
            except ExportError as error:
                # So that the next run does not try again, with the same libraries, what takes most of a minute to fail.
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
