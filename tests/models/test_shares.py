"""What shares over bins promise: variances in closed form, and bins that are never negative."""

import numpy as np
import pytest

from models.shares import noise_of_squares, shares_of


def test_a_bin_with_a_negative_sum_holds_nothing() -> None:
    shares = shares_of(np.array([0, 0, 1, 2]), np.array([1.0, -3.0, 1.0, 3.0]), 4)
    assert shares.values.tolist() == [0.0, 0.25, 0.75, 0.0]
    assert (shares.total, shares.negative) == (4.0, 1)


def test_variance_of_a_share_without_weights_is_binomial() -> None:
    shares = shares_of(np.repeat([0, 1], [30, 70]), np.ones(100), 2)
    assert shares.variances() == pytest.approx([0.0021, 0.0021])
    assert shares.variance_along(np.array([1.0, 0.0])) == pytest.approx(0.0021)


def test_noise_of_equal_bins_is_that_of_chi_squared() -> None:
    """Terms c (1 - 1/B) each, for c chi² of B - 1 degrees: mean c (B - 1) and variance 2 c² (B - 1); c = 3, B = 5."""
    noise = noise_of_squares(np.full(5, 3.0 * 0.8))
    assert noise.value == pytest.approx(12.0)
    assert noise.error**2 == pytest.approx(72.0)


def test_weights_that_cancel_but_for_rounding_make_no_share() -> None:
    """0.1 + 0.2 - 0.3 is 5.6e-17: nothing may be divided by such a share."""
    shares = shares_of(np.array([0, 0, 0, 1]), np.array([0.1, 0.2, -0.3, 1.0]), 2)
    assert shares.values.tolist() == [0.0, 1.0]
    assert shares.negative == 0
