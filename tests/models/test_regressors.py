"""What the baselines of a quantity promise: exact lines, curves that no line follows, weights that count."""

from collections.abc import Callable

import numpy as np
import pytest

from models.regressors import REGRESSORS, fit_regressor
from pipeline.errors import DataError
from pipeline.table import EventTable, pack

LINES = ("linear", "principal-components")


def plane(n_events: int, seed: int, noise: float = 0.3) -> EventTable:
    """2 x - y + 5, with Gaussian noise."""
    generator = np.random.default_rng(seed)
    inputs = generator.normal(size=(n_events, 2))
    targets = inputs @ [2.0, -1.0] + 5 + noise * generator.normal(size=n_events)
    return pack(inputs.astype(np.float32), targets, np.ones(n_events))


def valley(n_events: int, seed: int) -> EventTable:
    """The square of a distance, which a line knows nothing of."""
    generator = np.random.default_rng(seed)
    inputs = generator.uniform(-1, 1, size=(n_events, 2))
    return pack(inputs.astype(np.float32), (inputs**2).sum(axis=1), np.ones(n_events))


TRAIN, VALIDATION, TEST = (plane(20_000, seed) for seed in (1, 2, 3))


def rms(name: str, train: EventTable, validation: EventTable, test: EventTable) -> float:
    said = fit_regressor(name, train, validation, seed=1)(test.inputs)
    return float(np.sqrt(np.mean((said - test.labels) ** 2)))


def reweighted(table: EventTable, weights: np.ndarray) -> EventTable:
    return pack(table.inputs, table.labels, weights)


@pytest.mark.parametrize("name", REGRESSORS)
def test_a_plane_is_found_to_within_its_noise(name: str) -> None:
    """The RMS cannot be below the noise of 0.3; the spread of the targets is √5.09."""
    found = rms(name, TRAIN, VALIDATION, TEST)
    assert found == pytest.approx(0.3, abs=0.005) if name in LINES else 0.29 < found < 0.6


def test_least_squares_are_exact_where_there_is_no_noise() -> None:
    table = plane(50, 4, noise=0.0)
    said = fit_regressor("linear", table, table, seed=1)(np.float32([[0, 0], [1, 0], [0, 1]]))
    assert said == pytest.approx([5, 7, 4], abs=1e-4)


@pytest.mark.parametrize("name", REGRESSORS)
def test_trees_and_neighbours_follow_what_no_line_does(name: str) -> None:
    """The spread is √(2 · 4 / 45) = 0.42."""
    found = rms(name, *(valley(6_000, seed) for seed in (1, 2, 3)))
    assert found == pytest.approx(0.42, abs=0.02) if name in LINES else found < 0.16


@pytest.mark.parametrize("name", REGRESSORS)
def test_an_event_of_weight_two_is_worth_two_events(name: str) -> None:
    small = plane(2_000, 4)
    doubled = EventTable(np.concatenate([small.rows, small.rows[::3]]))
    weighted = reweighted(small, np.where(np.arange(len(small)) % 3 == 0, 2.0, 1.0))
    said = [fit_regressor(name, table, VALIDATION, seed=1)(TEST.inputs[:2_000]) for table in (weighted, doubled)]
    assert np.allclose(*said, atol=1e-4) if name in LINES else np.corrcoef(said)[0, 1] > 0.97


def test_the_nearest_say_the_mean_of_their_targets() -> None:
    table = reweighted(plane(1_000, 6), np.random.default_rng(1).uniform(0.5, 3.0, 1_000))
    said = fit_regressor("nearest", table, table, seed=1)(TEST.inputs[:100])
    for event, found in zip(TEST.inputs[:100].astype(float), said, strict=True):
        rows = np.argsort(((table.inputs - event) ** 2).sum(axis=1))[:50]
        assert found == pytest.approx(np.average(table.labels[rows], weights=table.weights[rows]), rel=1e-5)


def test_neighbours_that_cancel_leave_the_mean_of_all() -> None:
    place, near = np.array([[50.0, 0.0]], dtype=np.float32), plane(900, 8)
    far = pack(np.repeat(place, 50, axis=0), np.full(50, 1e3), np.repeat([1.0, -1.0], 25))
    train = EventTable(np.concatenate([near.rows, far.rows]))
    assert fit_regressor("nearest", train, train, 1)(place) == pytest.approx([near.labels.mean()], rel=1e-5)


EDGES: dict[str, Callable[[EventTable], EventTable]] = {
    "a constant input": lambda table: pack(
        np.hstack([table.inputs, np.ones((len(table), 1), dtype=np.float32)]), table.labels, table.weights
    ),
    "an input twice": lambda table: pack(np.hstack([table.inputs, table.inputs]), table.labels, table.weights),
    "negative weights": lambda table: reweighted(table, np.where(np.arange(len(table)) % 5, 1.0, -1.0)),
    "weights of zero": lambda table: reweighted(table, np.where(np.arange(len(table)) % 3, 1.0, 0.0)),
    "ten events": lambda table: EventTable(table.rows[:10]),
    "one target": lambda table: pack(table.inputs, np.full(len(table), 7.0), table.weights),
}


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("name", REGRESSORS)
def test_odd_events_get_finite_predictions(name: str, edge: str) -> None:
    train, validation, test = (EDGES[edge](plane(1_000, seed)) for seed in (1, 2, 3))
    predict = fit_regressor(name, train, validation, seed=1)
    said = predict(test.inputs)
    assert said.shape == (len(test),)
    assert np.isfinite(said).all()
    assert predict(test.inputs[:0]).shape == (0,)


def test_weights_that_cancel_are_refused() -> None:
    train = reweighted(TRAIN, np.where(np.arange(len(TRAIN)) % 2, 1.0, -1.0))
    with pytest.raises(DataError, match="baseline 'linear': the weights of the training part add up to 0"):
        fit_regressor("linear", train, VALIDATION, seed=1)
