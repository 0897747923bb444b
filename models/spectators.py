"""How a score depends on a variable that it should not know, such as a mass.

Owns the mean score in bins of such a spectator, what cuts on the score do to the background's distribution of it, and
the correlation of the two. An event *passes* a threshold when its score is at or above it, label 1 is signal, and
weights are physics weights, 1 where none are given. A spectator that is NaN or infinite is missing: such events are
in no bin, and their number is part of the answer.

Bins are ``edges``, rising, the last one closed; or a number of bins between the lowest and the highest value of all
events, which then hold equal numbers of background events (fewer bins where many values are equal; events that share
the highest value fill a bin of their own, which goes beyond it).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import rel_entr

from models.scored import NOT_A_NUMBER, Floats, Measured, ScoredEvents, effective_events, real_numbers, scored_events
from models.shares import Shares, adds_up, error_beyond_noise, noise_of_squares, shares_of
from pipeline.errors import DataError, DeclarationError

N_BINS = 20


@dataclass(frozen=True, eq=False)
class PerBin:
    """Numbers with errors, one per bin, ``(n_bins,)``; NaN where there is none."""

    values: Floats
    errors: Floats


@dataclass(frozen=True, eq=False)
class SpectatorProfile:
    """The mean score of each class in bins of the spectator, and the events that are in no bin."""

    edges: Floats
    signal: PerBin
    background: PerBin
    n_missing: int
    n_outside: int


@dataclass(frozen=True, eq=False)
class CutEffect:
    """What a threshold does to the background: its density ``after``, and its ``efficiency`` in bins of the spectator.

    ``divergence`` is that of after from before, as measured; ``expected`` is what statistics alone give, with its
    spread. ``n_passing`` events are in the bins, ``n_missing_passing`` have no spectator.
    """

    threshold: float
    after: PerBin
    efficiency: PerBin
    divergence: Measured
    expected: Measured
    n_passing: int
    n_missing_passing: int


@dataclass(frozen=True, eq=False)
class Sculpting:
    """The background's density ``before`` any cut, and each cut; ``n_...`` count background in no bin."""

    edges: Floats
    before: PerBin
    cuts: tuple[CutEffect, ...]
    n_missing: int
    n_outside: int


@dataclass(frozen=True)
class SpectatorCorrelation:
    """Pearson's coefficient of score and spectator in each class, and the events of either without a spectator."""

    signal: Measured
    background: Measured
    n_missing: int


@dataclass(frozen=True, eq=False)
class _Binned:
    """Checked events with the number of their bin; -1 outside, -2 where the spectator is missing."""

    events: ScoredEvents
    edges: Floats
    bins: NDArray[np.intp]

    @property
    def n_bins(self) -> int:
        return self.edges.size - 1

    def members(self, mask: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.floating], Floats]:
        """Return bins, scores and weights of some of the events that are in a bin."""
        inside = mask & (self.bins >= 0)
        return self.bins[inside], self.events.scores[inside], self.events.weights_where(inside)

    def n_missing(self, mask: NDArray[np.bool_]) -> int:
        return int(np.count_nonzero(mask & (self.bins == -2)))

    def n_outside(self, mask: NDArray[np.bool_]) -> int:
        return int(np.count_nonzero(mask & (self.bins == -1)))


def spectator_profile(
    scores: ArrayLike,
    values: ArrayLike,
    labels: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    bins: int | Sequence[float] | Floats = N_BINS,
) -> SpectatorProfile:
    """Compute the weighted mean score of signal and of background in bins of the spectator.

    The error of a mean m is that of a weighted one, Var = Σ w² (s - m)² / (Σ w)² · N / (N - 1), with N the
    effective number of events in the bin; NaN for N ≤ 1. With negative weights the sums are signed; where they are
    not positive, or a bin is empty, there is no mean: NaN.

    Raises:
        DataError: as in `models.scored.scored_events`; not one spectator per event, or no two different ones.
        DeclarationError: edges that do not rise, or no bins.

    """
    binned = _binned(scores, values, labels, weights, bins)
    everything = np.ones(binned.bins.size, dtype=np.bool_)
    return SpectatorProfile(
        edges=binned.edges,
        signal=_means(binned, binned.events.is_signal),
        background=_means(binned, ~binned.events.is_signal),
        n_missing=binned.n_missing(everything),
        n_outside=binned.n_outside(everything),
    )


