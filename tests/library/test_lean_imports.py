"""Importing packages without what they bring along."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.processes import run_python

from zsclip.models.lean_imports import import_beside, import_without


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


def test_a_stand_in_is_there_during_the_import_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "heavy_module.py").write_text("answer = 1\nother = 2\n")
    (tmp_path / "needs_answer.py").write_text("from heavy_module import answer\n")
    (tmp_path / "needs_more.py").write_text("from heavy_module import answer, other\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert import_beside("needs_answer", {"heavy_module": {"answer": 42}}).answer == 42
    assert "heavy_module" not in sys.modules
    more = import_beside("needs_more", {"heavy_module": {"answer": 42}})
    assert (more.answer, more.other) == (1, 2)  # the stand-in did not do
    (tmp_path / "needs_it_again.py").write_text("from heavy_module import answer\n")
    assert import_beside("needs_it_again", {"heavy_module": {"answer": 42}}).answer == 1  # it is there already


@pytest.mark.slow
def test_open_clip_is_imported_without_pytorchs_compiler_which_works_all_the_same() -> None:
    run = run_python(
        "import sys, zsclip.engines.torch.engine, torch\n"
        "print(not {'torch._dynamo', 'torch._inductor'} & sys.modules.keys())\n"
        "print(torch.compile(lambda x: x + 1, backend='eager')(torch.ones(1)).item())\n"
    )
    assert run.stdout.split() == ["True", "2.0"]
