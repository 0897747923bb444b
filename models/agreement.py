"""Agreement: the AUC of each fold's network, and whether they differ by more than chance.

One bad training among several hides in the mean of all. Each fold tests other events, so the AUCs are independent
but for the training events that the networks share.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import chdtrc

from models.metrics import auc_with_error
from models.scored import NOT_A_NUMBER, Floats, Measured, scored_events
from pipeline.errors import DataError


@dataclass(frozen=True)
class Agreement:
    """AUCs in the order of the folds, and how they agree: χ² about their weighted mean, and its p-value.

    Both are NaN where there is one fold, or an error is not positive. Where a fold cannot be judged, as without events
    of a class, its AUC is NaN too.
    """

    aucs: tuple[Measured, ...]
    chi_square: float
    p_value: float


def agreement_of_folds(
    scores: ArrayLike, labels: ArrayLike, weights: ArrayLike | None, folds: NDArray[np.integer]
) -> Agreement:
    """Judge the events of each fold by themselves; ``folds`` says which network scored an event, ``(n_events,)``.

    Raises:
        DataError: as in `models.scored.scored_events`, for all events together.

    References:
        W. G. Cochran, Biometrics 10 (1954) 101 (the weighted sum of squares about the mean).

    """
    events = scored_events(scores, labels, weights)
    columns = events.scores, events.is_signal, events.every_weight()
    aucs = tuple(_auc(*(column[folds == fold] for column in columns)) for fold in np.unique(folds))
    chi_square = _chi_square(np.array([auc.value for auc in aucs]), np.array([auc.error for auc in aucs]))
    return Agreement(aucs, chi_square, float(chdtrc(len(aucs) - 1, chi_square)))


def _auc(scores: ArrayLike, labels: ArrayLike, weights: ArrayLike) -> Measured:
    try:
        return auc_with_error(scores, labels, weights)
    except DataError:
        return NOT_A_NUMBER


def _chi_square(values: Floats, errors: Floats) -> float:
    if values.size < 2 or not (errors > 0.0).all():
        return float("nan")
    precision = errors**-2.0
    mean = np.dot(precision, values) / precision.sum()
    return float(np.dot(precision, (values - mean) ** 2))
