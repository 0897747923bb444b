"""Gradients: how long the gradient is in each layer, measured while a network is trained.

Owns what is measured, the optimiser that does so before it uses or clips a gradient, and what the norms of a training
say of whether they fade or grow on their way from the output to the input. The gradient is that of what is made small:
the loss, and the penalties on weights where there are some.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import keras

Verdict = Literal["vanish", "explode", "steady", "unknown"]

TOLERANCE = 100.0
"""A factor that may lie between the layers near the input and those near the output: theirs are different sizes."""


@dataclass(frozen=True)
class GradientFlow:
    """What becomes of the gradient on its way from the output to the input.

    ``ratio`` is its norm in the first ``n_compared`` of ``n_layers`` layers over that in as many last ones: of root
    mean squares over the layers, the median of the epochs. Of gradients that are all 0 it is not a number.
    """

    n_layers: int
    n_compared: int
    ratio: float

    @property
    def verdict(self) -> Verdict:
        """Vanished or exploded by more than ``TOLERANCE``, or not."""
        if np.isnan(self.ratio):
            return "unknown"
        if self.ratio < 1 / TOLERANCE:
            return "vanish"
        return "explode" if self.ratio > TOLERANCE else "steady"


def gradient_flow(norms: NDArray[np.float64]) -> GradientFlow | None:
    """Return what norms of shape ``(n_epochs, n_layers)`` say, from input to output; of one layer alone, nothing."""
    n_epochs, n_layers = norms.shape
    if n_layers < 2 or not n_epochs:
        return None
    third = max(1, n_layers // 3)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.linalg.norm(norms[:, :third], axis=1) / np.linalg.norm(norms[:, -third:], axis=1)
        return GradientFlow(n_layers, third, float(np.median(ratios)))


def kernels_of(network: "keras.Model") -> dict[str, tuple[int, ...]]:
    """Return each layer that learns kernels, from input to output: where they are among the trainable variables.

    A kernel is a variable of two or more axes; biases, and what batch norm learns, are none.
    """
    places = {id(variable): place for place, variable in enumerate(network.trainable_variables)}
    found = {
        layer.name: tuple(places[id(v)] for v in layer.trainable_variables if len(v.shape) > 1)
        for layer in network.layers
    }
    return {name: kernels for name, kernels in found.items() if kernels}


@cache
def measuring(optimizer: type) -> Any:
    """Return an optimiser's class with a measurement: it is the optimiser, whatever computes the gradients.

    So every program measures, Keras' own loop as well, and the sums are variables among those of the optimiser.
    """

    class Measuring(optimizer):  # type: ignore[misc]
        """Adds up squared norms of gradients, layer by layer, from ``begin`` on."""

        def measure(self, kernels: Mapping[str, Sequence[int]]) -> None:
            """Measure these layers; the places of their kernels are those among the gradients."""
            self.kernels = dict(kernels)
            self.squares = self.add_variable((len(kernels),), name="squared_norms")

        def begin(self) -> None:
            """Forget all steps so far."""
            self.squares.assign(np.zeros(len(self.kernels), dtype=np.float32))

        def norms(self, n_steps: int) -> dict[str, float]:
            """Return the root mean square of each layer's norm; below 1e-19 single precision has only 0."""
            squares = np.asarray(self.squares.value, dtype=np.float64)
            return dict(zip(self.kernels, np.sqrt(squares / n_steps).tolist(), strict=True))

        def apply(self, grads: Sequence[Any], trainable_variables: Any = None) -> None:
            from keras import ops

            def square(kernels: Sequence[int]) -> Any:
                return sum(ops.sum(ops.square(ops.cast(grads[place], "float32"))) for place in kernels)

            self.squares.assign_add(ops.stack([square(kernels) for kernels in self.kernels.values()]))
            super().apply(grads, trainable_variables)

    return Measuring
