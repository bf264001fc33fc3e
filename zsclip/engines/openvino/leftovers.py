"""Exports that no run takes any more."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path

from zsclip.engines.openvino.export_files import EXPORT_VERSION
from zsclip.models.spec import ModelSpec, short_identity


def outdated(identities: Iterable[str]) -> Callable[[Path], bool]:
    """Tells an export's folder by its name: of an earlier version, or of one of these models if it is built from its weights' file
    now."""
    built = {short_identity(identity) for identity in identities if _is_built(identity)}

    def is_outdated(folder: Path) -> bool:
        found = re.search(r"-([0-9a-f]{12})-v(\d+)$", folder.name)
        return found is not None and (int(found[2]) < EXPORT_VERSION or found[1] in built)

    return is_outdated


def _is_built(identity: str) -> bool:
    if find_spec("openvino") is None:
        return False
    from zsclip.engines.openvino.graphs import architecture

    spec = ModelSpec.of_identity(identity)
    return spec is not None and architecture.read(spec) is not None
