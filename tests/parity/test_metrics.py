"""Metrics against scikit-learn and SciPy, and intervals against what they promise."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zsclip import LabelSet, PromptSet, Rules
from zsclip.evaluation import comparison, evaluate, metrics
from zsclip.evaluation.metrics import Predictions


def drawn(seed: int, images: int, labels: int, sharp: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities that know something of the truth, and the truth."""
    from scipy.special import softmax

    rng = np.random.default_rng(seed)
    truth = rng.integers(0, labels, images)
    logits = rng.standard_normal((images, labels)) + sharp * np.eye(labels)[truth]
    return softmax(logits, axis=1), truth


CASES = [(0, 400, 10), (1, 400, 2), (2, 60, 30), (3, 1, 7), (4, 300, 6)]


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "images", "labels"), CASES)
def test_metrics_are_scikit_learns(seed: int, images: int, labels: int) -> None:
    from scipy import stats
    from sklearn import metrics as sk

    probability, truth = drawn(seed, images, labels)
    ours = metrics.summary(Predictions.of(probability, truth), labels)
    said = probability.argmax(1)
    every = np.arange(labels)
    assert ours.top1 == pytest.approx(sk.accuracy_score(truth, said))
    if labels > 5:
        theirs = sk.top_k_accuracy_score(truth, probability, k=5, labels=every)
        assert ours.top5 == pytest.approx(theirs)
    else:
        assert ours.top5 is None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # labels that are predicted and never true
        assert ours.mean_recall == pytest.approx(sk.balanced_accuracy_score(truth, said))
    present = np.unique(truth)
    assert ours.macro_f1 == pytest.approx(sk.f1_score(truth, said, average="macro", labels=present))
    assert ours.nll == pytest.approx(sk.log_loss(truth, probability, labels=every))
    interval = stats.binomtest(int((said == truth).sum()), images).proportion_ci(0.95, "wilson")
    assert tuple(ours.top1_interval) == pytest.approx((interval.low, interval.high))
    assert (ours.coverage, ours.covered_accuracy) == (1.0, pytest.approx(ours.top1))


@pytest.mark.parametrize(("seed", "images", "labels"), CASES)
def test_per_label_scores_and_confusions_are_scikit_learns(seed: int, images: int, labels: int) -> None:
    from sklearn import metrics as sk

    probability, truth = drawn(seed, images, labels, 1.0)
    predictions = Predictions.of(probability, truth)
    report = sk.classification_report(
        truth, predictions.predicted, labels=np.arange(labels), output_dict=True, zero_division=np.nan
    )
    matrix = sk.confusion_matrix(truth, predictions.predicted, labels=np.arange(labels))
    ours = np.zeros_like(matrix)
    for true, said, count in metrics.confusions(predictions):
        ours[true, said] = count
    np.testing.assert_array_equal(ours, matrix)
    np.fill_diagonal(matrix, 0)
    for scores in metrics.per_label(predictions, labels):
        theirs = report[str(scores.label)]
        assert scores.images == theirs["support"]
        for mine, name in ((scores.precision, "precision"), (scores.recall, "recall")):
            assert mine == pytest.approx(theirs[name], nan_ok=True) if mine is not None else np.isnan(theirs[name])
        assert (scores.f1 is None) == (scores.images == 0)
        if scores.f1 is not None:
            assert scores.f1 == pytest.approx(theirs["f1-score"])
        assert scores.confused == matrix[scores.label].max()
        if scores.confused_with is not None:
            assert matrix[scores.label, scores.confused_with] == scores.confused


def test_ranks_and_predictions_take_equals_in_the_order_of_the_labels() -> None:
    probability = np.array([[0.4, 0.4, 0.2], [0.2, 0.4, 0.4], [1 / 3, 1 / 3, 1 / 3]])
    one = Predictions.of(probability, np.array([1, 2, 2]))
    assert one.predicted.tolist() == [0, 1, 0]
    assert one.truth_rank.tolist() == [1, 1, 2]


