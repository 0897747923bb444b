"""What the comparisons promise: definitions by brute force, worked examples, and rates of false alarms in toys."""

from dataclasses import asdict, astuple
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm, ttest_1samp

from models.comparison import (
    Comparison,
    Difference,
    compare,
    compare_at,
    compare_folds,
    compare_seeds,
    judged,
)
from models.metrics import auc_difference, auc_with_error, weighted_roc
from models.scored import Measured
from pipeline.errors import DataError, DeclarationError

Array = NDArray[Any]


def toy(n_events: int, seed: int, *, handicap: float = 0.0, negative: float = 0.0) -> tuple[Array, Array, Array, Array]:
    """Two like scores of equal worth (b may have more noise), labels, and weights of which a share is negative."""
    random = np.random.default_rng(seed)
    labels = np.arange(n_events) % 2
    shared = random.normal(size=n_events) + 1.5 * labels
    a, b = (shared + random.normal(scale=scale, size=n_events) for scale in (0.6, 0.6 + handicap))
    weights = random.gamma(2.0, size=n_events) * np.where(random.random(n_events) < negative, -1.0, 1.0)
    return a, b, labels, weights


def false_alarms(differences: list[Difference]) -> float:
    return float(np.mean([difference.p_value < 0.05 for difference in differences]))


def test_comparison_is_the_two_aucs_and_their_paired_difference() -> None:
    a, b, labels, weights = toy(600, 1, handicap=0.5, negative=0.1)
    found = compare(a, b, labels, weights)
    assert (found.a, found.b) == (auc_with_error(a, labels, weights), auc_with_error(b, labels, weights))
    expected = auc_difference(a, b, labels, weights)
    assert (found.difference.value, found.difference.error) == astuple(expected)
    assert found.difference.z == expected.value / expected.error


@pytest.mark.parametrize(("z", "p_value", "chance"), [(1.96, 0.05, 0.975), (-1.0, 0.3173, 0.1587), (0.0, 1.0, 0.5)])
def test_a_difference_is_judged_by_the_normal_distribution(z: float, p_value: float, chance: float) -> None:
    found = judged(Measured(0.01 * z, 0.01))
    assert [found.z, found.p_value, found.chance_a_larger] == pytest.approx([z, p_value, chance], abs=1e-4)


def test_a_score_is_no_better_than_itself() -> None:
    a, _, labels, weights = toy(500, 1, negative=0.1)
    for found in (compare(a, np.exp(a), labels, weights), compare_at(0.5, a, np.exp(a), labels, weights)):
        assert found.difference == Difference(0.0, 0.0, np.inf, 0.0, 1.0, 0.5)
        assert found.correlation == pytest.approx(1.0)


@pytest.mark.parametrize("difference", [Measured(0.1, 0.0), Measured(0.1, np.nan), Measured(0.0, np.nan)])
def test_a_difference_without_an_error_is_not_tested(difference: Measured) -> None:
    found = judged(difference)
    assert np.isnan([found.z, found.p_value, found.chance_a_larger]).all()


@pytest.mark.parametrize("negative", [0.0, 0.1])
def test_swapping_the_scores_turns_the_sign_alone(negative: float) -> None:
    a, b, labels, weights = toy(400, 3, handicap=0.3, negative=negative)
    for one, other in (
        (compare(a, b, labels, weights), compare(b, a, labels, weights)),
        (compare_at(0.6, a, b, labels, weights), compare_at(0.6, b, a, labels, weights)),
    ):
        assert other.difference.value == pytest.approx(-one.difference.value)
        assert other.difference.p_value == pytest.approx(one.difference.p_value)
        assert other.difference.chance_a_larger == pytest.approx(1.0 - one.difference.chance_a_larger)


def test_correlation_is_that_of_the_two_estimates_in_toys() -> None:
    toys = [compare(*toy(300, seed)[:3]) for seed in range(300)]
    found = np.corrcoef([one.a.value for one in toys], [one.b.value for one in toys])[0, 1]
    assert np.mean([one.correlation for one in toys]) == pytest.approx(found, abs=0.07)


@pytest.mark.parametrize("negative", [0.0, 0.1])
def test_scores_of_equal_worth_are_told_apart_in_five_of_a_hundred_toys(negative: float) -> None:
    toys = [toy(400, seed, negative=negative) for seed in range(400)]
    assert 0.02 < false_alarms([compare(*one).difference for one in toys]) < 0.08
    assert 0.02 < false_alarms([compare_at(0.7, *one).difference for one in toys]) < 0.08


