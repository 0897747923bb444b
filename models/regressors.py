"""Regressors: what quick, simple methods make of a quantity, from the inputs that the network gets.

Owns the table of those that predict a number. Single trees and forests are those of ``baselines``, which say the mean
target of a leaf; what else can be shared is taken from there as well. Each learns from the training events with their
training weights, as the network does.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from models.baselines import (
    MOST_NEIGHBOURS_TO_BE,
    OfInputs,
    Scorer,
    asked_of_neighbours,
    boosted,
    forest,
    leading_components,
    tree,
    with_threads,
)
from pipeline.errors import DataError
from pipeline.table import EventTable


def fit_regressor(name: str, train: EventTable, validation: EventTable, seed: int) -> Scorer:
    """Train one of ``REGRESSORS`` on the first target; it predicts for any number of events, none as well.

    Raises:
        DataError: the training weights have no positive sum.

    """
    if train.sum_of_weights <= 0:
        raise DataError(f"baseline {name!r}: the weights of the training part add up to {train.sum_of_weights:g}")
    predict = REGRESSORS[name](train, validation, seed)
    return lambda inputs: predict(inputs) if len(inputs) else np.empty(0)


def linear(train: EventTable, validation: EventTable, seed: int) -> Scorer:
    """Return the linear function of least squares; where inputs repeat each other, the shortest such.

    Negative weights enter with their sign.
    """
    return _least_squares(train.inputs.astype(np.float64), train)


def principal_components(train: EventTable, validation: EventTable, seed: int) -> Scorer:
    """Return the linear function of least squares on the principal components that hold 95 % of the variance."""
    components = leading_components(train)
    predict = _least_squares(components(train.inputs), train)
    return lambda inputs: predict(components(inputs))


def nearest(train: EventTable, validation: EventTable, seed: int) -> Scorer:
    """Return the weighted mean of the 50 nearest training events, among at most 10,000 that are drawn at random.

    Negative weights enter with their sign; where those of the neighbours add up to nothing positive, the mean of all
    stands for theirs.
    """
    rows = np.flatnonzero(train.weights)
    drawn = train.among(np.random.default_rng(seed).choice(rows, min(len(rows), MOST_NEIGHBOURS_TO_BE), replace=False))
    targets, weights = drawn.labels.astype(np.float64), drawn.weights.astype(np.float64)
    everywhere = float(np.average(train.labels.astype(np.float64), weights=train.weights))

    def mean(neighbours: NDArray[np.intp]) -> NDArray[np.float64]:
        sums, total = (values[neighbours].sum(axis=1) for values in (targets * weights, weights))
        found = np.full(len(neighbours), everywhere)
        np.divide(sums, total, out=found, where=total > 0)
        return found

    return asked_of_neighbours(drawn, mean)


def trees(train: EventTable, validation: EventTable, seed: int) -> Scorer:
    """Return gradient-boosted trees on squared error, as many as the validation loss asks for.

    Events of negative weight are left out, as by those that tell classes apart.
    """
    from sklearn.ensemble import HistGradientBoostingRegressor

    return with_threads(boosted(HistGradientBoostingRegressor, train, validation, seed).predict)


def _least_squares(inputs: NDArray[np.float64], train: EventTable) -> OfInputs:
    columns = np.column_stack([inputs, np.ones(len(inputs))])
    weighted = columns * train.weights[:, None]
    *slopes, constant = np.linalg.pinv(weighted.T @ columns, hermitian=True) @ (weighted.T @ train.labels)
    return lambda scored: np.asarray(scored @ np.array(slopes) + constant)


REGRESSORS: Mapping[str, Callable[[EventTable, EventTable, int], Scorer]] = {
    "forest": forest,
    "linear": linear,
    "nearest": nearest,
    "principal-components": principal_components,
    "tree": tree,
    "trees": trees,
}