@pytest.mark.parametrize("temperature", [100.0, 1.0, 0.01, 1e-4])
def test_ranks_do_not_change_with_temperature(temperature: float) -> None:
    """Next to 0 all losers have the same probability, 0: their similarity ranks them."""
    from scipy.special import softmax

    rng = np.random.default_rng(4)
    similarity, truth = rng.standard_normal((200, 30)) / 5, rng.integers(0, 30, 200)
    logits = 100 * similarity / temperature
    probability = softmax(logits, axis=1)
    one = Predictions.of(probability, truth, similarity=similarity)
    theirs = (similarity > similarity[np.arange(200), truth][:, None]).sum(1)
    np.testing.assert_array_equal(one.truth_rank, theirs)
    np.testing.assert_array_equal(one.correct, one.truth_rank == 0)


def test_ece_is_the_gap_between_scikit_learns_curve_and_the_diagonal() -> None:
    from sklearn.calibration import calibration_curve

    probability, truth = drawn(5, 2000, 8)
    one = Predictions.of(probability, truth)
    accuracy, confidence = calibration_curve(one.correct, one.confidence, n_bins=15)
    bins = [found for found in metrics.reliability(one.confidence, one.correct) if found.images]
    np.testing.assert_allclose([found.accuracy for found in bins], accuracy)
    np.testing.assert_allclose([found.confidence for found in bins], confidence)
    weights = np.histogram(one.confidence, 15, (0, 1))[0]
    theirs = np.average(np.abs(accuracy - confidence), weights=weights[weights > 0])
    assert metrics.expected_calibration_error(one.confidence, one.correct) == pytest.approx(theirs)


def test_ece_by_hand() -> None:
    confidence = np.array([1.0, 1.0, 0.9, 0.6, 0.0])
    correct = np.array([True, False, True, False, False])
    # (14/15, 1]: two at 1.0, one right; (13/15, 14/15]: 0.9; (8/15, 9/15]: 0.6; and 0 in the first
    assert metrics.expected_calibration_error(confidence, correct) == pytest.approx((2 * 0.5 + 0.1 + 0.6) / 5)


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_scipys_exact_binomial(gained: int, lost: int) -> None:
    from scipy import stats

    ours = comparison.mcnemar(gained, lost)
    if gained + lost == 0:
        assert ours == 1
        return
    tail = stats.binom.cdf(min(gained, lost), gained + lost, 0.5)
    assert ours == pytest.approx(min(1.0, 2 * tail))
    assert ours == pytest.approx(stats.binomtest(gained, gained + lost, 0.5).pvalue)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_is_the_closed_test_of_bonferronis(p_values: list[float]) -> None:
    """An adjusted p-value is the largest Bonferroni p-value of any family that the test is a member of."""
    families = [
        family for size in range(1, len(p_values) + 1) for family in itertools.combinations(range(len(p_values)), size)
    ]
    for n, ours in enumerate(comparison.holm(p_values)):
        theirs = max(min(1.0, len(f) * min(p_values[m] for m in f)) for f in families if n in f)
        assert ours == pytest.approx(theirs)


def test_holm_as_published() -> None:
    assert comparison.holm([0.01, 0.02, 0.03, 0.04, 0.05]) == pytest.approx([0.05, 0.08, 0.09, 0.09, 0.09])
    assert comparison.holm([]) == []


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 30), st.integers(0, 30), st.integers(0, 200), st.floats(-0.9, 0.9))
def test_tangos_statistic_maximises_the_likelihood(gained: int, lost: int, same: int, delta: float) -> None:
    """The closed form against SciPy's search for the maximum."""
    from scipy import optimize

    count = gained + lost + same
    # shares of gained = x + delta and lost = x, the rest same
    low, high = max(0.0, -delta), (1 - delta) / 2

    def unlikelihood(x: float) -> float:
        terms = ((gained, x + delta), (lost, x), (same, 1 - 2 * x - delta))
        return -sum(k * np.log(max(p, 1e-300)) for k, p in terms if k)

    found = optimize.minimize_scalar(unlikelihood, bounds=(low, high), method="bounded", options={"xatol": 1e-12})
    lead, variance = gained - lost - count * delta, count * (2 * found.x + delta - delta * delta)
    theirs = lead / np.sqrt(max(variance, 1e-300))
    assert comparison._tango(gained, lost, count, delta) == pytest.approx(theirs, rel=1e-3, abs=1e-3)


