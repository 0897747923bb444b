"""Which inputs matter: to a scorer, to each other, and each alone.

Owns three questions about a feature matrix ``(n_events, n_features)``, which may be a memory map: how much AUC is lost
when a column is shuffled, how the columns correlate within each class, and how far the two classes differ in one
column. What a score does with a variable that is *not* an input belongs to ``spectators``. Label 1 is signal, weights
are physics weights, 1 where none are given, and a value that is NaN or infinite is missing.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.metrics import auc_difference, auc_with_error
from models.scored import Floats, Measured, ScoredEvents, effective_events, require_positive_sums, scored_events
from models.shares import Shares, error_beyond_noise, noise_of_squares, shares_of
from pipeline.errors import DataError, DeclarationError

Matrix = NDArray[Any]
Scorer = Callable[[Matrix], ArrayLike]

MAX_EVENTS = 200_000
N_BINS = 40
EVENTS_PER_BIN = 10.0
ROWS_AT_A_TIME = 16_384
BYTES_AT_A_TIME = 2**26
ROWS_FOR_THE_CENTRE = 10_000


@dataclass(frozen=True)
class InputImportance:
    """What shuffling ``columns`` together costs on ``n_events`` events: a ``fall`` of the AUC, or of what is better."""

    group: str
    columns: tuple[int, ...]
    fall: Measured
    n_events: int
    n_repeats: int


@dataclass(frozen=True, eq=False)
class Correlations:
    """Pearson's coefficients within each class, ``(n_features, n_features)``; NaN where there is none."""

    signal: Floats
    background: Floats


@dataclass(frozen=True)
class InputSeparation:
    """How far the classes differ in one column: ``separation`` with its ``bias`` taken off, and the column's AUC.

    The AUC is that of the values as they are, so below 1/2 where signal has the lower ones. ``negative_bins`` counts
    the bins whose negative sum was taken as zero, in either class.
    """

    column: int
    separation: Measured
    bias: float
    auc: Measured
    n_missing: int
    n_bins: int
    negative_bins: int

    @property
    def signal_has(self) -> Literal["higher values", "lower values", "neither"]:
        """Which way the column points by its AUC, however weakly."""
        if self.auc.value > 0.5:
            return "higher values"
        return "lower values" if self.auc.value < 0.5 else "neither"


def permutation_importance(
    score: Scorer,
    features: Matrix,
    labels: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    random: np.random.Generator,
    groups: Mapping[str, Sequence[int]] | None = None,
    n_repeats: int = 5,
    max_events: int = MAX_EVENTS,
) -> tuple[InputImportance, ...]:
    """Measure how much AUC a scorer loses when inputs are shuffled among the events; the largest loss comes first.

    ``score`` maps features ``(n, n_features)`` to scores ``(n,)``, missing values included, and must leave its argument
    as it is. A column is shuffled over all events, signal and background alike, while labels, weights and the
    other columns stay; so it keeps its unweighted distribution and loses every relation. Columns of a group move
    together. Inputs that say the same hide each other: each alone seems unimportant, only their group does not.
    Without ``groups`` each column is a group, named by its number. At most ``max_events`` events are used, drawn
    at random; the memory taken is one copy of these.

    With negative weights the AUC is a ratio of signed sums, as in `models.metrics.weighted_auc`. The paired error of
    one repeat holds the fluctuation of the events, which all repeats share, and that of the shuffling, which n
    repeats average: with s² the variance among the repeats, Var = mean(error²) - (1 - 1/n) s², at the
    least mean(error²) / n, which the events alone cannot undercut. The error is NaN where a paired error is.

    Raises:
        DataError: the features are no matrix with one row per label; or scores, labels and weights cannot be
            judged, as in `models.metrics.weighted_roc`, among the events that were drawn.
        DeclarationError: no repeats, fewer than two events, or a group without columns or with unknown ones.

    References:
        L. Breiman, Machine Learning 45 (2001) 5, section 10 (shuffling an input).

    """
    matrix = _matrix(features, labels)
    events = _labelled(labels, weights)
    chosen = _groups(groups, matrix.shape[1])
    _require_a_sample(n_repeats, max_events)
    rows = _drawn(matrix.shape[0], max_events, random)
    sample, is_signal = np.array(matrix[rows]), events.is_signal[rows]
    drawn_weights = None if events.weights is None else events.weights[rows]

    def lost(before: ArrayLike, after: ArrayLike) -> Measured:
        return auc_difference(before, after, is_signal, drawn_weights)

    return falls(score, sample, chosen, lost, random, n_repeats)


