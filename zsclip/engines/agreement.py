"""How far half precision moves a model's numbers: measured with its own weights, over the probes, and kept."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from zsclip import atomic
from zsclip.engines import probes
from zsclip.engines.base import Engine
from zsclip.images.preprocessing import Preprocessing
from zsclip.models.spec import ModelFacts
from zsclip.scoring.probability import probabilities, similarities
from zsclip.unit_vectors import Floats

logger = logging.getLogger("zsclip")

# What `auto` allows for half precision. A cosine alone does not bound a logit: at a scale of 100, 0.9995 leaves room for 3. So
# the logits of all pairs of probes are bounded too, and the probabilities among the texts. These are bounds of the worst of
# some hundred pairs; a typical one moves by a fifth of that or less.
LEAST_COSINE = 0.9995
LARGEST_LOGIT_SHIFT = 0.5  # changes odds by a factor of 1.65
LARGEST_PROBABILITY_SHIFT = 0.1


@dataclass(frozen=True)
class Agreement:
    """Half precision beside fp32 over the probes: the smallest cosines of `images` and `texts`, and the largest shifts of a
    `logit` and of a `probability` at the model's own scale and bias."""

    images: float
    texts: float
    logit: float
    probability: float

    @classmethod
    def measure(cls, fp32: Engine, half: Engine, preprocessing: Preprocessing) -> Agreement:
        """Compute the probes both ways."""
        pixels = probes.pixels(preprocessing)
        images = [engine.encode_images(pixels) for engine in (fp32, half)]
        texts = [np.stack([one.vector for one in engine.encode_texts(probes.TEXTS)]) for engine in (fp32, half)]
        return cls.between(fp32.facts, images, texts)

    @classmethod
    def between(cls, facts: ModelFacts, images: Sequence[Floats], texts: Sequence[Floats]) -> Agreement:
        """Of what both gave for the same images and texts, fp32 first: unit vectors (n, d). `facts` are the model's."""
        cosines = [similarities(*both) for both in zip(images, texts, strict=True)]
        chances = [probabilities(one, facts.logit_scale, facts.logit_bias) for one in cosines]
        return cls(
            _least_cosine(*images),
            _least_cosine(*texts),
            float(facts.logit_scale * np.abs(cosines[0] - cosines[1]).max()),
            float(np.abs(chances[0] - chances[1]).max()),
        )

    @classmethod
    def read(cls, path: Path | None, bound_to: Mapping[str, str]) -> Agreement | None:
        """What was measured and is kept at `path`, if all that it is `bound_to` is as it was."""
        if path is not None:
            try:
                document = json.loads(path.read_text(encoding="utf-8"))
                if document["bound_to"] == dict(bound_to):
                    return cls(**document["agreement"])
            except (OSError, ValueError, KeyError, TypeError):
                logger.debug("%s holds nothing that was measured here.", path)
        return None

    def write(self, path: Path | None, bound_to: Mapping[str, str]) -> None:
        """Keep it at `path` (None: nowhere)."""
        if path is not None:
            document = {"agreement": asdict(self), "bound_to": dict(bound_to)}
            try:
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                with atomic.new_file(path) as file:
                    file.write(json.dumps(document).encode())
            except OSError as error:
                logger.debug("%s cannot be written (%s); it is measured again next time.", path, error)

    @property
    def holds(self) -> bool:
        """Whether the model tolerates half precision. Where there are no numbers, it does not."""
        return (
            self.images >= LEAST_COSINE
            and self.texts >= LEAST_COSINE
            and self.logit <= LARGEST_LOGIT_SHIFT
            and self.probability <= LARGEST_PROBABILITY_SHIFT
        )

    def told(self, precision: str) -> str:
        """The same in words."""
        text = (
            f"{precision} gives cosines of {self.images:.6f} (images) and {self.texts:.6f} (texts) or more to fp32, and moves logits by "
            f"{self.logit:.2f} and probabilities by {self.probability:.3f} or less"
        )
        bounds = f"{LEAST_COSINE}, {LARGEST_LOGIT_SHIFT} and {LARGEST_PROBABILITY_SHIFT}"
        return text if self.holds else f"{text}; the bounds are {bounds}"


def _least_cosine(a: Floats, b: Floats) -> float:
    return float(np.einsum("nd,nd->n", a, b, dtype=np.float64).min())
