"""How well scores separate signal from background: ROC, AUC, efficiencies, each with its error.

Owns the definitions, as pure functions of arrays; which part of the data they are asked about, and
what is done with the answers, belongs to ``evaluation``. Throughout, an event *passes* a threshold
when its score is at or above it, label 1 is signal, and weights are physics weights, 1 where none are
given. Negative weights are allowed: every sum below is then a signed sum.

Everything rests on one ladder: events in order of falling score, grouped into one step per distinct
score, with the weights of each class added up from the top. Sorting is the cost. Single-precision
scores (what a network gives) are packed with the event's position into one 64-bit integer each, since
sorting integers is several times faster than an argsort of floats.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.errors import DataError, DeclarationError

Floats = NDArray[np.float64]
Numbers = NDArray[Any]
Order = NDArray[np.uint32] | NDArray[np.intp]


@dataclass(frozen=True)
class Measured:
    """A number with its standard error; the error is NaN where it cannot be estimated."""

    value: float
    error: float


@dataclass(frozen=True, eq=False)
class Roc:
    """Background (``fpr``) and signal (``tpr``) efficiency above each threshold, from (0, 0) to (1, 1).

    All of shape ``(n_distinct_scores + 1,)``; ``thresholds`` fall, and begin at +inf.
    """

    fpr: Floats
    tpr: Floats
    thresholds: Floats


@dataclass(frozen=True)
class WorkingPoint:
    """What a threshold keeps: efficiencies and purity with errors, and raw numbers of passing events."""

    threshold: float
    signal_efficiency: Measured
    background_efficiency: Measured
    purity: Measured
    n_signal: int
    n_background: int

    @property
    def rejection(self) -> Measured:
        """One over the background efficiency; +inf, with no error, where no background passes."""
        efficiency = self.background_efficiency
        if efficiency.value == 0.0:
            return Measured(float("inf"), float("nan"))
        return Measured(1.0 / efficiency.value, efficiency.error / efficiency.value**2)


@dataclass(frozen=True, eq=False)
class _Events:
    scores: NDArray[np.floating]
    is_signal: NDArray[np.bool_]
    weights: Floats | None

    def weights_where(self, mask: NDArray[np.bool_]) -> Floats:
        return np.ones(np.count_nonzero(mask)) if self.weights is None else self.weights[mask]


@dataclass(frozen=True, eq=False)
class _Ladder:
    """``order`` (n,) by falling score; for each step, the place of its ``last`` event and the sums so far."""

    order: Order
    last: NDArray[np.intp]
    signal: Floats
    background: Floats


def weighted_roc(scores: ArrayLike, labels: ArrayLike, weights: ArrayLike | None = None) -> Roc:
    """Compute the ROC curve, one point per distinct score; events with equal scores are one step.

    With negative weights an efficiency is a ratio of signed sums: it may leave [0, 1] on the way and
    need not rise with falling threshold. The two ends are always (0, 0) and (1, 1).

    Raises:
        DataError: arrays of different lengths, values that are not finite, labels other than 0 and 1,
            a class without events, or with a sum of weights that is not positive.

    """
    events = _checked(scores, labels, weights)
    ladder = _ladder(events)
    thresholds = events.scores[ladder.order[ladder.last]].astype(np.float64)
    return Roc(
        fpr=np.concatenate(([0.0], ladder.background / ladder.background[-1])),
        tpr=np.concatenate(([0.0], ladder.signal / ladder.signal[-1])),
        thresholds=np.concatenate(([np.inf], thresholds)),
    )


def weighted_auc(scores: ArrayLike, labels: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Compute the area under the ROC curve: the chance that signal scores above background.

    This is the Mann-Whitney form: the sum over pairs of one signal and one background event of the
    product of their weights, a pair with equal scores counting half, divided by the product of the sums
    of weights. It equals the trapezoid area of `weighted_roc` and is exactly 0.5 when all scores are
    equal. With negative weights it stays defined and may leave [0, 1].

    Raises:
        DataError: as in `weighted_roc`.

    """
    return _area(_ladder(_checked(scores, labels, weights)))