def sculpting(
    scores: ArrayLike,
    values: ArrayLike,
    labels: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    thresholds: Sequence[float] | NDArray[np.floating],
    bins: int | Sequence[float] | Floats = N_BINS,
) -> Sculpting:
    """Compare the background's distribution of the spectator before and after each cut on the score.

    Densities have unit area within the edges; their errors are those of weighted shares. The divergence is that of
    Jensen and Shannon in base 2: 0 for equal distributions, 1 for disjoint ones. After m the mean of the shares p
    after and q before, JSD = 1/2 Σ p log2(p/m) + 1/2 Σ q log2(q/m). Its error counts that the passing events are part
    of both, and holds the spread of ``expected``. A cut that knows nothing of the spectator still gives, from
    fluctuations alone, expected = Σ Var(p - q) / (8 q ln 2), without weights
    (n_bins - 1) (1/n_passing - 1/n) / (8 ln 2): quote no divergence without it. This is the leading order, too low by
    a twelfth at ten passing events a bin and by a quarter at two. The ATLAS note quotes 1/JSD, and
    compares passing with failing events instead: a small divergence is then larger by 1 / (1 - efficiency)².

    The expansion needs bins that hold more than their own fluctuations. Where negative weights leave so little in one
    that ``expected`` would exceed 1, the largest divergence there is, it is NaN, and so is the divergence's error.

    A bin with a negative sum of weights has no density: 0. Efficiencies are ratios of signed sums with the error
    of a weighted binomial; NaN in bins without a positive sum, no error where all events of a bin pass or none. Where
    the passing weights do not add up to something positive, as above every score, what comes after the cut is NaN.

    Raises:
        DataError: as in `spectator_profile`, or background weights in the bins that do not add up to something
            positive.
        DeclarationError: as in `spectator_profile`, or a threshold that is NaN.

    References:
        J. Lin, IEEE Transactions on Information Theory 37 (1991) 145 (the divergence).
        ATLAS Collaboration, ATL-PHYS-PUB-2018-014 (1/JSD of jet taggers and the jet mass).

    """
    cut_at = np.asarray(thresholds, dtype=np.float64)
    if np.isnan(cut_at).any():
        msg = f"thresholds must be numbers; received {cut_at.tolist()}"
        raise DeclarationError(msg)
    binned = _binned(scores, values, labels, weights, bins)
    background = ~binned.events.is_signal
    before = _background_shares(binned, background)
    return Sculpting(
        edges=binned.edges,
        before=_density(before, binned.edges),
        cuts=tuple(_cut(float(threshold), binned, before) for threshold in cut_at),
        n_missing=binned.n_missing(background),
        n_outside=binned.n_outside(background),
    )


def spectator_correlation(
    scores: ArrayLike, values: ArrayLike, labels: ArrayLike, weights: ArrayLike | None = None
) -> SpectatorCorrelation:
    """Compute the weighted linear correlation of score and spectator within each class.

    It sees straight lines only: a profile that rises and falls again can have none. The error is that of the
    first-order expansion, Var = Σ w² (x y - r (x² + y²) / 2)² / (Σ w)² for standardised x and y, and NaN for an
    effective number of events ≤ 2. With negative weights all sums are signed; where the sum of weights or a variance
    is not positive, as for a constant score, there is no correlation: NaN.

    Raises:
        DataError: as in `models.scored.scored_events`, or not one spectator per event.

    """
    events = scored_events(scores, labels, weights)
    spectator = _spectator(values, events)
    known = np.isfinite(spectator)
    signal, background = (
        _correlation(
            events.scores[members].astype(np.float64), spectator[members], events.weights_where(np.asarray(members))
        )
        for members in (known & events.is_signal, known & ~events.is_signal)
    )
    return SpectatorCorrelation(signal, background, known.size - int(np.count_nonzero(known)))


def _spectator(values: ArrayLike, events: ScoredEvents) -> Floats:
    spectator = real_numbers("spectators", values).astype(np.float64, copy=False)
    if spectator.shape != events.scores.shape:
        msg = f"one spectator per event is needed; received values {spectator.shape} and scores {events.scores.shape}"
        raise DataError(msg)
    return spectator


