"""Linear networks against what is known of them: closed forms, and rules that can be followed by hand."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from models.build import ModelSpec, build, head_of, scoring_network
from models.bundle import ScoringGraph
from models.epochs import Epochs, begin_epochs
from models.export import assert_parity, export_onnx
from models.optimization import OptimizationSpec
from pipeline.missing import MissingSpec
from pipeline.normalise import InputTransform, NormaliseSpec
from pipeline.shuffle import EventsInMemory
from pipeline.table import EventTable, pack

Array = NDArray[Any]
Learn = Callable[[Array, NormaliseSpec, MissingSpec], InputTransform]
AND = pack(np.float32([[0, 0], [0, 1], [1, 0], [1, 1]]), np.float32([0, 0, 0, 1]), np.ones(4))
PERCEPTRON = ModelSpec(architecture="perceptron")


def toy(n_events: int, distance: float = 1.5, seed: int = 1) -> EventTable:
    """Draw two correlated classes of unlike size and shape, one weight in ten negative."""
    generator = np.random.default_rng(seed)
    labels = (np.arange(n_events) % 3 == 0).astype(np.float32)
    spread = np.where(labels[:, None, None] == 1, [[1, 0.5], [0, 0.8]], [[1.2, -0.3], [0.4, 0.6]])
    inputs = np.einsum("ni,nij->nj", generator.normal(size=(n_events, 2)), spread) + distance * labels[:, None]
    weights = generator.uniform(0.2, 2, n_events) * np.where(generator.random(n_events) < 0.1, -0.3, 1)
    return pack(inputs.astype(np.float32), labels, weights)


def trained(
    model: ModelSpec, table: EventTable, rates: list[float], loss: str | None = None, start: Any = None, **spec: Any
) -> Epochs:
    """Train for an epoch at each rate, the events in the order in which they stand."""
    network = build(model, table.n_inputs, 2, seed=1)
    if start is not None:
        network.set_weights([np.float32(start[:2])[:, None], np.float32(start[2:])])
    order = next(EventsInMemory(table).shuffled(np.random.default_rng(0))).order
    rows = np.empty_like(table.rows)
    rows[order] = table.rows
    source = EventsInMemory(EventTable(rows))
    epochs = begin_epochs(network, head_of(model).loss(loss), OptimizationSpec(**spec), source, source, seed=1)
    assert not epochs.why_not_compiled
    for rate in rates:
        steps = np.full(epochs.steps_per_epoch, rate, dtype=np.float32)
        epochs.run(np.random.default_rng(0), steps, lambda _: None)
    return epochs


def weights_of(epochs: Epochs) -> list[float]:
    """Return the weights of a network without hidden layer, the bias last."""
    return [float(w) for array in epochs.trainee.network.get_weights() for w in array.ravel()]


def fishers_direction(table: EventTable) -> Array:
    inputs, weights = table.inputs.astype(np.float64), table.weights.astype(np.float64)
    means, within = [], np.zeros((2, 2))
    for label in (0, 1):
        x, w = inputs[table.labels == label], weights[table.labels == label]
        means.append(w @ x / w.sum())
        within += (x - means[-1]).T @ ((x - means[-1]) * w[:, None])
    return np.asarray(np.linalg.solve(within, means[1] - means[0]))


@pytest.mark.parametrize("widths", [[], [4, 3]])
def test_fishers_direction_is_the_inverse_covariance_times_the_mean_difference(widths: list[int]) -> None:
    """Least squares of linear outputs on labels has that direction, whatever the weights of the classes."""
    table, model = toy(3000), ModelSpec(architecture="fisher", options={"widths": widths})
    network = trained(model, table, [0.05] * 150 + [0.01] * 150, batch_size=3000).trainee.network
    origin, *steps = np.asarray(network(np.float32([[0, 0], [1, 0], [0, 1]])))[:, 0].astype(np.float64)
    found, expected = np.array(steps) - origin, fishers_direction(table)
    assert found / np.linalg.norm(found) == pytest.approx(expected / np.linalg.norm(expected), abs=2e-3)


def test_fishers_score_rises_with_the_linear_output_and_touches_its_line_in_the_middle() -> None:
    model = ModelSpec(architecture="fisher")
    network = build(model, 1, 2, seed=1)
    network.set_weights([np.ones((1, 1)), np.zeros(1)])
    z = np.linspace(-4, 4, 161, dtype=np.float32)
    scores = np.asarray(scoring_network(network, head_of(model))(z[:, None]))[:, 0]
    assert (np.diff(scores) > 0).all()
    assert scores[[0, -1]] == pytest.approx([0, 1], abs=1e-3)
    assert scores[78:83] == pytest.approx((1 + z[78:83]) / 2, abs=1e-3)


def test_logistic_regression_is_where_its_loss_has_no_slope() -> None:
    """Newton's method finds the same minimum in a few steps."""
    table = toy(3000)
    x = np.column_stack([table.inputs, np.ones(3000)]).astype(np.float64)
    w, expected = table.weights.astype(np.float64), np.zeros(3)
    for _ in range(20):
        p = 1 / (1 + np.exp(-x @ expected))
        expected -= np.linalg.solve(x.T @ (x * (w * p * (1 - p))[:, None]), x.T @ (w * (p - table.labels)))
    epochs = trained(ModelSpec(architecture="logistic"), table, [0.1] * 150 + [0.01] * 150, batch_size=3000)
    assert weights_of(epochs) == pytest.approx(expected.tolist(), abs=2e-3)


