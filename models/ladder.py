"""The ladder: events in order of falling score, on which every curve and area rests.

One step per distinct score, with the weights of each class added up from the top. Sorting is the cost.
Single-precision scores (what a network gives) are packed with the event's position into one 64-bit integer each,
since sorting integers is several times faster than an argsort of floats.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.scored import Floats, ScoredEvents, require_positive_sums

Order = NDArray[np.uint32] | NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Ladder:
    """``order`` (n,) by falling score; for each step, the place of its ``last`` event and the sums so far."""

    order: Order
    last: NDArray[np.intp]
    signal: Floats
    background: Floats


def ladder_of(events: ScoredEvents) -> Ladder:
    """Sort the events and add up their weights from the top.

    Raises:
        DataError: the sum of weights of a class is not positive.

    """
    order, last = falling(events.scores)
    is_signal = events.is_signal[order]
    if events.weights is None:
        signal = np.cumsum(is_signal, dtype=np.int64)[last].astype(np.float64)
        background = (last + 1) - signal
    else:
        weights = events.weights[order]
        signal = np.cumsum(weights * is_signal)[last]
        background = np.cumsum(weights * ~is_signal)[last]
    require_positive_sums(float(signal[-1]), float(background[-1]))
    return Ladder(order, last, signal, background)


def falling(scores: NDArray[np.floating]) -> tuple[Order, NDArray[np.intp]]:
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


def area(ladder: Ladder) -> float:
    """Return the AUC: the weighted share of pairs in which signal is above background, equal scores counting half."""
    signal_steps = np.diff(ladder.signal, prepend=0.0)
    background_steps = np.diff(ladder.background, prepend=0.0)
    pairs = np.dot(background_steps, ladder.signal) - 0.5 * np.dot(background_steps, signal_steps)
    return float(pairs / (ladder.signal[-1] * ladder.background[-1]))


def placements(events: ScoredEvents, ladder: Ladder) -> Floats:
    """Return (n,) each event's share of won pairs: background below a signal, signal above a background."""
    background_below = 1.0 - _middles(ladder.background)
    signal_above = _middles(ladder.signal)
    step = np.repeat(np.arange(ladder.last.size), np.diff(ladder.last, prepend=-1))
    is_signal = events.is_signal[ladder.order]
    shares = np.empty(step.size)
    shares[ladder.order] = np.where(is_signal, background_below[step], signal_above[step])
    return shares


def _middles(sums: Floats) -> Floats:
    """Return the fraction above the middle of each step: events of equal score count half."""
    middles: Floats = (sums - 0.5 * np.diff(sums, prepend=0.0)) / sums[-1]
    return middles
