"""Deep sets: the elements of a collection, in no order.

Owns the hidden part of such networks: one small network for every element, a pooling that treats all elements alike
and leaves out those that are absent, and a dense network of what it gives. The order of the elements changes nothing.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import Field, PositiveInt

from models.dense import DeepDenseOptions, deep_dense, dense_layers
from models.parts import Parts, elements_of

if TYPE_CHECKING:
    import keras

LOWEST = -1e30
"""Below every value of an element, and a number in every precision."""


class SetsOptions(DeepDenseOptions):
    """``options`` of ``sets``: layers of ``element_widths`` for each element, then ``pooling``, then ``widths``."""

    element_widths: tuple[PositiveInt, ...] = Field((64, 64), min_length=1)
    pooling: Literal["sum", "mean", "max", "attention"] = "sum"
    widths: tuple[PositiveInt, ...] = Field((64, 64), min_length=1)


def sets(parts: Parts, options: SetsOptions) -> "keras.KerasTensor":
    """Return the last hidden layer, shape ``(n_events, widths[-1])``, of what each collection's elements give together.

    References:
        Zaheer et al., "Deep sets", NIPS 2017, theorem 2; Komiske, Metodiev, Thaler, "Energy flow networks", JHEP 01
        (2019) 121 (particle flow networks).
    """

    def pooled(collection: "keras.KerasTensor") -> "keras.KerasTensor":
        values, present = elements_of(collection)
        hidden = dense_layers(values, options.element_widths, options, present)
        return POOLINGS[options.pooling](hidden, present[:, :, None])

    return deep_dense(parts.joined(pooled), options)


def _sum(hidden: "keras.KerasTensor", present: "keras.KerasTensor") -> "keras.KerasTensor":
    from keras import ops

    return ops.sum(ops.where(present, hidden, 0.0), axis=1)


def _mean(hidden: "keras.KerasTensor", present: "keras.KerasTensor") -> "keras.KerasTensor":
    from keras import ops

    count = ops.sum(ops.cast(present, hidden.dtype), axis=1)
    return _sum(hidden, present) / ops.maximum(count, 1.0)


def _largest(hidden: "keras.KerasTensor", present: "keras.KerasTensor") -> "keras.KerasTensor":
    """Return the largest in pairs of halves, since the gradient of a maximum over an axis can be 0 / 0 in XLA."""
    from keras import ops

    largest = ops.where(present, hidden, LOWEST)
    while (length := largest.shape[1]) > 1:
        half = -(-length // 2)
        largest = ops.maximum(largest[:, :half], largest[:, length - half :])
    return ops.where(ops.any(present, axis=1), largest[:, 0], 0.0)


def _attention(hidden: "keras.KerasTensor", present: "keras.KerasTensor") -> "keras.KerasTensor":
    """Return the mean with weights that the network gives, which are positive and add up to 1, and equal to begin with.

    References:
        Ilse, Tomczak, Welling, "Attention-based deep multiple instance learning", ICML 2018.
    """
    from keras import layers

    scores = layers.Dense(hidden.shape[-1], activation="tanh")(hidden)
    scores = layers.Dense(1, use_bias=False, kernel_initializer="zeros")(scores)
    # Of an event without elements all weights are equal, and what they weigh is 0.
    return _sum(layers.Softmax(axis=1)(scores, mask=present) * hidden, present)


POOLINGS: Mapping[str, Callable[["keras.KerasTensor", "keras.KerasTensor"], "keras.KerasTensor"]] = {
    "sum": _sum,
    "mean": _mean,
    "max": _largest,
    "attention": _attention,
}
"""Name in the experiment file → hidden ``(n_events, length, width)`` and presence ``(n_events, length, 1)`` to
``(n_events, width)``, which is 0 where no element is present."""
