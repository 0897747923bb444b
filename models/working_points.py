"""Working points: thresholds chosen on one part of the data, and what they keep of another.

Owns the choice (by a signal efficiency, a background rejection or a purity; one threshold, or one in every bin of
a variable) of a ``Cut``, and the measurement of what it keeps. Which part is asked is ``evaluation``'s; choose on the
validation part and quote on the test part, or the figures flatter. Weights are physics weights; with negative ones
every sum is a signed sum.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.averages import weighted_share
from models.cuts import Bins, Cut, Quantity, WorkingPointSpec
from models.ladder import Ladder, ladder_of
from models.metrics import Roc
from models.scored import Floats, Measured, ScoredEvents, require_positive_sums, scored_events
from pipeline.errors import DataError, DeclarationError

Counts = NDArray[np.int64]
Answer = TypeVar("Answer")

_ROUNDING = 1e-12
"""Sums of weights that miss a round number by less than this share miss it by rounding alone."""


@dataclass(frozen=True)
class WorkingPoint:
    """What a threshold keeps: efficiencies and purity with errors, and raw numbers of passing events of some weight.

    ``rejection`` is one over the background efficiency: +inf, with no error, where no background passes.
    ``threshold`` is NaN where several were applied together.
    """

    threshold: float
    signal_efficiency: Measured
    background_efficiency: Measured
    rejection: Measured
    purity: Measured
    n_signal: int
    n_background: int


@dataclass(frozen=True)
class QuotedCut:
    """What a cut keeps in one bin, from ``low`` to ``high``; both ``None`` for all events together.

    The outer bins hold what lies beyond the edges as well: the first begins at -inf, the last ends at +inf.

    ``total_signal`` and ``total_background`` are the same numbers before the cut.
    """

    low: float | None
    high: float | None
    kept: WorkingPoint
    total_signal: int
    total_background: int


def choose(
    spec: WorkingPointSpec,
    scores: ArrayLike,
    labels: ArrayLike,
    weights: ArrayLike | None = None,
    values: ArrayLike | None = None,
) -> Cut:
    """Choose the threshold, or the threshold of every bin, that meets a request.

    An efficiency takes the highest threshold that keeps at least so much, as `working_point` does. A rejection or a
    purity takes the lowest threshold, hence the largest efficiency, that reaches at least so much. Neither need
    rise with the threshold (purity never need, rejection need not with negative weights): a higher threshold that
    falls short again does not matter, and what only fewer than ``spec.min_events`` events reach does not count.
    A threshold above which the background weights add up to nothing or less has no rejection, and one where
    the weights of a class add up to less than nothing has no purity; such thresholds are passed over.

    ``values`` are those of the variable of ``spec.bins``; without bins they are not looked at.

    Raises:
        DeclarationError: ``spec`` has bins, and no values are given.
        DataError: as in `weighted_roc`, of all events or of a bin, which is named with its numbers; a request that
            cannot be met, with what can be; values that are not numbers, or not one per event.

    """
    events = scored_events(scores, labels, weights)
    with _naming(f"working point {spec.name!r}"):
        if spec.bins is None:
            return _cut(spec, (_threshold(spec, events),))
        thresholds = _in_each_bin(spec.bins, values, events, lambda _, part: _threshold(spec, part))
        return _cut(spec, thresholds)


def quote(
    cut: Cut, scores: ArrayLike, labels: ArrayLike, weights: ArrayLike | None = None, values: ArrayLike | None = None
) -> tuple[QuotedCut, ...]:
    """Measure what a cut keeps: of all events first, then of each bin in turn, if it has bins.

    The errors are those of `efficiency_at`: of the events given, with the thresholds taken as they are.
    What the choice of a threshold itself fluctuates by, on the part where it was made, is not in them.
    Events whose variable is NaN are in no bin; among all events they count as failing.

    Raises:
        DeclarationError: the cut has bins, and no values are given.
        DataError: as in `weighted_roc`, of all events or of a bin, which is named with its numbers.

    """
    events = scored_events(scores, labels, weights)
    threshold = cut.thresholds[0] if len(cut.thresholds) == 1 else float("nan")
    overall = _quoted(None, None, events, _kept(threshold, events, cut.passes(events.scores, values)))
    if cut.bins is None:
        return (overall,)
    edges = (-np.inf, *cut.bins.edges[1:-1], np.inf)

    def quoted(place: int, part: ScoredEvents) -> QuotedCut:
        return _quoted(edges[place], edges[place + 1], part, _kept_above(cut.thresholds[place], part))

    with _naming(f"working point {cut.name!r}"):
        return overall, *_in_each_bin(cut.bins, values, events, quoted)


def working_point(roc: Roc, signal_efficiency: float) -> float:
    """Return the highest threshold that keeps at least this signal efficiency.

    Choose it on one part of the data and quote it, with `efficiency_at`, on another.

    Raises:
        DeclarationError: the efficiency is not between 0 (excluded) and 1.

    """
    if not 0.0 < signal_efficiency <= 1.0:
        msg = f"signal efficiency {signal_efficiency!r} is not above 0 and at most 1"
        raise DeclarationError(msg)
    return float(roc.thresholds[np.argmax(_reached(roc.tpr, signal_efficiency))])


def efficiency_at(
    threshold: float, scores: ArrayLike, labels: ArrayLike, weights: ArrayLike | None = None
) -> WorkingPoint:
    """Measure what a threshold keeps of signal and background.

    The error of an efficiency e is that of a weighted binomial fraction:
    Var = [(1 - e)² sum w² (passing) + e² sum w² (failing)] / (sum w)², and NaN where all events pass or none
    does: the estimate is blind there. Purity is the passing signal's share of all that passes, at the
    proportions which the weights describe; NaN where nothing passes.

    Raises:
        DataError: as in `weighted_roc`.
        DeclarationError: the threshold is NaN.

    """
    return _kept_above(threshold, scored_events(scores, labels, weights))


def _threshold(spec: WorkingPointSpec, events: ScoredEvents) -> float:
    events, (quantity, requested) = events.that_count(), spec.request
    ladder = ladder_of(events)
    n_signal = np.cumsum(events.is_signal[ladder.order], dtype=np.int64)
    values, n_passing = _MEASURES[quantity](ladder, n_signal[ladder.last])
    steps = np.flatnonzero(_reached(values, requested))
    enough = n_passing >= spec.min_events
    if quantity == "signal_efficiency":
        steps = steps[:1]
        # With negative weights the efficiency may fall again; only where it rises above all before is it reached.
        enough &= values > np.maximum.accumulate(np.append(0.0, values[:-1]))
    if not (steps := steps[enough[steps]]).size:
        raise DataError(_out_of_reach(spec, values[enough], int(n_passing[-1])))
    return float(events.scores[ladder.order[ladder.last[steps[-1]]]])


def _out_of_reach(spec: WorkingPointSpec, reachable: Floats, n_events: int) -> str:
    quantity, requested = spec.request
    asked = f"{quantity} = {requested:g} cannot be met with at least {spec.min_events} {_COUNTED[quantity]} passing"
    if reachable.size == 0:
        falls = ", but with their weights it rises no higher than with fewer" if n_events >= spec.min_events else ""
        return f"{asked}: there are {n_events}{falls}"
    if quantity == "signal_efficiency":
        return f"{asked}: the smallest that can is {reachable[0]:.4g}"
    return f"{asked}: the largest that can is {reachable.max():.4g}"


def _signal_efficiency(ladder: Ladder, n_signal: Counts) -> tuple[Floats, Counts]:
    return ladder.signal / ladder.signal[-1], n_signal


def _background_rejection(ladder: Ladder, n_signal: Counts) -> tuple[Floats, Counts]:
    has_one = ladder.background > _ROUNDING * ladder.background[-1]
    rejection = np.full(has_one.size, -np.inf)
    rejection[has_one] = ladder.background[-1] / ladder.background[has_one]
    return rejection, ladder.last + 1 - n_signal


def _purity(ladder: Ladder, n_signal: Counts) -> tuple[Floats, Counts]:
    both = ladder.signal + ladder.background
    has_one = (ladder.signal >= 0.0) & (ladder.background >= 0.0) & (both > _ROUNDING * both[-1])
    purity = np.full(has_one.size, -np.inf)
    purity[has_one] = ladder.signal[has_one] / both[has_one]
    return purity, ladder.last + 1


_MEASURES: dict[Quantity, Callable[[Ladder, Counts], tuple[Floats, Counts]]] = {
    "signal_efficiency": _signal_efficiency,
    "background_rejection": _background_rejection,
    "purity": _purity,
}
"""What gives each quantity on every step of a ladder (-inf: it has none), and the raw number of events passing."""

_COUNTED = {"signal_efficiency": "signal events", "background_rejection": "background events", "purity": "events"}
"""Of which events that number is."""


def _reached(values: Floats, requested: float) -> NDArray[np.bool_]:
    return values >= requested * (1.0 - _ROUNDING)


def _kept_above(threshold: float, events: ScoredEvents) -> WorkingPoint:
    return _kept(threshold, events, events.passing(threshold))


def _kept(threshold: float, events: ScoredEvents, passes: NDArray[np.bool_]) -> WorkingPoint:
    signal, background = events.is_signal, ~events.is_signal
    signal_weights, background_weights = events.weights_where(signal), events.weights_where(background)
    require_positive_sums(float(signal_weights.sum()), float(background_weights.sum()))
    background_efficiency = weighted_share(background_weights, passes[background])
    return WorkingPoint(
        threshold=float(threshold),
        signal_efficiency=weighted_share(signal_weights, passes[signal]),
        background_efficiency=background_efficiency,
        rejection=_rejection(background_efficiency),
        purity=weighted_share(events.weights_where(passes), signal[passes]),
        n_signal=int(np.count_nonzero(signal_weights[passes[signal]])),
        n_background=int(np.count_nonzero(background_weights[passes[background]])),
    )


def _rejection(efficiency: Measured) -> Measured:
    if efficiency.value == 0.0:
        return Measured(float("inf"), float("nan"))
    return Measured(1.0 / efficiency.value, efficiency.error / efficiency.value**2)


def _quoted(low: float | None, high: float | None, events: ScoredEvents, kept: WorkingPoint) -> QuotedCut:
    counts = (np.count_nonzero(events.weights_where(members)) for members in (events.is_signal, ~events.is_signal))
    return QuotedCut(low, high, kept, *map(int, counts))


def _cut(spec: WorkingPointSpec, thresholds: tuple[float, ...]) -> Cut:
    quantity, requested = spec.request
    return Cut(name=spec.name, quantity=quantity, requested=requested, thresholds=thresholds, bins=spec.bins)


def _in_each_bin(
    bins: Bins, values: ArrayLike | None, events: ScoredEvents, ask: Callable[[int, ScoredEvents], Answer]
) -> tuple[Answer, ...]:
    """Ask the events of every bin in turn; a refusal names the bin and its numbers."""
    places, answers = bins.places(values, events.scores.shape), []
    for place, (low, high) in enumerate(pairwise(bins.edges)):
        members = places == place
        n_signal = np.count_nonzero(events.is_signal[members])
        numbers = f"{n_signal} signal and {np.count_nonzero(members) - n_signal} background events"
        with _naming(f"{bins.variable} from {low:g} to {high:g} ({numbers})"):
            weights = None if events.weights is None else events.weights[members]
            answers.append(ask(place, scored_events(events.scores[members], events.is_signal[members], weights)))
    return tuple(answers)


@contextmanager
def _naming(what: str) -> Iterator[None]:
    try:
        yield
    except DataError as error:
        raise DataError(f"{what}: {error}") from error
