"""How significant an excess would be, and at which threshold of the score it is most so.

Owns the formulas, the scan over thresholds, the choice of one and its quotation. The largest of many
fluctuating numbers is too large: choose on one part of the data, quote on another. An event *passes* a
threshold when its score is at or above it, as in ``metrics``. Drawing belongs to ``report``.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.ladder import Ladder, ladder_of
from models.scored import Floats, Measured, ScoredEvents, scored_events
from pipeline.errors import DataError, DeclarationError, nearest_spelling

Formula = Callable[[Floats, Floats, float], Floats]

SERIES_BELOW = 0.1
N_SERIES_TERMS = 17
LOG_STEP = 1e-5


@dataclass(frozen=True, eq=False)
class SignificanceScan:
    """What passes each threshold, and how significant that is: arrays of shape ``(n_thresholds,)``, thresholds falling.

    ``n_signal`` and ``n_background`` are raw numbers of events, those of weight 0 left out. ``significances`` has one
    array for each name in `SIGNIFICANCES`; NaN where none is quoted.
    """

    thresholds: Floats
    signal: Floats
    signal_error: Floats
    background: Floats
    background_error: Floats
    n_signal: NDArray[np.int64]
    n_background: NDArray[np.int64]
    significances: dict[str, Floats]
    background_uncertainty: float
    min_background_events: int


@dataclass(frozen=True)
class QuotedSignificance:
    """What passes one threshold: yields, raw numbers of events, each significance; all with statistical errors."""

    threshold: float
    signal: Measured
    background: Measured
    n_signal: int
    n_background: int
    significances: dict[str, Measured]
    background_uncertainty: float


@overload
def asimov_significance(signal: float, background: float, background_uncertainty: float = ...) -> float: ...
@overload
def asimov_significance(
    signal: ArrayLike, background: ArrayLike, background_uncertainty: ArrayLike = ...
) -> NDArray[np.float64]: ...
def asimov_significance(
    signal: ArrayLike, background: ArrayLike, background_uncertainty: ArrayLike = 0.0
) -> float | NDArray[np.float64]:
    """Compute the median discovery significance of a counting experiment, in standard deviations.

    The uncertainty is relative: 0.1 says that the background is known to 10 %. The arguments are
    broadcast; three numbers give a number. Without signal the significance is 0; with signal on no
    background (or so little that s/b overflows) it is infinite. A negative or infinite yield gives NaN.

    Raises:
        DeclarationError: the uncertainty is negative or not finite.

    References:
        G. Cowan, K. Cranmer, E. Gross, O. Vitells, Eur. Phys. J. C 71 (2011) 1554, arXiv:1007.1727, eq. 97.
        G. Cowan, Discovery sensitivity for a counting experiment with background uncertainty (2012), eq. 20.
        T.-P. Li, Y.-Q. Ma, Astrophys. J. 272 (1983) 317, eq. 17, with n_off = b²/σ² and alpha = σ²/b.

    """
    uncertainty = _not_negative("background uncertainty", background_uncertainty)
    return _where_defined(signal, background, lambda s, b: _asimov(s, b, uncertainty))


@overload
def ams(signal: float, background: float, regularisation: float = ...) -> float: ...
@overload
def ams(signal: ArrayLike, background: ArrayLike, regularisation: ArrayLike = ...) -> NDArray[np.float64]: ...
def ams(signal: ArrayLike, background: ArrayLike, regularisation: ArrayLike = 10.0) -> float | NDArray[np.float64]:
    """Compute the approximate median significance of the Higgs boson machine-learning challenge.

    The Asimov significance with ``regularisation`` more background. A negative or infinite yield gives
    NaN, whatever the regularisation.

    Raises:
        DeclarationError: the regularisation is negative or not finite.

    References:
        C. Adam-Bourdarios et al., JMLR Workshop and Conference Proceedings 42 (2015) 19, definition of the AMS.

    """
    added = _not_negative("regularisation", regularisation)
    return _where_defined(signal, background, lambda s, b: _asimov(s, b + added, np.zeros(())))


@overload
def s_over_sqrt_b(signal: float, background: float) -> float: ...
@overload
def s_over_sqrt_b(signal: ArrayLike, background: ArrayLike) -> NDArray[np.float64]: ...
def s_over_sqrt_b(signal: ArrayLike, background: ArrayLike) -> float | NDArray[np.float64]:
    """Compute s/√b: good for s ≪ b alone, too large elsewhere; 0, infinity and NaN as in `asimov_significance`."""
    return _where_defined(signal, background, lambda s, b: s / np.sqrt(b))


@overload
def s_over_sqrt_s_plus_b(signal: float, background: float) -> float: ...
@overload
def s_over_sqrt_s_plus_b(signal: ArrayLike, background: ArrayLike) -> NDArray[np.float64]: ...
def s_over_sqrt_s_plus_b(signal: ArrayLike, background: ArrayLike) -> float | NDArray[np.float64]:
    """Compute s/√(s+b), one over the relative error of a measured signal yield; never infinite.

    0 without signal, NaN for a negative or infinite yield.
    """
    return _where_defined(signal, background, lambda s, b: s / np.sqrt(s + b))


SIGNIFICANCES: dict[str, Formula] = {
    "asimov": asimov_significance,
    "ams": lambda signal, background, _: ams(signal, background),
    "s_over_sqrt_b": lambda signal, background, _: s_over_sqrt_b(signal, background),
    "s_over_sqrt_s_plus_b": lambda signal, background, _: s_over_sqrt_s_plus_b(signal, background),
}


def scan(
    scores: ArrayLike,
    labels: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    background_uncertainty: float,
    min_background_events: int = 10,
    n_points: int = 500,
) -> SignificanceScan:
    """Compute yields and significances above thresholds that are scores of the events.

    The weights must already add up to the yields of the whole sample: after a split, each is its event's
    physics weight over the fraction of the sample in this part. Every distinct score is tried. At most
    ``n_points`` are kept: the best of each significance, the highest and the lowest, and others even in
    the number of signal events and in the logarithm of the number of background events. No significance
    is quoted where fewer than ``min_background_events`` raw background events pass, or where negative
    weights leave a background yield below its own statistical error √(Σw²), so none that is not positive.

    Raises:
        DataError: as in `models.metrics.weighted_roc`.
        DeclarationError: the uncertainty or the number of background events is negative or not finite,
            or ``n_points`` is too small to keep the best thresholds.

    """
    _not_negative("min_background_events", min_background_events)
    if n_points < (least := len(SIGNIFICANCES) + 2):
        msg = f"a scan cannot keep its best thresholds and its ends in {n_points} points; it needs at least {least}"
        raise DeclarationError(msg)
    events = scored_events(scores, labels, weights).that_count()
    every = _at_every_score(events, ladder_of(events), background_uncertainty, min_background_events)
    return every if every.thresholds.size <= n_points else _thinned(every, n_points)


def best_threshold(scan: SignificanceScan, metric: str = "asimov") -> float:
    """Return the threshold of the largest significance, of equal ones the highest.

    The significance found there is too large on average: `quote` it on other events.

    Raises:
        DataError: no threshold leaves enough background for a significance to be quoted.
        DeclarationError: there is no such significance.

    """
    if metric not in scan.significances:
        known = ", ".join(scan.significances)
        msg = f"there is no significance {metric!r}{nearest_spelling(metric, scan.significances)}; there are: {known}"
        raise DeclarationError(msg)
    values = scan.significances[metric]
    if np.isnan(values).all():
        raise DataError(
            f"no threshold can be chosen: there are {scan.n_background[-1]} background events in all, with a yield of "
            f"{scan.background[-1]:.4g} ± {scan.background_error[-1]:.2g}; at least {scan.min_background_events} must "
            "pass, with a yield not below its error, beside a signal yield that is not negative"
        )
    return float(scan.thresholds[np.nanargmax(values)])


def quote(
    threshold: float,
    scores: ArrayLike,
    labels: ArrayLike,
    weights: ArrayLike | None,
    background_uncertainty: float,
    *,
    min_background_events: int = 10,
) -> QuotedSignificance:
    """Compute the significances at a threshold that was chosen on other events.

    The weights must add up to the yields of the whole sample, as for `scan`; a significance that `scan`
    would not quote is NaN here as well. The errors are those of finite samples,
    Var Z = (∂Z/∂s)² Σw² (signal) + (∂Z/∂b)² Σw² (background), at a fixed relative background
    uncertainty; an error is NaN where no signal yield passes: the estimate is blind there.

    Raises:
        DataError: arrays of different lengths, values that are not finite, labels other than 0 and 1,
            or a class without events.
        DeclarationError: the threshold is NaN, or the uncertainty or the number of background events is
            negative or not finite.

    """
    _not_negative("min_background_events", min_background_events)
    events = scored_events(scores, labels, weights).that_count()
    passes = events.passing(threshold)
    signal_weights = events.weights_where(passes & events.is_signal)
    background_weights = events.weights_where(passes & ~events.is_signal)
    signal, background = _yield_of(signal_weights), _yield_of(background_weights)
    quotable = _is_quotable(background_weights.size, background.value, background.error, min_background_events)
    return QuotedSignificance(
        threshold=float(threshold),
        signal=signal,
        background=background,
        n_signal=signal_weights.size,
        n_background=background_weights.size,
        significances=_with_errors(signal, background, bool(quotable), background_uncertainty),
        background_uncertainty=background_uncertainty,
    )


def _asimov(signal: Floats, background: Floats, uncertainty: Floats) -> Floats:
    # With x = s/b, v = σ²/b, u = 1/(1 + v) and t = v/(1 + v), the published formula becomes
    # Z² = 2 b u D,  D = (1 + x) ln(1 + u x/(1 + t x))/u - ln(1 + t x)/t,
    # which loses nothing for small v (t = 0 is the one without uncertainty), nor for large v.
    s, b, uncertainties = np.broadcast_arrays(signal, background, uncertainty)
    ratio = np.asarray(s / b)
    spread = np.asarray(np.minimum(b * uncertainties**2, 1e300))
    u = np.asarray(1.0 / (1.0 + spread))
    t = np.asarray(spread * u)
    small = ratio < SERIES_BELOW
    root = np.empty(ratio.shape)
    root[small] = ratio[small] * np.sqrt(_series(ratio[small], t[small]))
    root[~small] = np.sqrt(2.0 * _difference(ratio[~small], t[~small], u[~small]))
    return np.where(np.isinf(ratio), np.inf, np.sqrt(b * u) * root)


def _difference(x: Floats, t: Floats, u: Floats) -> Floats:
    return (1.0 + x) * _scaled_log(u, x / (1.0 + t * x)) - _scaled_log(t, x)


def _scaled_log(scale: Floats, x: Floats) -> Floats:
    """Return ln(1 + scale x)/scale, which is x for a scale of 0."""
    product = scale * x
    scaled: Floats = x * np.where(product == 0.0, 1.0, np.log1p(product) / product)
    return scaled


def _series(x: Floats, t: Floats) -> Floats:
    # The terms of D cancel for small x. Expanded in x, 2 D/x² is the sum over k ≥ 2 of
    # 2 (-x)^(k-2) (1 + t + ... + t^(k-2)) / (k (k-1)), of which nothing cancels.
    total, power, geometric = np.zeros_like(x), np.ones_like(x), np.ones_like(t)
    for k in range(2, 2 + N_SERIES_TERMS):
        total = total + 2.0 * power * geometric / (k * (k - 1))
        power = -x * power
        geometric = 1.0 + t * geometric
    return total


def _where_defined(
    signal: ArrayLike, background: ArrayLike, formula: Callable[[Floats, Floats], Floats]
) -> float | Floats:
    s, b = np.asarray(signal, dtype=np.float64), np.asarray(background, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        values = np.where(s == 0.0, 0.0, formula(s, b))
    is_yield = (s >= 0.0) & (b >= 0.0) & np.isfinite(s) & np.isfinite(b)
    answer: Floats = np.where(is_yield, values, np.nan)
    return float(answer) if answer.ndim == 0 else answer


def _not_negative(name: str, value: ArrayLike) -> Floats:
    values = np.asarray(value, dtype=np.float64)
    if bad := values[~(np.isfinite(values) & (values >= 0.0))].tolist():
        msg = f"{name} {bad[0]!r} is not a finite number of at least 0"
        raise DeclarationError(msg)
    return values


def _at_every_score(
    events: ScoredEvents, ladder: Ladder, background_uncertainty: float, min_background_events: int
) -> SignificanceScan:
    squares = np.square(events.every_weight())
    signal_error = np.sqrt(_from_the_top(ladder, squares * events.is_signal))
    background_error = np.sqrt(_from_the_top(ladder, squares * ~events.is_signal))
    n_signal = _from_the_top(ladder, events.is_signal.astype(np.int64))
    n_background = ladder.last + 1 - n_signal
    quotable = _is_quotable(n_background, ladder.background, background_error, min_background_events)
    return SignificanceScan(
        thresholds=events.scores[ladder.order[ladder.last]].astype(np.float64),
        signal=ladder.signal,
        signal_error=signal_error,
        background=ladder.background,
        background_error=background_error,
        n_signal=n_signal,
        n_background=n_background,
        significances=_significances(ladder.signal, ladder.background, quotable, background_uncertainty),
        background_uncertainty=background_uncertainty,
        min_background_events=min_background_events,
    )


def _from_the_top(ladder: Ladder, values: NDArray[Any]) -> NDArray[Any]:
    """Add up one value per event, from the highest score down to each step."""
    return np.cumsum(values[ladder.order])[ladder.last]


def _is_quotable(n_background: ArrayLike, background: ArrayLike, error: ArrayLike, at_least: int) -> NDArray[np.bool_]:
    # Sums that cancel are zero but for rounding, or small by chance: either would give the largest significance.
    # One event's yield equals its error, and passes; hence the allowance.
    yields, errors = np.asarray(background), np.asarray(error)
    return (np.asarray(n_background) >= at_least) & (yields > 0.0) & (yields >= (1.0 - 1e-9) * errors)


def _significances(
    signal: Floats, background: Floats, quotable: NDArray[np.bool_], background_uncertainty: float
) -> dict[str, Floats]:
    table = {name: np.full(signal.shape, np.nan) for name in SIGNIFICANCES}
    for name, formula in SIGNIFICANCES.items():
        table[name][quotable] = formula(signal[quotable], background[quotable], background_uncertainty)
    return table


def _thinned(scan: SignificanceScan, n_points: int) -> SignificanceScan:
    best = [int(np.argmax(np.where(np.isnan(values), -np.inf, values))) for values in scan.significances.values()]
    share = (n_points - len(best) - 2) // 2
    # Numbers of events only rise, which yields with negative weights do not.
    by_signal = np.searchsorted(scan.n_signal, np.linspace(1, scan.n_signal[-1], share))
    by_background = np.searchsorted(scan.n_background, np.geomspace(1, scan.n_background[-1], share))
    kept = np.unique(np.concatenate((by_signal, by_background, best, [0, scan.thresholds.size - 1])).astype(np.intp))
    arrays: dict[str, Any] = {name: array[kept] for name, array in vars(scan).items() if isinstance(array, np.ndarray)}
    return replace(scan, **arrays, significances={name: values[kept] for name, values in scan.significances.items()})


def _yield_of(weights: Floats) -> Measured:
    return Measured(float(weights.sum()), float(np.linalg.norm(weights)))


def _with_errors(
    signal: Measured, background: Measured, quotable: bool, background_uncertainty: float
) -> dict[str, Measured]:
    # The yields themselves, then each a little more and a little less, for slopes in their logarithms.
    steps = np.exp(LOG_STEP * np.array([[0.0, 1.0, -1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0, -1.0]]))
    signals, backgrounds = signal.value * steps[0], background.value * steps[1]
    table = _significances(signals, backgrounds, np.full(5, quotable), background_uncertainty)
    return {name: Measured(float(z[0]), _propagated(z, signal, background)) for name, z in table.items()}


def _propagated(z: Floats, signal: Measured, background: Measured) -> float:
    if not (signal.value > 0.0 and background.value > 0.0):
        return float("nan")
    by_signal, by_background = (z[1] - z[2]) / (2.0 * LOG_STEP), (z[3] - z[4]) / (2.0 * LOG_STEP)
    shares = by_signal * signal.error / signal.value, by_background * background.error / background.value
    return float(np.hypot(*shares))
