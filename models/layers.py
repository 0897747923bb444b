"""Dropout, noise, batch norm and dense layers as a compiled step likes them, and the exchange of Keras' own for them.

Owns layers that compute what Keras' layers of the same weights compute, in less time, and the copy of a network
in which they, and the convolutions of ``patches``, stand. What is saved and exported is always the network of Keras'
own layers: it is given the weights back with ``network.set_weights(copy.get_weights())``.
"""

from collections.abc import Mapping
from itertools import count
from math import prod
from typing import Any

import keras
import numpy as np
from keras import ops

from models.patches import (
    ConvolutionOfPatches1D,
    ConvolutionOfPatches2D,
    PoolingOfBlocks1D,
    PoolingOfBlocks2D,
)
from pipeline.cores import usable_cores

Tensor = Any
"""An array of the backend, or what stands for one while a program is traced."""

LARGE_BATCH = 512
"""Rows above which XLA shares out a product itself."""

PIECE = 64
"""Rows below which sharing out a product costs more than it gains."""

ANY_ODD_NUMBER = 0x9E3779B9
"""The golden ratio's bits: the hash leaves 0 as it is, so numbering begins elsewhere."""


class HashedDropout(keras.layers.Dropout):  # type: ignore[misc]
    """Dropout whose masks are a hash of (seed, step, row, unit): no generator, and the same on every backend.

    Rows are the first axis of the mask, units all others. The step is the counter of the layer's own seed generator,
    which is one of the network's non-trainable variables: restoring those restores the masks that follow.
    """

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        """Drop a share ``rate`` of the inputs in training and scale the rest up; return them as they are otherwise."""
        if not training or self.rate == 0:
            return inputs
        if self.rate == 1:
            return ops.zeros_like(inputs)
        seed_and_step = ops.cast(self.seed_generator.next(), "uint32")
        keep = keep_mask(seed_and_step, self._mask_shape(inputs), self.rate)
        return ops.where(keep, inputs * (1 / (1 - self.rate)), ops.zeros_like(inputs))

    def _mask_shape(self, inputs: Tensor) -> tuple[Any, ...]:
        shape = ops.shape(inputs)
        asked = self.noise_shape or shape
        return tuple(own if length is None else length for own, length in zip(shape, asked, strict=False))


class HashedGaussianNoise(keras.layers.GaussianNoise):  # type: ignore[misc]
    """Gaussian noise from the same hash as ``HashedDropout``'s masks, by the inverse of the normal's integral.

    The generator of Keras' own would take longer than all the rest of a step of a usual network.
    """

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        """Return the inputs with noise of spread ``stddev`` in training, and as they are otherwise."""
        if not training or self.stddev == 0:
            return inputs
        words = hashed_words(ops.cast(self.seed_generator.next(), "uint32"), ops.shape(inputs))
        return inputs + ops.cast(self.stddev * unit_gaussian(words), inputs.dtype)


def keep_mask(seed_and_step: Tensor, shape: tuple[Any, ...], rate: float) -> Tensor:
    """Return a mask of ``shape`` that is true with probability 1 - ``rate``; ``rate`` is below 1."""
    return hashed_words(seed_and_step, shape) >= _uint32(int(rate * 2**32))


def unit_gaussian(words: Tensor) -> Tensor:
    """Return a Gaussian number of mean 0 and variance 1 for each random word; none is further out than 5.2."""
    # 23 bits and a half are exact in single precision, and never 0 or 1.
    share = (ops.cast(ops.right_shift(words, 9), "float32") + 0.5) / 2**23
    return 2**0.5 * ops.erfinv(2 * share - 1)


def hashed_words(seed_and_step: Tensor, shape: tuple[Any, ...]) -> Tensor:
    """Return random words of ``shape``.

    Row i gets a random word from seed, step and i, unit j one from j alone, and an element the hash of their sum. Two
    rounds of mixing are needed for that: after one, single pairs of units go together with a correlation of up to 0.18.
    """
    rows, units = _numbered(shape[0]), _numbered(prod(shape[1:]))
    for word in (seed_and_step[0], seed_and_step[1]):
        rows = mixed(ops.bitwise_xor(rows, word))
    return ops.reshape(mixed(rows[:, None] + units), shape)


def mixed(bits: Tensor) -> Tensor:
    """Return 32-bit words in which each bit depends on all bits of the given ones.

    References:
        C. Wellons, "Prospecting for hash functions" (2018), there called ``lowbias32``.
    """
    bits = ops.bitwise_xor(bits, ops.right_shift(bits, 16)) * _uint32(0x7FEB352D)
    bits = ops.bitwise_xor(bits, ops.right_shift(bits, 15)) * _uint32(0x846CA68B)
    return ops.bitwise_xor(bits, ops.right_shift(bits, 16))


def _numbered(n_words: Any) -> Tensor:
    """Return ``n_words`` words that differ and look random."""
    return mixed(ops.cast(ops.arange(n_words), "uint32") + _uint32(ANY_ODD_NUMBER))


