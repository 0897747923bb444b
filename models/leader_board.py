"""The leader board: several scores on the same events, ranked, and whether the best really leads.

Owns the ranking, what a p-value is worth after a look at all pairs, and what several seeds of one method say together.
The tests are ``comparison``'s.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.comparison import (
    Comparison,
    Difference,
    compare_folds,
    compare_readings,
    compare_seeds,
    judged,
    read_background,
)
from models.paired import Scores
from models.scored import NOT_A_NUMBER, Floats, Measured
from models.yardsticks import YARDSTICKS, Truth, Yardstick
from pipeline.errors import DataError, DeclarationError

T = TypeVar("T")

PLAIN = "without decorrelation"
"""The entry of the same network that was trained without decorrelation, where another was trained with it."""

NETWORK = "network"
"""The name of the network, whose rivals the others are."""


@dataclass(frozen=True)
class Standing:
    """One line of a leader board: its number, the best one's lead over it, and the lead's adjusted p-value.

    ``value`` is an AUC, or whatever the yardstick measures; a lead is positive where the best is better.
    ``backgrounds`` are the background efficiencies at each signal efficiency that was asked for, and
    ``background_leads`` how much more (or, negative, less) background the best keeps there. Where the events are those
    of several folds, ``lead_of_method`` is the lead that holds for other training events as well, and
    ``adjusted_p_value_of_method`` belongs to it.

    Where there are ``seeds``, these are the numbers of each; all others are means over seeds, their errors those
    that the test events give them. Leads hold for other seeds and other test events; ``lead_over_seeds`` is the same
    mean lead for other seeds alone, if there are several.
    """

    name: str
    value: Measured
    lead: Difference
    adjusted_p_value: float
    backgrounds: tuple[Measured, ...] = ()
    background_leads: tuple[Difference, ...] = ()
    lead_of_method: Difference | None = None
    adjusted_p_value_of_method: float | None = None
    seeds: tuple[Measured, ...] = ()
    lead_over_seeds: Difference | None = None

    @property
    def spread(self) -> float | None:
        """The standard deviation of the number over seeds, if there are several."""
        return float(np.std([one.value for one in self.seeds], ddof=1)) if len(self.seeds) > 1 else None


@dataclass(frozen=True, eq=False)
class _Entry:
    """A method: the scores of each of its seeds, and the numbers that they are known by."""

    name: str
    scores: Sequence[Scores]
    measured: Sequence[Measured]
    has_seeds: bool


def leader_board(
    scores: Mapping[str, ArrayLike],
    labels: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    signal_efficiencies: Sequence[float] = (),
    folds: NDArray[np.integer] | None = None,
) -> tuple[Standing, ...]:
    """Rank scores on the same events by AUC, and test the lead of the best over each other one.

    As `ranking`; ``labels`` are 1 for signal, ``weights`` physics weights, both ``(n_events,)``. The backgrounds at the
    signal efficiencies are compared as well.

    Raises:
        DataError: as in `models.metrics.weighted_roc`, for any score.
        DeclarationError: a signal efficiency is not between 0 and 1.

    """
    found = np.asarray(labels)
    truth = Truth(found, np.empty((found.size, 0)), np.asarray(np.ones(found.size) if weights is None else weights))
    board = ranking(scores, truth, YARDSTICKS["signal"], folds=folds)
    ranked = [np.atleast_2d(np.asarray(scores[one.name])) for one in board]
    read = _backgrounds(ranked, labels, weights, signal_efficiencies)
    return tuple(
        replace(
            standing,
            backgrounds=tuple(background for background, _ in backgrounds),
            background_leads=tuple(lead for _, lead in backgrounds),
        )
        for standing, backgrounds in zip(board, read, strict=True)
    )


def ranking(
    scores: Mapping[str, ArrayLike],
    truth: Truth,
    yardstick: Yardstick,
    *,
    folds: NDArray[np.integer] | None = None,
) -> tuple[Standing, ...]:
    """Rank scores on the same events by what the yardstick measures, and test the lead of the best over each other one.

    Scores are as the yardstick takes them, or have one axis more in front, ``n_seeds``, for a method that was trained
    from several seeds. Those of two methods are compared in pairs, as many as there are; a single one with each of the
    other's.

    Who leads was learnt from the same events, so the p-values are adjusted as if each pair had been tested.
    The best has a lead of 0 over itself, with p = 1. No scores give an empty board. ``folds`` says which of several
    networks scored an event, ``(n_events,)``, each having been trained on the events of all others; with it, leads are
    also tested over folds (`models.comparison.compare_folds`).

    Raises:
        DataError: the scores cannot be judged.

    """
    entries = [_entry(name, np.asarray(of_name), truth, yardstick) for name, of_name in scores.items()]
    ranked = sorted(entries, key=lambda entry: _place(entry, yardstick))
    size = _size(ranked, yardstick)
    leads = [
        _lead([_compared(a, b, truth, yardstick, size) for a, b in _pairs(ranked[0], entry)], size) for entry in ranked
    ]
    adjusted = _adjusted([lead for lead, _ in leads])
    of_method = _over_folds(ranked, truth, yardstick, folds, size)
    adjusted_of_method = _adjusted(of_method) if of_method else None
    return tuple(
        Standing(
            name=entry.name,
            value=_mean(entry.measured),
            lead=leads[row][0],
            adjusted_p_value=adjusted[row],
            lead_of_method=of_method[row] if of_method else None,
            adjusted_p_value_of_method=adjusted_of_method[row] if adjusted_of_method else None,
            seeds=tuple(entry.measured) if entry.has_seeds else (),
            lead_over_seeds=leads[row][1],
        )
        for row, entry in enumerate(ranked)
    )


def _entry(name: str, scores: Scores, truth: Truth, yardstick: Yardstick) -> _Entry:
    has_seeds = scores.ndim > (1 if yardstick.is_single else 2)
    of_seeds = list(scores) if has_seeds else [scores]
    return _Entry(name, of_seeds, [yardstick.measure(one, truth) for one in of_seeds], has_seeds)


def _place(entry: _Entry, yardstick: Yardstick) -> float:
    """Return what is the smaller the better; a number that does not exist is the last."""
    value = _mean(entry.measured).value
    return float("inf") if np.isnan(value) else -value if yardstick.higher_is_better else value


def _size(ranked: Sequence[_Entry], yardstick: Yardstick) -> float:
    """Return how large numbers are: 1 for areas, the best one's for what has a unit."""
    best = _mean(ranked[0].measured).value if ranked else float("nan")
    return best if not yardstick.higher_is_better and best > 0.0 else 1.0


