"""Texts for "something else", which compete with the labels."""

from __future__ import annotations

from zsclip.text.labels import LabelSet
from zsclip.text.prompts import shipped_folder


def curated_background() -> tuple[str, ...]:
    """The shipped texts for "something else"."""
    return LabelSet.load(shipped_folder() / "background.yaml").names