def _uint32(number: int) -> Tensor:
    return ops.convert_to_tensor(np.uint32(number))


class OnePassBatchNormalization(keras.layers.BatchNormalization):  # type: ignore[misc]
    """Batch norm whose mean and variance come from one reading of the batch.

    Both are sums over x - x₀ and (x - x₀)², with x₀ the batch's first event. That is safe where E[x²] - E[x]² is not:
    x₀ is one of the n values, so it lies within √(n-1) standard deviations of their mean, whatever they are. At worst,
    where x₀ alone makes the variance, that costs a factor n of precision; usually it costs nothing.

    References:
        Chan, Golub, LeVeque, "Algorithms for computing the sample variance", The American Statistician 37 (1983)
        242, on shifted data; Samuelson, "How deviant can you be?", J. Am. Stat. Assoc. 63 (1968) 1522.
    """

    def _moments(self, inputs: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        if mask is not None or self.synchronized:
            return super()._moments(inputs, mask)  # type: ignore[no-any-return]
        axes = self._reduction_axes
        first = ops.stop_gradient(inputs[tuple(slice(0, 1 if axis in axes else None) for axis in range(inputs.ndim))])
        shifted = inputs - first
        shift = ops.mean(shifted, axes)
        variance = ops.mean(ops.square(shifted), axes) - ops.square(shift)
        return ops.squeeze(first, axes) + shift, ops.maximum(variance, 0)


class SideBySideDense(keras.layers.Dense):  # type: ignore[misc]
    """A dense layer that computes a small batch in pieces, one for each core.

    XLA of TensorFlow gives a product of matrices to one core unless it is large, but gives products that do not
    depend on each other to several. JAX's newer one gains nothing by it.
    """

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        """Return activation(inputs · kernel + bias)."""
        pieces = _pieces(inputs.shape) if training else 1
        if pieces < 2:
            return super().call(inputs, training=training)
        products = [ops.matmul(piece, self.kernel) for piece in ops.array_split(inputs, pieces)]
        outputs = ops.concatenate(products)
        if self.use_bias:
            outputs = outputs + self.bias
        return outputs if self.activation is None else self.activation(outputs)


def _pieces(shape: tuple[int | None, ...]) -> int:
    n_rows = shape[0] if len(shape) == 2 and shape[0] else 0
    if n_rows > LARGE_BATCH or keras.backend.backend() != "tensorflow":
        return 1
    return min(usable_cores(), n_rows // PIECE)


FAST: Mapping[type, Any] = {
    keras.layers.Conv1D: ConvolutionOfPatches1D,
    keras.layers.Conv2D: ConvolutionOfPatches2D,
    keras.layers.Dense: SideBySideDense,
    keras.layers.Dropout: HashedDropout,
    keras.layers.GaussianNoise: HashedGaussianNoise,
    keras.layers.BatchNormalization: OnePassBatchNormalization,
    keras.layers.MaxPooling1D: PoolingOfBlocks1D,
    keras.layers.MaxPooling2D: PoolingOfBlocks2D,
}
"""What stands for what in the copy that is trained; subclasses of the keys stay as they are."""


def with_fast_layers(network: "keras.Model", seed: int, policy: str | None = None) -> "keras.Model":
    """Return a copy of a network of layers, same weights, that trains faster.

    Every layer that wants a random seed and has none gets one of its own, which follows from ``seed`` and from the
    layer's position. Layers within wrappers (``TimeDistributed``) keep their type.

    Args:
        network: a functional or sequential network, others may be nested in it.
        seed: not negative.
        policy: the dtype policy of all the copy's layers but the last, as ``"mixed_bfloat16"``; else each has its own.

    Raises:
        ValueError: the network is a subclass of ``keras.Model`` with a graph of its own.
    """
    last = getattr(network, "output_names", [layer.name for layer in network.layers[-1:]])
    first, position = int(np.random.default_rng(seed).integers(2**31)), count()

    def exchanged(layer: Any) -> Any:
        if not isinstance(layer, keras.layers.Layer):
            return layer  # an operation of keras.ops has no state and may stand in two graphs
        config = layer.get_config()
        if "seed" in config and config["seed"] is None:
            config["seed"] = (first + next(position)) % 2**31
        if policy and layer.name not in last:  # a logit wants all its digits
            config = _in_policy(config, policy)
        return FAST.get(type(layer), type(layer)).from_config(config)

    copy = keras.models.clone_model(network, clone_function=exchanged, recursive=True)
    copy.set_weights(network.get_weights())
    return copy


def _in_policy(config: Any, policy: str) -> Any:
    """Return a layer's configuration, and those of the layers that it wraps, with another dtype policy."""
    if isinstance(config, list | tuple):
        return type(config)(_in_policy(entry, policy) for entry in config)
    if not isinstance(config, dict):
        return config
    return {key: policy if key == "dtype" else _in_policy(value, policy) for key, value in config.items()}
