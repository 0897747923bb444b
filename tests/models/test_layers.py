"""Faster dropout and batch norm: masks that pass for random, moments that do not cancel, and the way back."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops
from numpy.typing import NDArray
from scipy import stats

from models.layers import (
    FAST,
    HashedDropout,
    HashedGaussianNoise,
    OnePassBatchNormalization,
    keep_mask,
    unit_gaussian,
    with_fast_layers,
)

Array = NDArray[Any]
RATES = [0.1, 0.5, 0.9]
ROWS, UNITS, STEPS = 512, 96, 24


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function as one program of XLA."""
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(function)
    import tensorflow

    return tensorflow.function(function, jit_compile=True)  # type: ignore[no-any-return]


@functools.cache
def masks(rate: float, seed: int = 1, steps: int = STEPS) -> Array:
    """Return masks of consecutive steps, shape ``(steps, ROWS, UNITS)``."""
    draw = compiled(lambda key: keep_mask(key, (ROWS, UNITS), rate))
    keys = np.array([(seed, step) for step in range(steps)], np.uint32)
    return np.stack([ops.convert_to_numpy(draw(ops.convert_to_tensor(key))) for key in keys])


def signs(rate: float, seed: int = 1) -> Array:
    """Return the masks with mean 0 and variance 1, if they are what they claim."""
    return (masks(rate, seed) - (1 - rate)) / np.sqrt(rate * (1 - rate))


def in_sigma(values: Array) -> float:
    """Return how many standard errors the mean of values of variance 1 is away from 0."""
    return float(abs(values.mean()) * np.sqrt(values.size))


@pytest.mark.parametrize("rate", RATES)
def test_as_many_are_dropped_as_was_asked(rate: float) -> None:
    assert in_sigma(signs(rate)) < 4


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("others", [(0, 1), (0, 2), (1, 2), (0,), (1,)], ids=str)
def test_no_unit_row_step_or_place_is_favoured(rate: float, others: tuple[int, ...]) -> None:
    """Compare what is kept along some axes with the binomial distribution: its spread, and the furthest of all."""
    kept = masks(rate).sum(axis=others)
    n_each = masks(rate).size // kept.size
    spread = ((kept - n_each * (1 - rate)) ** 2).mean() / (n_each * rate * (1 - rate))
    assert abs(spread - 1) < 5 * np.sqrt(2.5 / kept.size)
    furthest = min(stats.binom.cdf(kept.min(), n_each, 1 - rate), stats.binom.sf(kept.max() - 1, n_each, 1 - rate))
    assert 2 * furthest * kept.size > 1e-3


@pytest.mark.parametrize("rate", RATES)
def test_a_row_keeps_as_many_as_the_binomial_distribution_has_it(rate: float) -> None:
    kept = masks(rate).sum(axis=-1).ravel()
    edges = np.unique(stats.binom.ppf(np.linspace(0.02, 0.98, 13), UNITS, 1 - rate))
    expected = np.diff(stats.binom.cdf(edges, UNITS, 1 - rate), prepend=0, append=1) * kept.size
    found = np.bincount(np.searchsorted(edges, kept), minlength=expected.size)
    assert stats.chi2.sf(((found - expected) ** 2 / expected).sum(), expected.size - 1) > 1e-4


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("axis", [0, 1, 2], ids=["step", "row", "unit"])
@pytest.mark.parametrize("lag", [1, 2, 3, 8])
def test_neighbours_are_not_alike(rate: float, axis: int, lag: int) -> None:
    moved = np.moveaxis(signs(rate), axis, 0)
    assert in_sigma(moved[lag:] * moved[:-lag]) < 4.5


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("seed", [0, 2, 3, 2**31 - 1])
def test_layers_of_different_seeds_are_not_alike(rate: float, seed: int) -> None:
    assert in_sigma(signs(rate) * signs(rate, seed)) < 4.5


@pytest.mark.parametrize("rate", RATES)
def test_runs_along_the_units_are_as_long_as_by_chance(rate: float) -> None:
    """A unit differs from its neighbour with probability 2 p (1 - p)."""
    differ = np.diff(masks(rate).astype(np.int8), axis=-1) != 0
    share = 2 * rate * (1 - rate)
    # Overlapping pairs are dependent unless p = 1/2: twice the variance covers that.
    assert abs(differ.mean() - share) < 5 * np.sqrt(2 * share * (1 - share) / differ.size)


