"""One order of labels everywhere: by probability, of equals by similarity, of equals in the order of the labels."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from zsclip import scoring
from zsclip.evaluation.metrics import Predictions
from zsclip.scoring.classes import ClassVectors
from zsclip.scoring.decisions import Scores, decide, withhold
from zsclip.scoring.rules import Rules

# Few values, so that equals are common; 1 and 0 are what saturated probabilities are.
LEVELS = st.sampled_from([0.0, 0.25, 0.8, 1.0])
SHAPES = st.tuples(st.integers(1, 4), st.integers(1, 9))
TABLES = SHAPES.flatmap(lambda shape: st.tuples(*[arrays(np.float64, shape, elements=LEVELS)] * 2))


def in_words(probability: np.ndarray, similarity: np.ndarray) -> list[list[int]]:
    """The rule, written down with Python's own sort."""
    return [
        sorted(range(len(p)), key=lambda n: (-p[n], -s[n], n)) for p, s in zip(probability, similarity, strict=True)
    ]


@given(TABLES, st.integers(1, 9))
def test_rankings_decisions_and_metrics_put_labels_into_one_order(
    table: tuple[np.ndarray, np.ndarray], top_k: int
) -> None:
    probability, similarity = table
    images, labels = probability.shape
    expected = in_words(probability, similarity)
    names = [str(n) for n in range(labels)]
    scores = Scores(probability, similarity, np.zeros(images, bool))
    ranked = scoring.ranking(probability, similarity, top_k)
    assert ranked.tolist() == [order[:top_k] for order in expected]
    decided = decide(names, scores, top_k, Rules())
    assert [[int(said.label) for said in one.predictions] for one in decided] == ranked.tolist()
    for truth in range(labels):
        judged = Predictions.of(probability, np.full(images, truth), similarity=similarity)
        assert judged.predicted.tolist() == [order[0] for order in expected]
        assert judged.truth_rank.tolist() == [order.index(truth) for order in expected]
    withheld = withhold(probability, similarity, Rules(min_similarity=0.5))
    assert withheld.tolist() == [bool(similarity[n, order[0]] < 0.5) for n, order in enumerate(expected)]


@given(st.integers(0, 1000), st.sampled_from([1.0, 1e-3, 1e-6]), st.booleans())
def test_saturated_labels_are_ranked_by_similarity(seed: int, temperature: float, multi_label: bool) -> None:
    rng = np.random.default_rng(seed)
    vectors = scoring.normalise((np.ones(16) + 0.3 * rng.standard_normal((9, 16))).astype(np.float32))
    # At a bias of -12 and a scale of 117 all of these are certain; next to a temperature of 0 all but one impossible.
    classes = ClassVectors(tuple("abcdefgh"), tuple(vectors[n : n + 1] for n in range(8)), 117.0, -12.0)
    (one,) = classes.score(vectors[8:], 8, Rules(temperature, multi_label=multi_label))
    similarity = [said.similarity for said in one.predictions]
    assert similarity == sorted(similarity, reverse=True)
