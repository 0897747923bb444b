"""What the baselines promise: known directions, weights that count, answers that a closed form gives."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import norm
from threadpoolctl import threadpool_info

from models.baselines import BASELINES, _threads_for, fit_baseline
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


PLANES = ("fisher", "logistic", "principal-components")
"""The baselines whose scores are linear in the inputs, and exact in the weights."""

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
    """For two Gaussians it is Φ(d/√2), d² = Δᵀ C⁻¹ Δ; what is no plane is allowed a little less."""
    scores = fit_baseline(name, TRAIN, VALIDATION, seed=1)(TEST.inputs)
    distance = np.sqrt(SHIFT @ np.linalg.solve(COVARIANCE, SHIFT))
    found = auc_with_error(scores, TEST.labels)
    allowed = 3 * found.error if name in PLANES else 0.03
    assert found.value == pytest.approx(norm.cdf(distance / np.sqrt(2)), abs=allowed)


@pytest.mark.parametrize("name", BASELINES)
def test_trees_and_neighbours_see_what_no_line_separates(name: str) -> None:
    train, validation, test = (rings(6_000, seed) for seed in (1, 2, 3))
    area = weighted_auc(fit_baseline(name, train, validation, 1)(test.inputs), test.labels)
    assert abs(area - 0.5) < 0.05 if name in PLANES else area > 0.74


@pytest.mark.parametrize("name", BASELINES)
def test_an_event_of_weight_two_is_worth_two_events(name: str) -> None:
    small, judged = gaussians(2_000, 4), gaussians(1_000, 5)
    weights = np.where(np.arange(len(small)) % 3 == 0, 2.0, 1.0)
    doubled = EventTable(np.concatenate([small.rows, small.rows[::3]]))
    scores = [
        fit_baseline(name, table, judged, seed=1)(TEST.inputs[:2_000])
        for table in (reweighted(small, weights), doubled)
    ]
    assert np.allclose(*scores, rtol=1e-2, atol=1e-3) if name in PLANES else np.corrcoef(scores)[0, 1] > 0.9


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


def test_trees_grow_on_one_thread_unless_there_are_many_events() -> None:
    def n_threads() -> list[int]:
        return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "openmp"]

    fit_baseline("trees", EventTable(TRAIN.rows[:100]), VALIDATION, seed=1)  # what has threads is loaded by now
    usual = n_threads()
    with _threads_for(10_000):
        assert set(n_threads()) == {1}
    with _threads_for(1_000_000):
        assert n_threads() == usual
    assert n_threads() == usual


def test_inputs_that_repeat_each_other_do_not_break_fishers_discriminant() -> None:
    twice = [pack(np.hstack([t.inputs, t.inputs]), t.labels, t.weights) for t in (TRAIN, VALIDATION, TEST)]
    once = fit_baseline("fisher", TRAIN, VALIDATION, seed=1)(TEST.inputs)
    scores = fit_baseline("fisher", twice[0], twice[1], seed=1)(twice[2].inputs)
    assert np.corrcoef(once, scores)[0, 1] == pytest.approx(1.0, abs=1e-6)


def test_a_class_without_weight_is_refused() -> None:
    weights = np.where(TRAIN.labels == 1, 0.0, 1.0)
    with pytest.raises(DataError, match="baseline 'fisher': the signal weights of the training part add up to 0"):
        fit_baseline("fisher", reweighted(TRAIN, weights), VALIDATION, seed=1)


def nearest_by_brute_force(train: EventTable, inputs: np.ndarray, n_neighbours: int) -> np.ndarray:
    """The share of signal in the weights of the nearest, one event at a time; negative sums count as none."""
    shares = []
    for event in inputs.astype(np.float64):
        rows = np.argsort(((train.inputs - event) ** 2).sum(axis=1))[:n_neighbours]
        sums = [max(0.0, float(train.weights[rows][train.labels[rows] == label].sum())) for label in (0, 1)]
        shares.append(sums[1] / sum(sums))
    return np.array(shares)


@pytest.mark.parametrize("lowest", [0.5, -0.5], ids=["positive", "some negative"])
def test_the_nearest_vote_with_their_weights(lowest: float) -> None:
    table = gaussians(1_000, 6)
    train = reweighted(table, np.random.default_rng(1).uniform(lowest, 3.0, len(table)))
    scores = fit_baseline("nearest", train, VALIDATION, seed=1)(TEST.inputs[:200])
    np.testing.assert_allclose(scores, nearest_by_brute_force(train, TEST.inputs[:200], 50), rtol=1e-6)


def test_events_without_weight_are_nobodys_neighbours() -> None:
    table = gaussians(1_000, 6)
    ignored = reweighted(gaussians(3_000, 7), np.zeros(3_000))
    both = EventTable(np.concatenate([table.rows, ignored.rows]))
    plain, mixed = (fit_baseline("nearest", train, VALIDATION, seed=1)(TEST.inputs[:500]) for train in (table, both))
    np.testing.assert_allclose(plain, mixed)


def test_events_that_cancel_leave_the_nearest_the_share_of_signal_in_all() -> None:
    """Far away there are 25 background events, and the same again with negative weights."""
    place, near = np.array([[50.0, 0.0]], dtype=np.float32), gaussians(900, 8)
    far = pack(np.repeat(place, 50, axis=0), np.zeros(50), np.repeat([1.0, -1.0], 25))
    train = EventTable(np.concatenate([near.rows, far.rows]))
    assert fit_baseline("nearest", train, VALIDATION, seed=1)(place) == pytest.approx([0.5])


def test_a_draw_of_neighbours_keeps_the_balance_of_the_classes() -> None:
    """Inputs that say nothing: the score is the share of signal in the weights, one in five."""
    generator = np.random.default_rng(1)
    labels = (np.arange(30_000) % 10 == 0).astype(np.float64)
    train = pack(generator.normal(size=(30_000, 2)).astype(np.float32), labels, np.where(labels > 0, 2.25, 1.0))
    scores = fit_baseline("nearest", train, VALIDATION, seed=1)(generator.normal(size=(5_000, 2)).astype(np.float32))
    assert scores.mean() == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize("name", ["tree", "forest"])
def test_a_tree_and_a_forest_find_a_step(name: str) -> None:
    """Signal is one event in five below the step at 0.3, four in five above; the score is the share of signal."""
    generator = np.random.default_rng(1)
    inputs = generator.uniform(-1.0, 1.0, size=(40_000, 1)).astype(np.float32)
    labels = generator.random(len(inputs)) < np.where(inputs[:, 0] > 0.3, 0.8, 0.2)
    train = pack(inputs, labels, np.ones(len(inputs)))
    below, above = (np.linspace(*ends, 500, dtype=np.float32)[:, None] for ends in ((-1.0, 0.29), (0.31, 1.0)))
    scorer = fit_baseline(name, train, train, seed=1)
    assert [scorer(below).mean(), scorer(above).mean()] == pytest.approx([0.2, 0.8], abs=0.02)


@pytest.mark.parametrize("name", ["tree", "forest"])
def test_scores_of_a_tree_and_a_forest_follow_the_weights(name: str) -> None:
    """With one input that says nothing, the score is the share of signal in the weights: 3 in 4."""
    labels = np.arange(4_000) % 2
    train = pack(np.zeros((4_000, 1), dtype=np.float32), labels, np.where(labels == 1, 3.0, 1.0))
    scores = fit_baseline(name, train, train, seed=1)(np.zeros((2, 1), dtype=np.float32))
    assert scores == pytest.approx([0.75, 0.75], abs=0.01)


def test_a_rare_class_of_large_weight_gets_no_leaf_for_a_single_event() -> None:
    """Fifty background events among 20,000, weighted up to the same sum: inputs say nothing, so no score is extreme."""
    generator = np.random.default_rng(1)
    labels = (np.arange(20_000) >= 50).astype(np.float64)
    weights = np.where(labels == 1, 1.0, 19_950 / 50)
    train = pack(generator.normal(size=(20_000, 1)).astype(np.float32), labels, weights)
    scores = fit_baseline("tree", train, train, seed=1)(train.inputs)
    assert scores.min() > 0.1


def test_principal_components_drop_what_varies_little() -> None:
    """The classes differ in an input of a hundredth of the variance alone, which the components leave out."""
    generator = np.random.default_rng(1)
    labels = np.arange(20_000) % 2
    inputs = np.stack([generator.normal(size=20_000), 0.1 * (generator.normal(size=20_000) + labels)], axis=1)
    train = pack(inputs.astype(np.float32), labels, np.ones(20_000))
    reached = {n: weighted_auc(fit_baseline(n, train, train, 1)(train.inputs), labels) for n in PLANES}
    assert reached["principal-components"] < 0.55
    assert reached["logistic"] > 0.74


EDGES: dict[str, Callable[[EventTable], EventTable]] = {
    "one input": lambda table: pack(table.inputs[:, :1], table.labels, table.weights),
    "a constant input": lambda table: pack(
        np.hstack([table.inputs, np.ones((len(table), 1), dtype=np.float32)]), table.labels, table.weights
    ),
    "constant inputs only": lambda table: pack(np.ones_like(table.inputs), table.labels, table.weights),
    "an input twice": lambda table: pack(np.hstack([table.inputs, table.inputs]), table.labels, table.weights),
    "negative weights": lambda table: reweighted(table, np.where(np.arange(len(table)) % 5, 1.0, -1.0)),
    "weights of zero": lambda table: reweighted(table, np.where(np.arange(len(table)) % 3, 1.0, 0.0)),
    "ten events": lambda table: EventTable(table.rows[:10]),
    "huge and tiny weights": lambda table: reweighted(table, np.logspace(-12, 6, len(table))),
}


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("name", BASELINES)
def test_odd_events_get_finite_scores(name: str, edge: str) -> None:
    train, validation, test = (EDGES[edge](gaussians(1_000, seed)) for seed in (1, 2, 3))
    scores = fit_baseline(name, train, validation, seed=1)(test.inputs)
    assert scores.shape == (len(test),)
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("name", BASELINES)
def test_scores_do_not_depend_on_what_is_scored_beside_them(name: str) -> None:
    small = EventTable(TRAIN.rows[:2_000])
    scorer = fit_baseline(name, small, VALIDATION, seed=1)
    in_pieces = [scorer(TEST.inputs[:0]), scorer(TEST.inputs[:1]), scorer(TEST.inputs[1:3_000])]
    np.testing.assert_allclose(np.concatenate(in_pieces), scorer(TEST.inputs[:3_000]), rtol=1e-6, atol=1e-9)
