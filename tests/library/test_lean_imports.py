"""Importing packages without what they bring along."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from zsclip.models.lean_imports import import_without


def test_threads_at_once_leave_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(8):
        (tmp_path / f"probing_{number}.py").write_text(
            "import time\ntime.sleep(0.01)\n"
            "try:\n    import csv, absent_for_now\n    FOUND = True\nexcept ImportError:\n    FOUND = False\n"
        )
    (tmp_path / "absent_for_now.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda n: import_without(f"probing_{n}", "absent_for_now", "csv.never"), range(8)))
    assert not any(module.FOUND for module in made)
    assert {"absent_for_now", "csv.never"}.isdisjoint(sys.modules)
    import absent_for_now

    import_without("json", "absent_for_now")
    assert sys.modules["absent_for_now"] is absent_for_now