@given(st.integers(0, 40), st.integers(0, 40), st.integers(1, 200))
def test_a_paired_interval_holds_the_difference_and_turns_with_it(gained: int, lost: int, same: int) -> None:
    count = gained + lost + same
    low, high = comparison.paired_difference(gained, lost, count)
    assert -1 <= low <= (gained - lost) / count <= high <= 1
    assert comparison.paired_difference(lost, gained, count) == pytest.approx((-high, -low), abs=1e-9)
    # at 0 the statistic is McNemar's without a correction
    if gained + lost and abs(abs(gained - lost) / np.sqrt(gained + lost) - 1.96) > 0.01:
        assert (low > 0 or high < 0) == (abs(gained - lost) / np.sqrt(gained + lost) > 1.96)


def test_nothing_gained_and_nothing_lost() -> None:
    from scipy import stats

    z = stats.norm.ppf(0.975)
    assert comparison.paired_difference(0, 0, 44) == pytest.approx((-z * z / (44 + z * z), z * z / (44 + z * z)))


# Chance of the interval to hold the truth, computed over all outcomes: no luck in it.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("gains", "losses", "count"),
    [(0.05, 0.05, 100), (0.10, 0.04, 100), (0.2, 0.1, 60), (0.03, 0.01, 400), (0.3, 0.05, 40)],
)
def test_the_paired_interval_covers_at_its_nominal_rate(gains: float, losses: float, count: int) -> None:
    from scipy import stats

    most = int(count * (gains + losses) + 12 * np.sqrt(count * 0.1)) + 12
    covered = 0.0
    for gained in range(min(count, most) + 1):
        for lost in range(min(count - gained, most) + 1):
            chance = stats.multinomial.pmf(
                [gained, lost, count - gained - lost], count, [gains, losses, 1 - gains - losses]
            )
            if chance > 1e-9:
                low, high = comparison.paired_difference(gained, lost, count)
                covered += chance * (low <= gains - losses <= high)
    assert 0.93 <= covered <= 0.975


@pytest.mark.slow
@pytest.mark.parametrize(("share", "count"), [(0.5, 50), (0.9, 100), (0.98, 300)])
def test_wilsons_interval_covers_at_its_nominal_rate(share: float, count: int) -> None:
    from scipy import stats

    successes = np.arange(count + 1)
    intervals = [metrics.wilson(int(k), count) for k in successes]
    holds = np.array([low <= share <= high for low, high in intervals])
    assert 0.93 <= stats.binom.pmf(successes, count, share)[holds].sum() <= 0.98


@pytest.mark.slow
def test_intervals_cover_in_a_simulation_of_two_prompt_sets() -> None:
    """Whole predictions, drawn anew 600 times: how often the intervals hold the true accuracy and difference."""
    rng = np.random.default_rng(6)
    shares = np.array([0.72, 0.06, 0.12, 0.10])  # both right, gained, lost, both wrong
    truth = np.zeros(250, int)
    inside = []
    for _ in range(600):
        kind = rng.choice(4, 250, p=shares)
        old = Predictions(truth, np.isin(kind, (1, 3)) * 1, *(np.ones(250),) * 2, truth, truth > 0)
        new = Predictions(truth, np.isin(kind, (2, 3)) * 1, *(np.ones(250),) * 2, truth, truth > 0)
        (found,) = comparison.compare(old, [new])
        low, high = metrics.wilson(int(new.correct.sum()), 250)
        inside.append((found.interval.low <= -0.06 <= found.interval.high, low <= 0.78 <= high))
    rates = np.mean(inside, axis=0)
    # 600 draws: three standard errors of a rate of 0.95 are 0.027
    assert np.all(np.abs(rates - 0.95) < 0.027), rates


def test_a_comparison_counts_what_is_gained_and_lost() -> None:
    truth = np.zeros(10, int)

    def right(*where: int) -> Predictions:
        wrong = np.ones(10, int)
        wrong[list(where)] = 0
        return Predictions(truth, wrong, np.ones(10), np.ones(10), truth, truth > 0)

    found = comparison.compare(right(0, 1, 2), [right(1, 2, 3, 4), right(0, 1, 2)])
    assert (found[0].gained, found[0].lost, found[0].difference) == (2, 1, 0.1)
    assert (found[1].gained, found[1].lost, found[1].p_value, found[1].verdict) == (0, 0, 1.0, "unclear")