def falls(
    score: Scorer,
    sample: Matrix,
    groups: Mapping[str, tuple[int, ...]],
    lost: Callable[[Any, Any], Measured],
    random: np.random.Generator,
    n_repeats: int,
) -> tuple[InputImportance, ...]:
    """Measure what shuffling each group of columns costs a scorer of any kind; the largest loss comes first.

    ``lost`` is given the scores before and after, and says by how much the former are better, with a paired error;
    errors of several repeats are those of `permutation_importance`. ``sample``, ``(n_events, n_features)``, is changed
    on the way, and in the end as it was.

    Raises:
        DataError: as ``lost`` does.

    """
    # A scorer may return a view of its argument, which is about to change.
    before = np.array(score(sample))

    def fall(columns: tuple[int, ...]) -> Iterator[Measured]:
        kept = sample[:, columns]
        for _ in range(n_repeats):
            sample[:, columns] = kept[random.permutation(len(kept))]
            yield lost(before, score(sample))
        sample[:, columns] = kept

    found = [
        InputImportance(name, columns, _mean_of_repeats(list(fall(columns))), len(sample), n_repeats)
        for name, columns in groups.items()
    ]
    return tuple(sorted(found, key=lambda importance: -importance.fall.value))


def correlations(features: Matrix, labels: ArrayLike, weights: ArrayLike | None = None) -> Correlations:
    """Compute the weighted correlation of every pair of columns, within signal and within background.

    A pair is judged on the events that have both values, so a matrix with missing values need not be positive
    definite. A coefficient is NaN where the sum of weights or a variance of that pair is not positive, as for a column
    that is constant or missing throughout. With negative weights all sums are signed, and a coefficient may leave
    [-1, 1].

    Raises:
        DataError: the features are no matrix with one row per label; labels other than 0 and 1, a class without
            events, or weights that are not finite.

    """
    matrix = _matrix(features, labels)
    events = _labelled(labels, weights)
    signal, background = (_correlation(matrix, members, events) for members in (events.is_signal, ~events.is_signal))
    return Correlations(signal, background)


def input_separations(
    features: Matrix, labels: ArrayLike, weights: ArrayLike | None = None, *, n_bins: int = N_BINS
) -> tuple[InputSeparation, ...]:
    """Measure how far signal and background differ in each column alone, in the order of the columns.

    The separation <S²> = 1/2 ∫ (s - b)² / (s + b) dx of the two densities is 0 where they are the same and 1 where
    they do not overlap. The bins hold equal numbers of all events (fewer bins where many values are equal), so that
    the answer depends on the order of the values alone: no rising map of the column changes it, and no long tail
    empties the bins. Missing values are one more bin. Coarse bins can only hide differences.

    Fluctuations look like differences. With shares p and q of the bins, the second-order expansion in their
    fluctuations gives bias = 2 Σ (q² Var p + p² Var q) / (p + q)³, which for equal classes is
    (bins - 1) / 4 · (1/N_signal + 1/N_background) and for disjoint ones 0. It is taken off, so that the separation of
    useless inputs scatters about 0. The error has the first-order variance and that of the second-order term. The
    expansion needs populated bins: no more are made than a tenth of the effective events of the smaller class, and
    at least two.

    For an effective number of events ≤ 1 in a class the bias is unknown, and stays in; it and the error are NaN.

    A bin with a negative sum of weights counts as empty. The AUC is that of events with a value; NaN if these are not
    a positive sum of weights in both classes.

    Raises:
        DataError: as in `correlations`, or a class whose weights do not add up to something positive.
        DeclarationError: fewer than two bins.

    References:
        A. Hoecker et al., TMVA Users Guide, arXiv:physics/0703039, eq. 1 (the separation <S²>).

    """
    matrix = _matrix(features, labels)
    events = _labelled(labels, weights)
    if n_bins < 2:
        msg = f"a separation needs at least 2 bins; received n_bins = {n_bins}"
        raise DeclarationError(msg)
    both = events.weights_where(events.is_signal), events.weights_where(~events.is_signal)
    require_positive_sums(*(float(weights.sum()) for weights in both))
    populated = int(min(effective_events(weights) for weights in both) / EVENTS_PER_BIN)
    used = min(n_bins, max(2, populated))
    return tuple(_separation(number, column, events, used) for number, column in enumerate(_columns(matrix)))


