"""The benchmark for whoever has a GPU, as far as it runs without one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.devices import cuda_is_available

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.gpu", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)


def test_without_a_gpu_it_says_so() -> None:
    if cuda_is_available():
        pytest.skip("there is a GPU")
    ended = run("--device", "cuda")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "finds no GPU on this machine. To try the program: --device cpu --small" in ended.stderr


def test_it_runs_on_a_cpu_with_a_small_model_and_prints_a_report() -> None:
    ended = run("--device", "cpu", "--small", "--families", "ViT", "--images", "4", "--rounds", "1")
    assert ended.returncode == 0, ended.stderr
    assert "## ViT-B-32, two layers, random weights" in ended.stdout
    rows = [line.split(" | ") for line in ended.stdout.splitlines() if line.startswith("| fp32 |")]
    assert [row[-1] for row in rows] == ["yes |"]
    assert ended.stdout.count("| open_clip's loop |") == 1
    assert f"| Python, system | {sys.version.split()[0]}" in ended.stdout
