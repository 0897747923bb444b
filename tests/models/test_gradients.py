"""What the measured gradients promise: the norms that follow by hand, and a word when they do not reach the input."""

from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from models.build import ModelSpec, build, head_of
from models.epochs import Epoch, Epochs, begin_epochs
from models.gradients import GradientFlow, gradient_flow, kernels_of
from models.losses import keras_loss, squared_error
from models.optimization import ClippingSpec, OptimizationSpec
from pipeline.shuffle import EventsInMemory
from pipeline.table import EventTable, pack

HALF = 50
"""Events of a batch, of which there are two."""


def toy() -> EventTable:
    random = np.random.default_rng(1)
    labels = (np.arange(2 * HALF) % 2).astype(np.float32)
    inputs = random.normal(size=(2 * HALF, 3)) + labels[:, None]
    return pack(inputs.astype(np.float32), labels, random.uniform(0.5, 1.5, 2 * HALF))


def epochs_of(network: Any, loss: Any, **options: Any) -> Epochs:
    spec = OptimizationSpec.model_validate({"batch_size": HALF, **options})
    return begin_epochs(network, loss, spec, EventsInMemory(toy()), EventsInMemory(toy()), seed=1)


def run(epochs: Epochs, rate: float = 0.0) -> Epoch:
    return epochs.run(np.random.default_rng(1), np.full(2, rate, dtype=np.float32), lambda _: None)


def linear_network() -> Any:
    inputs = keras.Input((3,))
    network = keras.Model(inputs, keras.layers.Dense(1, name="only")(inputs))
    network.set_weights([np.array([[0.5], [-1.0], [2.0]], dtype=np.float32), np.array([0.3], dtype=np.float32)])
    return network


def gradients_by_hand() -> list[NDArray[np.float64]]:
    """Return (2/n) Σ w (x·k + b - y) x of both batches: the gradient in k of the mean of w (x·k + b - y)²."""
    rows = toy().rows[next(EventsInMemory(toy()).shuffled(np.random.default_rng(1))).order].astype(np.float64)
    inputs, labels, weights = rows[:, :3], rows[:, 3], rows[:, 4]
    distances = weights * (inputs @ [0.5, -1.0, 2.0] + 0.3 - labels)
    pulls = distances[:, None] * inputs
    return [2 / HALF * batch.sum(axis=0) for batch in (pulls[:HALF], pulls[HALF:])]


@pytest.mark.parametrize("compiled", [True, False])
def test_the_norm_of_a_linear_network_is_the_one_by_hand_in_every_epoch(compiled: bool) -> None:
    """The kernel stays where it is at a rate of 0: epochs that see the same batches have the same norm."""
    epochs = epochs_of(
        linear_network(), keras_loss("squared-error", squared_error, lambda z: z), compiled=compiled, optimizer="sgd"
    )
    expected = np.sqrt(np.mean([gradient @ gradient for gradient in gradients_by_hand()]))
    for _ in range(2):
        assert run(epochs).gradient_norms == {"only": pytest.approx(expected, rel=1e-5)}


def test_gradients_are_measured_before_they_are_clipped() -> None:
    loss, clip = keras_loss("squared-error", squared_error, lambda z: z), ClippingSpec(norm=1e-6)
    norms = [run(epochs_of(linear_network(), loss, gradient_clipping=c)).gradient_norms["only"] for c in (None, clip)]
    assert norms[0] == norms[1] > 1.0


def test_kernels_are_found_layer_by_layer_without_biases_and_batch_norm() -> None:
    spec = ModelSpec(architecture="residual", options={"width": 4, "blocks": 1})
    network = build(spec, 3, 2, seed=1)
    shapes = {
        name: [network.trainable_variables[place].shape for place in places]
        for name, places in kernels_of(network).items()
    }
    assert shapes == {"dense": [(3, 4)], "dense_1": [(4, 4)], "dense_2": [(4, 4)], "logits": [(4, 1)]}


def test_the_kernels_of_a_layer_that_has_two_belong_together() -> None:
    inputs = keras.Input((5, 3))
    network = keras.Model(inputs, keras.layers.Dense(1, name="end")(keras.layers.SimpleRNN(4, name="memory")(inputs)))
    assert {name: len(places) for name, places in kernels_of(network).items()} == {"memory": 2, "end": 1}


def norms_of(architecture: str, **options: Any) -> NDArray[np.float64]:
    spec = ModelSpec(architecture=architecture, options={"activation": "sigmoid", **options})
    epochs = epochs_of(build(spec, 3, 2, seed=1), head_of(spec).loss(), optimizer="sgd")
    return np.array([list(run(epochs, rate=0.1).gradient_norms.values())])


def test_gradients_fade_in_twelve_layers_of_sigmoids_and_reach_the_input_of_a_residual_network_as_deep() -> None:
    """Each sigmoid has a slope of at most 1/4."""
    plain = norms_of("mlp", widths=[8] * 12)[0]
    assert plain[0] < 1e-5 * plain[-1]
    assert (np.diff(plain[1:]) > 0).all()
    residual = norms_of("residual", width=8, blocks=6, batch_norm=False, dropout=0)
    assert residual.shape == (1, 14)
    verdicts = [flow.verdict for norms in (plain[None], residual) if (flow := gradient_flow(norms))]
    assert verdicts == ["vanish", "steady"]


@pytest.mark.parametrize(
    ("norms", "expected", "verdict"),
    [
        ([[1.0, 2.0]], GradientFlow(2, 1, 0.5), "steady"),
        ([[3.0, 4.0, 9.0, 9.0, 6.0, 8.0]], GradientFlow(6, 2, 0.5), "steady"),
        ([[1.0, 5.0, 200.0], [1.0, 5.0, 400.0], [1.0, 5.0, 1.0]], GradientFlow(3, 1, 1 / 200), "vanish"),
        ([[101.0, 1.0]], GradientFlow(2, 1, 101.0), "explode"),
        ([[0.0, 1.0]], GradientFlow(2, 1, 0.0), "vanish"),
        ([[1.0, 0.0]], GradientFlow(2, 1, np.inf), "explode"),
    ],
)
def test_the_first_third_of_the_layers_is_compared_with_the_last_one_by_the_median_epoch(
    norms: list[list[float]], expected: GradientFlow, verdict: str
) -> None:
    assert (found := gradient_flow(np.array(norms))) == expected
    assert found
    assert found.verdict == verdict


def test_gradients_that_are_all_0_have_no_verdict() -> None:
    found = gradient_flow(np.zeros((3, 4)))
    assert found
    assert found.verdict == "unknown"


@pytest.mark.parametrize("norms", [np.ones((5, 1)), np.ones((0, 3))], ids=["one layer", "no epoch"])
def test_where_there_is_nothing_to_compare_there_is_no_flow(norms: NDArray[np.float64]) -> None:
    assert gradient_flow(norms) is None
