"""Two networks on the same events: what both have in common may not count as an error."""

import numpy as np
import pytest

from models.metrics import auc_difference
from models.paired import mean_auc_difference, rms_difference
from pipeline.errors import DataError

N = 600
RANDOM = np.random.default_rng(3)
LABELS = RANDOM.integers(0, 3, N)
TRUTHS = LABELS[:, None] == np.arange(3)
WEIGHTS = RANDOM.gamma(4.0, 0.25, N)
GOOD = TRUTHS + RANDOM.normal(size=(N, 3))
WORSE = GOOD + 0.7 * RANDOM.normal(size=(N, 3))


def test_of_one_output_the_difference_is_that_of_two_scores() -> None:
    found = mean_auc_difference(GOOD[:, :1], WORSE[:, :1], TRUTHS[:, :1], WEIGHTS)
    expected = auc_difference(GOOD[:, 0], WORSE[:, 0], TRUTHS[:, 0], WEIGHTS)
    assert found.value == pytest.approx(expected.value)
    assert found.error == pytest.approx(expected.error)


def test_two_outputs_that_say_the_same_are_as_uncertain_as_one() -> None:
    """Their deviations are the same event by event: the mean of two fluctuates as each does."""
    twice = [np.repeat(one[:, :1], 2, axis=1) for one in (GOOD, WORSE, TRUTHS)]
    once = mean_auc_difference(GOOD[:, :1], WORSE[:, :1], TRUTHS[:, :1], WEIGHTS)
    assert mean_auc_difference(*twice, WEIGHTS).error == pytest.approx(once.error)


def test_the_error_is_the_spread_over_samples_of_events() -> None:
    draws = [RANDOM.integers(0, N, N) for _ in range(200)]
    values = [mean_auc_difference(GOOD[d], WORSE[d], TRUTHS[d], np.ones(N)).value for d in draws]
    found = mean_auc_difference(GOOD, WORSE, TRUTHS, np.ones(N))
    assert found.error == pytest.approx(np.std(values), rel=0.2)
    assert found.value > 3 * found.error


@pytest.mark.parametrize("difference", [mean_auc_difference, lambda a, b, t, w: rms_difference(a, b, w)])
def test_a_network_does_not_differ_from_itself(difference) -> None:
    found = difference(GOOD, GOOD, TRUTHS, WEIGHTS)
    assert (found.value, found.error) == (0.0, 0.0)


def test_the_error_of_an_rms_against_an_exact_one_is_its_own() -> None:
    """Residuals of b are ±1, so its RMS is 1 without error; that of n Gaussian ones has the error spread / √(2n)."""
    n = 20_000
    gaussian, exact = 2.0 * RANDOM.normal(size=(n, 1)), RANDOM.choice([-1.0, 1.0], (n, 1))
    found = rms_difference(gaussian, exact, np.ones(n))
    assert found.value == pytest.approx(1.0, abs=4 * found.error)
    assert found.error == pytest.approx(2.0 / np.sqrt(2 * n), rel=0.05)


def test_what_two_networks_have_in_common_is_in_no_error() -> None:
    """Residuals of a are 1.1 times those of b: the RMS differs by a tenth, with a tenth of its error."""
    b = RANDOM.normal(size=(20_000, 1))
    found = rms_difference(1.1 * b, b, np.ones(20_000))
    assert found.error == pytest.approx(0.1 / np.sqrt(2 * 20_000), rel=0.05)


def test_quantities_of_different_units_count_by_their_spread() -> None:
    a, b = RANDOM.normal(size=(2, N, 2)) * [1.0, 1_000.0]
    found = rms_difference(a, b, WEIGHTS, units=(1.0, 1_000.0))
    each = [rms_difference(a[:, [i]], b[:, [i]], WEIGHTS).value / unit for i, unit in enumerate((1.0, 1_000.0))]
    assert found.value == pytest.approx(np.mean(each))


@pytest.mark.parametrize("unit", [1.0, 1e-12, 1e12])
def test_a_difference_has_its_error_in_every_unit(unit: float) -> None:
    """Lifetimes in seconds are small, and no rounding."""
    a, b = RANDOM.normal(size=(2, 5_000, 1)) * [[[1.3]], [[1.0]]]
    plain, scaled = (rms_difference(a * one, b * one, np.ones(5_000)) for one in (1.0, unit))
    assert scaled.value == pytest.approx(plain.value * unit)
    assert scaled.error == pytest.approx(plain.error * unit)


def test_where_an_rms_does_not_exist_there_is_no_difference() -> None:
    """Negative weights on large residuals: the mean square is negative, and no perfect prediction."""
    bad, good = np.array([[0.1], [0.1], [0.9]]), np.array([[0.4], [0.4], [0.1]])
    for found in (rms_difference(bad, good, [1.0, 1.0, -1.0]), rms_difference(good, good * 2, np.ones(3), [0.0])):
        assert np.isnan([found.value, found.error]).all()


def test_residuals_of_other_events_are_refused() -> None:
    with pytest.raises(
        DataError, match=r"of the same events and quantities are needed; received \(2, 1\) and \(3, 1\)"
    ):
        rms_difference(np.ones((2, 1)), np.ones((3, 1)), np.ones(2))


def test_without_a_positive_sum_of_weights_there_is_no_rms() -> None:
    with pytest.raises(DataError, match="a positive sum of weights"):
        rms_difference(np.ones((2, 1)), np.zeros((2, 1)), [1.0, -1.0])