@pytest.mark.parametrize(("efficiency", "digits"), [(0.3, 9), (0.9, 9), (0.6, 0)])
def test_errors_at_a_working_point_are_the_spread_of_toys(efficiency: float, digits: int) -> None:
    """Of scores rounded to no digits, whole steps would have to pass."""
    drawn = [toy(1_000, seed, handicap=0.3, negative=0.1) for seed in range(300)]
    toys = [compare_at(efficiency, a.round(digits), b.round(digits), *rest) for a, b, *rest in drawn]
    for part in ("a", "difference"):
        measured = [getattr(one, part) for one in toys]
        spread = np.std([one.value for one in measured])
        assert np.mean([one.error for one in measured]) == pytest.approx(spread, rel=0.15)


def test_background_efficiency_is_read_between_the_steps_of_the_curve() -> None:
    """Half of the lower step is let through: for a, 2 + 2/2 of 4 background; for b, 1/2 of one below a lone signal."""
    labels = [1, 0, 0, 1, 0, 0]
    a, b = [2, 2, 2, 1, 1, 1], [3, 1, 2, 2, 1, 1]
    found = compare_at(0.75, a, b, labels)
    assert found.a.value == pytest.approx((2.0 + 0.5 * 2.0) / 4.0)
    assert found.b.value == pytest.approx(0.5 * 1.0 / 4.0)
    assert found.difference.value == pytest.approx(0.75 - 0.125)


@given(st.floats(0.05, 0.95), st.integers(0, 50))
def test_background_efficiency_follows_the_roc_curve(efficiency: float, seed: int) -> None:
    a, b, labels, weights = toy(40, seed)
    found = compare_at(efficiency, a, b, labels, weights)
    for one, scores in ((found.a, a), (found.b, b)):
        roc = weighted_roc(scores, labels, weights)
        assert one.value == pytest.approx(np.interp(efficiency, roc.tpr, roc.fpr), abs=1e-9)


def test_where_no_background_passes_there_is_no_error() -> None:
    found = compare_at(0.5, [4, 3, 2, 1], [1, 3, 4, 2], [1, 1, 0, 0])
    assert (found.a.value, found.b.value) == (0.0, 0.5)
    assert np.isnan([found.a.error, found.difference.error, found.difference.p_value]).all()
    assert np.isnan(found.correlation)


@pytest.mark.parametrize("efficiency", [0.0, 1.0, -0.5, float("nan")])
def test_a_signal_efficiency_that_is_none_is_refused(efficiency: float) -> None:
    with pytest.raises(DeclarationError, match=r"signal efficiency .* is not between 0 and 1"):
        compare_at(efficiency, [2, 1], [2, 1], [1, 0])


