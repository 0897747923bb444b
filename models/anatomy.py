"""The anatomy of a network: its layers and how many numbers each has learnt."""

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Layer:
    """One layer: ``shape`` is that of its output for one event, ``learnt`` of its ``parameters`` by gradient descent.

    The others are kept along the way, such as the means of a batch norm.
    """

    name: str
    kind: str
    shape: tuple[int | None, ...]
    parameters: int
    learnt: int


def layers_of(network: "keras.Model") -> tuple[Layer, ...]:
    """Return the layers from the input to the logits."""
    return tuple(
        Layer(
            name=layer.name,
            kind=type(layer).__name__,
            shape=tuple(layer.output.shape[1:]),
            parameters=layer.count_params(),
            learnt=sum(prod(weight.shape) for weight in layer.trainable_variables),
        )
        for layer in network.layers
    )
