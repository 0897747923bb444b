"""What the baselines promise: known directions, weights that count, answers that a closed form gives."""

import numpy as np
import pytest
from scipy.stats import norm

from models.baselines import BASELINES, fit_baseline
from models.metrics import auc_with_error, weighted_auc
from pipeline.errors import DataError
from pipeline.table import EventTable, pack

COVARIANCE = np.array([[1.0, 0.6], [0.6, 1.0]])
SHIFT = np.array([0.8, 0.0])


def gaussians(n_events: int, seed: int) -> EventTable:
    """Two classes of the same covariance, which a linear discriminant separates best."""
    generator = np.random.default_rng(seed)
    labels = np.arange(n_events) % 2
    inputs = generator.multivariate_normal([0.0, 0.0], COVARIANCE, n_events) + labels[:, None] * SHIFT
    return pack(inputs.astype(np.float32), labels, np.ones(n_events))


def rings(n_events: int, seed: int) -> EventTable:
    """Signal in the middle of background: no line separates them."""
    generator = np.random.default_rng(seed)
    labels = np.arange(n_events) % 2
    inputs = generator.normal(size=(n_events, 2)) * (2.0 - labels[:, None])
    return pack(inputs.astype(np.float32), labels, np.ones(n_events))


TRAIN, VALIDATION, TEST = (gaussians(20_000, seed) for seed in (1, 2, 3))


def reweighted(table: EventTable, weights: np.ndarray) -> EventTable:
    return pack(table.inputs, table.labels, weights)


def test_fishers_direction_is_the_inverse_covariance_times_the_mean_difference() -> None:
    scorer = fit_baseline("fisher", TRAIN, VALIDATION, seed=1)
    direction = scorer(np.eye(2, dtype=np.float32))
    expected = np.linalg.solve(COVARIANCE, SHIFT)
    np.testing.assert_allclose(direction / direction[0], expected / expected[0], atol=0.05)


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_reaches_the_area_of_the_likelihood_ratio(name: str) -> None:
    """For two Gaussians it is Φ(d/√2), d² = Δᵀ C⁻¹ Δ; trees are allowed a little less."""
    scores = fit_baseline(name, TRAIN, VALIDATION, seed=1)(TEST.inputs)
    distance = np.sqrt(SHIFT @ np.linalg.solve(COVARIANCE, SHIFT))
    found = auc_with_error(scores, TEST.labels)
    allowed = 0.01 if name == "trees" else 3 * found.error
    assert found.value == pytest.approx(norm.cdf(distance / np.sqrt(2)), abs=allowed)


def test_trees_see_what_no_line_separates() -> None:
    train, validation, test = (rings(6_000, seed) for seed in (1, 2, 3))
    areas = {n: weighted_auc(fit_baseline(n, train, validation, 1)(test.inputs), test.labels) for n in BASELINES}
    assert areas["trees"] > 0.75
    assert abs(areas["logistic"] - 0.5) < 0.05
    assert abs(areas["fisher"] - 0.5) < 0.05


@pytest.mark.parametrize("name", BASELINES)
def test_an_event_of_weight_two_is_worth_two_events(name: str) -> None:
    small, judged = gaussians(2_000, 4), gaussians(1_000, 5)
    weights = np.where(np.arange(len(small)) % 3 == 0, 2.0, 1.0)
    doubled = EventTable(np.concatenate([small.rows, small.rows[::3]]))
    scores = [
        fit_baseline(name, table, judged, seed=1)(TEST.inputs[:2_000])
        for table in (reweighted(small, weights), doubled)
    ]
    assert np.corrcoef(scores)[0, 1] > 0.98 if name == "trees" else np.allclose(*scores, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("name", BASELINES)
def test_negative_weights_cancel_events_rather_than_break_the_fit(name: str) -> None:
    """A tenth of the background is there with the inputs of signal, and again with negative weight."""
    signal = TRAIN.rows[TRAIN.labels == 1][:1_000].copy()
    signal[:, -2] = 0.0
    cancelled = signal.copy()
    cancelled[:, -1] = -1.0
    table = EventTable(np.concatenate([TRAIN.rows, signal, cancelled]))
    scores = fit_baseline(name, table, VALIDATION, seed=1)(TEST.inputs)
    plain = fit_baseline(name, TRAIN, VALIDATION, seed=1)(TEST.inputs)
    assert weighted_auc(scores, TEST.labels) == pytest.approx(weighted_auc(plain, TEST.labels), abs=0.01)


def test_inputs_that_repeat_each_other_do_not_break_fishers_discriminant() -> None:
    twice = [pack(np.hstack([t.inputs, t.inputs]), t.labels, t.weights) for t in (TRAIN, VALIDATION, TEST)]
    once = fit_baseline("fisher", TRAIN, VALIDATION, seed=1)(TEST.inputs)
    scores = fit_baseline("fisher", twice[0], twice[1], seed=1)(twice[2].inputs)
    assert np.corrcoef(once, scores)[0, 1] == pytest.approx(1.0, abs=1e-6)


def test_a_class_without_weight_is_refused() -> None:
    weights = np.where(TRAIN.labels == 1, 0.0, 1.0)
    with pytest.raises(DataError, match="baseline 'fisher': the signal weights of the training part add up to 0"):
        fit_baseline("fisher", reweighted(TRAIN, weights), VALIDATION, seed=1)