def test_logistic_regression_agrees_with_the_weighted_fit_of_scikit_learn() -> None:
    table = toy(3000)
    theirs = LogisticRegression(C=np.inf, tol=1e-8).fit(table.inputs, table.labels, sample_weight=table.weights)
    epochs = trained(ModelSpec(architecture="logistic"), table, [0.1] * 150 + [0.01] * 150, batch_size=3000)
    assert weights_of(epochs) == pytest.approx([*theirs.coef_[0], *theirs.intercept_], abs=2e-3)
    unweighted = LogisticRegression(C=np.inf, tol=1e-8).fit(table.inputs, table.labels)
    assert weights_of(epochs) != pytest.approx([*unweighted.coef_[0], *unweighted.intercept_], abs=2e-2)


@pytest.mark.parametrize(
    ("n_epochs", "expected"),
    [
        # 00, 01, 10 are 0 at z = 0, rightly; 11 is not, and adds (1, 1) and 1.
        (1, [1, 1, 1]),
        # 00: z = 1, b → 0. 01: z = 1, → (1, 0), -1. 10: z = 0, right. 11: z = 0, → (2, 1), 0.
        (2, [2, 1, 0]),
        # 00: z = 0. 01: z = 1, → (2, 0), -1. 10: z = 1, → (1, 0), -2. 11: z = -1, → (2, 1), -1.
        (3, [2, 1, -1]),
        # 00, 01: right. 10: z = 1, → (1, 1), -2. 11: z = 0, → (2, 2), -1.
        (4, [2, 2, -1]),
        # 01: z = 1, → (2, 1), -2. 10: z = 0. 11: z = 1. And then nothing is wrong any more.
        (5, [2, 1, -2]),
        (9, [2, 1, -2]),
    ],
)
def test_the_perceptron_learns_and_by_the_rule_step_by_step(n_epochs: int, expected: list[float]) -> None:
    """An event that is wrong adds rate · (label - output) · input, with 1 as the bias' input."""
    epochs = trained(PERCEPTRON, AND, [1.0] * n_epochs, start=[0, 0, 0], batch_size=1, optimizer="sgd")
    assert weights_of(epochs) == expected


