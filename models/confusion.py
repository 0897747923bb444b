"""Confusion: what events of each class are taken for.

Owns the matrix of true and chosen classes, its efficiencies and purities, and the AUC of each pair of classes alone.
Weights may be negative: sums are signed.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from models.averages import Estimates, shares, sums_in
from models.metrics import auc_with_error
from models.scored import Floats

Labels = NDArray[np.integer]


@dataclass(frozen=True, eq=False)
class Confusion:
    """Rows are true classes, columns the chosen ones, ``(n_classes, n_classes)`` throughout.

    ``events`` are raw numbers, ``sums`` those of weights. ``efficiencies`` are shares of a row: what events of a class
    are taken for. ``purities`` are shares of a column: what events that were taken for a class are, at the proportions
    that the weights describe. A share is NaN where the weights that it is of do not add up to something positive; it
    has no error where it is none of them or all.
    """

    events: NDArray[np.int64]
    sums: Floats
    efficiencies: Estimates
    purities: Estimates


def confusion(labels: Labels, chosen: Labels, weights: Floats, n_classes: int) -> Confusion:
    """Count events by true and chosen class, both ``(n,)`` of indices."""
    shape, cells = (n_classes, n_classes), labels.astype(np.intp) * n_classes + chosen
    events = np.bincount(cells, minlength=n_classes**2).reshape(shape)
    sums, squares = (sums_in(cells, of, n_classes**2).reshape(shape) for of in (weights, weights**2))
    by_row, by_column = (
        shares(sums, squares, sums.sum(axis=axis, keepdims=True), squares.sum(axis=axis, keepdims=True))
        for axis in (1, 0)
    )
    return Confusion(events, sums, efficiencies=by_row, purities=by_column)


def pair_aucs(scores: NDArray[np.floating], labels: Labels, weights: Floats) -> Estimates:
    """Compute how well each pair of classes is told apart, with no event of the others, ``(n_classes, n_classes)``.

    Events are ordered by the ratio of the two probabilities, which is what is left of them where the event is known to
    be of one of the two. The matrix is symmetric, and NaN on its diagonal.

    Raises:
        DataError: as in `models.metrics.weighted_roc`.

    References:
        D. J. Hand, R. J. Till, Machine Learning 45 (2001) 171 (several classes by pairs; there by one probability).

    """
    n_classes = scores.shape[1]
    values, errors = np.full((2, n_classes, n_classes), np.nan)
    # A probability that was too small for its type is as small as one can be, and two of them are equal.
    least = np.finfo(scores.dtype).tiny
    for first, second in combinations(range(n_classes), 2):
        of_either = (labels == first) | (labels == second)
        both = np.maximum(scores[of_either][:, [first, second]], least).astype(np.float64)
        ratio = np.log(both[:, 0]) - np.log(both[:, 1])
        found = auc_with_error(ratio, labels[of_either] == first, weights[of_either])
        values[[first, second], [second, first]] = found.value
        errors[[first, second], [second, first]] = found.error
    return Estimates(values, errors)
