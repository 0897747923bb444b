"""Quantiles: the middle and the width of a weighted distribution, with errors that no outlier can spoil.

Owns quantiles of weighted values and what they fluctuate by. Weights may be negative: where the sum of weights falls
again with rising value, a quantile is the first value at which it is reached.

References:
    R. S. Woodruff, Journal of the American Statistical Association 47 (1952) 635 (errors by inverting those of shares).

"""

from dataclasses import dataclass
from math import erf, sqrt

import numpy as np

from models.scored import NOT_A_NUMBER, Floats, Measured
from models.shares import adds_up

CENTRAL = 0.5 + 0.5 * erf(sqrt(0.5)) * np.array([-1.0, 1.0])
"""The shares of events below both ends of an interval that holds 68.27 %: one standard deviation of a Gaussian."""


@dataclass(frozen=True)
class Middle:
    """The median, and half the length of the interval that holds the central 68.27 %."""

    median: Measured
    width: Measured


@dataclass(frozen=True, eq=False)
class _Rising:
    """Values in rising order, and the shares of weights, and sums of their squares, up to the middle of each."""

    values: Floats
    shares: Floats
    squares: Floats

    def at(self, shares: Floats) -> Floats:
        """Return the values below which lie these shares."""
        return np.interp(shares, self.shares, self.values)

    def squares_below(self, shares: Floats) -> Floats:
        """Return by what events below the values of these shares contribute to variances of shares."""
        return np.interp(shares, self.shares, self.squares)


def middle(values: Floats, weights: Floats) -> Middle:
    """Return median and half-width of weighted values, ``(n,)`` both.

    A share of events below a fixed value has the variance of a weighted fraction. The density, which turns it into that
    of the value, is the slope between the quantiles one such error below and above. In the width both ends are taken
    together, since events beyond one of them weigh on the other. Errors are NaN for so few events that no such
    quantiles exist (about six); without a positive sum of weights there is nothing but NaN.
    """
    if not adds_up(weights):
        return Middle(NOT_A_NUMBER, NOT_A_NUMBER)
    rising = _rising(values, weights)
    (median,), (low, high) = rising.at(np.array([0.5])), rising.at(CENTRAL)
    width = 0.5 * (high - low)
    [error] = _errors(rising, np.array([0.5]), np.array([[1.0]]))
    [error_of_width] = _errors(rising, CENTRAL, np.array([[-0.5, 0.5]]))
    return Middle(Measured(float(median), error), Measured(float(width), error_of_width))


def _rising(values: Floats, weights: Floats) -> _Rising:
    order = np.argsort(values)
    ordered, weight = values[order], weights[order] / weights.sum()
    shares = np.maximum.accumulate(np.cumsum(weight) - 0.5 * weight)
    return _Rising(ordered, shares, np.cumsum(weight**2))


def _errors(rising: _Rising, shares: Floats, combined: Floats) -> list[float]:
    """Return the errors of linear combinations ``(n_combinations, n_quantiles)`` of the quantiles at these shares."""
    below = rising.squares_below(shares)
    covariances = _covariances(shares, below, float(rising.squares[-1]))
    errors = np.sqrt(covariances.diagonal())
    if np.any(shares - errors <= 0.0) or np.any(shares + errors >= 1.0):
        return [float("nan")] * len(combined)
    slopes = (rising.at(shares + errors) - rising.at(shares - errors)) / (2.0 * errors)
    moved = combined * slopes
    return [float(np.sqrt(max(row @ covariances @ row, 0.0))) for row in moved]


def _covariances(shares: Floats, below: Floats, total: float) -> Floats:
    """Return the covariances of the weighted shares of events below fixed values, in rising order.

    With F the share and Q the squares below a value, Q without index those of all, and s ≤ t,
    Cov = Q_s (1 - F_s)(1 - F_t) - (Q_t - Q_s) F_s (1 - F_t) + (Q - Q_t) F_s F_t:
    events below both, between the two, and above.
    """
    first, second = np.minimum.outer(shares, shares), np.maximum.outer(shares, shares)
    inner, outer = np.minimum.outer(below, below), np.maximum.outer(below, below)
    covariances: Floats = (
        inner * (1.0 - first) * (1.0 - second) - (outer - inner) * first * (1.0 - second)
        + (total - outer) * first * second
    )  # fmt: skip
    return covariances
