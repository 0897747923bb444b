"""How far a result would move if the data were taken again: the Poisson bootstrap.

Owns the replicas and what is made of them for ROC and AUC. A replica counts each event Poisson(1) times,
independently of all others, together with its weight: the sample itself fluctuates as a repeated measurement
would. For weighted events, negative ones included, it needs no formula of propagation.

The counts of a replica follow from the state of ``random`` and the number of events alone. They depend neither
on the number of threads nor on what is computed from them, so that results from equal generators are paired.

References:
    B. Efron, Annals of Statistics 7 (1979) 1 (the bootstrap).
    J. A. Hanley, B. MacGibbon, Computer Methods and Programs in Biomedicine 83 (2006) 57 (by Poisson counts).
    G. Marsaglia, Communications of the ACM 6 (1963) 37 (random integers from a table).

"""

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.ladder import Ladder, area, ladder_of
from models.scored import Floats, Measured, ScoredEvents, effective_events, scored_events
from pipeline.cores import usable_cores
from pipeline.errors import DeclarationError

Counts = NDArray[np.uint8]

BAND = 0.5 + 0.5 * math.erf(math.sqrt(0.5)) * np.array([-1.0, 1.0])
"""The quantiles between which a Gaussian variable lies within one standard deviation: 68.27 %."""

MOST_LEFT_OUT = 0.01
"""The largest share of replicas without an answer beside which the others still say something of the error."""

MOST_THREADS = 8
"""Each needs memory of its own: about 25 bytes an event."""

EVENTS_PER_THREAD = 20_000
"""With fewer a further thread costs more than it saves."""

ROUNDING = 1e-12
"""What a sum of weights may miss, as a share of the sum of their magnitudes."""


@dataclass(frozen=True)
class Bootstrapped(Measured):
    """A number of the full sample; its error is the standard deviation of the replicas.

    ``n_left_out`` replicas had no answer, and are not in the error: in them the weights of a class did not add
    up to something positive. Beyond one in a hundred the error is NaN.
    """

    n_left_out: int


@dataclass(frozen=True, eq=False)
class RocBand:
    """The AUC, and the signal efficiency at given background efficiencies, with what replicas say of both.

    ``background_efficiency``, ``signal_efficiency`` (of the full sample), ``low`` and ``high`` are ``(n_points,)``.
    Of the replicas 68.27 % lie between ``low`` and ``high``, and as many below as above; the two are NaN where the
    error of the AUC is. ``auc_replicas`` is ``(n_replicas - auc.n_left_out,)``.
    """

    auc: Bootstrapped
    auc_replicas: Floats
    background_efficiency: Floats
    signal_efficiency: Floats
    low: Floats
    high: Floats


def bootstrap_roc(
    scores: ArrayLike,
    labels: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    random: np.random.Generator,
    n_replicas: int = 1000,
    at: ArrayLike | None = None,
) -> RocBand:
    """Compute AUC and ROC curve with the spread of both over Poisson replicas.

    The curve is read at the background efficiencies ``at`` (default: `background_efficiencies`), on straight
    lines between its points, events with equal scores being one step; at a jump the upper end counts. With negative
    weights a background efficiency may be reached more than once: the highest threshold that exceeds it counts,
    in the full sample as in each replica. Where both classes are perfectly separated all replicas agree: the
    bootstrap is blind there, as every estimate from the sample alone.

    Raises:
        DataError: as in `metrics.weighted_roc`.
        DeclarationError: fewer than two replicas, or background efficiencies that are none.

    """
    events = scored_events(scores, labels, weights)
    ladder = ladder_of(events)
    steps = _steps(events, ladder)
    points = background_efficiencies(events) if at is None else _checked_efficiencies(at)
    everything = np.ones(events.scores.size, dtype=np.uint8)
    replicas = bootstrap_replicas(
        lambda counts: _auc_and_curve(steps, counts, points), everything.size, random=random, n_replicas=n_replicas
    )
    auc = _bootstrapped(area(ladder), replicas[:, 0])
    kept = replicas[np.isfinite(replicas[:, 0])]
    low, high = np.full((2, points.size), np.nan) if np.isnan(auc.error) else np.quantile(kept[:, 1:], BAND, axis=0)
    return RocBand(auc, kept[:, 0], points, _auc_and_curve(steps, everything, points)[1:], low, high)


def bootstrap_mean_auc(
    scored: Sequence[ScoredEvents], *, random: np.random.Generator, n_replicas: int = 1000
) -> Bootstrapped:
    """Compute the mean AUC of several scores on the same events, each with labels of its own.

    All scores see the same replicas, since they share the events.

    Raises:
        DataError: as in `metrics.weighted_roc`, for any score.
        DeclarationError: fewer than two replicas.

    """
    ladders = [ladder_of(events) for events in scored]
    outputs, none = [_steps(events, ladder) for events, ladder in zip(scored, ladders, strict=True)], np.empty(0)
    replicas = bootstrap_replicas(
        lambda counts: np.mean([_auc_and_curve(steps, counts, none) for steps in outputs]),
        scored[0].scores.size,
        random=random,
        n_replicas=n_replicas,
    )
    return _bootstrapped(float(np.mean([area(ladder) for ladder in ladders])), replicas)


