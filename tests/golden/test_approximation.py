"""What hidden units are for: a curve that more of them follow closer, and a region that no line bounds.

References:
    K. Hornik, M. Stinchcombe, H. White, "Multilayer feedforward networks are universal approximators", Neural Networks
    2 (1989) 359.
"""

import numpy as np
import pytest
from numpy.typing import NDArray

from models.build import ModelSpec, build, head_of
from models.metrics import weighted_auc
from models.training import TrainingEvents, TrainingSpec, train
from pipeline.shuffle import EventsInMemory
from pipeline.simulation.functions import BOUNDARIES, curve
from pipeline.table import EventTable, pack

TRAINING = TrainingSpec(epochs=80, batch_size=50, learning_rate=0.02, early_stopping=None)
N_WEIGHTS = 85
"""Those of 2-21-1, 2 · 21 + 21 + 21 + 1, and those of 2-7-7-1, 2 · 7 + 7 + 7 · 7 + 7 + 7 + 1."""


def network_of(model: ModelSpec, table: EventTable, n_targets: int = 0) -> "object":
    network, source = build(model, table.n_inputs, 2, seed=2, n_targets=n_targets), EventsInMemory(table)
    train(network, head_of(model).loss(), TRAINING, TrainingEvents(source, source), ("x", "y"), seed=1)
    return network


def said(network: "object", inputs: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.asarray(network(inputs), dtype=np.float64)[:, 0]  # type: ignore[operator]


def error_of_curve(width: int) -> float:
    """Return the RMS error, in spreads of the curve, of so many units of tanh on the points that they learnt."""
    x = np.linspace(-2, 1.5, 1000)
    y = (curve(x) - curve(x).mean()) / curve(x).std()
    model = ModelSpec(architecture="mlp", head="regression", options={"widths": [width], "activation": "tanh"})
    inputs = x[:, None].astype(np.float32)
    network = network_of(model, pack(inputs, y[:, None], np.ones(1000)), n_targets=1)
    return float(np.sqrt(np.mean((said(network, inputs) - y) ** 2)))


def test_the_error_falls_as_hidden_units_are_added() -> None:
    one, two, six = (error_of_curve(width) for width in (1, 2, 6))
    # One unit rises or falls everywhere, and the curve turns twice.
    assert one > 0.4
    assert two < 0.8 * one
    assert six < 0.3 * two


@pytest.mark.parametrize("widths", [[21], [7, 7]], ids=["wide", "deep"])
def test_as_many_weights_bound_a_region_in_one_layer_or_in_two(widths: list[int]) -> None:
    points = np.random.default_rng(1).uniform(-2, 2, (2000, 2))
    is_inside = BOUNDARIES["parabola"][1](*points.T)
    table = pack(points.astype(np.float32), is_inside, np.ones(2000))
    network = network_of(ModelSpec(architecture="mlp", options={"widths": widths, "activation": "tanh"}), table)
    assert network.count_params() == N_WEIGHTS  # type: ignore[attr-defined]
    assert weighted_auc(said(network, table.inputs), is_inside) > 0.98
