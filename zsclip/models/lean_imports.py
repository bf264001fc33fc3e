"""Imports of packages that bring more along than is wanted here."""

from __future__ import annotations

import importlib
import sys
from threading import RLock
from types import ModuleType
from typing import cast

_one_at_a_time = RLock()


def import_without(name: str, *absent: str) -> ModuleType:
    """Import the module `name` as if the modules `absent`, which it can do without, were not installed.

    While that lasts, other threads cannot import those either.
    """
    with _one_at_a_time:
        before = {module: sys.modules[module] for module in absent if module in sys.modules}
        sys.modules.update(dict.fromkeys(absent, cast("ModuleType", None)))  # makes their import fail
        try:
            return importlib.import_module(name)
        finally:
            for module in absent:
                sys.modules.pop(module, None)
            sys.modules.update(before)