def auc_with_error(scores: ArrayLike, labels: ArrayLike, weights: ArrayLike | None = None) -> Measured:
    """Compute the AUC and its standard error from the placement of each event in the other class.

    Without weights this is the estimate of DeLong et al. With weights, a class contributes
    sum w² (V - AUC)² / (sum w)², V being the placement values, times N/(N - 1) with N its effective
    number of events; for N ≤ 1 the error is NaN. Perfectly separated classes have error 0: the
    estimate is blind there.

    Raises:
        DataError: as in `weighted_roc`.

    References:
        E. R. DeLong, D. M. DeLong, D. L. Clarke-Pearson, Biometrics 44 (1988) 837, eq. 5-6.
        X. Sun, W. Xu, IEEE Signal Processing Letters 21 (2014) 1389 (placements by sorting).

    """
    events = _checked(scores, labels, weights)
    ladder = _ladder(events)
    area = _area(ladder)
    return Measured(area, _standard_error(events, _placements(events, ladder) - area))


def auc_difference(
    scores_a: ArrayLike, scores_b: ArrayLike, labels: ArrayLike, weights: ArrayLike | None = None
) -> Measured:
    """Compute AUC(a) - AUC(b) of two scores on the same events, with the error of the paired difference.

    What the two share cancels event by event, so the error is much smaller than the two errors in
    quadrature when the scores are alike; identical scores give 0 ± 0.

    Raises:
        DataError: as in `weighted_roc`, for either score.

    """
    events_a, events_b = _checked(scores_a, labels, weights), _checked(scores_b, labels, weights)
    ladder_a, ladder_b = _ladder(events_a), _ladder(events_b)
    difference = _area(ladder_a) - _area(ladder_b)
    placements = _placements(events_a, ladder_a) - _placements(events_b, ladder_b)
    return Measured(difference, _standard_error(events_a, placements - difference))


def working_point(roc: Roc, signal_efficiency: float) -> float:
    """Return the highest threshold that keeps at least this signal efficiency.

    Choose it on one part of the data and quote it, with `efficiency_at`, on another.

    Raises:
        DeclarationError: the efficiency is not between 0 (excluded) and 1.

    """
    if not 0.0 < signal_efficiency <= 1.0:
        msg = f"signal efficiency {signal_efficiency!r} is not above 0 and at most 1"
        raise DeclarationError(msg)
    # The allowance is for sums of weights that miss a round efficiency by rounding alone.
    reached = roc.tpr >= signal_efficiency - 1e-12
    return float(roc.thresholds[np.argmax(reached)])


def efficiency_at(
    threshold: float, scores: ArrayLike, labels: ArrayLike, weights: ArrayLike | None = None
) -> WorkingPoint:
    """Measure what a threshold keeps of signal and background.

    The error of an efficiency e is that of a weighted binomial fraction:
    Var = [(1 - e)² sum w² (passing) + e² sum w² (failing)] / (sum w)², and NaN where all events pass or none
    does: the estimate is blind there. Purity is the passing signal's
    share of all that passes, at the proportions which the weights describe; NaN where nothing passes.

    Raises:
        DataError: as in `weighted_roc`.

    """
    events = _checked(scores, labels, weights)
    # A float64 scalar, since a Python float would be rounded to the precision of the scores first.
    passes = events.scores >= np.float64(threshold)
    signal, background = events.is_signal, ~events.is_signal
    signal_weights, background_weights = events.weights_where(signal), events.weights_where(background)
    _require_positive_sums(float(signal_weights.sum()), float(background_weights.sum()))
    return WorkingPoint(
        threshold=float(threshold),
        signal_efficiency=_fraction(signal_weights, passes[signal]),
        background_efficiency=_fraction(background_weights, passes[background]),
        purity=_fraction(events.weights_where(passes), signal[passes]),
        n_signal=int(np.count_nonzero(passes & signal)),
        n_background=int(np.count_nonzero(passes & background)),
    )


