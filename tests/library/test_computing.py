"""Where and how to compute: which settings go together, and which engine they choose."""

from __future__ import annotations

import os
from typing import Any

import pytest

from zsclip import ModelError
from zsclip.engines.base import Computing
from zsclip.engines.hardware import available_cores


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"engine": "steam"}, "There is no engine 'steam'"),
        ({"precision": "fp8"}, "There is no precision 'fp8'"),
        ({"device": "toaster"}, "There is no device 'toaster'"),
        ({"batch_size": 0}, "at least one image"),
        ({"threads": 0}, "at least one thread"),
        ({"exact": True, "precision": "bf16"}, r"`exact` computes in fp32\. Leave out `precision=bf16`, or `exact`\."),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        Computing(**settings)


@pytest.mark.parametrize(
    ("settings", "precision"),
    [({}, "auto"), ({"precision": "bf16"}, "bf16"), ({"exact": True}, "fp32"), ({"exact": True, "precision": "fp32"}, "fp32")],
)  # fmt: skip
def test_exact_implies_fp32(settings: dict[str, Any], precision: str) -> None:
    assert Computing(**settings).effective_precision == precision


def test_the_cores_are_those_of_this_process() -> None:
    assert 1 <= available_cores() <= (os.cpu_count() or 1)
