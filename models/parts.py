"""Parts: what stands together in the one vector that a network is given.

Owns the way from inputs ``(n_events, n_inputs)`` to the blocks that an architecture sees, each in its own shape, and
to all other inputs beside them. What is made of a block is the architectures' work.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.blocks import Block

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Parts:
    """Blocks ``(n_events, *shape)``, and runs of inputs ``(n_events, n)`` that are in none of them."""

    blocks: tuple["keras.KerasTensor", ...]
    flat: tuple["keras.KerasTensor", ...]

    def joined(self, branch: Callable[["keras.KerasTensor"], "keras.KerasTensor"]) -> "keras.KerasTensor":
        """Return what a branch of its own makes of each block, ``(n_events, n)``, and all other inputs beside it."""
        from keras import layers

        parts = [*map(branch, self.blocks), *self.flat]
        return layers.Concatenate()(parts) if len(parts) > 1 else parts[0]


def parts_of(inputs: "keras.KerasTensor", blocks: Sequence[Block]) -> Parts:
    """Take the inputs ``(n_events, n_inputs)`` apart."""
    from keras import layers

    blocks = sorted(blocks, key=lambda block: block.start)
    edges = [0, *(edge for block in blocks for edge in (block.start, block.stop)), inputs.shape[1]]
    runs = [inputs[:, first:end] if end > first else None for first, end in pairwise(edges)]
    shaped = [layers.Reshape(block.shape)(run) for block, run in zip(blocks, runs[1::2], strict=True)]
    return Parts(tuple(shaped), tuple(run for run in runs[::2] if run is not None))


def elements_of(collection: "keras.KerasTensor") -> tuple["keras.KerasTensor", "keras.KerasTensor"]:
    """Return the values of the elements, 0 where one is absent, and which are present.

    Shapes ``(n_events, length, n_values)`` and ``(n_events, length)``. Nothing that fills up an absent element gets
    any further.
    """
    from keras import ops

    present = collection[:, :, -1] > 0.5
    return ops.where(present[:, :, None], collection[:, :, :-1], 0.0), present


def with_noise(inputs: "keras.KerasTensor", spread: float, blocks: Sequence[Block]) -> "keras.KerasTensor":
    """Return the inputs with Gaussian noise in training; whether an element is present stays as it is."""
    from keras import layers, ops

    if not spread:
        return inputs
    noisy, flags = layers.GaussianNoise(spread)(inputs), _presences(inputs.shape[1], blocks)
    return ops.where(flags, inputs, noisy) if flags.any() else noisy


def _presences(n_inputs: int, blocks: Sequence[Block]) -> NDArray[np.bool_]:
    flags = np.zeros(n_inputs, dtype=np.bool_)
    for block in blocks:
        flags[block.presence] = True
    return flags
