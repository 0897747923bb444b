"""The anatomy of a network: its layers, how many numbers each has learnt, and how they hang together."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

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


@dataclass(frozen=True)
class Call:
    """One use of a layer, or of an operation of ``keras.ops``; ``inputs`` are the places of the calls that it reads.

    ``words`` say what is done, and ``shape`` what comes out for one event. A layer that is used again has its
    ``parameters`` in its first call alone.
    """

    layer: str
    words: str
    shape: tuple[int | None, ...]
    parameters: int
    has_kernel: bool
    inputs: tuple[int, ...]


@dataclass(frozen=True)
class Anatomy:
    """A network's layers, each once, and its calls, in which they hang together."""

    layers: tuple[Layer, ...]
    calls: tuple[Call, ...]


WORDS: Mapping[str, Callable[[Any], str]] = {
    "InputLayer": lambda layer: "inputs",
    "BatchNormalization": lambda layer: "batch norm",
    "Activation": lambda layer: _activation(layer),
    "Dropout": lambda layer: f"dropout {layer.rate:g}",
    "GaussianNoise": lambda layer: f"noise {layer.stddev:g}",
    "Conv1D": lambda layer: f"convolution {layer.kernel_size[0]}",
    "Conv2D": lambda layer: "convolution {}x{}".format(*layer.kernel_size),
    "GetItem": lambda operation: "slice",
}
"""Keras class → what it does, where its own name says less."""


def anatomy_of(network: "keras.Model") -> Anatomy:
    """Return layers and calls of a functional network."""
    return Anatomy(layers_of(network), calls_of(network))


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


def calls_of(network: "keras.Model") -> tuple[Call, ...]:
    """Return the calls of a functional network from the input to the logits; none stands before one that it reads."""
    by_depth = network._nodes_by_depth
    nodes = [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]
    places = {id(node): place for place, node in enumerate(nodes)}
    first = {id(node.operation): node for node in reversed(nodes)}
    return tuple(
        _call(node, tuple(places[id(parent)] for parent in node.parent_nodes), first[id(node.operation)] is node)
        for node in nodes
    )


def _call(node: Any, inputs: tuple[int, ...], is_first: bool) -> Call:
    operation = node.operation
    variables = getattr(operation, "trainable_variables", [])
    return Call(
        layer=operation.name,
        words=_words(operation) + ("" if is_first else ", again"),
        shape=tuple(node.outputs[0].shape[1:]),
        parameters=operation.count_params() if is_first and hasattr(operation, "count_params") else 0,
        has_kernel=any(len(variable.shape) > 1 for variable in variables),
        inputs=inputs,
    )


def _words(operation: Any) -> str:
    """Say what a layer does, after its own name if it was given one."""
    kind = type(operation).__name__
    plain = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", re.sub(r"\dD$", "", kind)).lower()
    words = WORDS[kind](operation) if kind in WORDS else plain
    if (activation := _activation(operation)) not in ("", "linear", words):
        words += f", {activation}"
    is_named = not is_numbered(operation) and operation.name != words
    return f"{operation.name}: {words}" if is_named else words


def _activation(layer: Any) -> str:
    return str(getattr(getattr(layer, "activation", None), "__name__", "")).replace("_", " ")


def is_numbered(operation: Any) -> bool:
    """Tell whether an operation has the name of its kind, perhaps with a number, as it has if it is given none."""
    kind = re.sub(r"_\d+$", "", operation.name)
    return bool(kind.replace("_", "") == type(operation).__name__.lower())
