"""Baselines: what quick, simple methods make of the inputs that the network gets.

Owns the table of those that tell two classes apart. Each learns from the training events with their training weights,
as the network does; the validation events say when the boosted trees are enough. Fisher's discriminant, the principal
components and the vote of the neighbours are our own, since scikit-learn's take no weights; the others are
scikit-learn's.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DataError
from pipeline.table import EventTable

Scorer = Callable[[NDArray[np.float32]], NDArray[np.float64]]
"""Inputs ``(n_events, n_inputs)`` → a number ``(n_events,)`` that is the higher the more the event is like signal."""

OfInputs = Callable[[NDArray[np.floating]], NDArray[np.float64]]
"""The same for inputs of any precision."""

MOST_TREES = 2_000
KEPT_VARIANCE = 0.95
FOREST_TREES = 50
EVENTS_OF_A_TREE = 100_000
"""Events drawn for each tree of a forest: more of them take longer and gain little."""

FEW_EVENTS = 50_000
"""Events on which one thread grows boosted trees about as fast as several, and does not mind a busy machine."""

EVENTS_IN_A_LEAF = 100.0
EVENTS_IN_A_FOREST_LEAF = 10.0
NEIGHBOURS = 50
MOST_NEIGHBOURS_TO_BE = 10_000
"""Events among which neighbours are looked for: in many dimensions each is compared with every test event."""

QUERIED_AT_ONCE = 65_536


def fit_baseline(name: str, train: EventTable, validation: EventTable, seed: int) -> Scorer:
    """Train one of ``BASELINES``; it scores any number of events, none as well, and no score is NaN.

    Raises:
        DataError: a class has no positive sum of training weights.

    """
    for kind, label in (("background", 0), ("signal", 1)):
        total = float(train.weights[train.labels == label].sum(dtype=np.float64))
        if total <= 0:
            raise DataError(f"baseline {name!r}: the {kind} weights of the training part add up to {total:g}")
    scorer = BASELINES[name](train, validation, seed)
    return lambda inputs: scorer(inputs) if len(inputs) else np.empty(0)


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
    return _logistic(train.inputs, train)


def principal_components(train: EventTable, validation: EventTable, seed: int) -> Scorer:
    """Return logistic regression on the leading principal components, as many as hold 95 % of the variance.

    The components are those of all training events together, blind to the classes, and of the inputs as the network
    gets them: an input of large scale counts more. Negative weights enter with their sign; a component whose variance
    they make negative counts as one without any.
    """
    components = leading_components(train)
    score = _logistic(components(train.inputs), train)
    return lambda inputs: score(components(inputs))


def leading_components(train: EventTable) -> OfInputs:
    """Return what makes components of inputs, as many as hold 95 % of the variance, each of unit variance."""
    inputs, weights = train.inputs.astype(np.float64), train.weights.astype(np.float64)
    mean = weights @ inputs / weights.sum()
    centred = inputs - mean
    variances, axes = np.linalg.eigh((centred * weights[:, None]).T @ centred / weights.sum())
    variances, axes = np.maximum(variances[::-1], 0.0), axes[:, ::-1]
    held = np.cumsum(variances)
    n_kept = int(np.searchsorted(held, KEPT_VARIANCE * held[-1])) + 1
    # Components of unit variance, on which the fit converges fast; one without variance stays zero.
    leading = axes[:, :n_kept] / np.sqrt(np.where(variances > 0, variances, 1.0)[:n_kept])
    return lambda scored: np.asarray((scored - mean) @ leading)


def nearest(train: EventTable, validation: EventTable, seed: int) -> Scorer:
    """Return the share of signal in the weight of the 50 nearest training events.

    Near is what is near in the inputs as the network gets them. The neighbours are looked for among at most 10,000
    events, drawn at random, as many of a rare class as of the other, with weights that stand for all of it. They are a
    tenth of the events where those are fewer than 500. An event of weight 2 has twice the vote, and one place. Negative
    weights enter the vote with their sign, and a class whose votes add up to less than nothing has none; where neither
    has any, the score is the share of signal in all. Events of weight zero are nobody's neighbours.
    """
    drawn = _drawn(train.among(train.weights != 0), MOST_NEIGHBOURS_TO_BE, np.random.default_rng(seed))
    signed = np.where(drawn.labels > 0, drawn.weights, 0.0), np.where(drawn.labels > 0, 0.0, drawn.weights)
    everywhere = float(train.weights[train.labels > 0].sum(dtype=np.float64)) / train.sum_of_weights

    def vote(neighbours: NDArray[np.intp]) -> NDArray[np.float64]:
        signal, background = (np.maximum(votes[neighbours].sum(axis=1, dtype=np.float64), 0.0) for votes in signed)
        total = signal + background
        shares = np.full(len(neighbours), everywhere)
        np.divide(signal, total, out=shares, where=total > 0)
        return shares

    return asked_of_neighbours(drawn, vote)


def asked_of_neighbours(drawn: EventTable, answer: Callable[[NDArray[np.intp]], NDArray[np.float64]]) -> Scorer:
    """Return what asks the nearest of the events that were drawn, given their rows, ``(n_events, n_neighbours)``."""
    from sklearn.neighbors import NearestNeighbors

    n_neighbours = min(NEIGHBOURS, max(len(drawn) // 10, 1))
    model = NearestNeighbors(n_neighbors=n_neighbours, algorithm="brute").fit(np.ascontiguousarray(drawn.inputs))

    def score(inputs: NDArray[np.float32]) -> NDArray[np.float64]:
        return answer(model.kneighbors(np.ascontiguousarray(inputs), return_distance=False))

    return lambda inputs: np.concatenate([score(block) for block in _blocks(inputs)])


def tree(train: EventTable, validation: EventTable, seed: int) -> Scorer:
    """Return a single decision tree, whose leaves hold the weight of 100 average events or more.

    It says the mean target of a leaf, which is the purity where targets are 0 and 1. Events of negative weight are left
    out: a purity may not leave the range from 0 to 1.
    """
    from sklearn.tree import DecisionTreeRegressor

    learnt = of_positive_weight(train)
    model = DecisionTreeRegressor(
        min_weight_fraction_leaf=_share_of_a_leaf(learnt, EVENTS_IN_A_LEAF), random_state=seed % 2**32
    )
    model.fit(learnt.inputs, learnt.labels, sample_weight=learnt.weights)
    return lambda inputs: np.asarray(model.predict(inputs), dtype=np.float64)


def forest(train: EventTable, validation: EventTable, seed: int) -> Scorer:
    """Return a random forest: 50 trees, each on its own draw (bagging) of at most 100,000 events, with replacement.

    Each split looks at as many inputs as the square root of their number. What it says, and of which events, is as in
    ``tree``.

    References:
        L. Breiman, "Random forests", Machine Learning 45 (2001) 5.

    """
    from sklearn.ensemble import RandomForestRegressor

    learnt = of_positive_weight(train)
    model = RandomForestRegressor(
        FOREST_TREES,
        max_features="sqrt",
        max_samples=min(len(learnt), EVENTS_OF_A_TREE),
        min_weight_fraction_leaf=_share_of_a_leaf(learnt, EVENTS_IN_A_FOREST_LEAF, EVENTS_OF_A_TREE),
        n_jobs=-1,
        random_state=seed % 2**32,
    )
    model.fit(learnt.inputs, learnt.labels, sample_weight=learnt.weights)
    # Several threads would add up the trees in the order in which they finish, and the last digits would be chance.
    model.set_params(n_jobs=1)
    return lambda inputs: np.asarray(model.predict(inputs), dtype=np.float64)


def trees(train: EventTable, validation: EventTable, seed: int) -> Scorer:
    """Return gradient-boosted trees on histograms, as many as the validation loss asks for.

    Events of negative weight are left out: a leaf whose weights add up to nothing has no best value.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    return with_threads(boosted(HistGradientBoostingClassifier, train, validation, seed).decision_function)