def judged(right: int, wrong: int, labels: int, truth: list[int] | None = None) -> evaluate.Evaluation:
    """One prompt set on images of which so many are right."""
    true = np.array(truth if truth is not None else [0] * (right + wrong))
    said = np.where(np.arange(len(true)) < right, true, (true + 1) % labels)
    found = Predictions(true, said, *(np.ones(len(true)),) * 2, true * 0, true < 0)
    one = evaluate.SetResult(PromptSet.of(["<label>"], name="plain"), "given", found, metrics.summary(found, labels))
    names = LabelSet.of(f"label {n}" for n in range(labels))
    return evaluate.Evaluation(tuple(map(str, true)), names, (one,), one, (), (), Rules(), False)


@pytest.mark.parametrize(
    ("right", "wrong", "labels", "standing"),
    [
        (791, 9209, 10, "below chance"),  # CIFAR-10 on random weights
        (100, 900, 10, "not above chance"),
        (118, 882, 10, "not above chance"),  # 11.8 %, from 9.9 on
        (121, 879, 10, "above chance"),  # 12.1 %, from 10.2 on
        (3, 0, 2, "not above chance"),  # three of three may be luck
        (8, 0, 2, "above chance"),
    ],
)
def test_a_set_is_above_chance_if_its_whole_interval_is(right: int, wrong: int, labels: int, standing: str) -> None:
    found = judged(right, wrong, labels)
    assert found.chance == 1 / labels
    assert found.standing(found.baseline) == standing
    said = " ".join(found.warnings)
    assert ("worse than guessing" in said) is (standing == "below chance")
    assert ("no better than guessing" in said) is (standing == "not above chance")


def test_the_commonest_label_is_what_a_set_has_to_beat() -> None:
    found = judged(85, 15, 2, [0] * 90 + [1] * 10)
    assert found.commonest == ("label 0", 0.9)
    assert found.standing(found.baseline) == "above chance"
    assert any("always answering 'label 0' (90.0 %)" in note for note in found.notes)
    assert not any("always answering" in note for note in judged(99, 1, 2, [0, 1] * 50).notes)


def test_coverage_curve_and_thresholds() -> None:
    confidence = np.array([0.9, 0.8, 0.8, 0.5])
    wrong = np.array([0, 0, 1, 1])
    one = Predictions(np.zeros(4, int), wrong, confidence, confidence, wrong, np.zeros(4, bool))
    assert metrics.coverage_curve(one) == [(0.9, 0.25, 1.0), (0.8, 0.75, pytest.approx(2 / 3)), (0.5, 1.0, 0.5)]
    assert metrics.coverage_at(one, 0.8) == (0.75, pytest.approx(2 / 3))
    assert metrics.coverage_at(one, 0.95) == (0.0, None)


def test_what_is_withheld_for_another_reason_is_never_covered() -> None:
    confidence = np.array([0.9, 0.8, 0.8, 0.5])
    wrong = np.array([0, 0, 1, 1])
    one = Predictions(np.zeros(4, int), wrong, confidence, confidence, wrong, np.array([True, False, True, False]))
    assert metrics.coverage_curve(one) == [(0.8, 0.25, 1.0), (0.5, 0.5, 0.5)]
    assert metrics.coverage_at(one, 0.8) == (0.25, 1.0)
    assert metrics.coverage_at(one, 0.9) == (0.0, None)
    assert metrics.coverage_curve(one[np.array([True, False, True, False])]) == []


@given(st.lists(st.integers(0, 5), min_size=1, max_size=80), st.integers(0, 99))
def test_halves_are_stratified_and_repeatable(labels: list[int], seed: int) -> None:
    truth = np.array(labels)
    first = metrics.halves(truth, seed)
    assert abs(int(first.sum()) - int((~first).sum())) <= 1
    for label in set(labels):
        of_label = first[truth == label]
        assert abs(int(of_label.sum()) - int((~of_label).sum())) <= 1
    np.testing.assert_array_equal(first, metrics.halves(truth, seed))
