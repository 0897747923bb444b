"""Penalties on weights: they pull as declared, at matrices alone, and no loss that is told contains them."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.build import ModelSpec, build, head_of
from models.epochs import begin_epochs
from models.optimization import OptimizationSpec
from pipeline.shuffle import EventsInMemory
from pipeline.table import pack

MODEL = ModelSpec(architecture="mlp", options={"widths": [4]})
LABELS = (np.arange(200) % 2).astype(np.float32)
INPUTS = np.random.default_rng(1).normal(size=(200, 2)).astype(np.float32) + LABELS[:, None]


def one_epoch(weight: float, rate: float, **spec: Any) -> tuple[float, Any, list[NDArray[Any]]]:
    """Run one step from weights and biases of 1/2; return its loss and the network in training."""
    source, network = EventsInMemory(pack(INPUTS, LABELS, np.full(200, weight))), build(MODEL, 2, 2, seed=1)
    network.set_weights([np.full_like(w, 0.5) for w in network.get_weights()])
    optimization = OptimizationSpec(batch_size=200, optimizer="sgd", **spec)
    epochs = begin_epochs(network, head_of(MODEL).loss(), optimization, source, source, seed=1)
    epoch = epochs.run(np.random.default_rng(1), np.full(1, rate, dtype=np.float32), lambda _: None)
    return epoch.loss, network, epochs.trainee.network.get_weights()


@pytest.mark.parametrize("compiled", [True, False])
def test_weights_shrink_by_the_slope_of_the_penalty_and_biases_do_not(compiled: bool) -> None:
    """Events without weight leave w → w - rate · (l1 · sign w + 2 · l2 · w)."""
    *_, weights = one_epoch(1e-20, 0.1, l1=0.3, l2=0.2, compiled=compiled)
    expected = [0.5 - 0.1 * (0.3 + 2 * 0.2 * 0.5) if w.ndim > 1 else 0.5 for w in weights]
    assert [float(w.mean()) for w in weights] == pytest.approx(expected, rel=1e-5)


def test_the_loss_that_is_told_is_without_the_penalty() -> None:
    bare, penalised = one_epoch(1.0, 0.0)[0], one_epoch(1.0, 0.0, l1=1.0, l2=1.0)[0]
    assert penalised == pytest.approx(bare, rel=1e-6)


def test_the_network_that_is_saved_knows_of_no_penalty() -> None:
    _, network, _ = one_epoch(1.0, 0.1, l2=0.1)
    assert [layer.get_config().get("kernel_regularizer") for layer in network.layers] == [None] * len(network.layers)