def _mean(measured: Sequence[Measured]) -> Measured:
    """Return the mean over seeds; the events are the same for all of them, so that their error stays."""
    values, errors = zip(*((one.value, one.error) for one in measured), strict=True)
    return Measured(float(np.mean(values)), float(np.mean(errors)))


def _pairs(a: _Entry, b: _Entry) -> Iterator[tuple[tuple[Scores, Measured], tuple[Scores, Measured]]]:
    return _in_pairs(*(list(zip(one.scores, one.measured, strict=True)) for one in (a, b)))


def _in_pairs(a: Sequence[T], b: Sequence[T]) -> Iterator[tuple[T, T]]:
    """Pair the seeds of two methods; a single one with each of the other's."""
    n_pairs = max(len(a), len(b)) if 1 in (len(a), len(b)) else min(len(a), len(b))
    return ((a[i % len(a)], b[i % len(b)]) for i in range(n_pairs))


def _compared(
    a: tuple[Scores, Measured], b: tuple[Scores, Measured], truth: Truth, yardstick: Yardstick, size: float
) -> Comparison:
    """Compare two scores; of a number that is better where it is lower, the second's comes first."""
    gain = judged(yardstick.gain(a[0], b[0], truth), size=size)
    return Comparison(a[1], b[1], gain) if yardstick.higher_is_better else Comparison(b[1], a[1], gain)