@pytest.mark.parametrize("rate", RATES)
def test_no_pair_of_units_goes_together(rate: float) -> None:
    """Hold every pair of units against all rows: the sharp test of a sum of row's and unit's words.

    The mean square of the correlations, in standard errors, is 1; after one round of mixing only it is about 2.
    """
    flat = signs(rate).reshape(-1, UNITS)
    pairs = (flat.T @ flat / np.sqrt(len(flat)))[np.triu_indices(UNITS, 1)]
    assert abs((pairs**2).mean() - 1) < 6 * np.sqrt(2 / pairs.size)
    assert np.abs(pairs).max() < 6


@pytest.mark.parametrize("rate", RATES)
def test_rectangles_of_two_rows_and_two_units_are_not_even(rate: float) -> None:
    """What is a sum of a row's and a unit's word shows first in products over such rectangles."""
    flat, random, size = signs(rate).reshape(-1, UNITS), np.random.default_rng(1), 1_000_000
    row, unit = random.integers(0, len(flat), size), random.integers(0, UNITS, size)
    other_row = (row + random.integers(1, len(flat), size)) % len(flat)
    other_unit = (unit + random.integers(1, UNITS, size)) % UNITS
    product = flat[row, unit] * flat[row, other_unit] * flat[other_row, unit] * flat[other_row, other_unit]
    assert in_sigma(product) < 5


def test_the_masks_are_those_of_the_hash_on_every_backend() -> None:
    def mixed(bits: Array) -> Array:
        bits = (bits ^ (bits >> np.uint32(16))) * np.uint32(0x7FEB352D)
        bits = (bits ^ (bits >> np.uint32(15))) * np.uint32(0x846CA68B)
        return np.asarray(bits ^ (bits >> np.uint32(16)))

    rows, units = (mixed(np.arange(n, dtype=np.uint32) + np.uint32(0x9E3779B9)) for n in (ROWS, UNITS))
    for word in (1, STEPS - 1):
        rows = mixed(rows ^ np.uint32(word))
    expected = mixed(rows[:, None] + units) >= 0.1 * 2**32
    assert np.array_equal(masks(0.1)[-1], expected)


@pytest.mark.parametrize("rate", RATES)
def test_the_output_is_the_input_on_average(rate: float) -> None:
    layer, inputs, steps = HashedDropout(rate, seed=1), np.linspace(1, 2, 64, dtype="float32").reshape(8, 8), 400
    run = np.mean([ops.convert_to_numpy(layer(inputs, training=True)) for _ in range(steps)], axis=0)
    assert np.abs(run / inputs - 1).max() < 4.5 * np.sqrt(rate / (1 - rate) / steps)


def test_what_is_kept_is_scaled_up_and_the_rest_is_zero() -> None:
    outputs = ops.convert_to_numpy(HashedDropout(0.2, seed=1)(np.full((64, 8), 4.0, "float32"), training=True))
    assert np.unique(outputs).tolist() == [0.0, 5.0]


@functools.cache
def noise(seed: int = 1) -> Array:
    """Return noise of consecutive steps in units of its spread, shape ``(STEPS, ROWS, UNITS)``."""
    layer, inputs = HashedGaussianNoise(0.5, seed=seed), np.full((ROWS, UNITS), 3, "float32")
    steps = [ops.convert_to_numpy(layer(inputs, training=True)) for _ in range(STEPS)]
    return (np.stack(steps).astype(np.float64) - 3) / 0.5


def test_noise_is_gaussian_with_the_spread_that_was_asked() -> None:
    assert stats.kstest(noise().ravel(), "norm").pvalue > 1e-3
    assert in_sigma(noise()) < 4
    assert in_sigma((noise() ** 2 - 1) / np.sqrt(2)) < 4


@pytest.mark.parametrize("axis", [0, 1, 2], ids=["step", "row", "unit"])
@pytest.mark.parametrize("lag", [1, 2, 8])
def test_noise_of_neighbours_is_not_alike(axis: int, lag: int) -> None:
    moved = np.moveaxis(noise(), axis, 0)
    assert in_sigma(moved[lag:] * moved[:-lag]) < 4.5


