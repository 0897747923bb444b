"""Linear networks: one weight for each input, and what they are trained for makes the difference.

Owns the hidden part of such networks, which is nothing or changes nothing. Logistic regression is trained on
cross-entropy; Fisher's discriminant on the squared error of a linear output; the perceptron on its own rule, or, with
``[training] loss = "squared-error"``, on the delta rule of the Adaline. ``build``'s table says which.
"""

from typing import TYPE_CHECKING

from pydantic import PositiveInt

from models.dense import LayerOptions, dense_layer
from pipeline.declare import Declaration

if TYPE_CHECKING:
    import keras


class NoOptions(Declaration):
    """``options`` of ``logistic`` and ``perceptron``: there are none."""


class FisherOptions(Declaration):
    """``options`` of ``fisher``: linear layers in between, which change how it is learnt and not what."""

    widths: tuple[PositiveInt, ...] = ()


def no_hidden_layer(inputs: "keras.KerasTensor", options: NoOptions) -> "keras.KerasTensor":
    """Return the inputs themselves."""
    return inputs


def linear_layers(inputs: "keras.KerasTensor", options: FisherOptions) -> "keras.KerasTensor":
    """Return the last of some linear layers, whose product is one matrix.

    Trained on squared error, with both classes' weights positive in sum, the direction of a linear network is
    that of Fisher's discriminant: the inverse covariance within the classes times the mean difference.

    References:
        R. A. Fisher, "The use of multiple measurements in taxonomic problems", Annals of Eugenics 7 (1936) 179;
        C. M. Bishop, "Pattern recognition and machine learning" (2006), section 4.1.5.
    """
    hidden = inputs
    for width in options.widths:
        hidden = dense_layer(hidden, width, LayerOptions(activation="linear"))
    return hidden
