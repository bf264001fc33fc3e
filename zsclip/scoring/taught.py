"""What examples add to class vectors. NumPy only."""

from __future__ import annotations

from dataclasses import dataclass

from zsclip.scoring.probability import similarities
from zsclip.unit_vectors import Doubles, Floats


@dataclass(frozen=True)
class Taught:
    """A label's score is `texts` times the cosine to its class vector, plus what examples say: linear in the image's vector.

    `weights` float32 (labels, d) and `biases` (labels,) are on the scale of cosines, so that the model's own scale makes logits of them.
    """

    texts: float
    weights: Floats
    biases: Floats

    def __call__(self, embeddings: Floats | Doubles) -> Doubles:
        """What examples say of images (n, d): float64 (n, labels)."""
        return similarities(embeddings, self.weights) + self.biases