def test_noise_of_another_seed_is_not_alike() -> None:
    assert in_sigma(noise() * noise(2)) < 4.5


def test_every_word_gives_a_finite_number_by_the_inverse_of_the_normal_integral() -> None:
    words = np.array([0, 2**9 - 1, 2**31, 2**32 - 1, *np.random.default_rng(1).integers(2**32, size=100)], np.uint32)
    expected = stats.norm.ppf(((words >> 9) + 0.5) / 2**23)
    assert ops.convert_to_numpy(unit_gaussian(ops.convert_to_tensor(words))) == pytest.approx(expected, abs=2e-4)


def test_there_is_no_noise_in_inference() -> None:
    layer, inputs = HashedGaussianNoise(0.5, seed=1), np.ones((4, 3), "float32")
    assert np.array_equal(layer(inputs), inputs)


def test_nothing_is_dropped_in_inference() -> None:
    layer, inputs = HashedDropout(0.5, seed=1), np.ones((4, 3), "float32")
    assert np.array_equal(layer(inputs), inputs)
    assert ops.convert_to_numpy(layer.seed_generator.state).tolist() == [1, 0]


@pytest.mark.parametrize(("rate", "expected"), [(0.0, 1.0), (1.0, 0.0)])
def test_all_or_nothing_may_be_dropped(rate: float, expected: float) -> None:
    outputs = HashedDropout(rate, seed=1)(np.ones((4, 3), "float32"), training=True)
    assert np.unique(ops.convert_to_numpy(outputs)).tolist() == [expected]


def test_a_seed_repeats_its_masks_and_every_step_has_its_own() -> None:
    inputs = np.ones((16, 16), "float32")
    layer, same = HashedDropout(0.5, seed=3), HashedDropout(0.5, seed=3)
    one, two, again = (ops.convert_to_numpy(each(inputs, training=True)) for each in (layer, layer, same))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, two)


def test_restoring_the_counter_restores_the_masks() -> None:
    layer, inputs = HashedDropout(0.5, seed=3), np.ones((16, 16), "float32")
    state = ops.convert_to_numpy(layer.variables[0])
    before = ops.convert_to_numpy(layer(inputs, training=True))
    layer.variables[0].assign(state)
    assert np.array_equal(layer(inputs, training=True), before)


@pytest.mark.parametrize("shape", [(30,), (30, 4), (30, 4, 5), (30, 4, 5, 2)])
def test_inputs_of_any_rank_lose_their_share(shape: tuple[int, ...]) -> None:
    outputs = np.stack([HashedDropout(0.5, seed=n)(np.ones(shape, "float32"), training=True) for n in range(20)])
    assert outputs.shape == (20, *shape)
    assert in_sigma(outputs - 1) < 4


@pytest.mark.parametrize("noise_shape", [(None, 1, 5), (None, 4, 1), (1, None, None), (6, 1, 1)])
def test_a_noise_shape_shares_the_mask_along_its_ones(noise_shape: tuple[int | None, ...]) -> None:
    layer = HashedDropout(0.5, noise_shape=noise_shape, seed=1)
    outputs = ops.convert_to_numpy(layer(np.ones((6, 4, 5), "float32"), training=True))
    shared = tuple(slice(0, 1) if length == 1 else slice(None) for length in noise_shape)
    assert np.array_equal(outputs, np.broadcast_to(outputs[shared], outputs.shape))
    assert len(np.unique(outputs)) == 2


def test_dropout_computes_in_half_precision_where_it_is_told_to() -> None:
    layer, single = HashedDropout(0.5, seed=1, dtype="mixed_bfloat16"), HashedDropout(0.5, seed=1)
    inputs = np.ones((16, 16), "float32")
    outputs = layer(inputs, training=True)
    assert keras.backend.standardize_dtype(outputs.dtype) == "bfloat16"
    assert np.array_equal(ops.cast(outputs, "float32"), single(inputs, training=True))


Trained = tuple[Array, Array, Array, list[Array]]


def trained_norm(kind: type, inputs: Array) -> Trained:
    """Return output, moving statistics and all gradients of a compiled step through a norm with an odd loss."""
    layer = kind(momentum=0.5)
    layer.build(inputs.shape)
    target = np.sin(np.arange(inputs.size)).reshape(inputs.shape).astype("float32")
    loss = functools.partial(norm_loss, layer, target)
    outputs, means, variances, *gradients = gradients_of(loss, layer, inputs)
    return outputs, means, variances, gradients