def bootstrap_replicas(
    statistic: Callable[[Counts], ArrayLike],
    n_events: int,
    *,
    random: np.random.Generator,
    n_replicas: int = 1000,
    n_threads: int | None = None,
) -> Floats:
    """Compute a statistic in each replica: ``(n_replicas, ...)``, in an order that is always the same.

    ``statistic`` receives how often each event counts, ``(n_events,)``, and is called by several threads at once;
    it must not keep the counts, nor draw random numbers of its own. ``random`` is advanced by one draw. Without
    events the counts are empty.

        >>> sums = bootstrap_replicas(lambda counts: counts @ weights, weights.size, random=random)
        >>> error = sums.std(ddof=1)

    Raises:
        DeclarationError: fewer than two replicas.

    """
    if n_replicas < 2:
        msg = f"{n_replicas} replicas have no spread; at least 2 are needed, and some hundreds to say much"
        raise DeclarationError(msg)
    entropy = random.integers(2**32, size=4, dtype=np.uint32)

    def replica(number: int) -> Floats:
        seed = np.random.SeedSequence(entropy, spawn_key=(number,))
        counts = _poisson_counts(np.random.Generator(np.random.SFC64(seed)), n_events)
        return np.asarray(statistic(counts), dtype=np.float64)

    with _mapper(n_threads or _threads_for(n_events)) as mapped:
        return np.array(list(mapped(replica, range(n_replicas))))


def background_efficiencies(events: ScoredEvents) -> Floats:
    """Return the points at which a ROC curve is best looked at: even, and even in the logarithm, up to 1.

    The logarithmic ones begin at one over the effective number of background events, the even ones at 1 %.
    """
    lowest = 1.0 / max(effective_events(events.weights_where(~events.is_signal)), 1.0)
    return np.union1d(np.geomspace(lowest, 1.0, 100), np.linspace(0.01, 1.0, 100))


@dataclass(frozen=True, eq=False)
class _Members:
    """Events of one class by falling score: their places, their weights, and below which sum there is nothing."""

    places: NDArray[np.intp]
    weights: Floats | None
    least_sum: float

    def sums(self, counts: Counts, out: Floats) -> None:
        """Write the sums of weights from the top, after a first 0, into ``out`` (n + 1,)."""
        out[0] = 0.0
        np.multiply(counts.take(self.places), 1.0 if self.weights is None else self.weights, out=out[1:])
        np.cumsum(out[1:], out=out[1:])


class _Scratch(threading.local):
    """Arrays of each thread, filled anew in each replica: fresh memory would take as long as all the arithmetic."""

    def __init__(self, n_signal: int, n_background: int, n_steps: int) -> None:
        self.signal, self.background = np.empty(n_signal + 1), np.empty(n_background + 1)
        self.corners = np.empty(n_steps + 2)
        self.above, self.down_to = np.empty((2, n_steps + 1))


@dataclass(frozen=True, eq=False)
class _Steps:
    """What stays the same in all replicas: the order of events, and the ends of the background's steps.

    Between 0 and everything, ``ends`` counts background events down to each of their distinct scores; ``above`` and
    ``down_to`` count signal events strictly above the following step, and down to it. All are ``(n_steps + 2,)`` or,
    of the signal, one shorter. Only there does a curve have corners: between two of them the signal rises alone.
    """

    signal: _Members
    background: _Members
    ends: NDArray[np.intp]
    above: NDArray[np.intp]
    down_to: NDArray[np.intp]
    scratch: _Scratch


def _steps(events: ScoredEvents, ladder: Ladder) -> _Steps:
    is_signal = events.is_signal[ladder.order]
    signal_down_to = np.cumsum(is_signal)[ladder.last]
    background_down_to = ladder.last + 1 - signal_down_to
    steps = np.flatnonzero(np.diff(background_down_to, prepend=0))
    n_signal, n_background = signal_down_to[-1], background_down_to[-1]
    return _Steps(
        signal=_members(events, ladder.order[is_signal]),
        background=_members(events, ladder.order[~is_signal]),
        ends=np.concatenate(([0], background_down_to[steps], [n_background])),
        above=np.append(np.concatenate(([0], signal_down_to))[steps], n_signal),
        down_to=np.append(signal_down_to[steps], n_signal),
        scratch=_Scratch(n_signal, n_background, steps.size),
    )


def _members(events: ScoredEvents, order: NDArray[Any]) -> _Members:
    places = order.astype(np.intp)
    if events.weights is None:
        return _Members(places, None, 0.0)
    weights = events.weights[places]
    # Weights that cancel leave a rest of rounding, by which nothing may be divided.
    return _Members(places, weights, ROUNDING * float(np.abs(weights).sum()))


