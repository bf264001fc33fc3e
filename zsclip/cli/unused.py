"""What was asked for of a run that had nothing to compute."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zsclip.classifier import Classifier

logger = logging.getLogger("zsclip")

_OF_THE_ENGINE = ("device", "engine", "precision")
_OF_NEW_IMAGES = ("batch_size", "max_pixels")
# These are true of known vectors, too: they are taken only if they are good enough.
_HONOURED = ("auto", "fp32")


def tell_unused(classifier: Classifier, typed: Mapping[str, Any]) -> None:
    """Say which of the options that the user typed had no effect, because the store had all vectors."""
    counts = classifier.counts
    if counts.unread or counts.computed:
        return
    names = (_OF_THE_ENGINE if classifier.model.engine is None else ()) + (_OF_NEW_IMAGES if counts.found else ())
    unused = [f"`{name}={typed[name]}`" for name in names if name in typed and typed[name] not in _HONOURED]
    if not unused:
        return
    known = (
        "All texts were"
        if not counts.found
        else "The image was"
        if counts.found == 1
        else f"All {counts.found} images were"
    )
    listed = " and ".join(filter(None, (", ".join(unused[:-1]), unused[-1])))
    logger.info("%s known: %s %s not used.", known, listed, "was" if len(unused) == 1 else "were")
