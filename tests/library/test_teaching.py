"""Labels taught by examples: the discriminant and the probe against scikit-learn, and what the blend may and may not do."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression

from zsclip.errors import InputError
from zsclip.evaluation.copies import SAME, alike, copies
from zsclip.evaluation.examples import Gain
from zsclip.scoring.calibration import Binding
from zsclip.scoring.classes import ClassVectors
from zsclip.scoring.classifier_file import TaughtClassifier, read_file, to_json
from zsclip.scoring.discriminant import Means, SharedCovariance, balanced
from zsclip.scoring.probe import PENALTIES, probe_loss, probes
from zsclip.scoring.rules import Rules
from zsclip.scoring.taught import Taught
from zsclip.scoring.teaching import METHODS, mislabelled, teach
from zsclip.text.labels import Label, LabelSet
from zsclip.text.prompts import PromptSet
from zsclip.unit_vectors import Doubles, Floats, normalise


def drawn(
    seed: int, labels: int = 6, shots: int = 8, dimensions: int = 40, *, apart: float = 0.6, noise: float = 0.25
) -> tuple[ClassVectors, Floats, np.ndarray, Floats, np.ndarray]:
    """Class vectors of texts, and unit vectors of pictures that lie elsewhere, as far from where texts say as `apart`."""
    rng = np.random.default_rng(seed)
    texts = normalise(rng.normal(size=(labels, dimensions)).astype(np.float32))
    means = rng.normal(size=dimensions) / 6 + 0.5 * texts + apart * rng.normal(size=texts.shape) / np.sqrt(dimensions)

    def pictures(which: np.ndarray) -> Floats:
        return normalise((means[which] + noise * rng.normal(size=(len(which), dimensions))).astype(np.float32))

    truth, others = np.repeat(np.arange(labels), shots), np.repeat(np.arange(labels), 60)
    classes = ClassVectors(tuple(f"label {n}" for n in range(labels)), tuple(texts[:, None]), 50.0)
    return classes, pictures(truth), truth, pictures(others), others


def right(classes: ClassVectors, vectors: Floats, truth: np.ndarray) -> float:
    return float((classes.arrays(vectors).probability.argmax(axis=1) == truth).mean())


@pytest.mark.parametrize("shots", [3, 30])
@pytest.mark.parametrize("shrinkage", [0.05, 0.5, 1.0])
def test_the_discriminant_is_that_of_scikit_learn(shots: int, shrinkage: float) -> None:
    _, vectors, labels, others, _ = drawn(1, shots=shots)
    points = vectors.astype(np.float64)
    means = np.stack([points[labels == n].mean(axis=0) for n in range(6)])
    covariance = SharedCovariance.of(points - means[labels], balanced(labels), shrinkage)
    ours = covariance.discriminant(means)(others)
    theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage, priors=np.full(6, 1 / 6)).fit(
        points, labels
    )
    expected = theirs.decision_function(others.astype(np.float64))
    expected -= expected.mean(axis=1, keepdims=True)
    assert np.abs(ours - expected).max() < 1e-8 * np.abs(expected).max()


@pytest.mark.parametrize("shots", [2, 12])
def test_the_probe_is_at_the_optimum_of_a_convex_problem(shots: int) -> None:
    classes, vectors, labels, _, _ = drawn(2, shots=shots)
    points, texts, scale = vectors.astype(np.float64), np.concatenate(classes.vectors).astype(np.float64), 50.0
    # Pulled towards nothing, it is scikit-learn's logistic regression, in whose loss weights are on the points' own scale.
    (ours,) = probes(points, labels, np.zeros_like(texts), scale, (1.0,))
    theirs = LogisticRegression(C=scale**2 / scale, fit_intercept=False, tol=1e-10, max_iter=5000)
    theirs.fit(points, labels, sample_weight=balanced(labels))
    expected = theirs.coef_ - theirs.coef_.mean(axis=0)
    found = ours.weights - ours.weights.mean(axis=0)
    assert np.abs(found - expected).max() < 2e-3 * np.abs(expected).max()
    # Pulled towards texts: the slope is next to nothing there, as nowhere else in a convex problem, and the slope is right.
    for penalty, one in zip(PENALTIES, probes(points, labels, texts, scale), strict=True):
        change = one.weights / scale
        value, slope = probe_loss(change, points, labels, texts, scale, penalty * scale)
        _, at_start = probe_loss(np.zeros_like(change), points, labels, texts, scale, penalty * scale)
        assert np.abs(slope).max() < 1e-3 * np.abs(at_start).max()
        step = np.random.default_rng(0).normal(size=change.shape) * 1e-5
        values = [probe_loss(change + side * step, points, labels, texts, scale, penalty * scale) for side in (1, -1)]
        assert values[0][0] + values[1][0] > 2 * value
        away = probe_loss(change + 1000 * step, points, labels, texts, scale, penalty * scale)[1]
        numeric = [
            probe_loss(change + 1000 * step + side * step, points, labels, texts, scale, penalty * scale)[0]
            for side in (1, -1)
        ]
        assert (numeric[0] - numeric[1]) / 2 == pytest.approx(float((away * step).sum()), rel=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_examples_help_where_texts_are_off_and_harm_nowhere(method: str) -> None:
    off, vectors, labels, others, truth = drawn(3, apart=1.5)
    taught = replace(off, taught=teach(off, vectors, labels, method).taught)
    assert right(taught, others, truth) > right(off, others, truth) + 0.1
    for seed in range(8):
        fine, vectors, labels, others, truth = drawn(seed, shots=1, apart=0.1)
        one_each = replace(fine, taught=teach(fine, vectors, labels, method).taught)
        assert right(one_each, others, truth) > right(fine, others, truth) - 0.02


@given(st.integers(0, 50), st.permutations(range(6)))
def test_the_order_of_labels_does_not_matter(seed: int, order: list[int]) -> None:
    """The examples' folds are drawn; held out one by one, there is nothing to be drawn."""
    classes, vectors, labels, others, _ = drawn(seed, shots=3)
    place = np.argsort(order)
    renamed = replace(
        classes, names=tuple(classes.names[n] for n in order), vectors=tuple(classes.vectors[n] for n in order)
    )
    one = replace(classes, taught=teach(classes, vectors, labels).taught).arrays(others).probability
    other = replace(renamed, taught=teach(renamed, vectors, place[labels]).taught).arrays(others).probability
    assert np.abs(one[:, order] - other).max() < 1e-4


