"""Weights on a machine: its own where it has them, else taken once from the machine that the command was typed on."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from zsclip.errors import ModelError
from zsclip.models.weights import fingerprint
from zsclip.store.keeping import Keeping


class Offer(Protocol):
    """A machine that has them."""

    def names(self, checkpoint: Path) -> Sequence[tuple[str, int]]:
        """The files, the one that others are named in last, and their sizes in bytes."""

    def read(self, checkpoint: Path, name: str, size: int) -> Iterator[bytes]:
        """One of them, piece by piece."""


def weights_here(path: Path, key: str, offer: Offer | None) -> Path | None:
    """Where this machine has the weights that are known by `key`; None if it has not and there is no offer.

    They are kept in the cache folder, whole or not at all; however many processes ask, one takes them. Raises `ModelError`.
    """
    name = hashlib.sha256(key.encode()).hexdigest()[:32]
    kept = Keeping().folder / "weights" / name / path.name
    for one in (path, kept):
        if _is_known_by(one, key):
            return one
    if offer is None:
        return None
    from filelock import FileLock

    try:
        kept.parent.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(kept.parent.with_name(f"{name}.lock")):
            if not _is_known_by(kept, key):
                _take(path, kept.parent, offer)
    except OSError as error:
        raise ModelError(
            f"the weights cannot be kept on this machine: {error.strerror or error}.", where=str(kept.parent)
        ) from None
    if not _is_known_by(kept, key):
        raise ModelError("the weights changed while they were copied to this machine.", where=str(path))
    return kept


def _take(path: Path, folder: Path, offer: Offer) -> None:
    folder.mkdir(exist_ok=True)
    for name, size in offer.names(path):  # the one that is looked for comes last
        number, part = tempfile.mkstemp(dir=folder, prefix=".", suffix=".part")
        try:
            with os.fdopen(number, "wb") as file:
                for piece in offer.read(path, name, size):
                    file.write(piece)
                if file.tell() != size:
                    raise ModelError("the weights changed while they were copied to this machine.", where=str(path))
            os.replace(part, folder / name)
        except BaseException:
            os.unlink(part)
            raise


def _is_known_by(path: Path, key: str) -> bool:
    try:
        return fingerprint(path).key == key
    except (OSError, ModelError):
        return False
