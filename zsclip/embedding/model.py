"""The model of a run: what it is, what the store knows of it, and, once something must be computed, its engine."""

from __future__ import annotations

import logging
from functools import cached_property
from pathlib import Path

import numpy as np

from zsclip import models
from zsclip.embedding.timings import Timings
from zsclip.engines import choice
from zsclip.engines.base import Computing, Engine
from zsclip.errors import ModelError
from zsclip.models import ModelSpec
from zsclip.models.spec import ModelFacts
from zsclip.store.database import Store
from zsclip.unit_vectors import Floats, Quality

logger = logging.getLogger("zsclip")

_FIRST_BATCH = 32  # assumed until the engine is loaded


class Model:
    """One model. `engine` is None until `load` was needed; threads may share it after that.

    `exports` is the folder of what engines make of a model once. `rehash` reads a checkpoint file again to know it.
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
        self._store = store
        self._exports = exports
        self._rehash = rehash
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
        return Quality.REDUCED if self.computing.precision == "fp32" else Quality.HALF

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
        return models.fetch(self.spec)

    @cached_property
    def identity(self) -> str:
        """The model's key in the store. For a checkpoint file this reads the file once."""
        if self.spec.tag_key:
            return self.spec.identity(self.spec.tag_key)
        with self.timings.measure("load"):
            try:
                digest = self._store.digest(self.weights, rehash=self._rehash)
            except OSError as error:
                raise ModelError(f"{self.weights} cannot be read: {error.strerror}.", where=self.spec.title) from None
        return self.spec.identity(f"sha256:{digest.hex()}")

    @cached_property
    def facts(self) -> ModelFacts:
        """Scale, bias and dimension: from the store if the model was loaded before."""
        return self._store.facts(self.identity) or self.load().facts

    def fetch(self) -> None:
        """Download the weights now if this model was never loaded here, so that the engine will be needed for sure.

        A download shows a progress of its own.
        """
        if not self.spec.tag_key or self._store.facts(self.identity) is None:
            _ = self.weights

    def load(self) -> Engine:
        """The engine, loaded now if it is not yet; raises `ModelError`."""
        if self.engine is None:
            with self.timings.measure("load"):
                engine = choice.load(self.spec, self.identity, lambda: self.weights, self.computing, self._exports)
            self._store.put_facts(self.identity, engine.facts)
            logger.debug(
                "%s: %s, %.1f million parameters", self.spec.title, engine.description, engine.parameters / 1e6
            )
            self.engine = engine
        return self.engine

    def require_finite(self, vectors: Floats) -> None:
        """Raise `ModelError` for vectors that hold NaN or infinity."""
        if not np.isfinite(vectors).all():
            how = f" ({self.engine.description})" if self.engine else ""
            raise ModelError(
                f"{self.spec.title} gave vectors with no numbers in them{how}.",
                remedy="Try `precision=fp32`; if it is that already, the weights are broken.",
            )
