"""Imports of packages that bring more along than is wanted here."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock
from types import ModuleType
from typing import cast

_one_at_a_time = RLock()


@contextmanager
def absent(*names: str) -> Iterator[None]:
    """While this lasts, the modules `names` are as if they were not installed, for all threads."""
    with _one_at_a_time:
        before = {module: sys.modules[module] for module in names if module in sys.modules}
        sys.modules.update(dict.fromkeys(names, cast("ModuleType", None)))  # makes their import fail
        try:
            yield
        finally:
            for module in names:
                sys.modules.pop(module, None)
            sys.modules.update(before)


def import_without(name: str, *without: str) -> ModuleType:
    """Import the module `name` as if the modules `without`, which it can do without, were not installed.

    While that lasts, other threads cannot import those either.
    """
    with absent(*without):
        return importlib.import_module(name)