def _binned(
    scores: ArrayLike,
    values: ArrayLike,
    labels: ArrayLike,
    weights: ArrayLike | None,
    bins: int | Sequence[float] | Floats,
) -> _Binned:
    events = scored_events(scores, labels, weights)
    spectator = _spectator(values, events)
    known = np.isfinite(spectator)
    if isinstance(bins, int | np.integer):
        edges = _equal_edges(spectator[known], spectator[known & ~events.is_signal], int(bins))
    else:
        edges = _rising_edges(bins)
    numbers = np.searchsorted(edges, spectator, side="right") - 1
    numbers[spectator == edges[-1]] = edges.size - 2
    numbers[(spectator < edges[0]) | (spectator > edges[-1])] = -1
    numbers[~known] = -2
    return _Binned(events, edges, numbers.astype(np.intp))


def _equal_edges(known: Floats, background: Floats, n_bins: int) -> Floats:
    if n_bins < 1:
        msg = f"at least one bin is needed; received bins = {n_bins}"
        raise DeclarationError(msg)
    ends = (float(known.min()), float(known.max())) if known.size else ()
    if len(set(ends)) < 2:
        msg = f"bins need a spectator with two different values; among {known.size} events it has "
        raise DataError(msg + (f"only {ends[0]:g}" if ends else "none"))
    shared = background if background.size else known
    inner = np.quantile(shared, np.linspace(0.0, 1.0, n_bins + 1)[1:-1], method="inverted_cdf")
    edges: Floats = np.unique([*ends, *inner])
    if inner.size and inner[-1] == edges[-1]:
        # The events that share the highest value fill a bin: it is theirs alone, and as wide as the one below.
        with np.errstate(over="ignore"):
            edges = np.append(edges, edges[-1] + (edges[-1] - edges[-2]))
    return edges[np.isfinite(edges)]


def _rising_edges(bins: Sequence[float] | Floats) -> Floats:
    edges = np.asarray(bins, dtype=np.float64)
    if edges.ndim != 1 or edges.size < 2 or not np.isfinite(edges).all() or not (np.diff(edges) > 0.0).all():
        msg = f"edges must be two or more finite numbers that rise; received {edges.tolist()}"
        raise DeclarationError(msg)
    return edges


def _means(binned: _Binned, mask: NDArray[np.bool_]) -> PerBin:
    bins, scores, weights = binned.members(mask)
    sums = _sums(bins, weights, binned.n_bins)
    total = np.where(sums > 0.0, sums, np.nan)
    means = _sums(bins, weights * scores, binned.n_bins) / total
    distances = _sums(bins, (weights * (scores - means[bins])) ** 2, binned.n_bins)
    squares = _sums(bins, weights**2, binned.n_bins)
    n_effective = total**2 / np.where(squares > 0.0, squares, np.nan)
    n_effective[~(n_effective > 1.0 + 1e-9)] = np.nan  # one event, or weights that all but cancel
    return PerBin(means, np.sqrt(distances / total**2 * n_effective / (n_effective - 1.0)))


def _sums(bins: NDArray[np.intp], weights: Floats, n_bins: int) -> Floats:
    return np.bincount(bins, weights=weights, minlength=n_bins).astype(np.float64)


def _background_shares(binned: _Binned, background: NDArray[np.bool_]) -> Shares:
    bins, _, weights = binned.members(background)
    try:
        return shares_of(bins, weights, binned.n_bins)
    except DataError as error:
        raise DataError(f"of the background, {error}") from None


def _density(shares: Shares, edges: Floats) -> PerBin:
    # Of bins wider or narrower than numbers go, the density is 0 or infinite.
    with np.errstate(over="ignore"):
        widths = np.diff(edges)
        return PerBin(shares.values / widths, np.sqrt(shares.variances()) / widths)


def _cut(threshold: float, binned: _Binned, before: Shares) -> CutEffect:
    passing = ~binned.events.is_signal & binned.events.passing(threshold)
    bins, _, weights = binned.members(passing)
    after = shares_of(bins, weights, binned.n_bins) if adds_up(weights) else None
    nothing = np.full(binned.n_bins, np.nan)
    expected = NOT_A_NUMBER if after is None else _expected(before, after)
    return CutEffect(
        threshold=threshold,
        after=PerBin(nothing, nothing) if after is None else _density(after, binned.edges),
        efficiency=_efficiency(binned, passing),
        divergence=NOT_A_NUMBER if after is None else _divergence(before, after, expected),
        expected=expected,
        n_passing=weights.size,
        n_missing_passing=binned.n_missing(passing),
    )