def _matrix(features: Matrix, labels: ArrayLike) -> Matrix:
    matrix = np.asarray(features)
    if matrix.ndim != 2 or matrix.shape[:1] != np.shape(labels) or matrix.dtype.kind not in "fiub":
        msg = (
            "features are needed as numbers (n_events, n_features), with one label per event; "
            f"received features {matrix.shape} of {matrix.dtype} and labels {np.shape(labels)}"
        )
        raise DataError(msg)
    return matrix


def _labelled(labels: ArrayLike, weights: ArrayLike | None) -> ScoredEvents:
    """Check labels and weights where there is no score yet."""
    return scored_events(np.zeros(np.shape(labels)), labels, weights)


def _groups(groups: Mapping[str, Sequence[int]] | None, n_features: int) -> dict[str, tuple[int, ...]]:
    if groups is None:
        return {str(column): (column,) for column in range(n_features)}
    chosen = {name: tuple(columns) for name, columns in groups.items()}
    problems = [f"group {name!r} has no columns" for name, columns in chosen.items() if not columns]
    for name, columns in chosen.items():
        if unknown := [column for column in columns if column not in range(n_features)]:
            problems.append(f"group {name!r} has columns {unknown}, but there are 0 to {n_features - 1}")
    if problems:
        raise DeclarationError("; ".join(problems))
    return chosen


def _require_a_sample(n_repeats: int, max_events: int) -> None:
    if n_repeats < 1 or max_events < 2:
        msg = f"needed are n_repeats of 1 or more and max_events of 2 or more; received {n_repeats} and {max_events}"
        raise DeclarationError(msg)


def _drawn(n_events: int, max_events: int, random: np.random.Generator) -> NDArray[np.intp] | slice:
    """Draw the rows to use, in the order of the file."""
    if n_events <= max_events:
        return slice(None)
    return np.sort(random.choice(n_events, size=max_events, replace=False, shuffle=False)).astype(np.intp)


def _mean_of_repeats(falls: Sequence[Measured]) -> Measured:
    values = np.array([fall.value for fall in falls])
    paired = float(np.mean([fall.error**2 for fall in falls]))
    among_repeats = float(values.var(ddof=1)) if len(falls) > 1 else 0.0
    variance = np.maximum(paired - (1.0 - 1.0 / len(falls)) * among_repeats, paired / len(falls))
    return Measured(float(values.mean()), float(np.sqrt(variance)))


def _correlation(matrix: Matrix, members: NDArray[np.bool_], events: ScoredEvents) -> Floats:
    rows = np.flatnonzero(members)
    with np.errstate(over="ignore", invalid="ignore"):
        moments = _moments(matrix, rows, events.weights_where(members))
        both, sums, squares = np.split(moments[:, : matrix.shape[1]], 3)
        products = np.split(moments[:, matrix.shape[1] :], 3)[1]
        weight = np.where(both > 0.0, both, np.nan)
        means, second = sums / weight, squares / weight
        variances = second - means**2
        # What is left of a constant after rounding is no variance.
        variances[~(variances > 1e-12 * second)] = np.nan
        found: Floats = (products / weight - means * means.T) / np.sqrt(variances * variances.T)
    return found


def _moments(matrix: Matrix, rows: NDArray[np.intp], weights: Floats) -> Floats:
    """Add up Σ w (1, x, x²)_i (1, x)_j over events that have both values, in one product of matrices a block.

    Shape ``(3 n_features, 2 n_features)``; x is counted from a typical value, lest large offsets eat the digits.
    """
    centre = _centre(matrix, rows)
    moments = np.zeros((3 * matrix.shape[1], 2 * matrix.shape[1]))
    for start in range(0, rows.size, ROWS_AT_A_TIME):
        block = slice(start, start + ROWS_AT_A_TIME)
        values = np.asarray(matrix[rows[block]], dtype=np.float64) - centre
        has_value = np.isfinite(values)
        values[~has_value] = 0.0
        right = np.concatenate((has_value, values), axis=1)
        left = np.concatenate((right, values**2), axis=1)
        moments += left.T @ (right * weights[block, np.newaxis])
    return moments


