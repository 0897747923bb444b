"""Residuals: predicted - true of one quantity, in every way in which one can be fooled by them.

Owns the numbers of one quantity: bias, RMS, width and tails of its residuals, their dependence on the true and on the
predicted value. Weights may be negative: sums are signed, and where one is not positive there is no answer.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.averages import Estimates
from models.overtraining import Gap
from models.scored import Floats, Measured


@dataclass(frozen=True, eq=False)
class Histogram:
    """Sums of weights, and of squared weights, between ``edges``, and the sums of weights ``below`` and ``above``."""

    edges: Floats
    sums: Floats
    squares: Floats
    below: float
    above: float


@dataclass(frozen=True, eq=False)
class Plane:
    """Sums of weights ``(n_bins, n_bins)``: rows are bins of the true value, columns of the predicted one.

    Both have the same ``edges``; ``outside`` is the sum of weights of events beyond them.
    """

    edges: Floats
    sums: Floats
    outside: float


@dataclass(frozen=True, eq=False)
class ResidualProfile:
    """Mean and half-width of the residuals in bins of a variable, all ``(n_bins,)`` but ``edges``.

    ``places`` are the mean values of the variable. ``slope`` is that of a straight line through all residuals.
    """

    edges: Floats
    places: Floats
    mean: Estimates
    width: Estimates
    events: NDArray[np.int64]
    effective_events: Floats
    slope: Measured


@dataclass(frozen=True, eq=False)
class QuantityFinding:
    """What is known of one quantity, in its own unit, on the test part.

    ``bias`` is the mean residual, ``rms`` the root of the mean squared one; ``median`` and ``width`` are the middle and
    half the length of the interval that holds the central 68.3 % of residuals; ``tails`` is the share more than three
    widths from the median (0.27 % of a Gaussian). ``trivial_rms`` is the RMS of predicting the mean of the training
    part for every event, ``spread`` the standard deviation of the true values, ``r_squared`` the share of its square
    that is explained. ``gap`` is RMS(train) - RMS(test): negative is overtraining.
    """

    name: str
    bias: Measured
    rms: Measured
    rms_train: Measured
    rms_validation: Measured
    gap: Gap
    median: Measured
    width: Measured
    tails: Measured
    spread: float
    trivial_rms: Measured
    r_squared: Measured
    histogram: Histogram
    histogram_train: Histogram
    against_true: ResidualProfile
    against_predicted: ResidualProfile
    plane: Plane
