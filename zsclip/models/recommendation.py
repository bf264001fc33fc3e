"""Three plain choices among the published models, by one rule: the most accurate that costs no more than so much."""

from __future__ import annotations

from collections.abc import Mapping

from zsclip.models.catalogue import Entry, catalogue
from zsclip.models.published import PERMISSIVE
from zsclip.models.resolution import DEFAULT_MODEL

# How many times the operations of the default model a picture may cost.
BOUNDS: Mapping[str, int] = {"quick": 1, "balanced": 10, "best": 100}


def recommend() -> dict[str, Entry]:
    """The choices by name, the quickest first: of the models with a published accuracy on ImageNet and a permissive licence
    (MIT, Apache-2.0) the most accurate within each bound of `BOUNDS`; of equals the cheaper, then an architecture's default."""
    known = [entry for entry in catalogue() if entry.accuracy and entry.image_flops and entry.licence in PERMISSIVE]
    unit = next(cost(entry) for entry in known if entry.architecture == DEFAULT_MODEL and entry.is_default)
    within = {name: [entry for entry in known if cost(entry) <= times * unit] for name, times in BOUNDS.items()}
    return {name: min(entries, key=_rank) for name, entries in within.items()}


def cost(entry: Entry) -> int:
    """Operations for one picture."""
    return entry.image_flops or 0


def _rank(entry: Entry) -> tuple[float, int, bool, str]:
    percent = entry.accuracy.percent if entry.accuracy else 0.0
    return -percent, cost(entry), not entry.is_default, entry.architecture
