"""Figures of labels on their own against scikit-learn, and intervals against what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zsclip.evaluation.multi_label.calibration import best_threshold
from zsclip.evaluation.multi_label.figures import (
    Ranked,
    Said,
    bias,
    bootstrap,
    bootstrap_p,
    figures,
    interval,
    resampled,
)


def drawn(seed: int, images: int, labels: int, decimals: int = 9) -> Said:
    """Scores that know something of the truth, with ties where they are rounded; labels from rare (perhaps of no image) to common."""
    rng = np.random.default_rng(seed)
    truth = rng.random((images, labels)) < rng.random(labels) ** 2
    score = np.round(rng.standard_normal((images, labels)) + truth, decimals)
    return Said(score, score > 0.5, truth)


@pytest.mark.parametrize(
    ("seed", "images", "labels", "decimals"), [(0, 300, 12, 9), (1, 300, 12, 1), (2, 40, 30, 0), (3, 1, 6, 9)]
)
def test_figures_are_scikit_learns(seed: int, images: int, labels: int, decimals: int) -> None:
    from sklearn import metrics as sk

    said = drawn(seed, images, labels, decimals)
    found = figures(said)
    has_images = np.flatnonzero(said.truth.any(axis=0))
    assert np.flatnonzero(~np.isnan(found.average_precision)).tolist() == has_images.tolist()
    theirs = [sk.average_precision_score(said.truth[:, n], said.score[:, n]) for n in has_images]
    assert found.average_precision[has_images] == pytest.approx(theirs)
    assert float(found.means["map"]) == pytest.approx(np.mean(theirs))
    for name, score in (("precision", sk.precision_score), ("recall", sk.recall_score), ("f1", sk.f1_score)):
        of_labels = [score(said.truth[:, n], said.holds[:, n], zero_division=0) for n in has_images]
        assert np.nan_to_num(getattr(found, name)[has_images]) == pytest.approx(of_labels)
        assert float(found.means[f"macro_{name}"]) == pytest.approx(np.mean(of_labels))
        in_all = score(said.truth.ravel(), said.holds.ravel(), zero_division=0)
        assert float(found.means[f"micro_{name}"]) == pytest.approx(in_all)


def test_a_resample_counts_like_images_that_are_there_as_often() -> None:
    said = drawn(4, 80, 9, 1)
    weights = np.concatenate(list(resampled(80, seed=3, resamples=6)), axis=1)
    assert weights.sum(axis=0).tolist() == [80] * 6
    ours = Ranked(said).figures(weights)
    for n in range(6):
        drawn_ones = np.repeat(np.arange(80), weights[:, n].astype(int))
        theirs = figures(Said(said.score[drawn_ones], said.holds[drawn_ones], said.truth[drawn_ones]))
        for name in ("average_precision", "precision", "recall", "f1"):
            np.testing.assert_allclose(getattr(ours, name)[n], getattr(theirs, name))
        assert {name: float(of[n]) for name, of in ours.means.items()} == pytest.approx(
            {name: float(of) for name, of in theirs.means.items()}
        )
    again = np.concatenate(list(resampled(80, seed=3, resamples=6)), axis=1)
    np.testing.assert_array_equal(weights, again)


def test_a_label_that_no_image_has_is_left_out_of_means_and_has_no_interval() -> None:
    said = drawn(5, 200, 4)
    said.truth[:, 2] = False
    found, resamples = figures(said), bootstrap(said, resamples=50)
    assert np.isnan(found.average_precision).tolist() == [False, False, True, False]
    rest = [0, 1, 3]
    alone = figures(Said(said.score[:, rest], said.holds[:, rest], said.truth[:, rest]))
    assert float(found.means["map"]) == pytest.approx(float(alone.means["map"]))
    assert float(found.means["macro_f1"]) == pytest.approx(float(alone.means["macro_f1"]))
    assert float(found.means["micro_precision"]) < float(alone.means["micro_precision"])  # what is said of it is wrong
    assert interval(float(found.average_precision[2]), resamples.average_precision[:, 2]) is None


@pytest.mark.slow
@pytest.mark.parametrize(("images", "rates"), [(150, (0.1, 0.2, 0.3, 0.4, 0.5)), (150, (0.05,) * 20)])
def test_intervals_cover_what_as_many_other_images_give(images: int, rates: tuple[float, ...]) -> None:
    """Of rare labels too, whose average precision is too high: percentiles of the resamples would cover it in five of six cases."""
    found: dict[str, list[tuple[float, float, float]]] = {"map": [], "micro_f1": [], "macro_f1": []}
    told = []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        truth = rng.random((images, len(rates))) < rates
        score = rng.standard_normal(truth.shape) + truth
        said = Said(score, score > 1, truth)
        resamples = bootstrap(said, resamples=200).means
        told.append(bias(float(figures(said).means["map"]), resamples["map"]))
        for name, value in figures(said).means.items():
            if name in found:
                found[name].append((float(value), *(interval(float(value), resamples[name]) or (1, 0))))
    for name, all_of in found.items():
        values, low, high = np.array(all_of).T
        covered = ((low <= values.mean()) & (values.mean() <= high)).mean()
        assert 0.88 <= covered <= 0.995, (name, covered)
    many_truth = rng.random((40_000, len(rates))) < rates
    many_score = rng.standard_normal(many_truth.shape) + many_truth
    too_high = (
        np.mean([value for value, *_ in found["map"]])
        - figures(Said(many_score, many_score > 1, many_truth)).means["map"]
    )
    assert 0.3 * too_high < np.mean(told) < too_high  # what is said of it is the least


def test_a_p_value_is_small_where_resamples_agree_and_never_none() -> None:
    wide, beside = np.linspace(-1, 1, 999), np.linspace(2, 3, 999)
    assert bootstrap_p(0.0, wide) > 0.9
    assert bootstrap_p(2.5, beside) == bootstrap_p(-2.5, beside) == pytest.approx(0.002)
    assert bootstrap_p(0.0, np.zeros(999)) == 1
    assert interval(0.5, beside / 10) == pytest.approx((0.5 - 0.0475, 0.5 + 0.0475), abs=1e-3)  # around the figure
    assert interval(0.99, beside / 10) == pytest.approx((0.99 - 0.0475, 1), abs=1e-3)
    assert interval(float("nan"), beside) is None


@given(
    st.lists(st.tuples(st.integers(-4, 4), st.booleans()), min_size=1, max_size=14).filter(
        lambda pairs: any(true for _, true in pairs)
    )
)
def test_no_threshold_has_a_larger_f1_than_the_one_that_is_chosen(pairs: list[tuple[int, bool]]) -> None:
    scores, truth = np.array([float(score) for score, _ in pairs]), np.array([true for _, true in pairs])

    def f1(threshold: float) -> float:
        said = scores >= threshold
        return 2 * (said & truth).sum() / (said.sum() + truth.sum())

    chosen = best_threshold(scores, truth)
    assert f1(chosen) == pytest.approx(max(f1(one) for one in scores))
    assert not any(chosen - 0.4 < one < chosen for one in scores)  # between two scores, or at the lowest
    masked = np.where(truth, scores, -np.inf)  # what may not hold is never above it
    assert (masked >= best_threshold(masked, truth)).sum() == truth.sum()
