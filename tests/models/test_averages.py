"""What averages promise: the formulas by hand, and no error where there is none."""

import numpy as np
import pytest

from models.averages import shares, sums_in, weighted_mean, weighted_share


def test_a_weighted_mean_by_hand() -> None:
    """Values 1 and 4 of weights 3 and 1: mean 7/4, sum w² (x - m)² = 9 (9/16) + 81/16 = 162/16, N = 16/10."""
    found = weighted_mean(np.array([1.0, 4.0]), np.array([3.0, 1.0]))
    assert found.value == pytest.approx(1.75)
    assert found.error == pytest.approx(np.sqrt(162.0 / 16.0) / 4.0 * np.sqrt(1.6 / 0.6))


def test_the_error_of_an_unweighted_mean_is_the_usual_one() -> None:
    values = np.random.default_rng(1).normal(size=50)
    found = weighted_mean(values, np.ones(50))
    assert (found.value, found.error) == pytest.approx((values.mean(), values.std(ddof=1) / np.sqrt(50)))


@pytest.mark.parametrize("weights", [[0.0, 0.0], [1.0, -1.0], [-1.0, -2.0]])
def test_weights_without_a_positive_sum_have_no_mean(weights: list[float]) -> None:
    assert np.isnan(weighted_mean(np.array([1.0, 2.0]), np.array(weights)).value)


def test_one_event_has_a_mean_and_no_error() -> None:
    found = weighted_mean(np.array([5.0]), np.array([2.0]))
    assert found.value == 5.0
    assert np.isnan(found.error)


def test_unweighted_shares_have_the_errors_of_a_binomial() -> None:
    inside, total = np.array([3.0, 7.0]), np.array([10.0])
    found = shares(inside, inside, total, total)
    assert found.values == pytest.approx([0.3, 0.7])
    assert found.errors == pytest.approx([np.sqrt(0.3 * 0.7 / 10.0)] * 2)


def test_shares_and_a_single_share_agree_with_negative_weights() -> None:
    weights, inside = np.array([2.0, -1.0, 3.0, 1.0]), np.array([True, True, False, False])
    sums = (np.array([of[inside].sum()]) for of in (weights, weights**2))
    found = shares(*sums, np.array([weights.sum()]), np.array([(weights**2).sum()]))
    single = weighted_share(weights, inside)
    assert (found.values[0], found.errors[0]) == pytest.approx((single.value, single.error))


def test_a_share_of_none_or_all_has_no_error_and_one_of_nothing_does_not_exist() -> None:
    sums, total = np.array([0.0, 4.0, 0.0]), np.array([4.0, 4.0, 0.0])
    found = shares(sums, sums, total, total)
    assert np.array_equal(found.values, [0.0, 1.0, np.nan], equal_nan=True)
    assert np.isnan(found.errors).all()


def test_sums_are_taken_bin_by_bin() -> None:
    assert sums_in(np.array([2, 0, 2]), np.array([1.0, 5.0, -3.0]), 4).tolist() == [5.0, 0.0, -2.0, 0.0]
