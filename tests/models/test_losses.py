"""What a loss promises: its weighted value, the gradient that belongs to it, and that it trains."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from models.build import ModelSpec, build, head_of
from models.epochs import begin_epochs
from models.losses import DECISIONS as LOSSES
from models.metrics import weighted_auc
from models.optimization import OptimizationSpec
from models.training import TrainingEvents, TrainingSpec, train
from pipeline.shuffle import EventsInMemory
from pipeline.table import EventTable, pack

Array = NDArray[np.float64]
READINGS: dict[str, Callable[[Array], Array]] = {
    "logistic": lambda z: 1 / (1 + np.exp(-z)),
    "fisher": lambda z: (1 + z) / 2,
    "perceptron": lambda z: (1 + z) / 2,
}
IN_NUMPY: dict[str, Callable[[Array, Array, Array], Array]] = {
    "cross-entropy": lambda y, z, value: np.logaddexp(0, z) - y * z,
    "focal": lambda y, z, value: (1 + np.exp((2 * y - 1) * z)) ** -2 * np.logaddexp(0, (1 - 2 * y) * z),
    "squared-error": lambda y, z, value: (value - y) ** 2,
    "absolute-error": lambda y, z, value: abs(value - y),
    "perceptron": lambda y, z, value: np.maximum(0, (1 - 2 * y) * z),
    "hinge": lambda y, z, value: np.maximum(0, 1 - (2 * y - 1) * z),
}
EVERY_LOSS_AND_READING = [(loss, "logistic") for loss in LOSSES] + [
    ("squared-error", "fisher"), ("absolute-error", "fisher"), ("squared-error", "perceptron"),
]  # fmt: skip


def toy(n_events: int, seed: int = 1) -> EventTable:
    """Draw two classes in two inputs, some of the weights negative."""
    generator = np.random.default_rng(seed)
    labels = (np.arange(n_events) % 2).astype(np.float32)
    inputs = generator.normal(size=(n_events, 2)) + [1.0, -0.5] * labels[:, None]
    return pack(inputs.astype(np.float32), labels, generator.uniform(-0.2, 1.5, n_events))


def mean_loss(name: str, reading: str, table: EventTable, z: Array) -> float:
    losses = IN_NUMPY[name](table.labels.astype(np.float64), z, READINGS[reading](z))
    return float(table.weights.astype(np.float64) @ losses / len(table))


@pytest.mark.parametrize(("name", "reading"), EVERY_LOSS_AND_READING)
def test_a_loss_is_the_weighted_mean_of_its_formula(name: str, reading: str) -> None:
    table, z = toy(500), np.random.default_rng(2).normal(0, 3, 500)
    loss = head_of(ModelSpec(architecture=reading)).loss(name)
    found = loss(table.labels[:, None], z.astype(np.float32)[:, None], sample_weight=table.weights)
    assert float(found) == pytest.approx(mean_loss(name, reading, table, z), rel=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_far_from_0_a_loss_and_its_slope_stay_finite(name: str) -> None:
    from keras import ops

    z = np.array([[-1e4], [-90], [90], [1e4]], dtype=np.float32)
    loss = head_of(ModelSpec()).loss(name)
    for labels in (np.zeros((4, 1), dtype=np.float32), np.ones((4, 1), dtype=np.float32)):
        assert np.isfinite(ops.convert_to_numpy(loss(labels, z)))


@pytest.mark.parametrize(("name", "reading"), EVERY_LOSS_AND_READING)
def test_a_compiled_step_goes_down_the_gradient_of_the_formula(name: str, reading: str) -> None:
    model, table, start = ModelSpec(architecture=reading), toy(200), np.array([0.7, -0.4, 0.2])
    network = build(model, 2, 2, seed=1)
    network.set_weights([start[:2, None].astype(np.float32), start[2:].astype(np.float32)])
    spec, events = OptimizationSpec(batch_size=200, optimizer="sgd"), EventsInMemory(table)
    epochs = begin_epochs(network, head_of(model).loss(name), spec, events, events, seed=1)
    epochs.run(np.random.default_rng(1), np.ones(1, dtype=np.float32), lambda _: None)
    step = np.concatenate([w.ravel() for w in epochs.trainee.network.get_weights()]) - start
    assert not epochs.why_not_compiled
    assert step == pytest.approx(-slopes(lambda at: loss_at(at, name, reading, table), start), rel=1e-3, abs=1e-5)


def loss_at(at: Array, name: str, reading: str, table: EventTable) -> float:
    return mean_loss(name, reading, table, table.inputs.astype(np.float64) @ at[:2] + at[2])


def slopes(function: Callable[[Array], float], at: Array) -> Array:
    """Return the slopes by finite differences."""
    return np.array([(function(at + step) - function(at - step)) / 2e-6 for step in 1e-6 * np.eye(len(at))])


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_trains_a_network_that_is_compiled(name: str) -> None:
    table, validation = toy(2000), toy(1000, seed=2)
    model, spec = ModelSpec(architecture="logistic"), TrainingSpec(epochs=8, batch_size=100, learning_rate=0.02)
    network, loss = build(model, 2, 2, seed=4), head_of(model).loss(name)
    record = train(network, loss, spec, parts(table, validation), ("x", "y"), seed=1)
    assert record.is_compiled
    assert record.history[-1]["loss"] < record.history[0]["loss"]
    z: Any = network.predict(validation.inputs, verbose=0)[:, 0]
    # Phi(√1.25 / √2), for two unit Gaussians √1.25 apart, is 0.785.
    assert weighted_auc(z, validation.labels, validation.weights) > 0.74


def parts(table: EventTable, validation: EventTable) -> TrainingEvents:
    return TrainingEvents(EventsInMemory(table), EventsInMemory(validation))


def test_a_loss_that_is_not_in_the_table_is_told_with_the_nearest() -> None:
    with pytest.raises(
        ValidationError, match=r"received 'cross_entropy' \(did you mean 'cross-entropy'\?\); there are: abs"
    ):
        TrainingSpec.model_validate({"loss": "cross_entropy"})


@pytest.mark.parametrize(
    ("architecture", "loss"),
    [("deep-dense", "cross-entropy"), ("fisher", "squared-error"), ("perceptron", "perceptron")],
)
def test_architecture_and_head_say_which_loss_is_the_default(architecture: str, loss: str) -> None:
    head = head_of(ModelSpec(architecture=architecture))
    assert (head.loss().name, head.loss("hinge").name) == (loss.replace("-", "_"), "hinge")