def _divergence(before: Shares, after: Shares, expected: Measured) -> Measured:
    p, q = after.values, before.values
    middle = 0.5 * (p + q)
    value = 0.5 * float(np.sum(rel_entr(p, middle) + rel_entr(q, middle))) / np.log(2.0)
    # A passing event moves both distributions, a failing one the distribution before the cut alone.
    by_p, by_q = _distances(p, middle) / after.total, _distances(q, middle) / before.total
    failing = np.maximum(before.squares - after.squares, 0.0)
    first = float(np.dot(after.squares, (by_p + by_q) ** 2) + np.dot(failing, by_q**2))
    # Rounding may leave a negative divergence of nearly equal distributions.
    return Measured(max(value, 0.0), error_beyond_noise(first, expected))


def _distances(shares: Floats, middle: Floats) -> Floats:
    """Return the derivative of the divergence by each share, less its mean; 0 for a share that is 0."""
    filled = shares > 0.0
    slopes = np.where(filled, 0.5 * np.log2(np.where(filled, shares, 1.0) / np.where(filled, middle, 1.0)), 0.0)
    return np.where(filled, slopes - np.dot(slopes, shares), 0.0)


def _expected(before: Shares, after: Shares) -> Measured:
    """Return what the divergence of equal distributions is by fluctuations alone, with its spread."""
    q = before.values
    failing = np.maximum(before.squares - after.squares, 0.0)
    apart = 1.0 / after.total - 1.0 / before.total
    # An event of weight w in bin i moves share j by w (δ_ij - q_j), over the total of each distribution it is in.
    moved = after.squares * apart**2 + failing / before.total**2
    variances = moved * (1.0 - 2.0 * q) + q**2 * moved.sum()
    expected = noise_of_squares(variances[q > 0.0] / (8.0 * np.log(2.0) * q[q > 0.0]))
    return expected if expected.value <= 1.0 else NOT_A_NUMBER


def _efficiency(binned: _Binned, passing: NDArray[np.bool_]) -> PerBin:
    kept, lost = (binned.members(mask) for mask in (passing, ~passing & ~binned.events.is_signal))
    kept_sums, lost_sums = (_sums(bins, weights, binned.n_bins) for bins, _, weights in (kept, lost))
    kept_squares, lost_squares = (_sums(bins, weights**2, binned.n_bins) for bins, _, weights in (kept, lost))
    total = kept_sums + lost_sums
    total[~(total > 0.0)] = np.nan
    efficiency = kept_sums / total
    variances = ((1.0 - efficiency) ** 2 * kept_squares + efficiency**2 * lost_squares) / total**2
    # Of none, or of all, this estimate would say ± 0.
    variances[(kept_squares == 0.0) | (lost_squares == 0.0)] = np.nan
    return PerBin(efficiency, np.sqrt(variances))


def _correlation(scores: Floats, values: Floats, weights: Floats) -> Measured:
    total = float(weights.sum())
    if total <= 0.0:
        return NOT_A_NUMBER
    x, y = (_standardised(array, weights / total) for array in (scores, values))
    r = float(np.dot(weights, x * y)) / total
    if effective_events(weights) <= 2.0 + 1e-9:  # two points are always on a line
        return Measured(r, float("nan"))
    return Measured(r, float(np.linalg.norm(weights * (x * y - 0.5 * r * (x**2 + y**2)))) / total)


def _standardised(values: Floats, shares: Floats) -> Floats:
    """Return values less their mean, over their standard deviation; NaN where the variance is not positive."""
    # Counted from one of them, constant values are zero without rounding; in units of the largest, none has a square
    # that is no number, nor one that is zero for being small.
    largest = float(np.abs(values).max(initial=0.0))
    scaled = values / largest if largest > 0.0 else values
    distances = scaled - scaled[0]
    spread = float(np.abs(distances).max(initial=0.0))
    distances = distances / spread if spread > 0.0 else distances
    distances = distances - np.dot(shares, distances)
    variance = float(np.dot(shares, distances**2))
    standardised: Floats = distances / (np.sqrt(variance) if variance > 0.0 else np.nan)
    return standardised
