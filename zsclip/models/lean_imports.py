"""Imports of packages that bring more along than is wanted here."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import RLock
from types import ModuleType
from typing import cast

_one_at_a_time = RLock()


@contextmanager
def absent(*names: str) -> Iterator[None]:
    """While this lasts, the modules `names` are as if they were not installed, for all threads."""
    with _in_place(dict.fromkeys(names, cast("ModuleType", None))):  # None makes their import fail
        yield


@contextmanager
def _in_place(modules: Mapping[str, ModuleType]) -> Iterator[None]:
    with _one_at_a_time:
        before = {module: sys.modules[module] for module in modules if module in sys.modules}
        sys.modules.update(modules)
        try:
            yield
        finally:
            for module in modules:
                sys.modules.pop(module, None)
            sys.modules.update(before)


def import_without(name: str, *without: str) -> ModuleType:
    """Import the module `name` as if the modules `without`, which it can do without, were not installed.

    While that lasts, other threads cannot import those either.
    """
    with absent(*without):
        return importlib.import_module(name)


def import_beside(name: str, stand_ins: Mapping[str, Mapping[str, object]]) -> ModuleType:
    """Import the module `name` with `stand_ins` for modules that it needs a few names of; those that are there already, and
    all if it needs more of them, are the real ones. Afterwards the others can be imported as ever.
    """
    made = {}
    for module, names in stand_ins.items():
        if module not in sys.modules:
            made[module] = ModuleType(module)
            vars(made[module]).update(names)
    try:
        with _in_place(made):
            return importlib.import_module(name)
    except (ImportError, AttributeError):
        return importlib.import_module(name)
