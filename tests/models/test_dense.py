"""What dense architectures promise: layers as declared, activations that survive export, depth that can be trained."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import keras
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm

from models.build import ModelSpec, build, head_of, scoring_network
from models.bundle import ScoringGraph
from models.compiled.program import assign, values_of
from models.dense import VARIANCES, Activation
from models.epochs import Epochs, begin_epochs
from models.export import assert_parity, export_onnx
from models.metrics import weighted_auc
from models.optimization import OptimizationSpec
from pipeline.missing import MissingSpec
from pipeline.normalise import InputTransform, NormaliseSpec
from pipeline.shuffle import EventsInMemory
from pipeline.table import EventTable, pack

Array = NDArray[Any]
Learn = Callable[[Array, NormaliseSpec, MissingSpec], InputTransform]


def spec_of(architecture: str, noise: float = 0.0, **options: Any) -> ModelSpec:
    return ModelSpec(architecture=architecture, noise=noise, options=options)


def layers_of(spec: ModelSpec) -> list[str]:
    return [type(layer).__name__ for layer in build(spec, 2, 2, seed=1).layers]


def toy(n_events: int, seed: int = 1) -> EventTable:
    """Draw signal inside of a ring of background, which no line separates."""
    generator = np.random.default_rng(seed)
    labels = (np.arange(n_events) % 2).astype(np.float32)
    angle, radius = generator.uniform(0, 2 * np.pi, n_events), generator.normal(2 - 1.5 * labels, 0.25)
    inputs = np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])
    return pack(inputs.astype(np.float32), labels, np.ones(n_events))


def epochs_of(spec: ModelSpec, table: EventTable, **optimization: Any) -> Epochs:
    source, step = EventsInMemory(table), OptimizationSpec(batch_size=100, **optimization)
    epochs = begin_epochs(build(spec, 2, 2, seed=1), head_of(spec).loss(), step, source, source, seed=1)
    assert not epochs.why_not_compiled
    return epochs


def run(epochs: Epochs, *seeds: int) -> list[float]:
    rates = np.full(epochs.steps_per_epoch, 1e-2, dtype=np.float32)
    return [epochs.run(np.random.default_rng(seed), rates, lambda _: None) for seed in seeds]


def test_an_mlp_is_dense_layers_with_biases_and_nothing_else() -> None:
    assert layers_of(spec_of("mlp", widths=[4, 3])) == ["InputLayer", *["Dense", "Activation"] * 2, "Dense"]
    assert build(spec_of("mlp", widths=[4, 3]), 2, 2, seed=1).count_params() == 12 + 15 + 4


def test_a_residual_block_is_a_layer_a_linear_one_and_the_sum() -> None:
    block = ["Dense", "BatchNormalization", "Activation", "Dropout", "Dense", "Add"]
    assert layers_of(spec_of("residual", width=4, blocks=2)) == ["InputLayer", "Dense", *block, *block, "Dense"]


@pytest.mark.parametrize("blocks", [1, 50])
def test_an_untrained_residual_network_of_any_depth_is_linear(blocks: int) -> None:
    network = build(spec_of("residual", width=4, blocks=blocks, batch_norm=False), 2, 2, seed=1)
    x = np.random.default_rng(1).normal(size=(3, 2)).astype(np.float32)
    one, other, both = (np.asarray(network(inputs)) for inputs in (x, 2 * x, 3 * x))
    assert one + other == pytest.approx(both, abs=1e-5)
    assert np.ptp(one) > 0.01


def test_maxout_is_the_largest_of_its_linear_functions() -> None:
    network = build(spec_of("mlp", widths=[3], activation="maxout", pieces=4), 2, 2, seed=1)
    *pieces, last, _ = network.get_weights()
    x = np.random.default_rng(1).normal(size=(20, 2)).astype(np.float32)
    largest = np.max([x @ kernel + bias for kernel, bias in zip(pieces[::2], pieces[1::2], strict=True)], axis=0)
    assert len(pieces) == 8
    assert np.asarray(network(x)) == pytest.approx(largest @ last, abs=1e-5)


def test_gelu_is_the_one_with_the_normal_integral_but_for_its_last_digits() -> None:
    network = build(spec_of("mlp", widths=[1], activation="gelu"), 1, 2, seed=1)
    network.set_weights([np.ones((1, 1)), np.zeros(1), np.ones((1, 1)), np.zeros(1)])
    x = np.linspace(-5, 5, 101, dtype=np.float32)
    assert np.asarray(network(x[:, None]))[:, 0] == pytest.approx(x * norm.cdf(x), abs=5e-4)


def test_pieces_without_maxout_are_refused() -> None:
    with pytest.raises(ValueError, match=r"pieces are those of activation = 'maxout'; received activation = 'relu'"):
        spec_of("mlp", pieces=3)


@pytest.mark.parametrize("activation", get_args(Activation))
def test_initial_weights_are_matched_to_the_activation(activation: str) -> None:
    """The mean square of what ten layers give out stays within a factor of 10, for an input of 1."""
    network = build(spec_of("mlp", widths=[128] * 10, activation=activation), 16, 2, seed=1)
    given = {id(layer.input): layer.input for layer in network.layers if isinstance(layer, keras.layers.Dense)}
    inputs = np.random.default_rng(1).normal(size=(200, 16)).astype(np.float32)
    _, *hidden = keras.Model(network.input, list(given.values()))(inputs)
    squares = [float(np.mean(np.square(layer))) for layer in hidden]
    assert len(squares) == 10
    assert max(squares) < 10 * min(squares)
    assert 0.03 < squares[-1] < 10


@pytest.mark.parametrize("activation", ["relu", *sorted(VARIANCES)])
def test_an_activation_of_a_gaussian_of_the_initial_variance_has_a_mean_square_of_1(activation: str) -> None:
    """By quadrature; that of relu is half of the Gaussian's own, which gives He's 2."""
    at, share = np.polynomial.hermite_e.hermegauss(60)
    values = keras.activations.get(activation)(np.float32(np.sqrt(VARIANCES.get(activation, 2.0)) * at))
    assert np.average(np.square(values), weights=share) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("pieces", [2, 3, 5])
def test_maxout_of_any_number_of_pieces_keeps_its_mean_square(pieces: int) -> None:
    """Of ten layers, from an input of 1."""
    spec = spec_of("mlp", widths=[128] * 10, activation="maxout", pieces=pieces)
    network = build(spec, 16, 2, seed=1)
    inputs = np.random.default_rng(1).normal(size=(200, 16)).astype(np.float32)
    hidden = keras.Model(network.input, network.layers[-1].input)(inputs)
    assert 0.2 < float(np.mean(np.square(hidden))) < 5


@pytest.mark.parametrize("architecture", ["mlp", "deep-dense", "residual"])
def test_six_layers_of_maxout_neither_fade_nor_explode(architecture: str) -> None:
    shape = {"width": 64, "blocks": 3} if architecture == "residual" else {"widths": [64] * 6}
    inputs = np.random.default_rng(1).normal(size=(500, 8)).astype(np.float32)
    z = build(spec_of(architecture, activation="maxout", **shape), 8, 2, seed=1)(inputs)
    assert 0.1 < np.std(z) < 10


@pytest.mark.parametrize("activation", get_args(Activation))
def test_every_activation_trains_is_exported_and_scores_as_in_keras(
    activation: str, learn: Learn, tmp_path: Path
) -> None:
    shape = {"width": 6, "blocks": 1, "dropout": 0} if activation == "maxout" else {"widths": [6, 6]}
    architecture, table = "residual" if activation == "maxout" else "mlp", toy(400)
    spec = spec_of(architecture, noise=0.05, activation=activation, **shape)
    transform = learn(table.inputs.astype(np.float64), NormaliseSpec(), MissingSpec())
    epochs = epochs_of(spec, table)
    losses = run(epochs, *range(15))
    assert losses[-1] < losses[0]
    scoring = scoring_network(epochs.trainee.network, head_of(spec))
    export_onnx(scoring, transform, tmp_path / "m.onnx")
    features = toy(500, seed=2).inputs.astype(np.float64)
    assert assert_parity(tmp_path / "m.onnx", scoring, transform, features, seed=0) < 2e-6
    scores = ScoringGraph(tmp_path / "m.onnx").score(features)
    assert scores == pytest.approx(np.asarray(scoring(transform.apply(features)))[:, 0], abs=2e-6)
    assert np.ptp(scores) > 0.1


def test_twenty_layers_train_with_skip_connections_and_not_without() -> None:
    """Sigmoids let less than a quarter of a gradient through; what is added up need not go through them."""
    table = toy(1000)
    plain = spec_of("mlp", widths=[8] * 20, activation="sigmoid")
    skipping = spec_of("residual", width=8, blocks=10, activation="sigmoid", batch_norm=False, dropout=0)
    found = []
    for spec in (plain, skipping):
        epochs = epochs_of(spec, table)
        run(epochs, *range(10))
        found.append(epochs.judge()[0])
    assert found[0] > 0.99 * np.log(2)
    assert found[1] < 0.2


@pytest.mark.parametrize(("architecture", "activation"), [("mlp", "maxout"), ("residual", "relu")])
def test_what_no_line_separates_is_learnt(architecture: str, activation: str) -> None:
    shape = {"width": 8, "blocks": 2} if architecture == "residual" else {"widths": [8, 8]}
    epochs, judged = epochs_of(spec_of(architecture, activation=activation, **shape), toy(2000)), toy(500, seed=2)
    run(epochs, *range(8))
    z = np.asarray(epochs.trainee.network(judged.inputs, training=False))[:, 0]
    assert weighted_auc(z, judged.labels) > 0.95


def test_a_wide_layer_and_a_deep_stack_of_as_many_weights_learn_a_region() -> None:
    """One hidden layer of n has 4 n + 1 parameters, three of m have 2 m² + 6 m + 1: 177 with n = 44 and m = 8."""
    inside, judged = region(1000, seed=1), region(2000, seed=2)
    for widths in ([44], [8, 8, 8]):
        spec = spec_of("mlp", widths=widths, activation="tanh")
        assert build(spec, 2, 2, seed=1).count_params() == 177
        epochs = epochs_of(spec, inside)
        run(epochs, *range(40))
        z = np.asarray(epochs.trainee.network(judged.inputs, training=False))[:, 0]
        assert np.mean((z > 0) == (judged.labels > 0)) > 0.96


def region(n_events: int, seed: int) -> EventTable:
    """Draw points of a square; those with x² > y are signal."""
    inputs = np.random.default_rng(seed).uniform(-1, 1, (n_events, 2)).astype(np.float32)
    return pack(inputs, inputs[:, 0] ** 2 > inputs[:, 1], np.ones(n_events))


def test_noise_is_on_the_inputs_in_training_alone() -> None:
    """Without steps the loss of an epoch is that of the inputs with their noise, and the other that without."""
    epochs = epochs_of(spec_of("logistic", noise=1.0), toy(2000))
    epochs.trainee.network.set_weights([np.float32([[3], [0]]), np.zeros(1, dtype=np.float32)])
    with_noise = epochs.run(np.random.default_rng(1), np.zeros(20, dtype=np.float32), lambda _: None)
    table, noise = toy(2000), np.random.default_rng(1).normal(size=2000)
    x = table.inputs[:, 0].astype(np.float64)
    expected = [np.mean(np.logaddexp(0, 3 * inputs) - table.labels * 3 * inputs) for inputs in (x, x + noise)]
    assert epochs.judge()[0] == pytest.approx(expected[0], rel=1e-5)
    assert with_noise.loss == pytest.approx(expected[1], rel=0.1)
    assert expected[1] > 1.2 * expected[0]


def test_noise_goes_on_where_it_was_bit_for_bit() -> None:
    spec, table = spec_of("logistic", noise=0.5), toy(500)
    whole, resumed = epochs_of(spec, table), epochs_of(spec, table)
    run(whole, 1)
    assign(resumed.trainee.variables, values_of(whole.trainee.variables))
    assert run(whole, 2) == run(resumed, 2)
    for one, other in zip(whole.judge()[2], resumed.judge()[2], strict=True):
        np.testing.assert_array_equal(one, other)
