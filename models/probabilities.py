"""How far a score may be read as the probability of signal: Brier score, log-loss, reliability.

Owns the definitions, as pure functions of arrays; making probabilities of scores that are none belongs to
``calibration``. A probability of signal holds at one balance of the classes: here the one that the weights
describe, with S and B their sums in the two classes and π = S / (S + B). Weights may be negative: sums are signed,
and an average of losses may come out below the smallest loss.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.averages import sums_in, weighted_mean
from models.scored import Floats, Measured, ScoredEvents, require_positive_sums, scored_events
from pipeline.errors import DataError, DeclarationError

N_BINS = 15
FEWEST_EVENTS = 5.0
"""Effective events below which a bin of the reliability diagram says nothing."""


@dataclass(frozen=True, eq=False)
class Reliability:
    """The observed fraction of signal in bins of the score, each array ``(n_bins,)`` but ``edges``, ``(n_bins + 1,)``.

    ``mean_score`` and ``signal_fraction`` are NaN in a bin that cannot be measured: fewer than five effective
    events, or weights whose sum is not positive. Its ``n_events`` and ``sum_of_weights`` still tell why.
    ``error`` is NaN there, and where a bin has events of one class alone. With negative weights a mean may lie
    outside its bin, and a fraction outside [0, 1].
    """

    edges: Floats
    mean_score: Floats
    signal_fraction: Floats
    error: Floats
    n_events: NDArray[np.int64]
    effective_events: Floats
    sum_of_weights: Floats


@dataclass(frozen=True)
class CalibrationError:
    """``observed``: the expected calibration error; ``if_calibrated``: what perfect probabilities would have shown.

    The second is a mean and the spread around it, from the finite number of events alone. Scores are badly
    calibrated when the first is above it by several spreads.
    """

    observed: Measured
    if_calibrated: Measured


def probability_events(scores: ArrayLike, labels: ArrayLike, weights: ArrayLike | None = None) -> ScoredEvents:
    """Check events whose scores are to be read as probabilities of signal.

    Raises:
        DataError: as `scored_events`; a class whose weights do not add up to something positive; scores outside
            [0, 1].

    """
    events = scored_events(scores, labels, weights)
    require_positive_sums(*class_sums(events))
    require_probabilities(events.scores)
    return events


def require_probabilities(scores: NDArray[np.floating]) -> None:
    """Refuse scores that are NaN or outside [0, 1]."""
    bad = np.flatnonzero(~((scores >= 0.0) & (scores <= 1.0)))
    if bad.size:
        first = f"the first is {scores.flat[bad[0]]:g}"
        msg = f"{bad.size} of {scores.size} scores are not in [0, 1] ({first}); a probability of signal is needed"
        raise DataError(msg)


def class_sums(events: ScoredEvents) -> tuple[float, float]:
    """Return the sums of weights of signal and of background."""
    signal, background = events.weights_where(events.is_signal), events.weights_where(~events.is_signal)
    return float(signal.sum()), float(background.sum())


def brier_score(scores: ArrayLike, labels: ArrayLike, weights: ArrayLike | None = None) -> Measured:
    """Compute the weighted mean of (p - y)², p being the score and y the label, and its standard error.

    The error is that of a ratio of sums: for losses l with mean L, Var = sum w² (l - L)² / (sum w)² times
    N/(N - 1), N being the effective number of events; NaN for N ≤ 1. It takes the class of each event as drawn by
    chance; where the numbers of events of both classes were fixed beforehand it is somewhat too large.

    Raises:
        DataError: as in `probability_events`.

    References:
        G. W. Brier, Monthly Weather Review 78 (1950) 1 (there summed over both classes: twice this).
        W. G. Cochran, Sampling Techniques (3rd ed., 1977), chapter 6 (error of a ratio).

    """
    events = probability_events(scores, labels, weights)
    return weighted_mean(np.square(events.scores.astype(np.float64) - events.is_signal), events.every_weight())


def log_loss(scores: ArrayLike, labels: ArrayLike, weights: ArrayLike | None = None) -> Measured:
    """Compute the weighted mean of -log p (signal) and -log(1 - p) (background), natural logarithms, and its error.

    Scores are first moved into [ε, 1 - ε], ε being the machine epsilon of their type: 1.2e-7 for single precision,
    2.2e-16 for double. A saturated network, 0 or 1 in an event of the other class, so costs 15.9 and not infinity.
    The error is as in `brier_score`.

    Raises:
        DataError: as in `probability_events`.

    """
    events = probability_events(scores, labels, weights)
    clipped = clipped_probabilities(events.scores)
    return weighted_mean(-np.log(np.where(events.is_signal, clipped, 1.0 - clipped)), events.every_weight())


def clipped_probabilities(scores: NDArray[np.floating]) -> Floats:
    """Return scores as double precision, at least the epsilon of their own type away from 0 and 1."""
    epsilon = float(np.finfo(scores.dtype).eps)
    return np.clip(scores.astype(np.float64), epsilon, 1.0 - epsilon)


def reliability(
    scores: ArrayLike, labels: ArrayLike, weights: ArrayLike | None = None, edges: ArrayLike | None = None
) -> Reliability:
    """Measure the fraction of signal in bins of the score: on the diagonal, where scores are probabilities.

    A bin holds its lower edge, and the last one its upper edge as well. Without ``edges`` there are 15 bins of equal
    width. Those do not depend on the events, so that several models and parts of the data share one axis, and they
    exist for negative weights, under which bins of equal weight do not. Where nearly all scores are small (a small
    fraction of signal), give edges that are even in the logarithm.

    The error is that of a weighted binomial fraction f: Var = [(1 - f)² sum w² (signal) + f² sum w² (background)]
    / (sum w)².

    Raises:
        DataError: as in `probability_events`.
        DeclarationError: edges that do not rise from 0 to 1.

    """
    events = probability_events(scores, labels, weights)
    bin_edges = _checked_edges(edges)
    bins, n_bins = _bins(events, bin_edges), bin_edges.size - 1
    n_events = np.bincount(bins, minlength=n_bins)
    n_signal = np.bincount(bins[events.is_signal], minlength=n_bins)
    weight, is_signal = events.every_weight(), events.is_signal
    total, score, signal = (sums_in(bins, weight * of, n_bins) for of in (1.0, events.scores, is_signal))
    squares, signal_squares = (sums_in(bins, weight**2 * of, n_bins) for of in (1.0, is_signal))
    n_effective = _ratio(total**2, squares, squares > 0.0)
    is_measurable = (total > 0.0) & (n_effective > FEWEST_EVENTS * (1.0 - 1e-9))
    fraction = _ratio(signal, total, is_measurable)
    spread = np.sqrt((1.0 - fraction) ** 2 * signal_squares + fraction**2 * (squares - signal_squares))
    return Reliability(
        edges=bin_edges,
        mean_score=_ratio(score, total, is_measurable),
        signal_fraction=fraction,
        # Of events of one class this estimate would say ± 0.
        error=_ratio(spread, total, is_measurable & (n_signal > 0) & (n_signal < n_events)),
        n_events=n_events,
        effective_events=np.nan_to_num(n_effective),
        sum_of_weights=total,
    )


def calibration_error(
    scores: ArrayLike, labels: ArrayLike, weights: ArrayLike | None = None, edges: ArrayLike | None = None
) -> CalibrationError:
    """Compute the expected calibration error (ECE) in bins of the score, and what calibrated scores would give.

    With W_b the sum of weights, f_b the fraction of signal and p_b the mean score of a bin, ECE is the sum of
    W_b |f_b - p_b| over sum w, which is the sum over bins of |sum w (y - p)| over sum w. In that form every event
    counts, in bins of few events and of negative sums too.

    An absolute value is biased upwards. If the scores were calibrated, the sum in a bin would fluctuate around 0,
    nearly as a Gaussian of variance V = sum w² (y - p)². So ECE would have the mean sqrt(2/π) (sum of sqrt V) / sum w
    and the variance (1 - 2/π) (sum of V) / (sum w)². It is some per cent too small where bins
    hold about one event of a class or less.

    The error of ``observed`` is that of a ratio, as in `brier_score`, with losses ±(y - p), the sign being that of
    the bin. It does not hold where a bin is off by less than its own fluctuation; there, compare with
    ``if_calibrated``.

    Raises:
        DataError, DeclarationError: as in `reliability`.

    References:
        C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, ICML 2017, arXiv:1706.04599, eq. 3.
        J. Bröcker, L. A. Smith, Weather and Forecasting 22 (2007) 651 (what reliable forecasts would show).
        R. Roelofs, N. Cain, J. Shlens, M. C. Mozer, AISTATS 2022, arXiv:2012.08668 (the bias).

    """
    events = probability_events(scores, labels, weights)
    bin_edges = _checked_edges(edges)
    bins, n_bins = _bins(events, bin_edges), bin_edges.size - 1
    deviations: Floats = events.is_signal - events.scores.astype(np.float64)
    pulls = events.every_weight() * deviations
    sums, variances = sums_in(bins, pulls, n_bins), sums_in(bins, pulls**2, n_bins)
    total = sum(class_sums(events))
    expected = np.sqrt(2.0 / np.pi) * float(np.sqrt(variances).sum()) / total
    spread = np.sqrt((1.0 - 2.0 / np.pi) * float(variances.sum())) / total
    observed = weighted_mean(np.sign(sums)[bins] * deviations, events.every_weight())
    return CalibrationError(observed, Measured(float(expected), float(spread)))


def _checked_edges(edges: ArrayLike | None) -> Floats:
    if edges is None:
        return np.linspace(0.0, 1.0, N_BINS + 1)
    values = np.asarray(edges, dtype=np.float64)
    rises = values.ndim == 1 and values.size > 1 and bool(np.all(np.diff(values) > 0.0))
    if not rises or (values[0], values[-1]) != (0.0, 1.0):
        raise DeclarationError(f"edges of bins rise from 0 to 1; received {values.tolist()}")
    return values


def _bins(events: ScoredEvents, edges: Floats) -> NDArray[np.intp]:
    places: NDArray[np.intp] = np.minimum(np.searchsorted(edges, events.scores, side="right") - 1, edges.size - 2)
    return places


def _ratio(numerator: Floats, denominator: Floats, where: NDArray[np.bool_]) -> Floats:
    ratio: Floats = np.divide(numerator, denominator, out=np.full(numerator.shape, np.nan), where=where)
    return ratio