def norm_loss(layer: Any, target: Array, state: list[Any], values: list[Any], inputs: Any) -> tuple[Any, Any]:
    outputs, state = layer.stateless_call(values, state, inputs, training=True)
    return ops.sum(ops.sin(outputs) * target), (outputs, *state)


def gradients_of(loss: Callable[..., Any], layer: Any, inputs: Array) -> list[Array]:
    state, values = ([v.value for v in kind] for kind in (layer.non_trainable_variables, layer.trainable_variables))
    if keras.backend.backend() == "jax":
        import jax

        step = jax.jit(jax.value_and_grad(loss, argnums=(1, 2), has_aux=True))
        (_, found), (of_values, of_inputs) = step(state, values, inputs)
        return [np.asarray(array) for array in (*found, *of_values, of_inputs)]
    import tensorflow

    def step_of_tensorflow(inputs: Any) -> list[Any]:
        with tensorflow.GradientTape() as tape:
            tape.watch([*(sources := [*map(tensorflow.identity, values)]), inputs])
            total, found = loss(state, sources, inputs)
        return [*found, *tape.gradient(total, [*sources, inputs])]

    return [array.numpy() for array in compiled(step_of_tensorflow)(tensorflow.constant(inputs))]


@pytest.mark.parametrize("shape", [(256, 5), (64, 7, 5), (16, 3, 4, 5)])
def test_one_pass_gives_what_two_give_gradients_included(shape: tuple[int, ...]) -> None:
    inputs = np.random.default_rng(1).normal(1.0, 2.0, shape).astype("float32")
    one, two = trained_norm(OnePassBatchNormalization, inputs), trained_norm(layers.BatchNormalization, inputs)
    for found, expected in zip((*one[:3], *one[3]), (*two[:3], *two[3]), strict=True):
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5)


def moments(inputs: Array, **options: Any) -> tuple[Array, Array]:
    layer = OnePassBatchNormalization(**options)
    layer.build(inputs.shape)
    mean, variance = compiled(lambda x: layer._moments(x, None))(ops.convert_to_tensor(inputs))
    return ops.convert_to_numpy(mean), ops.convert_to_numpy(variance)


@pytest.mark.parametrize("offset", [1e3, 1e4, 1e5])
def test_an_offset_does_not_eat_the_variance(offset: float) -> None:
    inputs = np.random.default_rng(2).normal(offset, 1.0, (1024, 8)).astype("float32")
    exact = inputs.astype("float64").var(axis=0)
    naive = (inputs**2).mean(axis=0, dtype="float32") - inputs.mean(axis=0, dtype="float32") ** 2
    mean, variance = moments(inputs)
    assert np.abs(variance / exact - 1).max() < 1e-5
    assert np.abs(naive / exact - 1).max() > 1e-3 * (offset / 1e3) ** 2
    np.testing.assert_allclose(mean, inputs.mean(axis=0, dtype="float64"), rtol=2e-7)


def test_a_first_event_far_away_costs_few_digits() -> None:
    """The worst case, √(n-1) standard deviations away, costs a factor n = 1,024 of the sums' few roundings."""
    inputs = np.random.default_rng(3).normal(0.0, 1.0, (1024, 4)).astype("float32")
    inputs[0] = [1e1, 1e3, 1e6, -1e9]
    np.testing.assert_allclose(moments(inputs)[1], inputs.astype("float64").var(axis=0), rtol=1e-3)


@pytest.mark.parametrize("value", [0.0, 0.1, -1e6, 1e30])
def test_a_constant_feature_has_variance_zero(value: float) -> None:
    inputs = np.full((100, 3), value, "float32")
    mean, variance = moments(inputs)
    assert (mean.tolist(), variance.tolist()) == ([np.float32(value)] * 3, [0.0] * 3)
    assert all(np.isfinite(array).all() for array in trained_norm(OnePassBatchNormalization, inputs)[3])


def test_a_batch_of_one_event_is_its_own_mean() -> None:
    inputs = np.array([[3.0, -7.0]], "float32")
    outputs = OnePassBatchNormalization()(inputs, training=True)
    assert ops.convert_to_numpy(outputs).tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize("axis", [1, -1])
