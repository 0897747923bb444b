"""What an optimiser promises: the steps of its formula, on every backend. The gradient is made the same in each."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.build import ModelSpec, build, head_of
from models.epochs import begin_epochs
from models.optimization import OPTIMIZERS, OptimizationSpec
from pipeline.shuffle import EventsInMemory
from pipeline.table import pack

Array = NDArray[np.float64]
N_STEPS, RATE = 3, 1e-2
START = np.array([0.5, -0.3])
INPUTS = np.array([[1.0, -0.2], [-0.5, 0.6], [0.8, 0.4], [-0.4, 0.1]])
LABELS = np.array([0, 1, 0, 1])
GRADIENT = np.mean(INPUTS * (1 - 2 * LABELS)[:, None], axis=0)
"""Of the hinge loss, 1 ± z, as long as no event is beyond its margin: however far the weights have gone."""


def adadelta(g: Array) -> Array:
    """Return the steps of Zeiler's algorithm 1, with a decay of 0.95 and ε = 1e-7."""
    squares, steps, way = np.zeros_like(g), np.zeros_like(g), np.zeros_like(g)
    for _ in range(N_STEPS):
        squares = 0.95 * squares + 0.05 * g**2
        step = np.sqrt(steps + 1e-7) / np.sqrt(squares + 1e-7) * g
        steps, way = 0.95 * steps + 0.05 * step**2, way + step
    return way


K = np.arange(1, N_STEPS + 1)[:, None]
WAYS: dict[str, Callable[[Array], Array]] = {
    "sgd": lambda g: 3 * g,
    "gradient-descent": lambda g: 3 * g,
    # v → 0.9 v + g: after three steps 1 + (1 + 0.9) + (1 + 0.9 + 0.81) times the gradient.
    "momentum": lambda g: 5.61 * g,
    "adagrad": lambda g: np.sum(g / np.sqrt(0.1 + K * g**2), axis=0),
    "adadelta": adadelta,
    # The mean of squares is (1 - 0.9^k) g² after k steps.
    "rmsprop": lambda g: np.sum(np.sign(g) / np.sqrt(1 - 0.9**K), axis=0),
    # Both means, corrected for their start, are those of the gradient itself.
    "adam": lambda g: 3 * np.sign(g),
    "adamw": lambda g: 3 * np.sign(g) + 0.004 * (3 * START - RATE * 3 * np.sign(g)),
}
"""Optimiser → how far three steps along a constant gradient lead, over the rate."""


def way_of(optimizer: str) -> Array:
    """Return how far the weights went against the gradient in three steps, over the rate."""
    model, table = ModelSpec(architecture="logistic"), pack(INPUTS.astype(np.float32), LABELS, np.ones(4))
    network, source = build(model, 2, 2, seed=1), EventsInMemory(table)
    network.set_weights([START[:, None], np.zeros(1)])
    spec = OptimizationSpec(batch_size=4, optimizer=optimizer)
    epochs = begin_epochs(network, head_of(model).loss("hinge"), spec, source, source, seed=1)
    assert not epochs.why_not_compiled
    for _ in range(N_STEPS):
        epochs.run(np.random.default_rng(1), np.full(1, RATE, dtype=np.float32), lambda _: None)
    kernel: Any = epochs.trainee.network.get_weights()[0]
    return np.asarray((START - kernel[:, 0]) / RATE)


def test_no_event_comes_to_its_margin() -> None:
    furthest = np.abs(START) + RATE * np.max([np.abs(way(GRADIENT)) for way in WAYS.values()], axis=0)
    assert (np.abs(INPUTS) @ furthest < 1).all()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_three_steps_are_those_of_the_formula(optimizer: str) -> None:
    assert way_of(optimizer) == pytest.approx(WAYS[optimizer](GRADIENT), abs=2e-4)