def test_labels_without_examples_are_still_found_by_their_texts() -> None:
    classes, vectors, labels, others, truth = drawn(4, apart=0.3)
    few = labels < 3
    taught = replace(classes, taught=teach(classes, vectors[few], labels[few]).taught)
    rest = truth >= 3
    assert right(taught, others[rest], truth[rest]) > right(classes, others[rest], truth[rest]) - 0.05
    means = Means.of(vectors[few].astype(np.float64), labels[few], np.concatenate(classes.vectors).astype(np.float64))
    assert np.array_equal(means.pulled(1.0)[3:], means.expected[3:])


def test_each_label_weighs_the_same_however_many_examples_it_has() -> None:
    weights = balanced(np.array([0, 0, 0, 4, 4, 2]))
    assert [float(weights[:3].sum()), float(weights[3:5].sum()), float(weights[5])] == pytest.approx([1 / 3] * 3)
    classes, vectors, labels, others, truth = drawn(5, shots=16)
    kept = (labels != 0) | (np.arange(len(labels)) < 2)
    few = replace(classes, taught=teach(classes, vectors[kept], labels[kept]).taught)
    rare = truth == 0
    assert right(few, others[rare], truth[rare]) >= right(classes, others[rare], truth[rare])


def test_names_kept_apart_and_backgrounds_compete_with_what_is_taught() -> None:
    classes, vectors, labels, others, _ = drawn(6)
    taught = teach(classes, vectors, labels).taught
    flat = replace(classes, taught=taught).arrays(others)
    twice = replace(classes, vectors=tuple(np.concatenate([one, one]) for one in classes.vectors), taught=taught)
    for combine in ("max", "sum"):
        assert np.allclose(twice.arrays(others, Rules(combine=combine)).probability, flat.probability)
    assert np.array_equal(flat.similarity, classes.arrays(others).similarity)
    nothing = replace(classes, taught=taught, background=normalise(-others[:3]))
    assert nothing.arrays(others).probability.sum(axis=1).max() < 1 + 1e-9
    frames = replace(classes, taught=taught).arrays(others, starts=range(0, len(others), 2))
    assert frames.probability.shape == (len(others) // 2, 6)


def test_what_looks_mislabelled_is_named_and_copies_are_found() -> None:
    classes, vectors, labels, _, _ = drawn(7, shots=10, apart=0.2, noise=0.1)
    wrong = labels.copy()
    wrong[[3, 37]] = [5, 0]
    found = mislabelled(teach(classes, vectors, wrong).held_out, wrong)
    assert {n for n, _ in found} == {3, 37}
    assert dict(found) == {3: int(labels[3]), 37: int(labels[37])}
    more = np.concatenate([vectors, vectors[[8, 2]]])
    assert copies(more, 0.9999, block=7) == [(8, 60), (2, 61)]


def test_the_gain_is_that_of_the_pairs() -> None:
    texts, taught = np.array([True] * 6 + [False] * 4), np.array([True] * 5 + [False] + [True] * 3 + [False])
    gain = Gain.of(texts, taught)
    assert (gain.texts, gain.taught, gain.difference) == (0.6, 0.8, pytest.approx(0.2))
    assert gain.interval.low < 0.2 < gain.interval.high
    assert gain.interval.low < 0 < gain.interval.high, "three gained and one lost are few"


def test_one_example_of_each_of_two_labels_says_nothing_that_could_be_held_out() -> None:
    classes, vectors, labels, others, _ = drawn(10)
    two = [int((labels == 0).argmax()), int((labels == 1).argmax())]
    taught = teach(classes, vectors[two], labels[two]).taught
    assert (taught.texts, float(np.abs(taught.weights).max())) == (pytest.approx(1, abs=0.1), 0.0)
    assert (
        np.abs(replace(classes, taught=taught).arrays(others).similarity - classes.arrays(others).similarity).max() == 0
    )


def test_images_that_are_one_are_found_however_they_were_computed() -> None:
    _, vectors, _, others, _ = drawn(11)
    rounded = normalise(vectors[:4].astype(np.float16).astype(np.float32) + np.float32(1e-4))
    assert alike(np.concatenate([rounded, others[:9]]), vectors, SAME, block=5).tolist() == [True] * 4 + [False] * 9


def test_one_label_teaches_nothing_and_there_are_two_methods() -> None:
    classes, vectors, labels, _, _ = drawn(8)
    with pytest.raises(InputError, match="of two labels at least"):
        teach(classes, vectors[labels == 0], labels[labels == 0])
    with pytest.raises(InputError, match="There are: gda, probe"):
        teach(classes, vectors, labels, "svm")


def saved(seed: int = 9) -> TaughtClassifier:
    classes, vectors, labels, _, _ = drawn(seed)
    names = LabelSet(tuple(Label(name, (name, f"{name}, too")) for name in classes.names))
    sets = (PromptSet("mine", ("a photo of a <label>.", "a <label>."), {"label 1": ("one",)}, weights=(1.0, 2.5)),)
    taught = teach(classes, vectors, labels).taught
    return TaughtClassifier(
        names, sets, "max", ("nothing",), taught, Binding("m", "l", "p"), "a model", {"label 0": 8}, {"taught": 0.9}
    )


def test_a_saved_classifier_is_read_to_the_same_numbers(tmp_path: Path) -> None:
    one, file = saved(), tmp_path / "c.json"
    file.write_text(to_json(one))
    read = read_file(file)
    assert (read.labels, read.prompts, read.combine, read.background, read.binding, read.digest) == (
        one.labels, one.prompts, "max", ("nothing",), one.binding, one.digest,
    )  # fmt: skip
    assert read.taught.texts == one.taught.texts
    assert np.array_equal(read.taught.weights, one.taught.weights)
    assert np.array_equal(read.taught.biases, one.taught.biases)
    read.require(["x", "m"], 40, file)
    with pytest.raises(InputError, match=r"taught with another model \(a model\)"):
        read.require(["x"], 41, file)
    with pytest.raises(InputError, match="weights of another length"):
        read.require(["m"], 41, file)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d.pop("biases"), "'biases' is missing"),
        (lambda d: d["weights"].pop(), "weights of 6 labels are expected"),
        (lambda d: d["weights"][0].__setitem__(0, float("nan")), "no finite number"),
        (lambda d: d.__setitem__("zsclip classifier", 2), "another version"),
        (lambda d: d.pop("zsclip classifier"), "not a classifier of zsclip"),
        (lambda d: d.__setitem__("labels", []), "damaged: No labels"),
        (lambda d: d.__setitem__("labels", 3), "damaged"),
    ],
)
def test_a_damaged_classifier_says_what_is_wrong(change: object, said: str, tmp_path: Path) -> None:
    document = json.loads(to_json(saved()))
    change(document)  # type: ignore[operator]
    file = tmp_path / "c.json"
    file.write_text(json.dumps(document))
    with pytest.raises(InputError, match=said):
        read_file(file)
    file.write_bytes(b"PK\x03\x04")
    with pytest.raises(InputError, match="not JSON"):
        read_file(file)
    with pytest.raises(InputError, match="No such file"):
        read_file(tmp_path / "none.json")


def test_what_is_taught_is_linear() -> None:
    taught = Taught(1.0, np.eye(3, dtype=np.float32), np.array([0, 1, 0], np.float32))
    vectors: Doubles = np.eye(3)
    assert np.array_equal(taught(vectors.astype(np.float32)), [[1, 1, 0], [0, 2, 0], [0, 1, 1]])
