"""The leader board: several scores on the same events, ranked, and whether the best really leads.

Owns the ranking, what a p-value is worth after a look at all pairs, and what several seeds of one method say together.
The tests are ``comparison``'s.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.agreement import agreement_of_folds
from models.comparison import (
    Comparison,
    Difference,
    compare,
    compare_folds,
    compare_readings,
    compare_seeds,
    read_background,
)
from models.metrics import auc_with_error
from models.scored import Floats, Measured
from pipeline.errors import DataError, DeclarationError

PLAIN = "without decorrelation"
"""The entry of the same network that was trained without decorrelation, where another was trained with it."""

NETWORK = "network"
"""The name of the network, whose rivals the others are."""


@dataclass(frozen=True)
class Standing:
    """One line of a leader board: an AUC, the best one's lead over it, and the lead's adjusted p-value.

    ``backgrounds`` are the background efficiencies at each signal efficiency that was asked for, and
    ``background_leads`` how much more (or, negative, less) background the best keeps there. Where the events are those
    of several folds, ``lead_of_method`` is the lead that holds for other training events as well, and
    ``adjusted_p_value_of_method`` belongs to it.

    Where there are ``seeds``, these are the AUCs of each; all other numbers are means over seeds, their errors those
    that the test events give them. Leads hold for other seeds and other test events; ``lead_over_seeds`` is the same
    mean lead for other seeds alone, if there are several.
    """

    name: str
    auc: Measured
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
        """The standard deviation of the AUC over seeds, if there are several."""
        return float(np.std([one.value for one in self.seeds], ddof=1)) if len(self.seeds) > 1 else None


def leader_board(
    scores: Mapping[str, ArrayLike],
    labels: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    signal_efficiencies: Sequence[float] = (),
    folds: NDArray[np.integer] | None = None,
) -> tuple[Standing, ...]:
    """Rank scores on the same events by AUC, and test the lead of the best over each other one.

    Scores are ``(n_events,)``, or ``(n_seeds, n_events)`` for a method that was trained from several seeds. Those of
    two methods are compared in pairs, as many as there are; a single one with each of the other's.

    Who leads was learnt from the same events, so the p-values are adjusted as if each pair had been tested.
    The best has a lead of 0 over itself, with p = 1. No scores give an empty board. ``folds`` says which of several
    networks scored an event, ``(n_events,)``, each having been trained on the events of all others; with it, leads are
    also tested over folds (`models.comparison.compare_folds`).

    Raises:
        DataError: as in `models.metrics.weighted_roc`, for any score.
        DeclarationError: a signal efficiency is not between 0 and 1.

    """
    seeds = {name: np.atleast_2d(np.asarray(of_name)) for name, of_name in scores.items()}
    aucs = {name: [auc_with_error(one, labels, weights) for one in of_name] for name, of_name in seeds.items()}
    ranked = sorted(scores, key=lambda name: -_mean(aucs[name]).value)
    best = seeds[ranked[0]] if ranked else np.empty((0, 0))
    leads = [_lead(compare(a, b, labels, weights) for a, b in _pairs(best, seeds[name])) for name in ranked]
    adjusted = _adjusted([lead for lead, _ in leads])
    of_method = _over_folds([seeds[name] for name in ranked], labels, weights, folds)
    adjusted_of_method = _adjusted(of_method) if of_method else None
    read = _backgrounds([seeds[name] for name in ranked], labels, weights, signal_efficiencies)
    return tuple(
        Standing(
            name=name,
            auc=_mean(aucs[name]),
            lead=leads[row][0],
            adjusted_p_value=adjusted[row],
            backgrounds=tuple(background for background, _ in backgrounds),
            background_leads=tuple(lead for _, lead in backgrounds),
            lead_of_method=of_method[row] if of_method else None,
            adjusted_p_value_of_method=adjusted_of_method[row] if adjusted_of_method else None,
            seeds=tuple(aucs[name]) if np.ndim(scores[name]) > 1 else (),
            lead_over_seeds=leads[row][1],
        )
        for row, (name, backgrounds) in enumerate(zip(ranked, read, strict=True))
    )


def _mean(measured: Sequence[Measured]) -> Measured:
    """Return the mean over seeds; the events are the same for all of them, so that their error stays."""
    values, errors = zip(*((one.value, one.error) for one in measured), strict=True)
    return Measured(float(np.mean(values)), float(np.mean(errors)))


def _pairs(a: Sequence[Any] | NDArray[Any], b: Sequence[Any] | NDArray[Any]) -> list[tuple[Any, Any]]:
    """Pair the seeds of two methods; a single one with each of the other's."""
    n_pairs = max(len(a), len(b)) if 1 in (len(a), len(b)) else min(len(a), len(b))
    return [(a[i % len(a)], b[i % len(b)]) for i in range(n_pairs)]


def _lead(pairs: Iterable[Comparison]) -> tuple[Difference, Difference | None]:
    """Return the mean lead of a for other seeds and events, and, if there are several pairs, that for other seeds."""
    of_seeds = list(pairs)
    if len(of_seeds) == 1:
        return of_seeds[0].difference, None
    values = ([pair.a.value for pair in of_seeds], [pair.b.value for pair in of_seeds])
    found = compare_seeds(*values, test_error=float(np.mean([pair.difference.error for pair in of_seeds])))
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
            lead, _ = _lead(compare_readings(a, b) for a, b in _pairs(of_best, of_seeds))
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
    scores: Sequence[NDArray[Any]], labels: ArrayLike, weights: ArrayLike | None, folds: NDArray[np.integer] | None
) -> list[Difference]:
    """Return the first one's lead over each from fold to fold; none where there is one fold, or one without a class."""
    if folds is None:
        return []
    aucs = np.array([_in_folds(seeds, labels, weights, folds) for seeds in scores])
    if aucs.size <= len(scores) or np.isnan(aucs).any():
        return []
    n_test = folds.size // aucs.shape[1]
    return [compare_folds(aucs[0], one, n_train=folds.size - n_test, n_test=n_test) for one in aucs]


def _in_folds(seeds: NDArray[Any], labels: ArrayLike, weights: ArrayLike | None, folds: NDArray[np.integer]) -> Floats:
    """Return the AUC of each fold, ``(n_folds,)``, the mean over seeds."""
    found = [agreement_of_folds(scores, labels, weights, folds).aucs for scores in seeds]
    aucs: Floats = np.array([[auc.value for auc in aucs] for aucs in found])
    return np.asarray(aucs.mean(axis=0))
