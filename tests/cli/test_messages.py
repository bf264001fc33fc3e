"""What the library says, as the command line says it."""

from __future__ import annotations

import pickle

import pytest

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
