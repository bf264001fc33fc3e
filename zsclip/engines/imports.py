"""Imports of packages that bring more along than is wanted here."""

from __future__ import annotations

import importlib
import sys
from typing import Any


def import_without(name: str, absent: str) -> Any:
    """Import the module `name` as if the module `absent`, which it can do without, were not installed."""
    missing = object()
    before = sys.modules.get(absent, missing)
    sys.modules[absent] = None  # type: ignore[assignment]  # makes its import fail
    try:
        return importlib.import_module(name)
    finally:
        if before is missing:
            del sys.modules[absent]
        else:
            sys.modules[absent] = before  # type: ignore[assignment]
