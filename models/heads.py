"""Heads: how a network ends, and what it is trained for.

Owns the size of the last layer, how its output is read, and the loss that belongs to it unless the experiment names
another. Networks are trained on the output *before* the last activation; how that is read, for a score and for a loss
that compares it with the label, is an ``Output``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.losses import Reading, Tensor, keras_loss

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Output:
    """How the last layer's output z is read; nowhere does a reading fall as z rises.

    ``value`` is what a loss compares with the label, 0 or 1; ``score`` lies between 0 and 1.
    """

    value: Reading
    score: Reading


def _sigmoid(z: Tensor) -> Tensor:
    from keras import ops

    return ops.sigmoid(z)


def _line(z: Tensor) -> Tensor:
    """Return 0 at -1 and 1 at 1: a label of 0 or 1 is a target of -1 or 1 for z."""
    return (1 + z) / 2


def _bent_line(z: Tensor) -> Tensor:
    """Return the sigmoid that touches the line at z = 0: it rises with z everywhere and leaves 0 to 1 nowhere."""
    return _sigmoid(2 * z)


def _step(z: Tensor) -> Tensor:
    from keras import ops

    return ops.cast(z > 0, "float32")


SIGMOID = Output(_sigmoid, _sigmoid)
LINEAR = Output(_line, _bent_line)
STEP = Output(_line, _step)
"""Decides; where a loss wants a distance it gets the line's, since a step has no slope to learn from."""


@dataclass(frozen=True)
class Head:
    """One way to end a network: its number of outputs for ``n_classes``, how they are read, the loss by default."""

    n_outputs: Callable[[int], int]
    n_classes: Callable[[int], bool]
    needs: str
    output: Output
    default_loss: str

    def loss(self, name: str | None = None) -> "keras.losses.Loss":
        """Return the loss of that name, or the default, for Keras."""
        return keras_loss(name or self.default_loss, self.output.value)


HEADS: Mapping[str, Head] = {
    "binary": Head(
        n_outputs=lambda n_classes: 1,
        n_classes=lambda n_classes: n_classes == 2,
        needs="two classes",
        output=SIGMOID,
        default_loss="cross-entropy",
    ),
}