@pytest.mark.parametrize(
    ("scores_b", "labels", "weights", "message"),
    [
        ([1, 2], [1, 0, 0], None, "same length"),
        ([1, 2, np.nan], [1, 0, 0], None, "1 of 3 scores are NaN"),
        ([1, 2, 3], [0, 0, 0], None, "no signal among 3 events"),
        ([1, 2, 3], [1, 0, 0], [1, 1, -1], "background weights add up to 0"),
    ],
)
def test_bad_events_are_refused(scores_b: Any, labels: Any, weights: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        compare([1, 2, 3], scores_b, labels, weights)
    with pytest.raises(DataError, match=message):
        compare_at(0.5, [1, 2, 3], scores_b, labels, weights)


def test_seeds_alone_are_a_paired_t_test() -> None:
    a, b = [0.91, 0.92, 0.90, 0.93], [0.90, 0.90, 0.90, 0.92]
    found = compare_seeds(a, b, test_error=0.002).same_test_events
    expected = ttest_1samp(np.subtract(a, b), 0.0)
    assert [found.z, found.p_value, found.degrees_of_freedom] == pytest.approx([*expected, 3])


def test_for_new_test_events_their_error_is_added_by_hand() -> None:
    """Differences 3, 1, 2: mean 2, s² = 1, s²/3 = 1/3; with 2 added in quadrature 13/3, and 2 (13)² = 338 degrees."""
    found = compare_seeds([3, 1, 2], [0, 0, 0], test_error=2.0).new_test_events
    assert found.value == 2.0
    assert found.error == pytest.approx(np.sqrt(13.0 / 3.0))
    assert found.degrees_of_freedom == pytest.approx(338.0)


def test_methods_without_seeds_differ_by_the_test_events_alone() -> None:
    found = compare_seeds([0.75, 0.75], [0.5, 0.5], test_error=0.1)
    assert np.isnan(found.same_test_events.p_value)
    assert found.new_test_events.p_value == pytest.approx(2.0 * norm.sf(2.5))


def test_one_seed_has_no_spread_and_two_have_one_degree_of_freedom() -> None:
    one, two = compare_seeds([0.9], [0.8], test_error=0.01), compare_seeds([0.9, 0.91], [0.8, 0.80], test_error=0.0)
    for found in (one.same_test_events, one.new_test_events):
        assert found.value == pytest.approx(0.1)
        assert np.isnan([found.error, found.p_value]).all()
    assert two.same_test_events.degrees_of_freedom == 1
    assert two.same_test_events.p_value == pytest.approx(2.0 * (0.5 - np.arctan(21.0) / np.pi))  # Student, one degree


@pytest.mark.parametrize("n_seeds", [3, 8])
def test_seeds_raise_false_alarms_as_often_as_they_say(n_seeds: int) -> None:
    """Each seed fluctuates by 1, and all together by 0.5 with the test events; the methods are of equal worth."""
    random = np.random.default_rng(1)
    values = random.normal(size=(400, n_seeds)) + random.normal(scale=0.5, size=(400, 1))
    found = [compare_seeds(one, np.zeros(n_seeds), test_error=0.5) for one in values]
    assert 0.02 < false_alarms([one.new_test_events for one in found]) < 0.08
    assert false_alarms([one.same_test_events for one in found]) > 0.06


def test_folds_by_hand() -> None:
    """Differences 1, 2, 3, 4 of a quarter each: mean 5/2, s² = 5/3, and (1/4 + 1/3) 5/3 = 35/36, so t = 15/sqrt(35)."""
    found = compare_folds([1, 2, 3, 4], [0, 0, 0, 0], n_train=300, n_test=100)
    assert (found.value, found.degrees_of_freedom) == (2.5, 3)
    assert found.error == pytest.approx(np.sqrt(35.0 / 36.0))
    assert found.z == pytest.approx(15.0 / np.sqrt(35.0))


def test_folds_that_share_training_events_raise_fewer_false_alarms_than_the_plain_test() -> None:
    """Ten folds: each estimate correlates by 1/10 with the others, as the correction supposes."""
    random = np.random.default_rng(2)
    values = np.sqrt(0.9) * random.normal(size=(400, 10)) + np.sqrt(0.1) * random.normal(size=(400, 1))
    zeros = np.zeros(10)
    assert 0.02 < false_alarms([compare_folds(one, zeros, n_train=900, n_test=100) for one in values]) < 0.08
    plain = [compare_seeds(one, zeros, test_error=0.0).same_test_events for one in values]
    assert false_alarms(plain) > 0.10


def test_one_fold_has_no_error_and_equal_folds_are_equal() -> None:
    assert np.isnan(compare_folds([0.9], [0.8], n_train=9, n_test=1).error)
    assert compare_folds([0.9, 0.8], [0.9, 0.8], n_train=9, n_test=1) == Difference(0.0, 0.0, 1, 0.0, 1.0, 0.5)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ([], [], r"the same number of a and b; received a \(0,\), b \(0,\)"),
        ([1, 2], [1], r"received a \(2,\), b \(1,\)"),
        ([[1]], [[1]], r"received a \(1, 1\)"),
        ([1, np.nan], [1, 2], "1 of 2 pairs are NaN or infinite"),
    ],
)
def test_repetitions_that_do_not_pair_are_refused(a: ArrayLike, b: ArrayLike, message: str) -> None:
    with pytest.raises(DataError, match=message):
        compare_seeds(a, b, test_error=0.0)
    with pytest.raises(DataError, match=message):
        compare_folds(a, b, n_train=1, n_test=1)


def test_impossible_requests_are_refused() -> None:
    with pytest.raises(DeclarationError, match=r"test error -1\.0 is not a number from 0 upward"):
        compare_seeds([1], [1], test_error=-1.0)
    with pytest.raises(DeclarationError, match="folds of 0 training and 5 test events"):
        compare_folds([1], [1], n_train=0, n_test=5)


def test_results_are_plain_numbers() -> None:
    found = asdict(compare(*toy(100, 1)))
    assert isinstance(Comparison(**found), Comparison)
    assert {type(value) for part in found.values() for value in part.values()} == {float}
