"""What results were made with, said once in a file that has room for it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from zsclip import __version__
from zsclip.embedding.model import Model
from zsclip.scoring.calibration import Binding
from zsclip.text.labels import LabelSet
from zsclip.text.prompts import PromptSet


@dataclass(frozen=True)
class Provenance:
    """What is to be said of a run; called at its end, for only then is it known what computed.

    `labels` and `prompts` are told by the digests that a calibration is bound to.
    """

    model: Model
    labels: LabelSet | None = None
    prompts: Sequence[PromptSet] = ()
    combine: str = "mean"
    background: Sequence[str] | None = None

    def __call__(self) -> dict[str, Any]:
        """Version, model, digest of its weights, precision (None: all vectors were known) and digests."""
        engine, identity = self.model.engine, self.model.identity
        said: dict[str, Any] = {
            "version": __version__,
            "model": self.model.spec.title,
            "weights": json.loads(identity)["weights"],
            "precision": engine.precision if engine else None,
            "exact": self.model.exact,
        }
        if self.labels is not None:
            binding = Binding.of(identity, self.labels, self.prompts, self.combine, self.background)
            said |= {"labels": binding.labels, "prompts": binding.prompts}
        return said
