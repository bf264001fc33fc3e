"""Imports of packages that bring more along than is wanted here."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import cast


def import_without(name: str, *absent: str) -> ModuleType:
    """Import the module `name` as if the modules `absent`, which it can do without, were not installed."""
    before = {module: sys.modules[module] for module in absent if module in sys.modules}
    sys.modules.update(dict.fromkeys(absent, cast("ModuleType", None)))  # makes their import fail
    try:
        return importlib.import_module(name)
    finally:
        for module in absent:
            del sys.modules[module]
        sys.modules.update(before)