def thin_roc(roc: Roc, n_points: int) -> Roc:
    """Keep at most about ``n_points`` points: the ends, and others even in fpr, in log fpr and in tpr.

    Raises:
        DeclarationError: fewer than two points are asked for.

    """
    if n_points < 2:
        msg = f"a ROC curve cannot be thinned to {n_points} points; it has two ends"
        raise DeclarationError(msg)
    if roc.fpr.size <= n_points:
        return roc
    share = max((n_points - 2) // 3, 0)
    # With negative weights the efficiencies may fall again; their running maxima can still be searched.
    fpr, tpr = np.maximum.accumulate(roc.fpr), np.maximum.accumulate(roc.tpr)
    even = np.linspace(0.0, 1.0, share)
    even_in_log = np.geomspace(fpr[fpr > 0.0][0], 1.0, share)
    by_background = np.searchsorted(fpr, np.concatenate((even, even_in_log)), side="right") - 1
    by_signal = np.searchsorted(tpr, even)
    kept = np.unique(np.concatenate((by_background, by_signal, [0, roc.fpr.size - 1])))
    return Roc(roc.fpr[kept], roc.tpr[kept], roc.thresholds[kept])


def effective_events(weights: ArrayLike) -> float:
    """Return (sum w)² / sum w²: how many unweighted events carry the same information; 0 for none."""
    values = np.asarray(weights, dtype=np.float64)
    squares = float(np.dot(values, values))
    return float(values.sum()) ** 2 / squares if squares > 0.0 else 0.0


def _checked(scores: ArrayLike, labels: ArrayLike, weights: ArrayLike | None) -> _Events:
    score_array, label_array = np.asarray(scores), np.asarray(labels)
    weight_array = None if weights is None else np.asarray(weights, dtype=np.float64)
    _require_one_number_per_event(score_array, label_array, weight_array)
    if score_array.dtype.kind != "f":
        score_array = score_array.astype(np.float64)
    is_signal = label_array.astype(np.bool_)
    problems = [
        *_not_finite("score", score_array),
        *([] if weight_array is None else _not_finite("weight", weight_array)),
        *_not_labels(label_array, is_signal),
        *_empty_classes(is_signal),
    ]
    if problems:
        raise DataError("; ".join(problems))
    return _Events(score_array, is_signal, weight_array)


def _require_one_number_per_event(scores: Numbers, labels: Numbers, weights: Floats | None) -> None:
    named = {"scores": scores, "labels": labels} | ({} if weights is None else {"weights": weights})
    shapes = ", ".join(f"{name} {array.shape}" for name, array in named.items())
    if len({array.shape for array in named.values()}) > 1 or scores.ndim != 1:
        raise DataError(f"one number per event is needed, all of the same length; received {shapes}")


def _not_finite(name: str, values: NDArray[np.floating]) -> list[str]:
    n_bad = values.size - int(np.count_nonzero(np.isfinite(values)))
    return [f"{n_bad} of {values.size} {name}s are NaN or infinite"] if n_bad else []


def _not_labels(labels: Numbers, is_signal: NDArray[np.bool_]) -> list[str]:
    others = [] if labels.dtype == np.bool_ else labels[labels != is_signal]
    if len(others) == 0:
        return []
    return [f"{len(others)} of {labels.size} labels are neither 0 nor 1 (the first is {others[0]!s})"]


def _empty_classes(is_signal: NDArray[np.bool_]) -> list[str]:
    n_signal = int(np.count_nonzero(is_signal))
    counts = {"signal": n_signal, "background": is_signal.size - n_signal}
    return [f"no {name} among {is_signal.size} events" for name, count in counts.items() if count == 0]


def _require_positive_sums(signal: float, background: float) -> None:
    sums = {"signal": signal, "background": background}
    if bad := [f"{name} weights add up to {total:g}" for name, total in sums.items() if total <= 0.0]:
        raise DataError(f"{' and '.join(bad)}; an efficiency needs a positive sum in both classes")


def _ladder(events: _Events) -> _Ladder:
    order, last = _falling(events.scores)
    is_signal = events.is_signal[order]
    if events.weights is None:
        signal = np.cumsum(is_signal, dtype=np.int64)[last].astype(np.float64)
        background = (last + 1) - signal
    else:
        weights = events.weights[order]
        signal = np.cumsum(weights * is_signal)[last]
        background = np.cumsum(weights * ~is_signal)[last]
    _require_positive_sums(float(signal[-1]), float(background[-1]))
    return _Ladder(order, last, signal, background)


def _falling(
    scores: NDArray[np.floating],
) -> tuple[Order, NDArray[np.intp]]:
    """Return the order of falling scores, and in it the place of the last event of each distinct score."""
    with np.errstate(over="ignore"):
        single = scores.astype(np.float32, copy=False)
    # The position of an event must fit into 32 bits, and nothing of its score may be lost.
    if scores.size < 2**32 and (single is scores or np.array_equal(single, scores)):
        keys = _packed(single)
        keys.sort()
        order = keys.astype(np.uint32)
        keys >>= np.uint64(32)
        return order, _last_of_each(keys.astype(np.uint32))
    by_argsort = np.argsort(-scores)
    return by_argsort, _last_of_each(scores[by_argsort])


def _packed(scores: NDArray[np.float32]) -> NDArray[np.uint64]:
    """Pack (score, position) into integers that rise where the score falls."""
    bits = (scores + np.float32(0.0)).view(np.int32)  # adding zero turns -0.0 into +0.0
    # Bits of negative floats rise with their magnitude already; those of positive ones must be turned.
    falling = (bits ^ (~(bits >> 31) & np.int32(0x7FFFFFFF))).view(np.uint32)
    keys = falling.astype(np.uint64)
    keys <<= np.uint64(32)
    keys |= np.arange(scores.size, dtype=np.uint32)
    return keys


def _last_of_each(ordered: NDArray[np.generic]) -> NDArray[np.intp]:
    return np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), ordered.size - 1)


