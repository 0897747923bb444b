"""The ladder: events in order of falling score, on which every curve and area rests.

One step per distinct score, with the weights of each class added up from the top. Sorting is the cost.
Single-precision scores (what a network gives) are packed with the event's position into one 64-bit integer each,
since sorting integers is several times faster than an argsort of floats. Many events are first grouped by their
leading bits, so that each sort finds its integers in the cache, and all else is done a block at a time for the
same reason.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from models.scored import Floats, ScoredEvents, require_positive_sums
from pipeline.cores import usable_cores

Order = NDArray[np.uint32] | NDArray[np.intp]
Keys = NDArray[np.uint64]

Piece = TypeVar("Piece")

BLOCK = 2**14
"""Events worked on at a time: they stay in the cache."""
FEWEST_SHARED = 32
"""Blocks from which on threads are worth starting."""


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
    signal, background = _sums_down_to(events, order, last)
    require_positive_sums(float(signal[-1]), float(background[-1]))
    return Ladder(order, last, signal, background)


def falling(scores: NDArray[np.floating]) -> tuple[Order, NDArray[np.intp]]:
    """Return the order of falling scores, and in it the place of the last event of each distinct score."""
    with np.errstate(over="ignore"):
        single = scores.astype(np.float32, copy=False)
    # The position of an event must fit into 31 bits, and nothing of its score may be lost.
    if scores.size < 2**31 and (single is scores or np.array_equal(single, scores)):
        keys = _sorted(_packed(single))
        order = keys.astype(np.uint32)
        keys >>= np.uint64(32)
        return order, _last_of_each(keys)
    by_argsort = np.argsort(-scores)
    return by_argsort, _last_of_each(scores[by_argsort])


def _packed(scores: NDArray[np.float32]) -> Keys:
    """Pack (score, position) into integers that rise where the score falls."""
    keys = np.empty(scores.size, dtype=np.uint64)
    for block in _blocks(keys.size):
        bits = (scores[block] + np.float32(0.0)).view(np.int32)  # adding zero turns -0.0 into +0.0
        # Bits of negative floats rise with their magnitude already; those of positive ones must be turned.
        keys[block] = (bits ^ (~(bits >> 31) & np.int32(0x7FFFFFFF))).view(np.uint32)
        keys[block] <<= np.uint64(32)
        keys[block] |= np.arange(block.start, block.stop, dtype=np.uint64)
    return keys


def _sorted(keys: Keys) -> Keys:
    """Return the keys in rising order; those given may be sorted on the spot."""
    if keys.size <= BLOCK:
        keys.sort()
        return keys
    grouped, starts = _grouped(keys)
    cuts = starts[np.searchsorted(starts, np.arange(BLOCK, keys.size, BLOCK))]
    _on_all_cores(np.ndarray.sort, np.split(grouped, np.unique(cuts)))
    return grouped


def _grouped(keys: Keys) -> tuple[Keys, NDArray[np.int32]]:
    """Return the keys grouped by their leading 16 bits in rising order, and where each group begins."""
    from scipy.sparse import csr_array

    least = keys.min()
    # Bits that no two keys differ in would tell no groups apart.
    shift = max(int(keys.max() - least).bit_length() - 16, 0)
    group = ((keys - least) >> np.uint64(shift)).astype(np.int32)
    # A matrix with a row for each key and a column for each group: to store it by columns is to sort by counting.
    rows = np.arange(keys.size + 1, dtype=np.int32)
    by_group = csr_array((keys, group, rows), shape=(keys.size, 2**16)).tocsc()
    return by_group.data, by_group.indptr


def _last_of_each(ordered: NDArray[np.generic]) -> NDArray[np.intp]:
    is_last = np.ones(ordered.size, dtype=np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=is_last[:-1])
    return np.flatnonzero(is_last)


def _sums_down_to(events: ScoredEvents, order: Order, last: NDArray[np.intp]) -> Floats:
    """Return (2, n_steps) the weights of signal and of background, added up from the top to the end of each step."""
    blocks = list(_blocks(order.size))
    ends = np.searchsorted(last, [0, *(block.stop for block in blocks)])
    sums, totals = np.empty((2, last.size)), np.zeros((2, len(blocks) + 1))

    def add_up(number: int) -> None:
        block, steps = blocks[number], slice(ends[number], ends[number + 1])
        places = order[block].astype(np.intp)
        is_signal = events.is_signal.take(places)
        weights = np.ones(places.size) if events.weights is None else events.weights.take(places)
        for row, members in enumerate((is_signal, ~is_signal)):
            so_far = np.cumsum(weights * members)
            sums[row, steps] = so_far.take(last[steps] - block.start)
            totals[row, number + 1] = so_far[-1]

    def add_above(number: int) -> None:
        sums[:, ends[number] : ends[number + 1]] += above[:, number, np.newaxis]

    _on_all_cores(add_up, range(len(blocks)))
    above = np.cumsum(totals, axis=1)
    _on_all_cores(add_above, range(len(blocks)))
    return sums


def _on_all_cores(work: Callable[[Piece], None], pieces: Sequence[Piece]) -> None:
    """Do the work for every piece; the answer does not depend on the number of cores."""
    if len(pieces) < FEWEST_SHARED:
        for piece in pieces:
            work(piece)
        return
    with ThreadPoolExecutor(usable_cores()) as pool:
        list(pool.map(work, pieces))


def _blocks(n_events: int) -> Iterator[slice]:
    return (slice(start, min(start + BLOCK, n_events)) for start in range(0, n_events, BLOCK))


def area(ladder: Ladder) -> float:
    """Return the AUC: the weighted share of pairs in which signal is above background, equal scores counting half."""
    signal, background = ladder.signal, ladder.background
    pairs = 0.5 * signal[0] * background[0]
    for block in _blocks(signal.size - 1):
        ends = slice(block.start, block.stop + 1)
        # Not np.dot, which brings threads of its own, also where all cores are busy.
        pairs += 0.5 * np.einsum("i,i", signal[ends][1:] + signal[ends][:-1], np.diff(background[ends]))
    return float(pairs / (signal[-1] * background[-1]))


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
