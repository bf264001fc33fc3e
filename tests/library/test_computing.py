"""Where and how to compute: which settings go together, and which engine they choose."""

from __future__ import annotations

import json
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from support.cli import Cli

from zsclip import ModelError
from zsclip.engines.base import Computing
from zsclip.engines.hardware import available_cores
from zsclip.engines.names import ENGINES, PRECISIONS


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


def test_the_command_line_offers_what_the_library_has() -> None:
    from zsclip.cli import options
    from zsclip.output.rows import FORMATS
    from zsclip.scoring.rules import COMBINE

    def choices(option: Any) -> tuple[str, ...]:
        (literal,) = [
            one for one in (get_args(option)[0], *get_args(get_args(option)[0])) if get_origin(one) is Literal
        ]
        return get_args(literal)

    assert choices(options.Engine) == ENGINES
    assert choices(options.Precision) == PRECISIONS
    assert choices(options.Combine) == COMBINE
    assert choices(options.Format) == ("table", *FORMATS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("option", "value"), [*(("--engine", one) for one in ENGINES), *(("--precision", one) for one in PRECISIONS)]
)
def test_each_choice_computes(option: str, value: str, cli: Cli, red_star: Path) -> None:
    if value == "openvino" and not find_spec("openvino"):
        pytest.skip("no OpenVINO")
    run = cli("classify", red_star, "-l", "red star,ring", "-m", "demo", "--no-cache", "-f", "jsonl", option, value)
    assert run.code == 0, run.err
    assert json.loads(run.out)["label"] == "red star"


def test_the_cores_are_those_of_this_process() -> None:
    assert 1 <= available_cores() <= (os.cpu_count() or 1)