def _lead(pairs: Sequence[Comparison], size: float = 1.0) -> tuple[Difference, Difference | None]:
    """Return the mean lead of a for other seeds and events, and, if there are several pairs, that for other seeds."""
    if len(pairs) == 1:
        return pairs[0].difference, None
    values = ([pair.a.value for pair in pairs], [pair.b.value for pair in pairs])
    if not np.isfinite(values).all():
        return judged(NOT_A_NUMBER), judged(NOT_A_NUMBER)
    test_error = float(np.mean([pair.difference.error for pair in pairs]))
    found = compare_seeds(*values, test_error=test_error, size=size)
    return found.new_test_events, found.same_test_events


def _backgrounds(
    ranked: Sequence[NDArray[Any]], labels: ArrayLike, weights: ArrayLike | None, signal_efficiencies: Sequence[float]
) -> Iterator[list[tuple[Measured, Difference]]]:
    """Yield, for each score, its background at each signal efficiency and how much more the best one keeps."""
    best = [
        [read_background(one, scores, labels, weights) for scores in ranked[0]] for one in signal_efficiencies if ranked
    ]
    for seeds in ranked:
        found = []
        for one, of_best in zip(signal_efficiencies, best, strict=True):
            of_seeds = [read_background(one, scores, labels, weights) for scores in seeds]
            lead, _ = _lead([compare_readings(a, b) for a, b in _in_pairs(of_best, of_seeds)])
            found.append((_mean([reading.measured for reading in of_seeds]), lead))
        yield found


def holm(p_values: ArrayLike, *, n_tests: int | None = None) -> Floats:
    """Adjust p-values for their number: below a level, any false alarm among them is rarer than that level.

    ``n_tests`` may be more than there are p-values, where others could have been looked at. A p-value of NaN stays so
    and is not counted. None give none.

    Raises:
        DataError: a p-value outside [0, 1], or not one list of them.
        DeclarationError: fewer tests than p-values.

    References:
        S. Holm, Scandinavian Journal of Statistics 6 (1979) 65.

    """
    values = np.asarray(p_values, dtype=np.float64)
    if values.ndim != 1 or np.any((values < 0.0) | (values > 1.0)):
        msg = f"p-values are one list of numbers between 0 and 1; received {values.tolist()}"
        raise DataError(msg)
    known = np.flatnonzero(~np.isnan(values))
    n_tests = known.size if n_tests is None else n_tests
    if n_tests < known.size:
        msg = f"{known.size} p-values cannot come from {n_tests} tests"
        raise DeclarationError(msg)
    order = known[np.argsort(values[known], kind="stable")]
    adjusted = np.full(values.size, np.nan)
    adjusted[order] = np.minimum(np.maximum.accumulate(values[order] * (n_tests - np.arange(order.size))), 1.0)
    return adjusted


def _adjusted(leads: Sequence[Difference]) -> list[float]:
    """Return p-values of the first one's leads, as if each pair had been tested; 1 for that over itself."""
    n_pairs = len(leads) * (len(leads) - 1) // 2
    return [1.0, *holm([lead.p_value for lead in leads[1:]], n_tests=n_pairs).tolist()]


def _over_folds(
    ranked: Sequence[_Entry], truth: Truth, yardstick: Yardstick, folds: NDArray[np.integer] | None, size: float
) -> list[Difference]:
    """Return the first one's lead over each from fold to fold; none where there is one fold, or one without a class."""
    if folds is None:
        return []
    values = np.array([_in_folds(entry, truth, yardstick, folds) for entry in ranked])
    if values.size <= len(ranked) or np.isnan(values).any():
        return []
    n_test = folds.size // values.shape[1]
    better = values if yardstick.higher_is_better else -values
    n_train = folds.size - n_test
    return [compare_folds(better[0], one, n_train=n_train, n_test=n_test, size=size) for one in better]


def _in_folds(entry: _Entry, truth: Truth, yardstick: Yardstick, folds: NDArray[np.integer]) -> Floats:
    """Return the number of each fold, ``(n_folds,)``, the mean over seeds."""
    members = [folds == fold for fold in np.unique(folds)]
    found = [[_value(one[rows], truth.among(rows), yardstick) for rows in members] for one in entry.scores]
    return np.asarray(np.mean(found, axis=0))


def _value(scores: Scores, truth: Truth, yardstick: Yardstick) -> float:
    try:
        return yardstick.measure(scores, truth).value
    except DataError:
        return float("nan")