def _area(ladder: _Ladder) -> float:
    signal_steps = np.diff(ladder.signal, prepend=0.0)
    background_steps = np.diff(ladder.background, prepend=0.0)
    pairs = np.dot(background_steps, ladder.signal) - 0.5 * np.dot(background_steps, signal_steps)
    return float(pairs / (ladder.signal[-1] * ladder.background[-1]))


def _placements(events: _Events, ladder: _Ladder) -> Floats:
    """Return (n,) each event's share of won pairs: background below a signal, signal above a background."""
    background_below = 1.0 - _middles(ladder.background)
    signal_above = _middles(ladder.signal)
    step = np.repeat(np.arange(ladder.last.size), np.diff(ladder.last, prepend=-1))
    is_signal = events.is_signal[ladder.order]
    placements = np.empty(step.size)
    placements[ladder.order] = np.where(is_signal, background_below[step], signal_above[step])
    return placements


def _middles(sums: Floats) -> Floats:
    """Return the fraction above the middle of each step: events of equal score count half."""
    middles: Floats = (sums - 0.5 * np.diff(sums, prepend=0.0)) / sums[-1]
    return middles


def _standard_error(events: _Events, deviations: Floats) -> float:
    variance = 0.0
    for members in (events.is_signal, ~events.is_signal):
        weights = events.weights_where(members)
        n_effective = effective_events(weights)
        if n_effective <= 1.0 + 1e-9:  # one event, or weights that all but cancel
            return float("nan")
        spread = float(np.sum(np.square(weights * deviations[members])))
        variance += spread / float(weights.sum()) ** 2 * n_effective / (n_effective - 1.0)
    return float(np.sqrt(variance))


def _fraction(weights: Floats, selected: NDArray[np.bool_]) -> Measured:
    total = float(weights.sum())
    if total == 0.0:
        return Measured(float("nan"), float("nan"))
    fraction = float(weights[selected].sum()) / total
    if selected.all() or not selected.any():
        # Of none, or of all, this estimate would say ± 0.
        return Measured(fraction, float("nan"))
    distances = np.where(selected, 1.0 - fraction, fraction)
    return Measured(fraction, float(np.linalg.norm(weights * distances)) / abs(total))