def _centre(matrix: Matrix, rows: NDArray[np.intp]) -> Floats:
    """Return a median of each column from some of the rows: for a constant column exactly its value."""
    some = np.asarray(matrix[rows[:: max(1, rows.size // ROWS_FOR_THE_CENTRE)]], dtype=np.float64)
    some[~np.isfinite(some)] = np.nan
    some.sort(axis=0)  # NaN comes last
    middle = np.maximum(np.count_nonzero(np.isfinite(some), axis=0) - 1, 0) // 2
    centre: Floats = np.nan_to_num(some[middle, np.arange(some.shape[1])])
    return centre


def _columns(matrix: Matrix) -> Iterator[Floats]:
    """Yield the columns, each contiguous, reading as many at a time from the file as fit a block."""
    at_a_time = max(1, BYTES_AT_A_TIME // (8 * max(1, matrix.shape[0])))
    for start in range(0, matrix.shape[1], at_a_time):
        yield from np.array(matrix[:, start : start + at_a_time].T, dtype=np.float64, order="C")


def _separation(number: int, values: Floats, events: ScoredEvents, n_bins: int) -> InputSeparation:
    has_value = np.isfinite(values)
    bins, n_used = _quantile_bins(values, has_value, n_bins)
    signal, background = (
        shares_of(bins[members], events.weights_where(members), n_used)
        for members in (events.is_signal, ~events.is_signal)
    )
    separation, bias = _divergence(signal, background)
    if min(effective_events(events.weights_where(of)) for of in (events.is_signal, ~events.is_signal)) <= 1.0 + 1e-9:
        # One event has one bin, whichever it is: of its fluctuation nothing is known, nor of the bias.
        separation, bias = Measured(separation.value + bias, float("nan")), float("nan")
    return InputSeparation(
        column=number,
        separation=separation,
        bias=bias,
        auc=_own_auc(values, has_value, events),
        n_missing=values.size - int(np.count_nonzero(has_value)),
        n_bins=n_used,
        negative_bins=signal.negative + background.negative,
    )


def _quantile_bins(values: Floats, has_value: NDArray[np.bool_], n_bins: int) -> tuple[NDArray[np.intp], int]:
    """Number the bins of equal numbers of events; missing values, if any, come last."""
    known = values[has_value]
    steps = np.arange(1, n_bins) / n_bins
    # Edges are values of events, not points between them, so that a rising map takes edges to edges.
    edges = np.unique(np.quantile(known, steps, method="inverted_cdf")) if known.size else known
    bins = np.searchsorted(edges, values, side="left")
    bins[~has_value] = edges.size + 1
    # The highest bin is empty where many events share the highest value.
    is_filled = np.bincount(bins) > 0
    return (np.cumsum(is_filled) - 1)[bins], int(np.count_nonzero(is_filled))


def _divergence(signal: Shares, background: Shares) -> tuple[Measured, float]:
    """Return the separation with its bias taken off, and the bias."""
    p, q = signal.values, background.values
    total = np.where(p + q > 0.0, p + q, 1.0)
    measured = 0.5 * float(np.sum((p - q) ** 2 / total))
    noise = noise_of_squares(2.0 * (q**2 * signal.variances() + p**2 * background.variances()) / total**3)
    # The derivative by p is 1/2 - 2 q² / (p + q)²; a constant changes no sum of shares.
    slope_p, slope_q = -2.0 * (q / total) ** 2, -2.0 * (p / total) ** 2
    first = signal.variance_along(slope_p) + background.variance_along(slope_q)
    return Measured(measured - noise.value, error_beyond_noise(first, noise)), noise.value


def _own_auc(values: Floats, has_value: NDArray[np.bool_], events: ScoredEvents) -> Measured:
    weights = None if events.weights is None else events.weights[has_value]
    try:
        return auc_with_error(values[has_value], events.is_signal[has_value], weights)
    except DataError:  # the events were checked: what is left is a class without a positive sum among these
        return Measured(float("nan"), float("nan"))
