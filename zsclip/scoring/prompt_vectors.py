"""Unit vectors of prompts, and the class vectors that are made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from zsclip.scoring.classes import ClassVectors, class_vectors
from zsclip.text.labels import LabelSet
from zsclip.text.prompts import PromptSet, expand
from zsclip.unit_vectors import Floats


@dataclass(frozen=True)
class PromptVectors:
    """Unit vectors of prompts, float32 (texts, d), of which class vectors are made without asking the model again."""

    rows: Mapping[str, int]
    vectors: Floats
    logit_scale: float
    logit_bias: float
    background: Floats | None = None

    def class_vectors(self, labels: LabelSet, sets: Sequence[PromptSet], combine: str = "mean") -> ClassVectors:
        """The labels' class vectors by sets whose texts are all among the rows."""
        texts = [[expand(sets, member) for member in label.members] for label in labels.labels]
        groups = [[[self.rows[text] for text in of_name] for of_name in of_label] for of_label in texts]
        weights = [[list(of_name.values()) for of_name in of_label] for of_label in texts]
        return ClassVectors(
            labels.names,
            tuple(class_vectors(self.vectors, groups, combine, weights)),
            self.logit_scale,
            self.logit_bias,
            self.background,
        )
