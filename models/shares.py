"""Shares: how events are shared out over bins, and how far two such shares differ by chance alone.

Owns the binned densities of which separations and divergences are made, with their fluctuations; the divergences
themselves belong to whoever asks.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.scored import Floats, Measured
from pipeline.errors import DataError

ROUNDING = 1e-12
"""What a sum of weights may miss, as a share of the sum of their magnitudes."""


@dataclass(frozen=True, eq=False)
class Shares:
    """How one set of events is shared out over bins, ``(n_bins,)``: ``values`` add up to 1.

    Bins with a negative sum of weights hold a share of zero, and the others are scaled to add up to 1; ``negative``
    says how many. Weights that cancel but for rounding make no share either. ``squares`` are the sums of squared
    weights, ``total`` is the sum that the shares are of.
    """

    values: Floats
    squares: Floats
    total: float
    negative: int

    def variances(self) -> Floats:
        """Return the variance of each share; its own event is in numerator and denominator alike."""
        spread: Floats = self.squares * (1.0 - 2.0 * self.values) + self.values**2 * self.squares.sum()
        return spread / self.total**2

    def variance_along(self, slopes: Floats) -> float:
        """Return the variance, to first order, of a quantity with these derivatives by each share."""
        distances = slopes - np.dot(slopes, self.values)
        return float(np.dot(self.squares, distances**2)) / self.total**2


def adds_up(weights: Floats) -> bool:
    """Say whether weights add up to something positive, and not to what rounding leaves of nothing."""
    return bool(weights.sum() > ROUNDING * np.abs(weights).sum())


def shares_of(bins: NDArray[np.integer], weights: Floats, n_bins: int) -> Shares:
    """Share out events over numbered bins by weight.

    Raises:
        DataError: the weights do not add up to something positive.

    """
    if not adds_up(weights):
        msg = f"the weights of {weights.size} events in the bins add up to {weights.sum():g}"
        raise DataError(f"{msg}; a distribution needs a positive sum")
    sums = np.bincount(bins, weights=weights, minlength=n_bins)
    squares = np.bincount(bins, weights=weights**2, minlength=n_bins).astype(np.float64)
    rounding = ROUNDING * np.bincount(bins, weights=np.abs(weights), minlength=n_bins)
    # A density is not negative: a bin below zero holds a fluctuation of something near zero.
    positive = np.where(sums > rounding, sums, 0.0)
    total = float(positive.sum())
    return Shares(positive / total, squares, total, int(np.count_nonzero(sums < -rounding)))


def noise_of_squares(means: Floats) -> Measured:
    """Return expectation and spread of a sum over bins of squared fluctuations, given the mean of each term.

    A squared Gaussian has twice its squared mean as variance. The shares of B bins add up to 1, so that B - 1 of
    the fluctuations are free; for equal bins the variance is then larger by B / (B - 1).
    """
    n_filled = int(np.count_nonzero(means))
    variance = 2.0 * float(np.dot(means, means)) * n_filled / max(n_filled - 1, 1)
    return Measured(float(means.sum()), float(np.sqrt(variance)))


def error_beyond_noise(first_order: float, noise: Measured) -> float:
    """Return the error of a measured divergence, given its first-order variance and the noise of its squares.

    Slopes taken at fluctuating shares are not zero even where the true ones are: the first-order variance is too large
    by twice that of the squares. Less this, plus the variance of the squares themselves, which is also the least.
    """
    of_squares = noise.error**2
    return float(np.sqrt(max(first_order - of_squares, of_squares)))
