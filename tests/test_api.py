"""The Python interface, as in a notebook."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zsclip import Classifier, LabelError, LabelSet, PromptSet

LABELS = ["red star", "blue star", "green ring"]


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier.load("demo", use_cache=False)


def test_paths_and_pillow_images_give_the_same(classifier: Classifier, red_star: Path) -> None:
    with Image.open(red_star) as opened:
        sources = [str(red_star), red_star, opened, opened.copy()]
        results = list(classifier.classify(sources, LABELS))
        assert len({result.predictions for result in results}) == 1
        assert [result.path for result in results] == [str(red_star)] * 3 + ["image 3"]
        assert opened.size  # the caller's image is as it was


def test_a_single_source_needs_no_list(classifier: Classifier, red_star: Path) -> None:
    for source in (str(red_star), red_star, Image.open(red_star)):
        (result,) = classifier.classify(source, LABELS)
        assert result.label == "red star"


def test_a_generator_is_consumed_as_results_come(classifier: Classifier, red_star: Path) -> None:
    taken = []

    def endless():  # type: ignore[no-untyped-def]
        while True:
            taken.append(1)
            yield red_star

    results = classifier.classify(endless(), LABELS)
    assert next(results).label == "red star"
    results.close()
    assert len(taken) < 300


def test_a_folder_is_an_error_row_that_says_so(classifier: Classifier, red_star: Path) -> None:
    (result,) = classifier.classify([red_star.parent], LABELS)
    assert result.error == "a folder, not an image"
    assert result.label is None


def test_top_k(classifier: Classifier, red_star: Path) -> None:
    assert [len(next(classifier.classify([red_star], LABELS, top_k=k)).predictions) for k in (1, 2, 9, None)] == [
        1,
        2,
        3,
        3,
    ]


def test_class_vectors_are_unit_vectors_in_the_order_of_the_labels(classifier: Classifier) -> None:
    classes = classifier.class_vectors(LabelSet.of(LABELS), [PromptSet.of(["a <label>"]), "photo"])
    assert classes.names == tuple(LABELS)
    vectors = np.concatenate(classes.vectors)
    assert vectors.dtype == np.float32
    assert vectors.shape == (3, 128)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_one_label_is_refused_at_once(classifier: Classifier) -> None:
    with pytest.raises(LabelError, match="softmax over one label is always 1"):
        classifier.classify([], ["cat"])
