"""Convolutions and poolings as a compiled step on a CPU likes them.

Owns layers that compute what Keras' layers of the same weights compute. XLA has fast convolutions for GPUs alone: on a
CPU those of a step back are some ten times slower than the product of matrices that every convolution is.
"""

from collections.abc import Sequence
from functools import reduce
from itertools import chain, product
from typing import Any

import keras
from keras import ops

from models.backend import accelerator

Tensor = Any
"""An array of the backend, or what stands for one while a program is traced."""


class _ConvolutionOfPatches:
    """All that a window sees, side by side, times the kernel: one product of matrices for all places and events."""

    def call(self: Any, inputs: Tensor) -> Tensor:
        """Return activation(convolution of inputs and kernel + bias)."""
        if accelerator() or not _is_plain(self):
            return super().call(inputs)  # type: ignore[misc]
        patches = _patches(inputs, self.kernel_size)
        kernel = ops.reshape(self.kernel, (-1, self.filters))
        outputs = ops.matmul(ops.reshape(patches, (-1, kernel.shape[0])), kernel)
        outputs = ops.reshape(outputs, (-1, *patches.shape[1:-1], self.filters))
        if self.use_bias:
            outputs = outputs + self.bias
        return outputs if self.activation is None else self.activation(outputs)


class ConvolutionOfPatches1D(_ConvolutionOfPatches, keras.layers.Conv1D):  # type: ignore[misc]
    """Along a row of pixels."""


class ConvolutionOfPatches2D(_ConvolutionOfPatches, keras.layers.Conv2D):  # type: ignore[misc]
    """Along height and width."""


def _is_plain(layer: Any) -> bool:
    """Say whether a convolution is one that ``_patches`` knows."""
    found = layer.padding, layer.groups, layer.data_format, {*layer.strides, *layer.dilation_rate}
    return found == ("same", 1, "channels_last", {1})


def _patches(images: Tensor, window: Sequence[int]) -> Tensor:
    """Return what a window sees of ``(n_events, *sides, channels)`` at each place, 0 beyond the edges.

    Shape ``(n_events, *sides, n_pixels_of_the_window * channels)``.
    """
    sides = images.shape[1:-1]
    padded = ops.pad(images, [(0, 0), *(((length - 1) // 2, length // 2) for length in window), (0, 0)])
    places = product(*map(range, window))
    return ops.concatenate([_cut(padded, place, sides) for place in places], axis=-1)


class _PoolingOfBlocks:
    """The largest of each block of pixels, found pixel by pixel.

    A maximum over an axis shares its gradient out among those that are equal to it. Where XLA computes these once more,
    and in the last digit differently, none is, and the gradient is 0 / 0.
    """

    def call(self: Any, inputs: Tensor) -> Tensor:
        """Return the largest of each block."""
        found = self.padding, self.data_format, tuple(self.strides)
        if accelerator() or found != ("valid", "channels_last", tuple(self.pool_size)):
            return super().call(inputs)  # type: ignore[misc]
        sides = [side // length for side, length in zip(inputs.shape[1:-1], self.pool_size, strict=True)]
        whole = [side * length for side, length in zip(sides, self.pool_size, strict=True)]
        shape = (-1, *chain(*zip(sides, self.pool_size, strict=True)), inputs.shape[-1])
        blocks = ops.reshape(_cut(inputs, [0] * len(sides), whole), shape)
        places = product(*map(range, self.pool_size))
        return reduce(ops.maximum, [blocks[_at(place)] for place in places])


class PoolingOfBlocks1D(_PoolingOfBlocks, keras.layers.MaxPooling1D):  # type: ignore[misc]
    """Along a row of pixels."""


class PoolingOfBlocks2D(_PoolingOfBlocks, keras.layers.MaxPooling2D):  # type: ignore[misc]
    """Along height and width."""


def _at(place: Sequence[int]) -> tuple[Any, ...]:
    """Return what takes one pixel of every block, of ``(n_events, side, length, side, length, channels)``."""
    return (slice(None), *chain(*((slice(None), pixel) for pixel in place)), slice(None))


def _cut(images: Tensor, start: Sequence[int], sides: Sequence[int]) -> Tensor:
    window = (slice(first, first + side) for first, side in zip(start, sides, strict=True))
    return images[(slice(None), *window)]