def _auc_and_curve(steps: _Steps, counts: Counts, at: Floats) -> Floats:
    """Return (1 + n_points,) the AUC of a replica, and its signal efficiencies; NaN where there is no answer."""
    scratch = steps.scratch
    steps.signal.sums(counts, scratch.signal)
    steps.background.sums(counts, scratch.background)
    signal, background = float(scratch.signal[-1]), float(scratch.background[-1])
    if signal <= steps.signal.least_sum or background <= steps.background.least_sum:
        return np.full(1 + at.size, np.nan)
    # Every index is in its array; "clip" is the mode that does not copy the output.
    corners = scratch.background.take(steps.ends, out=scratch.corners, mode="clip")
    above = scratch.signal.take(steps.above, out=scratch.above, mode="clip")
    down_to = scratch.signal.take(steps.down_to, out=scratch.down_to, mode="clip")
    curve = _curve(corners, above, down_to, at) if at.size else at
    return np.append(_won_pairs(corners, above, down_to) / background, curve) / signal


def _won_pairs(corners: Floats, above: Floats, down_to: Floats) -> float:
    """Return the sum over pairs of the product of weights, writing over ``above`` and ``down_to``."""
    above += down_to  # twice the signal above the middle of each step
    widths = np.subtract(corners[1:], corners[:-1], out=down_to)
    # Not np.dot, which brings threads of its own into each of ours.
    return 0.5 * float(np.einsum("i,i", above, widths))


def _curve(corners: Floats, above: Floats, down_to: Floats, at: Floats) -> Floats:
    """Return (n_points,) the sum of signal where the share of background first exceeds each wanted one."""
    wanted = (at + ROUNDING) * corners[-1]
    # With negative weights the sums may fall again; their running maxima can still be searched.
    reached = np.maximum.accumulate(corners)
    # What nothing exceeds lies behind the last step, where all of the signal is.
    reached[-1] = np.inf
    step = np.searchsorted(reached, wanted, side="right") - 1
    share = (wanted - reached[step]) / (reached[step + 1] - reached[step])
    return np.asarray(above[step] + share * (down_to[step] - above[step]))


def _bootstrapped(value: float, replicas: Floats) -> Bootstrapped:
    kept = replicas[np.isfinite(replicas)]
    n_left_out = replicas.size - kept.size
    is_too_few = n_left_out > MOST_LEFT_OUT * replicas.size
    return Bootstrapped(value, float("nan") if is_too_few else float(kept.std(ddof=1)), n_left_out)


def _checked_efficiencies(at: ArrayLike) -> Floats:
    points = np.asarray(at, dtype=np.float64)
    if points.ndim != 1 or points.size == 0 or not np.all((points >= 0.0) & (points <= 1.0)):
        msg = f"background efficiencies are a list of numbers from 0 to 1; received {at!r}"
        raise DeclarationError(msg)
    return points


def _threads_for(n_events: int) -> int:
    return min(usable_cores(), MOST_THREADS, 1 + n_events // EVENTS_PER_THREAD)


@contextmanager
def _mapper(n_threads: int) -> Iterator[Callable[..., Iterator[Floats]]]:
    if n_threads == 1:
        yield map
        return
    with ThreadPoolExecutor(n_threads, thread_name_prefix="bootstrap") as pool:
        yield pool.map


def _table() -> tuple[Counts, Floats]:
    """Return 65,536 counts that are Poisson(1) but for a few, marked REDRAWN, and the distribution of those few.

    A count k fills the whole part of 65,536 e⁻¹/k! entries; what the fractions leave goes to the marked ones,
    so that both draws together are exact.
    """
    expected = 2**16 * np.exp(-1.0) / np.array([math.factorial(k) for k in range(REDRAWN)], dtype=np.float64)
    entries = expected.astype(np.intp)
    table = np.full(2**16, REDRAWN, dtype=np.uint8)
    table[: entries.sum()] = np.repeat(np.arange(REDRAWN), entries)
    rest = expected - entries
    return table, np.cumsum(rest / rest.sum())


REDRAWN = 20
"""No count in a table: 20 or more has a probability of 2e-19."""
TABLE, REST = _table()

BLOCK = 2**16
"""Events drawn at a time: their random numbers stay in the cache."""


def _poisson_counts(random: np.random.Generator, n_events: int) -> Counts:
    """Return (n_events,) numbers with a Poisson distribution of mean 1, ten times as fast as ``random.poisson``."""
    counts = np.empty(n_events, dtype=np.uint8)
    for block in np.split(counts, range(BLOCK, n_events, BLOCK)):
        # Every index is in the table; "clip" is the mode that does not copy the output.
        TABLE.take(random.integers(2**16, size=block.size, dtype=np.uint16), out=block, mode="clip")
    redrawn = np.flatnonzero(counts == REDRAWN)
    counts[redrawn] = np.searchsorted(REST, random.random(redrawn.size), side="right")
    return counts
