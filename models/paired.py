"""Paired differences of two networks with several outputs, on the same events.

Owns the differences of the two numbers by which such networks are known, with errors in which what both have in common
cancels event by event. That of a single score is in ``metrics``. Weights are physics weights.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.ladder import area, ladder_of, placements
from models.metrics import influences_on
from models.scored import LIGHTEST, NOT_A_NUMBER, Floats, Measured, ScoredEvents, effective_events, scored_events
from pipeline.errors import DataError

Scores = NDArray[np.floating]

FEWEST_EVENTS = 2.0 - 1e-9
"""Effective events of a class from which on there is an error."""


def mean_auc_difference(
    scores_a: NDArray[np.floating], scores_b: NDArray[np.floating], truths: NDArray[np.bool_], weights: ArrayLike
) -> Measured:
    """Compute the difference a - b of the mean AUC over outputs, each of which tells its own events from all others.

    An event's placement counts in the AUC of every output, so the deviations are added up event by event before they
    are squared; of one output this is `models.metrics.auc_difference`.

    Args:
        scores_a: shape ``(n_events, n_outputs)``.
        scores_b: as ``scores_a``.
        truths: which events are those of an output, ``(n_events, n_outputs)``.
        weights: shape ``(n_events,)``.

    Raises:
        DataError: as in `models.metrics.weighted_roc`, for any output.

    References:
        E. R. DeLong, D. M. DeLong, D. L. Clarke-Pearson, Biometrics 44 (1988) 837 (covariance from placements).

    """
    found = [
        _deviations(scored_events(a, truth, weights), scored_events(b, truth, weights))
        for a, b, truth in zip(scores_a.T, scores_b.T, truths.T, strict=True)
    ]
    value = float(np.mean([difference for difference, _ in found]))
    return Measured(value, _root_of_squares(np.mean([deviations for _, deviations in found], axis=0)))


def rms_difference(
    residuals_a: NDArray[np.floating],
    residuals_b: NDArray[np.floating],
    weights: ArrayLike,
    units: Sequence[float] | None = None,
) -> Measured:
    """Compute the difference a - b of the mean root mean square of residuals, over quantities.

    The error is that to first order: an event deviates by (r² - RMS²) / (2 RMS), which is added up over quantities, and
    what it does in a and in b is subtracted, before it is squared. It is NaN where one of two different RMS is 0. Where
    one does not exist, as of a negative mean square, or a unit is not positive, there is no difference either.

    Args:
        residuals_a: shape ``(n_events, n_quantities)``.
        residuals_b: as ``residuals_a``.
        weights: shape ``(n_events,)``.
        units: what an RMS is divided by before the mean, ``(n_quantities,)``; 1 by default.

    Raises:
        DataError: residuals are not finite, shapes differ, or the weights add up to nothing positive.

    """
    total = np.asarray(weights, dtype=np.float64)
    squares = [np.square(one, dtype=np.float64) for one in (residuals_a, residuals_b)]
    if not all(one.shape == squares[0].shape and one.shape[:1] == total.shape for one in squares):
        shapes = " and ".join(str(one.shape) for one in squares)
        raise DataError(f"residuals of the same events and quantities are needed; received {shapes}")
    if not all(np.isfinite(one).all() for one in (*squares, total)) or total.sum() < LIGHTEST:
        raise DataError("residuals and weights are needed as finite numbers, and a positive sum of weights")
    means = [total @ one / total.sum() for one in squares]
    scale = np.ones(means[0].size) if units is None else np.asarray(units, dtype=np.float64)
    if not all((one >= 0.0).all() for one in means) or not (scale > 0.0).all():
        return NOT_A_NUMBER
    rms = [np.sqrt(one) for one in means]
    value = float(np.mean((rms[0] - rms[1]) / scale))
    n = effective_events(total)
    if np.array_equal(*squares):
        return Measured(value, 0.0)
    if n < FEWEST_EVENTS or not np.all(rms):
        return Measured(value, float("nan"))
    a, b = ((one - level**2) / (2.0 * level * scale) for one, level in zip(squares, rms, strict=True))
    deviations = total / total.sum() * np.mean(a - b, axis=1)
    return Measured(value, _root_of_squares(deviations * np.sqrt(n / (n - 1.0)), float(np.max(rms / scale))))


def _deviations(a: ScoredEvents, b: ScoredEvents) -> tuple[float, Floats]:
    """Return the difference of two AUCs, and by how much each event moves it, ``(n_events,)``."""
    ladders = ladder_of(a), ladder_of(b)
    difference = area(ladders[0]) - area(ladders[1])
    shares = placements(a, ladders[0]) - placements(b, ladders[1]) - difference
    return difference, influences_on(a, shares)


def _root_of_squares(deviations: Floats, size: float = 1.0) -> float:
    """Return the error; ``size`` is that of the numbers whose difference it is."""
    error = float(np.sqrt(np.dot(deviations, deviations)))
    # What is left of scores that are the same is rounding.
    return error if not error <= 1e-12 * size else 0.0
