"""Baselines: what quick, simple methods make of the inputs that the network gets.

Owns the table of baselines. Each learns from the training events with their training weights, as the network does;
the validation events say when the trees are enough. Fisher's discriminant is our own, since scikit-learn's takes no
weights; the others are scikit-learn's.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DataError
from pipeline.table import EventTable

Scorer = Callable[[NDArray[np.float32]], NDArray[np.float64]]
"""Inputs ``(n_events, n_inputs)`` → a number ``(n_events,)`` that is the higher the more the event is like signal."""

MOST_TREES = 2_000


def fit_baseline(name: str, train: EventTable, validation: EventTable, seed: int) -> Scorer:
    """Train one of ``BASELINES``.

    Raises:
        DataError: a class has no positive sum of training weights.

    """
    for kind, label in (("background", 0), ("signal", 1)):
        total = float(train.weights[train.labels == label].sum(dtype=np.float64))
        if total <= 0:
            raise DataError(f"baseline {name!r}: the {kind} weights of the training part add up to {total:g}")
    return BASELINES[name](train, validation, seed)


def fisher(train: EventTable, validation: EventTable, seed: int) -> Scorer:
    """Return Fisher's linear discriminant: along the inverse covariance within the classes times the mean difference.

    Where inputs repeat each other the covariance has no inverse, and its pseudo-inverse stands for it. Negative
    weights enter with their sign.

    References:
        R. A. Fisher, "The use of multiple measurements in taxonomic problems", Annals of Eugenics 7 (1936) 179.

    """
    means, covariance = [], np.zeros((train.n_inputs, train.n_inputs))
    for label in (0, 1):
        members = train.labels == label
        inputs, weights = train.inputs[members].astype(np.float64), train.weights[members].astype(np.float64)
        means.append(weights @ inputs / weights.sum())
        centred = inputs - means[-1]
        covariance += (centred * weights[:, None]).T @ centred
    direction = np.linalg.pinv(covariance, hermitian=True) @ (means[1] - means[0])
    return lambda inputs: np.asarray(inputs @ direction)


def logistic(train: EventTable, validation: EventTable, seed: int) -> Scorer:
    """Return logistic regression, as good as unregularised; negative weights enter the loss with their sign."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=1e4, max_iter=500)
    model.fit(train.inputs, train.labels > 0, sample_weight=train.weights)
    return lambda inputs: np.asarray(model.decision_function(inputs), dtype=np.float64)


def trees(train: EventTable, validation: EventTable, seed: int) -> Scorer:
    """Return gradient-boosted trees on histograms, as many as the validation loss asks for.

    Events of negative weight are left out: a leaf whose weights add up to nothing has no best value.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    model = HistGradientBoostingClassifier(
        learning_rate=0.05,
        max_iter=MOST_TREES,
        early_stopping=True,
        n_iter_no_change=20,
        random_state=seed % 2**32,
    )
    learnt, judged = (table.rows[table.weights >= 0] for table in (train, validation))
    model.fit(
        learnt[:, :-2], learnt[:, -2] > 0, sample_weight=learnt[:, -1],
        X_val=judged[:, :-2], y_val=judged[:, -2] > 0, sample_weight_val=judged[:, -1],
    )  # fmt: skip
    return lambda inputs: np.asarray(model.decision_function(inputs), dtype=np.float64)


BASELINES: Mapping[str, Callable[[EventTable, EventTable, int], Scorer]] = {
    "fisher": fisher,
    "logistic": logistic,
    "trees": trees,
}
