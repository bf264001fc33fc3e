"""Texts to unit vectors: from the store, the others computed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import islice

import numpy as np

from zsclip.embedding.model import Model
from zsclip.embedding.timings import Timings
from zsclip.errors import ModelError
from zsclip.store.database import Store
from zsclip.store.records import Kind, text_digest
from zsclip.unit_vectors import Floats

logger = logging.getLogger("zsclip")

_PER_COMMIT = 4096
_SHOWN = 3


def embed_texts(texts: Sequence[str], model: Model, store: Store, timings: Timings) -> Floats:
    """Unit vectors of texts: float32 (n, d). Repeated texts are computed once. Warns of texts that are cut."""
    digests = {text: text_digest(text) for text in dict.fromkeys(texts)}
    with timings.measure("store"):
        known = store.get(
            model.identity, list(digests.values()), model.spec.embed_dim, least=model.least, kind=Kind.TEXT
        )
    # Sorted, for engines compute what texts begin with in common once.
    missing = iter(sorted(text for text, digest in digests.items() if digest not in known))
    while batch := list(islice(missing, _PER_COMMIT)):
        model.load()
        with timings.measure("texts"):
            embeddings = model.encode_texts(batch)
        made = {digests[text]: one.as_stored() for text, one in zip(batch, embeddings, strict=True) if one is not None}
        if len(made) < len(batch):
            broken = batch[embeddings.index(None)]
            raise ModelError(
                f"{model.spec.title} gives no finite embedding for {broken!r}.", remedy="Leave out the text."
            )
        with timings.measure("store"):
            store.put(model.identity, made, kind=Kind.TEXT)
        known.update(made)
    _warn_of_cuts(model, {text: cut for text, digest in digests.items() if (cut := known[digest].cut)})
    return np.stack([known[digests[text]].vector for text in texts])


def _warn_of_cuts(model: Model, cuts: dict[str, str]) -> None:
    for text, cut in list(cuts.items())[:_SHOWN]:
        logger.warning(
            "%s reads %d tokens of a text; of %r it does not see the end: %r. Shorten it.",
            model.spec.title, model.spec.context_length, text, cut,
        )  # fmt: skip
    if len(cuts) > _SHOWN:
        logger.warning("The ends of %d more texts are cut in the same way.", len(cuts) - _SHOWN)