def test_the_features_may_lie_along_any_axis(axis: int) -> None:
    inputs = np.random.default_rng(4).normal(size=(20, 3, 4)).astype("float32")
    others = tuple({0, 1, 2} - {axis % 3})
    mean, variance = moments(inputs, axis=axis)
    np.testing.assert_allclose(mean, inputs.mean(axis=others), atol=1e-6)
    np.testing.assert_allclose(variance, inputs.var(axis=others), rtol=1e-5)


def test_a_mask_leaves_its_events_out() -> None:
    inputs = np.random.default_rng(5).normal(size=(6, 5, 3)).astype("float32")
    mask = np.arange(5) < np.array([1, 2, 3, 4, 5, 5])[:, None]
    one, two = (kind()(inputs, training=True, mask=mask) for kind in FAST[layers.BatchNormalization].__mro__[:2])
    assert np.array_equal(one, two)


def test_moments_of_half_precision_are_computed_in_single() -> None:
    inputs = ops.cast(np.random.default_rng(6).normal(300.0, 4.0, (4096, 2)), "bfloat16")
    layer = OnePassBatchNormalization(momentum=0.0, dtype="mixed_bfloat16")
    outputs = layer(inputs, training=True)
    exact = ops.convert_to_numpy(ops.cast(inputs, "float32")).astype("float64")
    assert keras.backend.standardize_dtype(outputs.dtype) == "bfloat16"
    np.testing.assert_allclose(layer.moving_variance.numpy(), exact.var(axis=0), rtol=1e-5)


@pytest.mark.parametrize(
    "layer",
    [
        HashedDropout(0.3, noise_shape=(None, 1), seed=5, name="d"),
        OnePassBatchNormalization(axis=1, momentum=0.9, epsilon=1e-4, scale=False, dtype="mixed_bfloat16"),
    ],
)
def test_a_layer_is_rebuilt_from_its_configuration(layer: Any) -> None:
    again = type(layer).from_config(layer.get_config())
    assert again.get_config() == layer.get_config()


class OwnDropout(layers.Dropout):  # type: ignore[misc]
    """Somebody's own."""


def block(width: int, name: str) -> keras.Model:
    return keras.Sequential(
        [keras.Input((width,)), layers.Dense(width), layers.BatchNormalization(), layers.Dropout(0.2)], name=name
    )


def simple() -> keras.Model:
    return keras.Sequential([keras.Input((4,)), *block(4, "b").layers, layers.Dense(1)])


def nested() -> keras.Model:
    inputs = keras.Input((4,))
    inner = block(4, "inner")
    return keras.Model(inputs, layers.Dense(1)(layers.Concatenate()([inner(inputs), layers.Dense(3)(inputs)])))


def shared() -> keras.Model:
    inputs, layer, norm = keras.Input((4,)), layers.Dense(4), layers.BatchNormalization()
    drop = layers.Dropout(0.3)
    hidden = drop(norm(layer(drop(norm(layer(inputs))))))
    return keras.Model(inputs, layers.Dense(1)(ops.where(hidden > 0, hidden, 0.1 * hidden) + inputs))


NETWORKS = pytest.mark.parametrize("make", [simple, nested, shared])


def leaves(network: keras.Model) -> list[Any]:
    found: list[Any] = []
    for layer in network.layers:
        found += leaves(layer) if isinstance(layer, keras.Model) else [layer]
    return found


def stepped(network: keras.Model) -> keras.Model:
    """Return the network after forward passes in training and other weights: both kinds of variables have moved."""
    inputs = np.random.default_rng(7).normal(2.0, 3.0, (64, 4)).astype("float32")
    for _ in range(3):
        network(inputs, training=True)
    for variable in network.trainable_variables:
        variable.assign(variable + 0.1 * np.random.default_rng(8).normal(size=variable.shape))
    return network


EVENTS = np.random.default_rng(9).normal(size=(32, 4)).astype("float32")


@NETWORKS
def test_exactly_dropout_and_batch_norm_are_exchanged(make: Callable[[], keras.Model]) -> None:
    network = make()
    kinds = [type(layer) for layer in leaves(network)]
    assert [type(layer) for layer in leaves(with_fast_layers(network, 1))] == [FAST.get(kind, kind) for kind in kinds]


