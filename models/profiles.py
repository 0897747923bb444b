"""Profiles: how residuals depend on the true and on the predicted value.

Owns both, in bins of equal effective numbers of events, and the plane of predicted against true values.

The two answer different questions. Who predicts the mean of what the true value can be, as the squared error teaches,
has residuals that fall with the *true* value: large values are predicted too small and small ones too large, the more
so the less the inputs tell (regression to the mean). That is no fault, but a sample of other true values has another
bias. Against the *predicted* value such residuals are flat; where they are not, the predictions can be corrected.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.averages import Estimates, sums_in, weighted_mean
from models.quantiles import middle
from models.scored import NOT_A_NUMBER, Floats, Measured, effective_events

MOST_BINS = 15
EVENTS_IN_BIN = 50.0
"""Effective events for which a bin is worth having."""
N_CELLS = 40
"""Cells of equal raw numbers out of which each bin is made."""
N_BINS_OF_PLANE = 50
OUTSIDE = 0.001
"""The share of true values, and of predicted ones, that the plane may leave out at either end."""


@dataclass(frozen=True, eq=False)
class ResidualProfile:
    """Mean and half-width of the residuals in bins of a variable, all ``(n_bins,)`` but ``edges``.

    ``places`` are the mean values of the variable. ``slope`` is that of a straight line through all residuals: of their
    mean with the variable.
    """

    edges: Floats
    places: Floats
    mean: Estimates
    width: Estimates
    events: NDArray[np.int64]
    effective_events: Floats
    slope: Measured


@dataclass(frozen=True, eq=False)
class Plane:
    """Sums of weights ``(n_bins, n_bins)``: rows are bins of the true value, columns of the predicted one.

    Both have the same ``edges``. ``outside`` is the sum of weights of the ``n_outside`` events beyond them.
    """

    edges: Floats
    sums: Floats
    outside: float
    n_outside: int


def residual_profile(variable: Floats, residuals: Floats, weights: Floats) -> ResidualProfile:
    """Measure the residuals in bins of a variable that hold equal effective numbers of events, ``(n,)`` all."""
    order = np.argsort(variable, kind="stable")
    ordered, of_residuals, weight = variable[order], residuals[order], weights[order]
    starts = _starts(ordered, weight)
    ends = np.append(starts[1:], ordered.size)
    found = [
        _bin(ordered[start:end], of_residuals[start:end], weight[start:end])
        for start, end in zip(starts, ends, strict=True)
    ]
    places, means, widths, effective = zip(*found, strict=True)
    return ResidualProfile(
        edges=np.append(ordered[starts], ordered[-1]),
        places=np.array(places),
        mean=_estimates(means),
        width=_estimates(widths),
        events=ends - starts,
        effective_events=np.array(effective),
        slope=slope(variable, residuals, weights),
    )


def slope(variable: Floats, values: Floats, weights: Floats) -> Measured:
    """Fit a straight line by weighted least squares, and return its slope.

    The error is that of any scatter, also one that depends on the variable: with e the distances from the line and d
    those from the mean of the variable, Var = sum w² d² e² / (sum w d²)² times N/(N - 2), N being the effective number
    of events. NaN where the variable does not vary, or N ≤ 2.

    References:
        H. White, Econometrica 48 (1980) 817 (the variance without equal scatter).

    """
    distances = variable - weighted_mean(variable, weights).value
    moved = weights * distances
    squares, n_effective = float(np.dot(moved, distances)), effective_events(weights)
    if not squares > 0.0:
        return NOT_A_NUMBER
    value = float(np.dot(moved, values)) / squares
    if n_effective <= 2.0 + 1e-9:
        return Measured(value, float("nan"))
    scatter = values - weighted_mean(values, weights).value - value * distances
    error = float(np.linalg.norm(moved * scatter)) / squares
    return Measured(value, error * float(np.sqrt(n_effective / (n_effective - 2.0))))


def plane(true: Floats, predicted: Floats, weights: Floats) -> Plane:
    """Fill the plane of true and predicted values, between raw quantiles of both."""
    ends = np.quantile(np.stack((true, predicted)), [OUTSIDE, 1.0 - OUTSIDE], axis=1)
    low, high = float(ends[0].min()), float(ends[1].max())
    edges = np.linspace(low, high, N_BINS_OF_PLANE + 1) if high > low else low + np.linspace(-1.0, 1.0, 3)
    n_bins = edges.size - 1
    row, column = (np.searchsorted(edges[1:-1], values, side="right") for values in (true, predicted))
    is_inside = np.all([(values >= edges[0]) & (values <= edges[-1]) for values in (true, predicted)], axis=0)
    cells = (row * n_bins + column)[is_inside]
    sums = sums_in(cells, weights[is_inside], n_bins**2).reshape(n_bins, n_bins)
    return Plane(edges, sums, float(weights[~is_inside].sum()), int(np.count_nonzero(~is_inside)))


def _starts(ordered: Floats, weights: Floats) -> NDArray[np.intp]:
    """Return the place of the first event of each bin; events of equal value stay together.

    Effective numbers of events do not add up. They are added up over cells that are much smaller than bins, within
    which weights are alike wherever they follow the variable.
    """
    n_bins = int(np.clip(effective_events(weights) / EVENTS_IN_BIN, 1, MOST_BINS))
    cells = np.unique(np.linspace(0, ordered.size, n_bins * N_CELLS + 1).astype(np.intp)[:-1])
    sums, squares = (np.add.reduceat(of, cells) for of in (weights, weights**2))
    effective = np.divide(sums**2, squares, out=np.zeros(cells.size), where=squares > 0.0)
    reached = np.append(0.0, np.cumsum(effective))
    wanted = reached[-1] * np.arange(n_bins) / n_bins
    starts = cells[np.minimum(np.searchsorted(reached, wanted), cells.size - 1)]
    return np.unique(np.searchsorted(ordered, ordered[starts], side="left"))


def _bin(variable: Floats, residuals: Floats, weights: Floats) -> tuple[float, Measured, Measured, float]:
    place = weighted_mean(variable, weights).value
    mean, width = weighted_mean(residuals, weights), middle(residuals, weights).width
    return place, mean, width, effective_events(weights)


def _estimates(found: tuple[Measured, ...]) -> Estimates:
    return Estimates(np.array([one.value for one in found]), np.array([one.error for one in found]))
