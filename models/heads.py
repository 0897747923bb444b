"""Heads: how a network ends, and what it is trained for.

Owns the last layer, the loss that belongs to it, and the way from the last layer's output to a score.
Networks are trained on the output *before* the last activation (a logit), where the loss does not
saturate; the activation joins it for scoring.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Head:
    """One way to end a network: its number of outputs for ``n_classes``, its loss, its activation for scoring."""

    n_outputs: Callable[[int], int]
    n_classes: Callable[[int], bool]
    needs: str
    loss: Callable[[], Any]
    activation: str


def _binary_cross_entropy() -> "keras.losses.Loss":
    import keras

    return keras.losses.BinaryCrossentropy(from_logits=True)


HEADS: Mapping[str, Head] = {
    "binary": Head(
        n_outputs=lambda n_classes: 1,
        n_classes=lambda n_classes: n_classes == 2,
        needs="two classes",
        loss=_binary_cross_entropy,
        activation="sigmoid",
    ),
}
