"""What the library says, as the command line says it."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
from support.processes import run_zsclip

from zsclip.cli.messages import in_options
from zsclip.errors import ImageError, ModelError


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("`max_pixels` allows more", "--max-pixels allows more"),
        ("Try `device=cpu` or auto.", "Try --device cpu or auto."),
        ("use `model=local-dir:a b`", "use --model local-dir:a b"),
        ("`use_cache`", "--no-cache"),
        ("`templates:` is empty, `max_pixel` too", "`templates:` is empty, `max_pixel` too"),
    ],
)
def test_settings_are_shown_as_options(said: str, shown: str) -> None:
    assert in_options(said) == shown


def test_errors_carry_what_where_and_a_remedy() -> None:
    error = ModelError("no such device.", where="cuda:7", remedy="Try `device=cpu`.")
    assert (error.what, error.where, error.remedy) == ("no such device.", "cuda:7", "Try `device=cpu`.")
    assert str(error) == "cuda:7: no such device. Try `device=cpu`."
    assert str(ImageError("the file is empty")) == "the file is empty"
    assert ImageError("gone", kind="not_found").kind == "not_found"


def test_errors_reach_another_process_whole() -> None:
    error = pickle.loads(pickle.dumps(ImageError("too large", kind="too_large", remedy="Raise `max_pixels`.")))
    assert (str(error), error.kind, error.remedy) == (
        "too large Raise `max_pixels`.",
        "too_large",
        "Raise `max_pixels`.",
    )


@pytest.mark.parametrize(
    ("library", "said"),
    [
        ("platformdirs", "A library ended the program (exit code 0); what it was to write is not complete."),
        ("typer", "A library ended the program while it was imported (exit code 0)."),
    ],
)
def test_a_library_that_ends_the_program_does_not_end_it_well(
    tmp_path: Path, demo_folder: Path, monkeypatch: pytest.MonkeyPatch, library: str, said: str
) -> None:
    """It ended with exit code 0, without a word and without its output."""
    (tmp_path / f"{library}.py").write_text("import sys\nsys.exit(0)\n")
    monkeypatch.delenv("ZSCLIP_CACHE_DIR", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    output = tmp_path / "rows.csv"
    run = run_zsclip("classify", demo_folder / "scenes" / "red star", "-m", "demo", "-l", "a,b", "-o", output)
    assert (run.returncode, run.stderr) == (1, f"zsclip: error: {said}\n")
    assert not output.exists()
