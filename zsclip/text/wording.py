"""Numbers and lists in sentences."""

from __future__ import annotations

from collections.abc import Sequence

_SHOWN = 5


def counted(count: int, noun: str) -> str:
    """A number with its noun, as in "1 image" and "1,200 images"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def listed(items: Sequence[str]) -> str:
    """The first of some items, and how many more there are."""
    return ", ".join(items[:_SHOWN]) + (f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else "")


def in_bytes(size: int) -> str:
    """A file's size, as in "605 MB" and "1.7 GB"."""
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.0f} MB"
