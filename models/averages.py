"""Averages: weighted means and shares, with their errors.

Owns the formulas that rest on sums of weights and of their squares alone. Weights may be negative: sums are signed, and
where one is not positive there is no average of it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.scored import NOT_A_NUMBER, Floats, Measured, effective_events

ROUNDING = 1e-9
"""An effective number of events this close above 1 is that of one event."""


@dataclass(frozen=True, eq=False)
class Estimates:
    """Numbers with their standard errors, both of any one shape; NaN where there is none."""

    values: Floats
    errors: Floats


def weighted_mean(values: Floats, weights: Floats) -> Measured:
    """Return the weighted mean and its standard error, that of a ratio of sums.

    For values x with mean m, Var = sum w² (x - m)² / (sum w)² times N/(N - 1), N being the effective number of events;
    NaN for N ≤ 1. Where the weights do not add up to something positive there is no mean either.

    References:
        W. G. Cochran, Sampling Techniques (3rd ed., 1977), chapter 6 (error of a ratio).

    """
    total, n_effective = float(weights.sum()), effective_events(weights)
    if total <= 0.0:
        return NOT_A_NUMBER
    mean = float(np.dot(weights, values)) / total
    if n_effective <= 1.0 + ROUNDING:
        return Measured(mean, float("nan"))
    spread = float(np.linalg.norm(weights * (values - mean))) / total
    return Measured(mean, spread * float(np.sqrt(n_effective / (n_effective - 1.0))))


def shares(sums: Floats, squares: Floats, total: Floats, total_squares: Floats) -> Estimates:
    """Return sums of weights as shares of their totals, with the errors of weighted binomial fractions.

    Var = [(1 - f)² sum w² (in) + f² sum w² (out)] / (sum w)². NaN where a total is not positive; no error where all
    events are in the share or none is: the estimate is blind there. The arguments broadcast.
    """
    whole = np.where(total > 0.0, total, np.nan)
    fraction, outside = sums / whole, total_squares - squares
    is_blind = (squares <= 0.0) | (outside <= ROUNDING * total_squares)
    variance = np.where(is_blind, np.nan, (1.0 - fraction) ** 2 * squares + fraction**2 * outside)
    return Estimates(fraction, np.sqrt(variance) / whole)


def weighted_share(weights: Floats, selected: NDArray[np.bool_]) -> Measured:
    """Return the share of the weights that the selected events have, with its error as in `shares`.

    A share of weights that add up to less than nothing exists as well; only of nothing there is none.
    """
    total = float(weights.sum())
    if total == 0.0:
        return NOT_A_NUMBER
    fraction = float(weights[selected].sum()) / total
    if not weights[selected].any() or not weights[~selected].any():
        # Of none that have a weight, or of all, this estimate would say ± 0.
        return Measured(fraction, float("nan"))
    distances = np.where(selected, 1.0 - fraction, fraction)
    return Measured(fraction, float(np.linalg.norm(weights * distances)) / abs(total))


def sums_in(bins: NDArray[np.integer], values: Floats, n_bins: int) -> Floats:
    """Return the sum of the values in each numbered bin, ``(n_bins,)``."""
    return np.bincount(bins, values, n_bins).astype(np.float64, copy=False)