@NETWORKS
def test_the_copy_predicts_what_the_network_predicts(make: Callable[[], keras.Model]) -> None:
    network = stepped(make())
    np.testing.assert_allclose(with_fast_layers(network, 1)(EVENTS), network(EVENTS), rtol=1e-5, atol=1e-6)


@NETWORKS
def test_weights_come_back_into_the_network_and_its_file(make: Callable[[], keras.Model], tmp_path: Path) -> None:
    network = make()
    copy = stepped(with_fast_layers(network, 1))
    network.set_weights(copy.get_weights())
    network.save(tmp_path / "network.keras")
    opened = keras.models.load_model(tmp_path / "network.keras", safe_mode=True)
    np.testing.assert_allclose(network(EVENTS), copy(EVENTS), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(opened(EVENTS), network(EVENTS), rtol=1e-5, atol=1e-6)
    assert not {type(layer) for layer in leaves(opened)} & set(FAST.values())


def test_training_the_copy_leaves_the_network_as_it_was() -> None:
    network = simple()
    before = network.get_weights()
    stepped(with_fast_layers(network, 1))
    assert all(map(np.array_equal, network.get_weights(), before))


def seeds(network: keras.Model) -> list[int]:
    return [layer.seed for layer in leaves(network) if isinstance(layer, layers.Dropout)]


def three_dropouts() -> keras.Model:
    return keras.Sequential([keras.Input((4,)), *(layers.Dropout(0.5, seed=seed) for seed in (None, 77, None))])


def test_every_dropout_gets_a_seed_of_its_own_but_keeps_the_one_it_has() -> None:
    first, second, third = seeds(with_fast_layers(three_dropouts(), 1))
    assert second == 77
    assert len({first, second, third}) == 3


def test_the_seeds_follow_from_the_seed() -> None:
    one, same, other = (seeds(with_fast_layers(three_dropouts(), seed)) for seed in (1, 1, 2))
    assert one == same
    assert not {one[0], one[2]} & {other[0], other[2]}


def test_a_subclass_of_dropout_stays_what_it_is() -> None:
    network = keras.Sequential([keras.Input((4,)), OwnDropout(0.5)])
    assert [type(layer) for layer in with_fast_layers(network, 1).layers] == [OwnDropout]


@NETWORKS
def test_a_policy_is_that_of_every_layer_but_the_last_and_variables_stay_single(
    make: Callable[[], keras.Model],
) -> None:
    copy = with_fast_layers(make(), 1, "mixed_bfloat16")
    last = copy.layers[-1]
    kept = [layer for layer in leaves(copy) if layer is not last and not isinstance(layer, layers.InputLayer)]
    assert {layer.dtype_policy.name for layer in kept} == {"mixed_bfloat16"}
    assert last.dtype_policy.name == "float32"
    assert {weight.dtype for weight in copy.weights} == {"float32"}
    np.testing.assert_allclose(ops.cast(copy(EVENTS), "float32"), make_like(make(), copy)(EVENTS), rtol=0.1, atol=0.1)


def make_like(network: keras.Model, copy: keras.Model) -> keras.Model:
    network.set_weights(copy.get_weights())
    return network


def test_a_policy_replaces_one_that_was_given_as_such_and_that_of_wrapped_layers() -> None:
    policy = keras.DTypePolicy("float32")
    wrapped = layers.TimeDistributed(layers.Dense(2, dtype=policy), dtype=policy)
    network = keras.Sequential([keras.Input((3, 4)), wrapped, layers.Flatten()])
    copy = with_fast_layers(network, 1, "mixed_bfloat16")
    assert {each.dtype_policy.name for each in (copy.layers[0], copy.layers[0].layer)} == {"mixed_bfloat16"}


def test_a_frozen_layer_stays_frozen() -> None:
    network = simple()
    network.layers[1].trainable = False
    assert [layer.trainable for layer in with_fast_layers(network, 1).layers] == [True, False, True, True]


def test_a_network_without_a_graph_is_refused() -> None:
    class Own(keras.Model):  # type: ignore[misc]
        pass

    with pytest.raises(ValueError, match="only supported for Sequential"):
        with_fast_layers(Own(), 1)
