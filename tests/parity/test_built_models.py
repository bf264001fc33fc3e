"""Models that are built from their weights' file: what they import, write and need."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
from support.cli import Cli
from support.processes import run_and_list_modules, start_zsclip

from zsclip import Classifier
from zsclip.engines import memory
from zsclip.engines.openvino import tower
from zsclip.errors import ModelError
from zsclip.models import resolve

if find_spec("openvino") is None:
    pytest.skip("OpenVINO has no wheel for this platform", allow_module_level=True)

LABELS = "red star,blue ring"


@pytest.fixture
def own(isolated: Path) -> Path:
    """The store's folder, with nothing in it."""
    (isolated / "cache" / "exports").unlink()
    return isolated / "cache"


@pytest.fixture
def as_pt(tmp_path: Path) -> str:
    """The demo model with its weights as PyTorch saves them."""
    import torch
    from safetensors.torch import load_file

    checkpoint = Path(str(resolve("demo").checkpoint))
    shutil.copytree(checkpoint.parent, tmp_path / "pt")
    (tmp_path / "pt" / checkpoint.name).unlink()
    torch.save(load_file(checkpoint), tmp_path / "pt" / "open_clip_pytorch_model.bin")
    return f"local-dir:{tmp_path / 'pt'}"


def test_the_first_run_imports_no_pytorch_and_writes_nothing_but_the_store(own: Path, red_star: Path) -> None:
    run, modules = run_and_list_modules("classify", red_star, "-l", LABELS, "-m", "demo", "--precision", "fp32")
    assert "red star" in run.stdout.splitlines()[1]
    assert "openvino" in modules
    assert not modules & {"torch", "open_clip", "torchvision", "timm", "transformers", "huggingface_hub"}
    assert {path.name.removesuffix("-wal").removesuffix("-shm") for path in own.rglob("*")} == {"vectors.sqlite3"}


@pytest.mark.slow
def test_other_weights_are_kept_as_safetensors_once(own: Path, red_star: Path, as_pt: str, cli: Cli) -> None:
    command = ("classify", red_star, "-l", LABELS, "--no-cache", "-m")
    expected, _ = run_and_list_modules(*command, "demo")
    first, modules = run_and_list_modules(*command, as_pt)
    assert first.stdout == expected.stdout
    assert "torch" in modules
    assert not modules & {"open_clip", "timm"}
    assert "by way of PyTorch, once" in first.stderr
    (kept,) = (own / "exports").glob("*-weights")
    second, modules = run_and_list_modules(*command, as_pt)
    assert second.stdout == expected.stdout
    assert "PyTorch" not in second.stderr
    assert not modules & {"torch", "open_clip"}
    assert "exports  1 (" in cli("cache", "info").out
    cli("cache", "prune", "--max-size", "1K")
    assert not kept.exists()


@pytest.mark.slow
def test_several_processes_at_once_keep_them_once(own: Path, red_star: Path, as_pt: str) -> None:
    runs = [start_zsclip("classify", red_star, "-l", LABELS, "-m", as_pt, text=True) for _ in range(3)]
    results = [run.communicate(timeout=120) for run in runs]
    assert [run.returncode for run in runs] == [0, 0, 0], results
    assert len({out for out, _ in results}) == 1
    assert sum("by way of PyTorch" in err for _, err in results) == 1
    assert len(list((own / "exports").glob("*-weights"))) == 1


@pytest.mark.slow
def test_weights_that_changed_are_read_again(own: Path, red_star: Path, as_pt: str) -> None:
    import torch

    with Classifier.load(as_pt, use_cache=False) as classifier:
        assert classifier.model.facts.logit_scale == pytest.approx(classifier.model.load().facts.logit_scale)
    path = Path(as_pt.removeprefix("local-dir:")) / "open_clip_pytorch_model.bin"
    torch.save({**torch.load(path), "logit_scale": torch.tensor(1.0)}, path)
    with Classifier.load(as_pt, use_cache=False) as classifier:
        assert classifier.model.load().facts.logit_scale == pytest.approx(2.718282)
    assert len(list((own / "exports").glob("*-weights"))) == 2


def test_too_little_memory_is_told_before_the_work(
    own: Path, red_star: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tower.memory, "available", lambda: 1e8)
    run = cli("classify", red_star, "-l", LABELS, "-m", "demo")
    assert run.code == 1
    assert run.out == ""
    assert "demo: it needs about 0.3 GB of memory in fp32, and 0.1 GB are free. Close other programs." in " ".join(
        run.err.split()
    )


@pytest.mark.parametrize(
    ("parameters", "free", "may_be_bf16", "said"),
    [
        (986e6, 3.0e9, True, "or use `precision=bf16` (about 2.9 GB), or take a smaller `model`, such as ViT-L-14 (about 2.2 GB)."),
        (986e6, 3.0e9, False, "Close other programs, or take a smaller `model`, such as ViT-L-14 (about 2.2 GB)."),
        (986e6, 1.1e9, False, "such as ViT-B-16 (about 1.0 GB)."),
        (986e6, 0.5e9, True, "Close other programs."),
    ],
)  # fmt: skip
def test_what_would_fit_is_said(parameters: float, free: float, may_be_bf16: bool, said: str) -> None:
    with pytest.raises(ModelError, match=r"needs about 4\.6 GB of memory in fp32") as raised:
        memory.require("ViT-H-14", int(parameters), "fp32", may_be_bf16=may_be_bf16, free=free)
    assert str(raised.value).endswith(said)
    memory.require("ViT-H-14", int(parameters), "fp32", may_be_bf16=may_be_bf16, free=None)
    memory.require("ViT-H-14", int(parameters), "fp32", may_be_bf16=may_be_bf16, free=4.7e9)


@pytest.mark.parametrize("version", [1, 2])
def test_a_containers_limit_counts(version: int, tmp_path: Path) -> None:
    """Its own or that of one around it; what caches files is given back."""
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text("MemTotal: 16000000 kB\nMemAvailable:    8000000 kB\n")
    assert memory.available(tmp_path) == 8_192_000_000
    controller, names = (
        ("memory", ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"))
        if version == 1
        else ("", ("memory.max", "memory.current", "inactive_file"))
    )
    (tmp_path / "proc/self/cgroup").write_text(f"3:cpuset:/\n{0 if version == 2 else 4}:{controller}:/outer/inner\n")
    outer = tmp_path / "sys/fs/cgroup" / controller / "outer"
    (outer / "inner").mkdir(parents=True)
    (outer / "inner" / names[0]).write_text("max\n")
    (outer / names[0]).write_text("4000000000\n")
    (outer / names[1]).write_text("3000000000\n")
    (outer / "memory.stat").write_text(f"anon 5\n{names[2]} 500000000\n")
    assert memory.available(tmp_path) == 1_500_000_000


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="Linux tells how much memory there is")
def test_this_machine_tells_what_is_free() -> None:
    free = memory.available()
    assert free is not None
    assert 0 < free < os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
