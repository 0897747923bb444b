"""What median and width promise: known distributions, no harm by outliers, and no error out of nothing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.quantiles import middle

DRAWN = np.random.default_rng(1).normal(3.0, 2.0, 4_000)


def test_a_gaussian_has_its_mean_as_median_and_its_standard_deviation_as_width() -> None:
    """Of a Gaussian, 68.27 % lie within one standard deviation s; the median's error is s sqrt(π / 2n), 0.0396."""
    found = middle(DRAWN, np.ones(DRAWN.size))
    assert found.median.value == pytest.approx(3.0, abs=4 * 0.0396)
    assert found.median.error == pytest.approx(0.0396, rel=0.15)
    assert found.width.value == pytest.approx(2.0, abs=4 * found.width.error)


def test_the_error_of_the_width_is_that_of_two_order_statistics() -> None:
    """Shares p and 1 - p, p = 0.15866, density f = 0.24197 / 2: Var = p (1 - 2p) / (2 n f²)."""
    share, density = 0.158655, 0.241971 / 2.0
    expected = np.sqrt(share * (1.0 - 2.0 * share) / (2.0 * 4_000 * density**2))
    assert middle(DRAWN, np.ones(DRAWN.size)).width.error == pytest.approx(expected, rel=0.15)


def test_a_common_factor_of_all_weights_changes_nothing() -> None:
    once, thrice = middle(DRAWN, np.ones(DRAWN.size)), middle(DRAWN, np.full(DRAWN.size, 3.0))
    assert (thrice.width.value, thrice.width.error) == pytest.approx((once.width.value, once.width.error))


@settings(max_examples=20)
@given(st.integers(-50, 50), st.floats(0.1, 10.0))
def test_moved_and_stretched_values_move_and_stretch_the_answer(shift: int, factor: float) -> None:
    weights = np.ones(200)
    before, after = middle(DRAWN[:200], weights), middle(DRAWN[:200] * factor + shift, weights)
    assert after.median.value == pytest.approx(before.median.value * factor + shift, abs=1e-9)
    assert (after.width.value, after.width.error) == pytest.approx(
        (before.width.value * factor, before.width.error * factor)
    )


def test_one_outlier_moves_neither() -> None:
    spoilt = np.append(DRAWN, 1e12)
    assert middle(spoilt, np.ones(spoilt.size)).width.value == pytest.approx(2.0, rel=0.1)


def test_negative_weights_take_away_what_was_too_much() -> None:
    generator = np.random.default_rng(2)
    extra = generator.uniform(10.0, 20.0, (2, 20_000))
    values = np.concatenate((np.repeat(DRAWN, 10), *extra))
    found = middle(values, np.concatenate((np.ones(40_000), np.ones(20_000), np.full(20_000, -1.0))))
    assert found.median.value == pytest.approx(3.0, abs=0.2)
    assert found.median.error > 1.5 * middle(DRAWN, np.ones(4_000)).median.error / np.sqrt(10.0)


def test_one_event_has_no_errors_and_three_have_one_of_the_median_alone() -> None:
    one, three = (middle(DRAWN[:n_events], np.ones(n_events)) for n_events in (1, 3))
    assert one.median.value == DRAWN[0]
    assert np.isnan([one.median.error, one.width.error, three.width.error]).all()
    assert three.median.error > 0.0


def test_weights_without_a_positive_sum_have_no_middle() -> None:
    found = middle(np.array([1.0, 2.0]), np.array([1.0, -1.0]))
    assert np.isnan([found.median.value, found.width.value]).all()


def test_equal_values_have_no_width_and_an_error_of_nothing() -> None:
    found = middle(np.full(100, 7.0), np.ones(100))
    assert (found.median.value, found.median.error) == (7.0, 0.0)
    assert (found.width.value, found.width.error) == (0.0, 0.0)