def test_a_batch_of_the_perceptron_is_the_mean_of_its_events() -> None:
    """At z = 0.5 all of AND but 11 is wrong: the inputs of three events are taken off, and 3 from the bias."""
    epochs = trained(PERCEPTRON, AND, [1.0], start=[0, 0, 0.5], batch_size=4, optimizer="sgd")
    assert weights_of(epochs) == [-0.25, -0.25, -0.25]


def test_the_delta_rule_step_by_step() -> None:
    """The linear output o = z has targets t = ±1, and w → w + η (t - o) x with η half the rate, here 1/4.

    00: o = 0, t = -1: b = -1/4. 01: o = -1/4: -3/16 each, w = (0, -3/16), b = -7/16. 10: o = -7/16: -9/64 each,
    w = (-9/64, -3/16), b = -37/64. 11: o = -58/64, t = 1: 122/256 each.
    """
    epochs = trained(PERCEPTRON, AND, [0.5], "squared-error", start=[0, 0, 0], batch_size=1, optimizer="sgd")
    assert weights_of(epochs) == pytest.approx([(122 - 36) / 256, (122 - 48) / 256, (122 - 148) / 256], abs=1e-6)


def test_a_batch_of_the_delta_rule_is_the_mean_of_its_events() -> None:
    """From 0 the errors t - o are -1, -1, -1, 1: their means with the inputs are 0, 0, and -1/2 with the bias'."""
    epochs = trained(PERCEPTRON, AND, [0.5], "squared-error", start=[0, 0, 0], batch_size=4, optimizer="sgd")
    assert weights_of(epochs) == pytest.approx([0, 0, -0.125], abs=1e-7)


def test_events_one_by_one_are_their_batch_if_the_rate_is_small_enough() -> None:
    """A step per event at the rate η / 4 and one for all at η differ by O(η²): a tenth of η leaves a hundredth."""
    differences = []
    for rate in (0.4, 0.04):
        one_by_one, batch = (
            trained(PERCEPTRON, AND, [rate / 4 * size], "squared-error", start=[0, 0, 0], batch_size=size,
                    optimizer="gradient-descent")
            for size in (1, 4)
        )  # fmt: skip
        differences.append(max(abs(np.subtract(weights_of(one_by_one), weights_of(batch)))))
    assert differences[0] > 1e-3
    assert differences[1] == pytest.approx(differences[0] / 100, rel=0.2)


def test_the_perceptron_separates_what_can_be_separated_and_says_0_or_1() -> None:
    table = toy(300, distance=12.0)
    table = pack(table.inputs, table.labels, np.ones(300))
    epochs = trained(PERCEPTRON, table, [1.0] * 20, batch_size=1, optimizer="sgd")
    scores = np.asarray(scoring_network(epochs.trainee.network, head_of(PERCEPTRON))(table.inputs))[:, 0]
    assert scores.tolist() == table.labels.tolist()
    assert epochs.judge()[0] == 0


@pytest.mark.parametrize("architecture", ["perceptron", "fisher", "logistic"])
def test_a_linear_network_scores_as_in_keras_when_it_is_exported(
    architecture: str, learn: Learn, tmp_path: Path
) -> None:
    features, model = toy(1000).inputs.astype(np.float64), ModelSpec(architecture=architecture)
    transform = learn(features, NormaliseSpec(), MissingSpec())
    scoring = scoring_network(build(model, 2, 2, seed=1), head_of(model))
    export_onnx(scoring, transform, tmp_path / "m.onnx")
    assert_parity(tmp_path / "m.onnx", scoring, transform, features, seed=0)
    scores = ScoringGraph(tmp_path / "m.onnx").score(features)
    assert scores == pytest.approx(np.asarray(scoring(transform.apply(features)))[:, 0], abs=2e-6)
    assert (len(np.unique(scores)) == 2) == (architecture == "perceptron")


def test_a_linear_network_has_no_options_that_do_nothing() -> None:
    with pytest.raises(ValueError, match=r"options\.widths: unknown key; allowed here: none"):
        ModelSpec(architecture="logistic", options={"widths": [8]})
