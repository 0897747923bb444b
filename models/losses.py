"""Losses: what training makes small.

Owns the tables of losses and how a Keras loss is made of one. A loss is a function of the label, of the last layer's
output z, and of ``read``, the output's reading as a value that is near the label. Those that come from probabilities or
from a decision take z as it is, where they do not saturate; those that measure a distance to the label take its
reading. Negative weights count with their sign in all of them.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

Tensor = Any
"""An array of the backend, or what stands for one while a program is traced."""

Reading = Callable[[Tensor], Tensor]
"""The last layer's output → the value that is near the label: 0 for background, 1 for signal, or a quantity."""

Loss = Callable[[Tensor, Tensor, Reading], Tensor]
"""Labels, outputs and reading → loss of each output of each event, or one for each event with a last axis of 1."""


def cross_entropy(labels: Tensor, z: Tensor, read: Reading) -> Tensor:
    """Return the cross-entropy of the label and the probability sigmoid(z)."""
    from keras import ops

    return ops.binary_crossentropy(labels, z, from_logits=True)


def focal(labels: Tensor, z: Tensor, read: Reading) -> Tensor:
    """Return the cross-entropy times (1 - p)², with p the probability of the true class: the easy events fade.

    References:
        Lin et al., "Focal loss for dense object detection", ICCV 2017, equation 4 with gamma = 2.
    """
    from keras import ops

    return cross_entropy(labels, z, read) * ops.square(ops.sigmoid(-_sign(labels) * z))


def squared_error(labels: Tensor, z: Tensor, read: Reading) -> Tensor:
    """Return the squared distance of reading and label; its step on a linear output is the delta rule.

    References:
        Rumelhart, Hinton, Williams, Nature 323 (1986) 533, equation 3; Widrow, Hoff, "Adaptive switching circuits",
        IRE WESCON Convention Record 4 (1960) 96.
    """
    from keras import ops

    return ops.square(read(z) - labels)


def absolute_error(labels: Tensor, z: Tensor, read: Reading) -> Tensor:
    """Return the distance of reading and label."""
    from keras import ops

    return ops.absolute(read(z) - labels)


def perceptron(labels: Tensor, z: Tensor, read: Reading) -> Tensor:
    """Return how far z is on the wrong side of 0; its step is the perceptron rule.

    With the decision o = 1 for z > 0 and 0 else, the gradient is o - label. That holds at z = 0, too, where a maximum
    of 0 and -z would stand still, so that weights may begin at 0.

    References:
        Rosenblatt, "The perceptron", Psychological Review 65 (1958) 386.
    """
    from keras import ops

    return (ops.cast(z > 0, z.dtype) - labels) * z


def hinge(labels: Tensor, z: Tensor, read: Reading) -> Tensor:
    """Return how much z is short of being 1 beyond 0 on the right side.

    References:
        Cortes, Vapnik, "Support-vector networks", Machine Learning 20 (1995) 273.
    """
    from keras import ops

    return ops.relu(1 - _sign(labels) * z)


def categorical_cross_entropy(labels: Tensor, z: Tensor, read: Reading) -> Tensor:
    """Return minus the logarithm of the true class' probability, softmax(z); a label is 1 for that class and else 0."""
    from keras import ops

    return -ops.sum(labels * ops.log_softmax(z), axis=-1, keepdims=True)


def categorical_focal(labels: Tensor, z: Tensor, read: Reading) -> Tensor:
    """Return the cross-entropy times (1 - p)², with p the probability of the true class, as ``focal``."""
    from keras import ops

    of_others = ops.sum((1 - labels) * ops.softmax(z), axis=-1, keepdims=True)
    return categorical_cross_entropy(labels, z, read) * ops.square(of_others)


DISTANCES: Mapping[str, Loss] = {"squared-error": squared_error, "absolute-error": absolute_error}
"""Name in the experiment file → loss that compares the label with what the output is read as."""

DECISIONS: Mapping[str, Loss] = {
    "cross-entropy": cross_entropy,
    "focal": focal,
    **DISTANCES,
    "perceptron": perceptron,
    "hinge": hinge,
}
"""Losses of outputs that each decide between 0 and 1."""

CHOICES: Mapping[str, Loss] = {"cross-entropy": categorical_cross_entropy, "focal": categorical_focal, **DISTANCES}
"""Losses of outputs that together choose one of several classes."""

LOSSES = tuple(DECISIONS)
"""Every name that there is."""


def keras_loss(name: str, loss: Loss, read: Reading, n_classes: int | None = None) -> "keras.losses.Loss":
    """Return a loss as Keras wants it: of labels and outputs ``(n_events, n_outputs)``, their mean.

    With ``n_classes`` labels are indices of classes, shape ``(n_events, 1)``, and are unfolded into ones and zeros.
    """
    import keras

    class OfOutput(keras.losses.Loss):  # type: ignore[misc]
        def call(self, labels: Tensor, outputs: Tensor) -> Tensor:
            if n_classes:
                labels = keras.ops.one_hot(keras.ops.cast(labels[:, 0], "int32"), n_classes)
            return keras.ops.mean(loss(labels, outputs, read), axis=-1)

    return OfOutput(name=name.replace("-", "_"))


def _sign(labels: Tensor) -> Tensor:
    return 2 * labels - 1
