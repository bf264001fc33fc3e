"""How much memory a model needs on the CPU, and how much there is."""

from __future__ import annotations

import re
from pathlib import Path

from zsclip.errors import ModelError
from zsclip.models.catalogue import parameter_counts

# Beside the weights, as OpenVINO packs them for the processor: what it computes with, the program and its libraries.
_BESIDE = 300e6
# Bytes a parameter: measured in fp32 (1.00 to 1.05 times the weights for ViT-B-32, ViT-L-14, ViT-H-14), and room to spare.
_BYTES = {"fp32": 4.4, "bf16": 2.6}
_SMALLER = ("ViT-L-14", "ViT-B-16", "ViT-B-32")
# Of control groups in both versions, by the controller's name: the limit, what is used, and what of it caches files.
_CGROUPS = {
    "": ("memory.max", "memory.current", "inactive_file"),
    "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


def needed(parameters: int, precision: str) -> float:
    """Bytes that a model of so many parameters takes, beside its file, which is mapped and counts for nothing."""
    return parameters * _BYTES[precision] + _BESIDE


def available(root: Path = Path("/")) -> float | None:
    """Bytes that this process may still take: what the machine has free, or what is left to its container. None where that is
    not told (it is by Linux)."""
    free = _number(root / "proc/meminfo", r"^MemAvailable:\s+(\d+) kB")
    left = [free * 1024] if free is not None else []
    for controller, names in _CGROUPS.items():
        found = re.search(rf"^\d+:{controller}:/(.*)$", _text(root / "proc/self/cgroup") or "", re.MULTILINE)
        group = Path(found[1] if found else "")
        for folder in (root / "sys/fs/cgroup" / controller / part for part in (group, *group.parents)):
            limit, used = (_number(folder / name, r"^(\d+)$") for name in names[:2])
            if limit is not None and used is not None:
                cached = _number(folder / "memory.stat", rf"^{names[2]} (\d+)$") or 0  # is given back when it is wanted
                left.append(limit - used + cached)
    return min(left, default=None)


def require(title: str, parameters: int, precision: str, *, may_be_bf16: bool, free: float | None) -> None:
    """Raise `ModelError` if the `free` bytes (None: nobody knows) are too few for so many parameters; it says what would fit."""
    wanted = needed(parameters, precision)
    if free is None or wanted <= free:
        return
    remedies = ["Close other programs"]
    if precision != "bf16" and may_be_bf16 and needed(parameters, "bf16") <= free:
        remedies.append(f"use `precision=bf16` (about {needed(parameters, 'bf16') / 1e9:.1f} GB)")
    sizes = parameter_counts()
    smaller = ((name, needed(sizes[name], precision)) for name in _SMALLER if name in sizes)
    fitting = next(((name, size) for name, size in smaller if size <= free and size < wanted), None)
    if fitting:
        remedies.append(f"take a smaller `model`, such as {fitting[0]} (about {fitting[1] / 1e9:.1f} GB)")
    raise ModelError(
        f"it needs about {wanted / 1e9:.1f} GB of memory in {precision}, and {free / 1e9:.1f} GB are free.",
        where=title,
        remedy=f"{', or '.join(remedies)}.",
    )


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return None


def _number(path: Path, pattern: str) -> int | None:
    found = re.search(pattern, _text(path) or "", re.MULTILINE)
    return int(found[1]) if found else None