def boosted(estimator: type, train: EventTable, validation: EventTable, seed: int) -> Any:
    """Grow boosted trees until the loss of the validation events has not fallen for 20 of them.

    Raises:
        DataError: no validation event has a positive weight.

    """
    learnt, judged = (table.among(table.weights >= 0) for table in (train, validation))
    if not judged.weights.any():
        raise DataError("baseline 'trees': no event of the validation part has a positive weight")
    model = estimator(
        learning_rate=0.05,
        max_iter=MOST_TREES,
        early_stopping=True,
        n_iter_no_change=20,
        random_state=seed % 2**32,
    )
    with _threads_for(len(learnt)):
        model.fit(
            learnt.inputs, learnt.labels, sample_weight=learnt.weights,
            X_val=judged.inputs, y_val=judged.labels, sample_weight_val=judged.weights,
        )  # fmt: skip
    return model


def with_threads(score: Callable[[NDArray[np.float32]], Any]) -> Scorer:
    """Return what asks boosted trees, on as many threads as there is work for."""

    def scored(inputs: NDArray[np.float32]) -> NDArray[np.float64]:
        with _threads_for(len(inputs)):
            return np.asarray(score(inputs), dtype=np.float64)

    return scored


def _threads_for(n_events: int) -> AbstractContextManager[Any]:
    """Let trees grow on several threads where there is enough to do.

    They wait for each other after every level of every tree, and wait by turning in circles: on few events and a busy
    machine that is most of what they do.
    """
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[Any] = threadpool_limits(None if n_events > FEW_EVENTS else 1, "openmp")
    return limits


def of_positive_weight(table: EventTable) -> EventTable:
    """Return the events that can be in a leaf."""
    return table.among(table.weights > 0)


def _logistic(inputs: NDArray[np.floating], train: EventTable) -> OfInputs:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=1e4, max_iter=500)
    model.fit(inputs, train.labels > 0, sample_weight=train.weights)
    return lambda scored: np.asarray(model.decision_function(scored), dtype=np.float64)


def _blocks(inputs: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Return ``inputs`` in pieces whose neighbours fit in memory."""
    return np.array_split(inputs, np.arange(QUERIED_AT_ONCE, len(inputs), QUERIED_AT_ONCE))


def _drawn(table: EventTable, most: int, random: np.random.Generator) -> EventTable:
    """Draw at most half of ``most`` events of each class; the weights of those drawn stand for their whole class."""
    drawn = []
    for is_signal in (False, True):
        rows = table.rows[(table.labels > 0) == is_signal]
        kept = rows[random.choice(len(rows), min(len(rows), most // 2), replace=False)]
        kept[:, -1] *= len(rows) / len(kept)
        drawn.append(kept)
    return EventTable(np.concatenate(drawn))


def _share_of_a_leaf(table: EventTable, n_events: float, most: int | None = None) -> float:
    """Return which share of all weight so many events have, of as many equal ones as say as much as these do.

    By that count a rare class of large weight gets no leaf for a single one of its events.
    """
    weights = table.weights.astype(np.float64)
    n_effective = float(weights.sum() ** 2 / (weights**2).sum())
    return min(n_events / min(n_effective, most or n_effective), 0.25)


BASELINES: Mapping[str, Callable[[EventTable, EventTable, int], Scorer]] = {
    "fisher": fisher,
    "forest": forest,
    "logistic": logistic,
    "nearest": nearest,
    "principal-components": principal_components,
    "tree": tree,
    "trees": trees,
}
