"""Residuals of known bias, width and slope, against answers known without this code."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from models.averages import weighted_mean
from models.profiles import residual_profile, slope
from models.quantiles import middle
from models.residuals import Quantity, mean_relative_rms, root_mean_square
from models.scored import Measured

Array = NDArray[np.float64]
BIAS, WIDTH = 0.5, 2.0


def gaussian(generator: np.random.Generator) -> Array:
    return generator.normal(BIAS, WIDTH, 400)


def unweighted(generator: np.random.Generator) -> Array:
    return np.ones(400)


def partly_negative(generator: np.random.Generator) -> Array:
    """A tenth of the weights is negative, so that events tell as much as 64 % of their number."""
    return np.where(generator.random(400) < 0.1, -1.0, 1.0) * generator.gamma(4.0, size=400)


MEASURES: dict[str, tuple[Callable[[Array, Array], Measured], float]] = {
    "bias": (weighted_mean, BIAS),
    "rms": (root_mean_square, float(np.hypot(BIAS, WIDTH))),
    "median": (lambda values, weights: middle(values, weights).median, BIAS),
    "width": (lambda values, weights: middle(values, weights).width, WIDTH),
}


@pytest.mark.parametrize("weights", [unweighted, partly_negative])
@pytest.mark.parametrize("name", MEASURES)
def test_the_truth_lies_within_one_quoted_error_in_68_toys_of_100(
    name: str, weights: Callable[[np.random.Generator], Array]
) -> None:
    """A Gaussian variable lies within one standard deviation in 68.27 %; of 200 toys that is known to 3.3 %."""
    measure, truth = MEASURES[name]
    generator = np.random.default_rng(7)
    toys = [measure(gaussian(generator), weights(generator)) for _ in range(200)]
    assert 0.58 <= np.mean([abs(toy.value - truth) < toy.error for toy in toys]) <= 0.78


def test_the_true_share_of_the_spread_lies_within_one_quoted_error_in_68_toys_of_100() -> None:
    """Residuals -0.64 t + 0.36 n + 0.2 of spreads 3 and 4 have a mean square of 3.6864 + 2.0736 + 0.04 = 5.8.

    The RMS is sqrt(5.8) / 3 of the spread. Both fluctuate together; 200 toys know the share of hits to 3.3 %.
    """
    generator = np.random.default_rng(5)
    toys = []
    for _ in range(200):
        true, predicted = attenuated(generator, 400)
        toys.append(mean_relative_rms({"energy": Quantity(predicted + 0.2, true, partly_negative(generator))}))
    assert 0.58 <= np.mean([abs(toy.value - np.sqrt(5.8) / 3.0) < toy.error for toy in toys]) <= 0.78


def attenuated(generator: np.random.Generator, n_events: int) -> tuple[Array, Array]:
    """True values of spread 3 measured with noise 4: the best prediction shrinks them by 9 / (9 + 16) = 0.36."""
    true = generator.normal(10.0, 3.0, n_events)
    return true, 10.0 + 0.36 * (true + generator.normal(0.0, 4.0, n_events) - 10.0)


def test_the_best_prediction_from_a_noisy_measurement_regresses_to_the_mean() -> None:
    """Its residuals fall with the true value, with slope 0.36 - 1, and do not depend on the predicted one."""
    true, predicted = attenuated(np.random.default_rng(1), 100_000)
    on_true, on_predicted = (slope(variable, predicted - true, np.ones(true.size)) for variable in (true, predicted))
    assert on_true.value == pytest.approx(-0.64, abs=4 * on_true.error)
    assert on_predicted.value == pytest.approx(0.0, abs=4 * on_predicted.error)
    assert max(on_true.error, on_predicted.error) < 0.01


def test_the_noisy_measurement_itself_is_unbiased_and_depends_on_what_it_says() -> None:
    """Residuals that are pure noise know nothing of the truth; on the measurement they have slope 16 / 25."""
    generator = np.random.default_rng(2)
    true = generator.normal(10.0, 3.0, 100_000)
    noise = generator.normal(0.0, 4.0, 100_000)
    on_true, on_measured = (slope(variable, noise, np.ones(true.size)) for variable in (true, true + noise))
    assert on_true.value == pytest.approx(0.0, abs=4 * on_true.error)
    assert on_measured.value == pytest.approx(0.64, abs=4 * on_measured.error)


def test_a_profile_follows_the_straight_line_bin_by_bin() -> None:
    """In each bin the mean residual is -0.64 (t - 10), and the half-width is that of 0.36 times the noise."""
    true, predicted = attenuated(np.random.default_rng(3), 50_000)
    found = residual_profile(true, predicted - true, np.ones(true.size))
    pulls = (found.mean.values + 0.64 * (found.places - 10.0)) / found.mean.errors
    assert np.sum(pulls**2) < 37.7  # of 15 bins, 0.1 % of such sums are larger
    inner = found.width.values[1:-1]  # the outer bins are wide, so that residuals change within them
    assert inner == pytest.approx(0.36 * 4.0, rel=0.1)


def test_the_error_of_a_slope_holds_where_the_scatter_grows_with_the_variable() -> None:
    """Of 200 toys the share within one error is known to 3.3 %; the usual formula of equal scatter fails here."""
    generator = np.random.default_rng(4)
    toys = []
    for _ in range(200):
        variable = generator.exponential(1.0, 500)
        toys.append(slope(variable, 0.5 * variable + variable * generator.normal(size=500), np.ones(500)))
    assert 0.56 <= np.mean([abs(toy.value - 0.5) < toy.error for toy in toys]) <= 0.78
