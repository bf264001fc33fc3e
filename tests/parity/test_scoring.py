"""Scores against SciPy, and against genuine CLIP vectors that nobody here made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from zsclip import scoring


def unit(rng: np.random.Generator, n: int, d: int = 16) -> np.ndarray:
    return scoring.normalise(rng.standard_normal((n, d)).astype(np.float32))


@given(
    arrays(np.float32, st.tuples(st.integers(1, 5), st.integers(1, 8)), elements=st.floats(-1, 1, width=32)),
    st.floats(0.1, 120),
    st.floats(-20, 20),
    st.floats(0.05, 20),
)
def test_probabilities_are_scipys_softmax(similarity, scale: float, bias: float, temperature: float) -> None:
    from scipy.special import softmax

    ours = scoring.probabilities(similarity, scale, bias, temperature)
    theirs = softmax((scale * similarity.astype(np.float64) + bias) / temperature, axis=-1)
    np.testing.assert_allclose(ours, theirs, atol=1e-12)
    np.testing.assert_allclose(ours.sum(-1), 1)


def test_a_class_vector_is_the_unit_mean_of_its_prompts() -> None:
    prompts = unit(np.random.default_rng(0), 5)
    vectors = np.concatenate(scoring.class_vectors(prompts, [[[0, 1, 2]], [[3, 4]]]))
    mean = prompts[:3].mean(0)
    np.testing.assert_allclose(vectors[0], mean / np.linalg.norm(mean), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_a_label_of_several_names_is_the_unit_mean_of_their_vectors() -> None:
    """Not of all their prompts: a name with more prompts must not weigh more."""
    prompts = unit(np.random.default_rng(1), 4)
    ours = scoring.class_vectors(prompts, [[[0, 1, 2], [3]]])[0][0]
    one = scoring.unit_mean(prompts[:3])
    mean = (one + prompts[3]) / 2
    np.testing.assert_allclose(ours, mean / np.linalg.norm(mean), atol=1e-6)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("123_456.jpg", {"cat": 0.6146, "tennis racket": 0.0588}),
        ("456_123.jpg", {"cat": 0.4744, "mouse": 0.1199}),
        ("208_495.jpg", {"surfboard": 0.5448, "bench": 0.2147}),
    ],
)
def test_published_coco_scores_come_out(shared: Path, image: str, expected: dict[str, float]) -> None:
    """OpenAI ViT-B/32's own image vectors against Detic's text vectors of "a {label}", 80 COCO names, scale 100."""
    images = np.load(shared / "clip_vit_b32" / "images.npz")
    texts = np.load(shared / "clip_vit_b32" / "texts_coco80.npz")
    labels = [str(label) for label in texts["labels"]]
    prompts = scoring.normalise(texts["embeddings"].astype(np.float32))
    classes = np.concatenate(scoring.class_vectors(prompts, [[[n]] for n in range(len(labels))]))
    row = [str(name) for name in images["names"]].index(image)
    vector = scoring.normalise(images["embeddings"][row : row + 1].astype(np.float32))
    similarity = scoring.similarities(vector, classes)
    probability = scoring.probabilities(similarity, 100.0)
    best = scoring.ranking(probability, similarity, 2)[0]
    assert {labels[n]: round(float(probability[0, n]), 4) for n in best} == expected


def test_weights_are_those_of_numpys_average() -> None:
    prompts = unit(np.random.default_rng(2), 5)
    weights = [3.0, 1.0, 0.5, 2.0, 2.0]
    ours = scoring.class_vectors(prompts, [[[0, 1, 2]], [[3, 4]]], "mean", [[weights[:3]], [weights[3:]]])
    mean = np.average(prompts[:3], axis=0, weights=weights[:3])
    np.testing.assert_allclose(ours[0][0], mean / np.linalg.norm(mean), atol=1e-6)
    equal = scoring.class_vectors(prompts, [[[0, 1, 2]], [[3, 4]]])
    np.testing.assert_array_equal(ours[1], equal[1])  # to the bit
