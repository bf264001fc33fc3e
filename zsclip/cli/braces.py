"""Braces in what is typed, as shells expand them: `{0000..0099}` and `{a,b}`, where the shell was kept from it or has none."""

from __future__ import annotations

import os
import re
from itertools import product
from math import prod

import typer

_MOST = 1_000_000
_GROUP = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(-?\d{1,18})\.\.(-?\d{1,18})(?:\.\.(\d{1,18}))?")


def expand(typed: str) -> list[str]:
    """The paths or addresses that a text with braces stands for; itself where there is such a path, or nothing to expand.

    Numbers are as long as the longer end of their range if one begins with a zero. Raises `typer.BadParameter` for more than a
    million.
    """
    if "{" not in typed or os.path.lexists(typed):
        return [typed]
    parts: list[range | list[str]] = []
    widths: list[int] = []
    end = 0
    for group in _GROUP.finditer(typed):
        if (choices := _choices(group[1])) is not None:
            parts += [[typed[end : group.start()]], choices[0]]
            widths += [0, choices[1]]
            end = group.end()
    count = prod(map(len, parts))
    if count > _MOST:
        raise typer.BadParameter(
            f"{typed}: that is {count:,} paths; braces may stand for {_MOST:,}. Give a list on standard input (-).",
            param_hint="PATHS",
        )
    texts = [[_text(one, width) for one in part] for part, width in zip(parts, widths, strict=True)]
    return ["".join(chosen) + typed[end:] for chosen in product(*texts)]


def _choices(inside: str) -> tuple[range | list[str], int] | None:
    """What a pair of braces offers, and the width of numbers; None where these are braces and nothing more."""
    if found := _RANGE.fullmatch(inside):
        first, last, step = int(found[1]), int(found[2]), int(found[3] or 1) or 1
        padded = any(re.match(r"-?0\d", text) for text in found.group(1, 2))
        numbers = range(first, last + 1, step) if first <= last else range(first, last - 1, -step)
        return numbers, max(map(len, found.group(1, 2))) if padded else 0
    return (inside.split(","), 0) if "," in inside else None


def _text(one: int | str, width: int) -> str:
    return f"{one:0{width}}" if isinstance(one, int) else one
