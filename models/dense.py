"""Dense networks: stacks of fully connected layers.

Owns the hidden part of such networks; the last layer and the loss are ``heads``' work. Keras is imported
when a network is built, so that reading an experiment file does not wait for it.
"""

from typing import TYPE_CHECKING, Literal

from pydantic import Field, PositiveInt

from pipeline.declare import Declaration

if TYPE_CHECKING:
    import keras

Activation = Literal["relu", "tanh", "sigmoid", "elu", "selu", "gelu", "silu", "leaky_relu", "softplus", "linear"]

INITIALISERS = {
    "selu": "lecun_normal",
    "tanh": "glorot_uniform",
    "sigmoid": "glorot_uniform",
    "linear": "glorot_uniform",
}
"""Initial weights that keep the variance from layer to layer; He's for everything shaped like a ramp.

A deep stack of sigmoids fades all the same unless it has batch norm."""


class DeepDenseOptions(Declaration):
    """``options`` of ``deep-dense``: one layer for each of ``widths``; ``dropout`` is the share dropped."""

    widths: tuple[PositiveInt, ...] = Field((128, 128, 128, 128), min_length=1)
    activation: Activation = "relu"
    batch_norm: bool = True
    dropout: float = Field(0.1, ge=0, lt=1)


def deep_dense(inputs: "keras.KerasTensor", options: DeepDenseOptions) -> "keras.KerasTensor":
    """Return the last hidden layer, shape ``(n_events, widths[-1])``, of a dense stack on ``(n_events, n_inputs)``.

    Each layer is dense → batch norm → activation → dropout; the bias is left to the batch norm where there is one.

    References:
        Ioffe, Szegedy, "Batch normalization", ICML 2015, section 3.2; Srivastava et al., "Dropout", JMLR 15
        (2014) 1929; He et al., "Delving deep into rectifiers", ICCV 2015, equation 10.
    """
    from keras import layers

    hidden = inputs
    initialiser = INITIALISERS.get(options.activation, "he_normal")
    for width in options.widths:
        hidden = layers.Dense(width, use_bias=not options.batch_norm, kernel_initializer=initialiser)(hidden)
        if options.batch_norm:
            hidden = layers.BatchNormalization()(hidden)
        hidden = layers.Activation(options.activation)(hidden)
        if options.dropout:
            hidden = layers.Dropout(options.dropout)(hidden)
    return hidden
