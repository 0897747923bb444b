"""What profiles promise: every event in one bin, bins that tell equally much, planes that lose nothing."""

import numpy as np
import pytest

from models.averages import weighted_mean
from models.profiles import plane, residual_profile, slope

RANDOM = np.random.default_rng(1)
VARIABLE = RANDOM.exponential(10.0, 6_000)
RESIDUALS = RANDOM.normal(size=6_000)
FALLING = np.exp(-VARIABLE / 20.0)
"""Weights that fall with the variable."""


@pytest.mark.parametrize("weights", [np.ones(6_000), FALLING, np.where(RANDOM.random(6_000) < 0.2, -1.0, 1.0)])
def test_bins_hold_equal_effective_numbers_of_events_and_every_event_once(weights: np.ndarray) -> None:
    found = residual_profile(VARIABLE, RESIDUALS, weights)
    assert found.events.sum() == 6_000
    assert len(found.events) == 15
    assert found.effective_events == pytest.approx(found.effective_events.mean(), rel=0.15)


def test_a_bin_has_the_mean_of_its_own_events() -> None:
    found = residual_profile(VARIABLE, RESIDUALS, FALLING)
    inside = (found.edges[3] <= VARIABLE) & (found.edges[4] > VARIABLE)
    expected = weighted_mean(RESIDUALS[inside], FALLING[inside])
    assert (found.mean.values[3], found.mean.errors[3]) == pytest.approx((expected.value, expected.error))
    assert found.events[3] == np.count_nonzero(inside)
    assert found.edges[3] < found.places[3] < found.edges[4]


def test_few_events_have_few_bins_and_equal_values_one() -> None:
    assert len(residual_profile(VARIABLE[:120], RESIDUALS[:120], np.ones(120)).events) == 2
    same = residual_profile(np.full(600, 2.0), RESIDUALS[:600], np.ones(600))
    assert same.events.tolist() == [600]
    assert np.isnan(same.slope.value)


def test_events_of_equal_value_share_a_bin() -> None:
    whole = np.floor(VARIABLE / 10.0)
    found = residual_profile(whole, RESIDUALS, np.ones(6_000))
    assert set(found.edges) <= set(whole)
    assert len(set(found.edges[:-1])) == len(found.events)


def test_a_slope_by_hand() -> None:
    """The line through (0, 0), (1, 2) and (2, 1) has the slope 1/2."""
    assert slope(np.array([0.0, 1.0, 2.0]), np.array([0.0, 2.0, 1.0]), np.ones(3)).value == pytest.approx(0.5)


def test_integer_weights_have_the_slope_of_repeated_events() -> None:
    weights = RANDOM.integers(1, 4, 6_000)
    repeated = (np.repeat(values, weights) for values in (VARIABLE, RESIDUALS))
    expected = slope(*repeated, np.ones(weights.sum())).value
    assert slope(VARIABLE, RESIDUALS, weights.astype(float)).value == pytest.approx(expected)


def test_the_plane_has_every_event_inside_or_outside() -> None:
    found = plane(VARIABLE, VARIABLE + RESIDUALS, FALLING)
    assert found.sums.sum() + found.outside == pytest.approx(FALLING.sum())
    assert 0 < found.n_outside <= 24
    assert found.edges[0] < found.edges[-1]


def test_rows_of_the_plane_are_true_values_and_columns_predicted_ones() -> None:
    true, predicted = np.array([0.0, 0.0, 10.0]), np.array([0.0, 10.0, 10.0])
    found = plane(true, predicted, np.array([1.0, 2.0, 4.0]))
    inside = [found.sums[0, 0], found.sums[0, -1], found.sums[-1, 0], found.sums[-1, -1]]
    assert [*inside, found.outside] == [1.0, 2.0, 0.0, 4.0, 0.0]


def test_a_plane_of_one_value_exists() -> None:
    assert plane(np.full(5, 3.0), np.full(5, 3.0), np.ones(5)).sums.sum() == 5.0
