"""What half precision must keep for `auto` to take it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from zsclip.engines import probes
from zsclip.engines.agreement import LEAST_COSINE, Agreement
from zsclip.models import resolve
from zsclip.models.spec import ModelFacts
from zsclip.unit_vectors import Embedding, Floats, normalise

PREPROCESSING = resolve("demo").preprocessing


class Given:
    """An engine with the vectors that it is given."""

    description, parameters, exact, batch_size, streams = "given", 0, True, 16, 1

    def __init__(self, images: Floats, texts: Floats, scale: float = 100.0) -> None:
        self._images, self._texts = images, texts
        self.facts = ModelFacts(scale, -12.5, images.shape[1])

    def encode_images(self, pixels: np.ndarray) -> Floats:
        assert len(pixels) == len(self._images)
        return self._images

    def encode_texts(self, texts: Sequence[str]) -> list[Embedding]:
        return [Embedding(vector) for vector in self._texts]


@pytest.fixture(scope="module")
def vectors() -> tuple[Floats, Floats]:
    rng = np.random.default_rng(0)
    count = len(probes.pixels(PREPROCESSING)), len(probes.TEXTS)
    images, texts = (normalise(rng.standard_normal((n, 64)).astype(np.float32)) for n in count)
    return images, texts


def test_what_is_the_same_agrees(vectors: tuple[Floats, Floats]) -> None:
    agreement = Agreement.measure(Given(*vectors), Given(*vectors), PREPROCESSING)
    assert agreement.holds
    assert (agreement.logit, agreement.probability) == (0, 0)
    assert min(agreement.images, agreement.texts) > 1 - 1e-6


def towards(images: Floats, text: Floats, cosine: float) -> Floats:
    """The images, each turned so far towards a text that this cosine is left."""
    aside = normalise(text - (images @ text)[:, None] * images)
    return np.asarray(cosine * images + np.sqrt(1 - cosine**2) * aside, np.float32)


def test_a_cosine_that_was_enough_may_move_logits_too_far(vectors: tuple[Floats, Floats]) -> None:
    """Which the gate of 0.1, that looked at cosines only, let pass: here a logit by nearly 3."""
    images, texts = vectors
    half = Given(towards(images, texts[0], 0.9996), texts)
    agreement = Agreement.measure(Given(images, texts), half, PREPROCESSING)
    assert min(agreement.images, agreement.texts) > LEAST_COSINE
    assert 2 < agreement.logit < 3
    assert not agreement.holds


def test_logits_are_those_of_the_models_own_scale(vectors: tuple[Floats, Floats]) -> None:
    images, texts = vectors
    turned = towards(images, texts[0], 0.9996)
    shifts = {
        scale: Agreement.measure(Given(images, texts, scale), Given(turned, texts, 1.0), PREPROCESSING)
        for scale in (10.0, 100.0)
    }
    assert shifts[10.0].holds
    assert not shifts[100.0].holds
    assert shifts[100.0].logit == pytest.approx(10 * shifts[10.0].logit, rel=1e-6)


def test_no_numbers_do_not_agree(vectors: tuple[Floats, Floats]) -> None:
    images, texts = vectors
    for broken in (np.nan, np.inf):
        half = images.copy()
        half[3, 5] = broken
        with np.errstate(all="ignore"):
            assert not Agreement.measure(Given(images, texts), Given(half, texts), PREPROCESSING).holds


def test_what_was_measured_is_kept_for_what_it_is_bound_to(tmp_path: Path) -> None:
    path, measured = tmp_path / "new" / "x.json", Agreement(1.0, 1.0, 0.1, 0.01)
    assert Agreement.read(path, {"device": "a"}) is None
    measured.write(path, {"device": "a"})
    assert Agreement.read(path, {"device": "a"}) == measured
    assert Agreement.read(path, {"device": "b"}) is None
    measured.write(None, {"device": "a"})
    assert Agreement.read(None, {"device": "a"}) is None
    for damaged in ("[1]", "{", '{"images": 20}'):
        path.write_text(damaged)
        assert Agreement.read(path, {"device": "a"}) is None


def test_the_probes_change_with_their_version_only() -> None:
    """Whoever changes one raises `probes.VERSION`, so that what was measured is measured again."""
    means = [round(float(image.mean()) / 8) for image in probes.pixels(PREPROCESSING)]
    known = hashlib.sha256(repr((probes.TEXTS, means)).encode()).hexdigest()[:8]
    assert (probes.VERSION, known) == (3, "85403d91")
