"""The leader board: several scores on the same events, ranked, and whether the best really leads.

Owns the ranking, and what a p-value is worth after a look at all pairs. The tests are ``comparison``'s.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.agreement import agreement_of_folds
from models.comparison import (
    Difference,
    background_at,
    compare,
    compare_folds,
)
from models.metrics import weighted_auc
from models.scored import Floats, Measured
from pipeline.errors import DataError, DeclarationError

NETWORK = "network"
"""The name of the network, whose rivals the others are."""


@dataclass(frozen=True)
class Standing:
    """One line of a leader board: an AUC, the best one's lead over it, and the lead's adjusted p-value.

    ``backgrounds`` are the background efficiencies at each signal efficiency that was asked for. Where the events are
    those of several folds, ``lead_of_method`` is the lead that holds for other training events as well, and
    ``adjusted_p_value_of_method`` belongs to it.
    """

    name: str
    auc: Measured
    lead: Difference
    adjusted_p_value: float
    backgrounds: tuple[Measured, ...] = ()
    lead_of_method: Difference | None = None
    adjusted_p_value_of_method: float | None = None


def leader_board(
    scores: Mapping[str, ArrayLike],
    labels: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    signal_efficiencies: Sequence[float] = (),
    folds: NDArray[np.integer] | None = None,
) -> tuple[Standing, ...]:
    """Rank scores on the same events by AUC, and test the lead of the best over each other one.

    Who leads was learnt from the same events, so the p-values are adjusted as if each pair had been tested.
    The best has a lead of 0 over itself, with p = 1. No scores give an empty board. ``folds`` says which of several
    networks scored an event, ``(n_events,)``, each having been trained on the events of all others; with it, leads are
    also tested over folds (`models.comparison.compare_folds`).

    Raises:
        DataError: as in `models.metrics.weighted_roc`, for any score.
        DeclarationError: a signal efficiency is not between 0 and 1.

    """
    ranked = sorted(scores, key=lambda name: -weighted_auc(scores[name], labels, weights))
    against = [compare(scores[ranked[0]], scores[name], labels, weights) for name in ranked]
    adjusted = _adjusted([one.difference for one in against])
    of_method = _over_folds([scores[name] for name in ranked], labels, weights, folds)
    adjusted_of_method = _adjusted(of_method) if of_method else None
    return tuple(
        Standing(
            name=name,
            auc=against[row].b,
            lead=against[row].difference,
            adjusted_p_value=adjusted[row],
            backgrounds=tuple(background_at(one, scores[name], labels, weights) for one in signal_efficiencies),
            lead_of_method=of_method[row] if of_method else None,
            adjusted_p_value_of_method=adjusted_of_method[row] if adjusted_of_method else None,
        )
        for row, name in enumerate(ranked)
    )


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
    scores: Sequence[ArrayLike], labels: ArrayLike, weights: ArrayLike | None, folds: NDArray[np.integer] | None
) -> list[Difference]:
    """Return the first one's lead over each from fold to fold; none where there is one fold, or one without a class."""
    found = [] if folds is None else [agreement_of_folds(one, labels, weights, folds).aucs for one in scores]
    aucs = np.array([[auc.value for auc in one] for one in found])
    if folds is None or aucs.size <= len(scores) or np.isnan(aucs).any():
        return []
    n_test = folds.size // aucs.shape[1]
    return [compare_folds(aucs[0], one, n_train=folds.size - n_test, n_test=n_test) for one in aucs]
