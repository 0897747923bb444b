"""Convolutions as products of matrices: what Keras' own give, gradients included, and the way out."""

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops
from numpy.typing import NDArray

from models.layers import FAST

Array = NDArray[Any]
IMAGES = np.random.default_rng(1).normal(size=(5, 7, 6, 3)).astype(np.float32)


def both(kind: Any, images: Array, *arguments: Any, **options: Any) -> list[list[Array]]:
    """Return the output, and the gradients of an odd loss, of Keras' layer and of the one in its place."""
    own = kind(*arguments, **options)
    own(images)
    fast = FAST[kind].from_config(own.get_config())
    fast.build(images.shape)
    fast.set_weights(own.get_weights())
    return [of_step(layer, images) for layer in (own, fast)]


def of_step(layer: Any, images: Array) -> list[Array]:
    weights = [weight.value for weight in layer.trainable_variables]
    if keras.backend.backend() == "jax":
        import jax

        def loss(values: list[Any], inputs: Any) -> Any:
            return ops.sum(ops.sin(layer.stateless_call(values, [], inputs)[0]))

        of_weights, of_inputs = jax.jit(jax.grad(loss, argnums=(0, 1)))(weights, images)
        return [np.asarray(array) for array in (layer(images), *of_weights, of_inputs)]
    import tensorflow

    with tensorflow.GradientTape() as tape:
        tape.watch(inputs := tensorflow.constant(images))
        total = ops.sum(ops.sin(layer(inputs)))
    gradients = tape.gradient(total, [*weights, inputs])
    return [np.asarray(array) for array in (layer(images), *gradients)]


@pytest.mark.parametrize("window", [1, 2, 3, 4])
@pytest.mark.parametrize("dimensions", [1, 2])
def test_a_convolution_is_a_product_of_patches_and_kernel(window: int, dimensions: int) -> None:
    kind, images = (layers.Conv1D, IMAGES[:, 0]) if dimensions == 1 else (layers.Conv2D, IMAGES)
    expected, found = both(kind, images, 4, window, padding="same", activation="tanh", bias_initializer="normal")
    assert len(found) == 4
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5)


@pytest.mark.parametrize("pool", [2, 3, (1, 2)])
def test_the_largest_of_a_block_is_what_pooling_keeps_and_odd_edges_are_left_out(pool: Any) -> None:
    expected, found = both(layers.MaxPooling2D, IMAGES, pool)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)
    if isinstance(pool, int):
        expected, found = both(layers.MaxPooling1D, IMAGES[:, 0], pool)
        np.testing.assert_array_equal(found[0], expected[0])


@pytest.mark.parametrize(
    "options", [{"strides": 2}, {"dilation_rate": 2}, {"padding": "valid"}, {"groups": 3}], ids=str
)
def test_a_convolution_of_another_kind_is_left_to_keras(options: dict[str, Any]) -> None:
    expected, found = both(layers.Conv2D, IMAGES, 3, 3, **{"padding": "same", **options})
    np.testing.assert_array_equal(found[0], expected[0])


@pytest.mark.parametrize("options", [{"strides": 1}, {"padding": "same"}], ids=str)
def test_a_pooling_of_another_kind_is_left_to_keras(options: dict[str, Any]) -> None:
    expected, found = both(layers.MaxPooling2D, IMAGES, 2, **options)
    np.testing.assert_array_equal(found[0], expected[0])
