"""Residuals: predicted - true of one quantity, in every way in which one can be fooled by them.

Owns the numbers of one quantity: bias, RMS, width and tails of its residuals, and what was gained over not looking at
the event at all. How they depend on the true and on the predicted value is ``profiles``'. Weights may be negative: sums
are signed, and where one is not positive there is no answer: NaN.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.averages import sums_in, weighted_mean, weighted_share
from models.histograms import PartName
from models.overtraining import Gap, gap_of
from models.profiles import Plane, ResidualProfile, plane, residual_profile
from models.quantiles import middle
from models.scored import NOT_A_NUMBER, Floats, Measured

N_BINS = 50
SHOWN_WIDTHS = 5.0
"""How many widths to either side of the median the histogram of residuals goes."""
TAIL_WIDTHS = 3.0
TOLERANCE = 0.05
"""The share of the RMS by which that of the training part may differ harmlessly."""


@dataclass(frozen=True, eq=False)
class Quantity:
    """One quantity of events, all ``(n,)``."""

    predicted: Floats
    true: Floats
    weights: Floats

    @property
    def residuals(self) -> Floats:
        """Predicted - true."""
        return self.predicted - self.true


@dataclass(frozen=True, eq=False)
class Histogram:
    """Sums of weights, and of squared weights, between ``edges``, and the sums of weights ``below`` and ``above``.

    ``n_below`` and ``n_above`` are raw numbers of events.
    """

    edges: Floats
    sums: Floats
    squares: Floats
    below: float
    above: float
    n_below: int
    n_above: int


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


def judge_quantity(name: str, parts: Mapping[PartName, Quantity]) -> QuantityFinding:
    """Judge the predictions of one quantity."""
    train, test = parts["train"], parts["test"]
    residuals, weights = test.residuals, test.weights
    found = middle(residuals, weights)
    edges = _edges(residuals, found.median.value, found.width.value)
    rms = {part: root_mean_square(quantity.residuals, quantity.weights) for part, quantity in parts.items()}
    distances = test.true - weighted_mean(train.true, train.weights).value
    return QuantityFinding(
        name=name,
        bias=weighted_mean(residuals, weights),
        rms=rms["test"],
        rms_train=rms["train"],
        rms_validation=rms["validation"],
        gap=gap_of(rms["train"], rms["test"], tolerance=TOLERANCE * float(np.nan_to_num(rms["test"].value))),
        median=found.median,
        width=found.width,
        tails=weighted_share(weights, np.abs(residuals - found.median.value) > TAIL_WIDTHS * found.width.value),
        spread=spread(test.true, weights),
        trivial_rms=root_mean_square(distances, weights),
        r_squared=_explained(test),
        histogram=_filled(edges, residuals, weights),
        histogram_train=_filled(edges, train.residuals, train.weights),
        against_true=residual_profile(test.true, residuals, weights),
        against_predicted=residual_profile(test.predicted, residuals, weights),
        plane=plane(test.true, test.predicted, weights),
    )


def root_mean_square(residuals: Floats, weights: Floats) -> Measured:
    """Return the RMS around 0, with the error that follows from that of the mean square; NaN where that is negative."""
    square = weighted_mean(residuals**2, weights)
    if not square.value >= 0.0:
        return NOT_A_NUMBER
    root = float(np.sqrt(square.value))
    return Measured(root, 0.5 * square.error / root if root > 0.0 else float("nan"))


def spread(values: Floats, weights: Floats) -> float:
    """Return the weighted standard deviation; NaN where it is not positive."""
    variance = weighted_mean((values - weighted_mean(values, weights).value) ** 2, weights).value
    return float(np.sqrt(variance)) if variance > 0.0 else float("nan")


def mean_relative_rms(quantities: Mapping[str, Quantity]) -> Measured:
    """Return the mean over quantities of RMS / spread of the true values.

    The quantities are of the same events, so that the error adds up, event by event, what each moves all of them by;
    the spread of an event's true values moves with it.
    """
    weights = next(iter(quantities.values())).weights
    shares, moved = [], np.zeros(weights.size)
    for quantity in quantities.values():
        unexplained, influences = _unexplained(quantity)
        # With negative weights a mean square may be negative, and has no root.
        share = float(np.sqrt(unexplained)) if unexplained >= 0.0 else float("nan")
        shares.append(share)
        moved += influences / (2.0 * share * len(quantities)) if share > 0.0 else np.nan
    return Measured(float(np.mean(shares)), weighted_mean(moved, weights).error)


def _explained(test: Quantity) -> Measured:
    """Return R², the share of the variance of the true values that is explained."""
    unexplained, influences = _unexplained(test)
    return Measured(1.0 - unexplained, weighted_mean(influences, test.weights).error)


def _unexplained(test: Quantity) -> tuple[float, Floats]:
    """Return A/B, A the mean squared residual and B the variance of the true values, and what each event moves it by.

    The error of A/B is that of the weighted mean of these numbers; NaN where the variance is not positive.
    """
    squares = test.residuals**2
    of_true = (test.true - weighted_mean(test.true, test.weights).value) ** 2
    mean_square, variance = (weighted_mean(values, test.weights).value for values in (squares, of_true))
    if not variance > 0.0:
        return float("nan"), np.full(squares.size, np.nan)
    return mean_square / variance, (squares - mean_square / variance * of_true) / variance


def _edges(residuals: Floats, median: float, width: float) -> Floats:
    """Return edges around the median; residuals without a width have bins that hold them all the same."""
    center = median if np.isfinite(median) else float(residuals.mean())
    farthest = float(np.abs(residuals - center).max())
    half = SHOWN_WIDTHS * width if width > 0.0 else farthest
    # Residuals that are all the same, to the last digit, are shown in the middle of an interval of some length.
    return np.linspace(center - (half or 1.0), center + (half or 1.0), N_BINS + 1)


def _filled(edges: Floats, residuals: Floats, weights: Floats) -> Histogram:
    places: NDArray[np.intp] = np.searchsorted(edges, residuals, side="right")
    places[residuals == edges[-1]] -= 1
    sums, squares = (sums_in(places, of, edges.size + 1) for of in (weights, weights**2))
    events = np.bincount(places, minlength=edges.size + 1)
    return Histogram(
        edges=edges,
        sums=sums[1:-1],
        squares=squares[1:-1],
        below=float(sums[0]),
        above=float(sums[-1]),
        n_below=int(events[0]),
        n_above=int(events[-1]),
    )
