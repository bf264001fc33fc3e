"""The model of a run: what it is, what the store knows of it, and, once something must be computed, its engine."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zsclip import models
from zsclip.embedding.identity import Identities
from zsclip.embedding.timings import Timings
from zsclip.engines import choice
from zsclip.engines.base import Computing, Engine
from zsclip.errors import ModelError
from zsclip.models import ModelSpec
from zsclip.models.spec import ModelFacts
from zsclip.store.database import Store
from zsclip.unit_vectors import Embedding, Floats, Quality, are_units

logger = logging.getLogger("zsclip")

_LEAST = {"fp32": Quality.REDUCED, "int8": Quality.INT8}  # any other precision takes half precision or better
_FIRST_BATCH = 32  # assumed until the engine is loaded


class Model:
    """One model. `engine` is None until `load` was needed; threads may share it after that.

    `exports` is the folder of what engines make of a model once. `rehash` reads the weights again to know them.
    """

    def __init__(
        self,
        spec: ModelSpec,
        store: Store,
        computing: Computing | None = None,
        *,
        exports: Path | None = None,
        rehash: bool = False,
    ) -> None:
        self.spec = spec
        self.computing = computing or Computing()
        self.engine: Engine | None = None
        self.labels: Floats | None = None  # class vectors (labels, d), once there are any: see `Engine.settled`
        self._store = store
        self._exports = exports
        self._identities = Identities(spec, store, exports, rehash=rehash)
        self._assumed: str | None = None  # the identity, while nobody has seen the weights
        self._fp32: Engine | None = None
        self._lock = threading.Lock()
        self.timings = Timings()

    @property
    def exact(self) -> bool:
        """Whether pictures are decoded in full, the model runs in fp32, and only such vectors are taken from the store."""
        return self.computing.exact

    @property
    def least(self) -> Quality:
        """The least quality of a vector that is taken from the store: that of what would be computed, or better.

        What `auto` computes is for the machine to say; it takes half precision, which is its least.
        """
        if self.exact:
            return Quality.EXACT
        return _LEAST.get(self.computing.precision, Quality.HALF)

    @property
    def batch_size(self) -> int:
        """Pictures a batch: the engine's own, or what is asked for or assumed until it is loaded."""
        return self.engine.batch_size if self.engine else self.computing.batch_size or _FIRST_BATCH

    @property
    def streams(self) -> int:
        """How many batches are computed at once; 0 until the engine is loaded."""
        return self.engine.streams if self.engine else 0

    @cached_property
    def weights(self) -> Path:
        """The weights' file, downloaded if it is not on this machine; raises `ModelError`."""
        path = models.fetch(self.spec)
        if self._assumed and (found := self._identities.of(path)) != self._assumed:
            if self._assumed not in self._identities.former(path):
                raise ModelError(
                    f"the weights in {path} are others than those that its vectors in the store were made with.",
                    where=self.spec.title,
                    remedy="Run it again: the new ones are known now, and everything is computed with them.",
                )
            self.identity = found
        return path

    @cached_property
    def identity(self) -> str:
        """The model's key in the store. Weights that were never on this machine are downloaded for it."""
        known = self.known_identity()
        return known or self._identities.of(self.weights)

    def known_identity(self) -> str | None:
        """The identity if it can be told without a download: by the weights' file, else by what it was when it was last here."""
        if path := models.on_disk(self.spec):
            with self.timings.measure("load"):
                return self._identities.of(path)
        self._assumed = self._identities.last()
        return self._assumed

    @property
    def former_identities(self) -> list[str]:
        """What zsclip 0.1 called this model."""
        return self._identities.former(models.on_disk(self.spec))

    @cached_property
    def facts(self) -> ModelFacts:
        """Scale, bias and dimension: from the store if the model was loaded before."""
        return self._store.facts(self.identity) or self.load().facts

    @property
    def is_new(self) -> bool:
        """Whether it was never loaded here, so that the engine will be needed for sure."""
        return self._store.facts(self.identity) is None

    def fetch(self) -> None:
        """Download the weights now if the model is new. A download shows a progress of its own."""
        if self.is_new:
            _ = self.weights

    def load(self) -> Engine:
        """The engine, loaded now if it is not yet; raises `ModelError`."""
        if self.engine is None:
            engine = self._load(self.computing)
            self._store.put_facts(self.identity, engine.facts)
            self.engine = engine
        return self.engine

    def unload(self) -> None:
        """Let go of the engine; it is loaded again when it is needed."""
        self.engine = self._fp32 = None

    def encode_images(self, pixels: NDArray[np.uint8], reduced: Sequence[bool]) -> list[Embedding | None]:
        """Embeddings of preprocessed images (n, height, width, 3), of which some were decoded at a `reduced` scale; None where
        the model gives no finite vector.
        """

        def encode(engine: Engine, rows: Sequence[int]) -> list[Embedding]:
            vectors = engine.encode_images(pixels if len(rows) == len(pixels) else pixels[list(rows)])
            return [
                Embedding(vector, Quality.of(engine.precision, reduced=reduced[row]))
                for row, vector in zip(rows, vectors, strict=True)
            ]

        return self._finite(encode, len(pixels))

    def encode_texts(self, texts: Sequence[str]) -> list[Embedding | None]:
        """Embeddings of texts; None where the model gives no finite vector."""
        return self._finite(lambda engine, rows: engine.encode_texts([texts[row] for row in rows]), len(texts))

    def _finite(self, encode: Callable[[Engine, Sequence[int]], list[Embedding]], count: int) -> list[Embedding | None]:
        """What `encode` gives for so many rows. Rows that half precision has no numbers for are computed in fp32."""
        engine = self._settled()
        made = _finite_only(encode(engine, range(count)))
        broken = [row for row, one in enumerate(made) if one is None]
        if broken and engine.precision != "fp32":
            for row, one in zip(broken, _finite_only(encode(self._in_fp32(), broken)), strict=True):
                made[row] = one
        return made

    def _settled(self) -> Engine:
        """The engine for what comes next, which may be another than for what came before."""
        engine = self.load().settled(self.labels)
        if engine is not self.engine:
            logger.debug("%s: %s from here on", self.spec.title, engine.description)
            self.engine = engine
        return engine

    def _in_fp32(self) -> Engine:
        """An engine beside the first, for what half precision cannot compute."""
        with self._lock:
            if self._fp32 is None:
                self._fp32 = self._load(replace(self.computing, precision="fp32"))
            return self._fp32

    def _load(self, computing: Computing) -> Engine:
        with self.timings.measure("load"):
            engine = choice.load(self.spec, self.identity, lambda: self.weights, computing, self._exports)
        logger.debug("%s: %s, %.1f million parameters", self.spec.title, engine.description, engine.parameters / 1e6)
        return engine


def _finite_only(embeddings: Sequence[Embedding]) -> list[Embedding | None]:
    finite = are_units(np.stack([one.vector for one in embeddings])).tolist()
    return [one if is_finite else None for one, is_finite in zip(embeddings, finite, strict=True)]
