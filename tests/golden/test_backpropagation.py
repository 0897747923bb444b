"""Backpropagation against worked examples of lectures: the numbers on the slides, and the loop on the slides."""

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from models.build import ModelSpec, head_of
from models.compiled.program import Trainee
from models.epochs import begin_epochs
from models.optimization import OptimizationSpec
from pipeline.shuffle import EventsInMemory
from pipeline.table import pack

Array = NDArray[np.float64]
LOSS = head_of(ModelSpec()).loss("squared-error")
"""Of sigmoid outputs: each is (activation - label)²."""


def smiths_network() -> Trainee:
    """Two inputs, two hidden and two output sigmoids, with the slides' weights w_1 to w_8, b_1 and b_2.

    An event of ours has one label and this one has two, so that the epoch is Keras', and loss and optimiser are ours.
    """
    inputs = keras.Input((2,))
    hidden = keras.layers.Dense(2, "sigmoid")(inputs)
    network = keras.Model(inputs, keras.layers.Dense(2)(hidden))
    kernels = np.array([[0.15, 0.20], [0.25, 0.30]]).T, np.array([[0.40, 0.45], [0.50, 0.55]]).T
    network.set_weights([kernels[0], np.full(2, 0.35), kernels[1], np.full(2, 0.60)])
    return Trainee(network, LOSS, keras.optimizers.SGD(0.5))


EVENT, TARGETS = np.float32([[0.05, 0.10]]), np.float32([[0.01, 0.99]])


def test_smiths_network_gives_the_outputs_of_the_slides() -> None:
    """net_h1 = 0.15 · 0.05 + 0.2 · 0.1 + 0.35, out = sigmoid(net), net_o1 = 0.4 out_h1 + 0.45 out_h2 + 0.6."""
    network = smiths_network().network
    hidden = keras.Model(network.input, network.layers[1].output)(EVENT)
    net_h1 = EVENT[0] @ network.get_weights()[0][:, 0] + network.get_weights()[1][0]
    assert net_h1 == pytest.approx(0.3775, abs=1e-7)
    assert float(hidden[0, 0]) == pytest.approx(0.593269992, abs=1e-7)
    assert float(hidden[0, 1]) == pytest.approx(0.596884378, abs=1e-7)
    assert float(keras.ops.sigmoid(network(EVENT))[0, 0]) == pytest.approx(0.75136507, abs=1e-7)


def test_smiths_error_is_our_squared_error_of_two_outputs() -> None:
    """E = ½ Σ (target - out)²: half of a sum is the mean of two. E_o1 = 0.274811083, E_o2 likewise from out_o2."""
    trainee = smiths_network()
    out_o2 = 1 / (1 + np.exp(-(0.5 * 0.593269992 + 0.55 * 0.596884378 + 0.6)))
    z, weights = trainee.network(EVENT), np.ones(1, dtype=np.float32)
    assert float(trainee.mean_loss(TARGETS[:, :1], z[:, :1], weights)) / 2 == pytest.approx(0.274811083, abs=1e-7)
    expected = 0.274811083 + (0.99 - out_o2) ** 2 / 2
    assert float(trainee.mean_loss(TARGETS, z, weights)) == pytest.approx(expected, abs=1e-7)


def test_smiths_fifth_weight_after_one_step() -> None:
    """dE/dw_5 = (out_o1 - target_o1) · out_o1 (1 - out_o1) · out_h1 = 0.082167041; w_5 → 0.4 - 0.5 · dE/dw_5."""
    trainee = smiths_network()
    trainee.network.compile(trainee.optimizer, trainee.loss)
    trainee.network.train_on_batch(EVENT, TARGETS)
    w_5 = float(trainee.network.get_weights()[2][0, 0])
    assert w_5 == pytest.approx(0.35891648, abs=1e-7)
    assert (0.4 - w_5) / 0.5 == pytest.approx(0.082167041, abs=2e-7)


def kulyukins_loop(n_steps: int, x: Array, y: Array, w_1: Array, w_2: Array) -> tuple[Array, Array]:
    """Train a 2-3-1 network of sigmoids without biases as on the slides: steps of 1 along Σ (y - ŷ) dŷ/dw."""
    for _ in range(n_steps):
        hidden = 1 / (1 + np.exp(-x @ w_1))
        output = 1 / (1 + np.exp(-hidden @ w_2))
        output_delta = (y - output) * output * (1 - output)
        hidden_delta = output_delta @ w_2.T * hidden * (1 - hidden)
        w_1, w_2 = w_1 + x.T @ hidden_delta, w_2 + hidden.T @ output_delta
    return w_1, w_2


def test_kulyukins_network_trains_in_the_compiled_epoch_as_in_his_loop() -> None:
    """Our loss is the mean of (ŷ - y)², so that a rate of n / 2 makes his steps; the start is his seed's."""
    x, y = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=float), np.array([0.0, 1, 1, 1])
    random = np.random.RandomState(1)
    start = random.randn(2, 3), random.randn(3, 1)
    inputs = keras.Input((2,))
    hidden = keras.layers.Dense(3, "sigmoid", use_bias=False)(inputs)
    network = keras.Model(inputs, keras.layers.Dense(1, use_bias=False)(hidden))
    network.set_weights(start)
    events = EventsInMemory(pack(x.astype(np.float32), y.astype(np.float32), np.ones(4)))
    epochs = begin_epochs(network, LOSS, OptimizationSpec(batch_size=4, optimizer="sgd"), events, events, seed=1)
    losses = [epochs.run(np.random.default_rng(i), np.float32([2]), lambda _: None).loss for i in range(300)]
    assert not epochs.why_not_compiled
    assert losses[-1] < losses[0] / 2
    for ours, his in zip(epochs.trainee.network.get_weights(), kulyukins_loop(300, x, y[:, None], *start), strict=True):
        assert ours == pytest.approx(his, abs=1e-4)
