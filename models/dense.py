"""Dense networks: stacks of fully connected layers.

Owns the hidden part of such networks; the last layer and the loss are ``heads``' work. Keras is imported
when a network is built, so that reading an experiment file does not wait for it.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from pipeline.declare import Declaration

if TYPE_CHECKING:
    import keras

Activation = Literal[
    "relu", "leaky_relu", "elu", "selu", "gelu", "silu", "swish", "softplus",
    "tanh", "arctan", "sigmoid", "linear", "maxout",
]  # fmt: skip
"""``swish`` and ``silu`` are two names of one; ``leaky_relu`` has a slope of 0.2 below 0."""

INITIALISERS = dict.fromkeys(("tanh", "arctan", "sigmoid", "linear"), "glorot_uniform")
"""Initial weights of what is bent at both ends, and of what is not bent at all."""

VARIANCES = {"selu": 1.0, "gelu": 2.16, "silu": 2.43, "swish": 2.43}
"""For all others: the variance of initial weights times the number of inputs; He's 2 for what is shaped like a ramp.

With it a mean square of 1, as inputs have, goes on from layer to layer: it is that of the activation of a Gaussian of
this variance; maxout's follows from the number of its pieces. A deep stack of sigmoids fades all the same,
unless it has batch norm or skip connections: their mean square is mostly that of their mean."""


class LayerOptions(Declaration):
    """What every dense layer understands; ``maxout`` is the largest of ``pieces`` linear functions for each unit."""

    activation: Activation = "relu"
    pieces: int = Field(2, ge=2)

    @model_validator(mode="after")
    def _has_pieces_for_maxout(self) -> Self:
        if "pieces" in self.model_fields_set and self.activation != "maxout":
            raise ValueError(f"pieces are those of activation = 'maxout'; received activation = {self.activation!r}")
        return self


class MlpOptions(LayerOptions):
    """``options`` of ``mlp``: one layer for each of ``widths``."""

    widths: tuple[PositiveInt, ...] = Field((32, 32), min_length=1)


class DeepDenseOptions(LayerOptions):
    """``options`` of ``deep-dense``: one layer for each of ``widths``; ``dropout`` is the share dropped."""

    widths: tuple[PositiveInt, ...] = Field((128, 128, 128, 128), min_length=1)
    batch_norm: bool = True
    dropout: float = Field(0.1, ge=0, lt=1)


class ResidualOptions(LayerOptions):
    """``options`` of ``residual``: ``blocks`` of two layers each, all of one ``width``."""

    width: PositiveInt = 128
    blocks: PositiveInt = 4
    batch_norm: bool = True
    dropout: float = Field(0.1, ge=0, lt=1)


def dense_layer(
    inputs: "keras.KerasTensor", width: int, options: LayerOptions, batch_norm: bool = False, dropout: float = 0.0
) -> "keras.KerasTensor":
    """Return dense → batch norm → activation → dropout, shape ``(n_events, width)``."""
    from keras import layers

    return hidden_layer(inputs, partial(layers.Dense, width), options, batch_norm, dropout)


def hidden_layer(
    inputs: "keras.KerasTensor",
    linear: Callable[..., "keras.Layer"],
    options: LayerOptions,
    batch_norm: bool = False,
    dropout: float = 0.0,
    present: "keras.KerasTensor | None" = None,
) -> "keras.KerasTensor":
    """Return linear layer → batch norm → activation → dropout.

    The bias is left to the batch norm where there is one.

    Args:
        inputs: what the layer is given.
        linear: makes the linear layer, dense or convolutional, of ``use_bias`` and ``kernel_initializer``.
        options: the activation.
        batch_norm: whether there is one.
        dropout: the share dropped.
        present: what a batch norm learns from, of the shape of ``inputs`` but for the last axis; everything if none.

    References:
        Ioffe, Szegedy, "Batch normalization", ICML 2015, section 3.2; Srivastava et al., "Dropout", JMLR 15
        (2014) 1929; He et al., "Delving deep into rectifiers", ICCV 2015, equation 10; Glorot, Bengio,
        "Understanding the difficulty of training deep feedforward neural networks", AISTATS 2010, equation 16;
        Goodfellow et al., "Maxout networks", ICML 2013, section 3.
    """
    from keras import layers

    def piece() -> "keras.KerasTensor":
        hidden = linear(use_bias=not batch_norm, kernel_initializer=_initialiser(options))(inputs)
        return layers.BatchNormalization()(hidden, mask=present) if batch_norm else hidden

    if options.activation == "maxout":
        hidden = layers.Maximum()([piece() for _ in range(options.pieces)])
    else:
        hidden = _activated(piece(), options.activation)
    return layers.Dropout(dropout)(hidden) if dropout else hidden


def _initialiser(options: LayerOptions) -> "keras.initializers.Initializer":
    from keras import initializers

    named, scale = INITIALISERS.get(options.activation), VARIANCES.get(options.activation, 2.0)
    if options.activation == "maxout":
        scale = 1.0 / _mean_square_of_largest(options.pieces)
    return initializers.get(named) if named else initializers.VarianceScaling(scale, "fan_in", "truncated_normal")


def _mean_square_of_largest(pieces: int) -> float:
    """Return the mean square of the largest of so many Gaussians of variance 1, by its density k φ(x) Φ(x)^(k - 1)."""
    import numpy as np
    from scipy.stats import norm

    x = np.linspace(-10.0, 10.0, 4001)
    density = pieces * norm.pdf(x) * norm.cdf(x) ** (pieces - 1)
    return float(np.sum(x**2 * density) * (x[1] - x[0]))


def _activated(hidden: "keras.KerasTensor", activation: Activation) -> "keras.KerasTensor":
    from keras import layers, ops

    if activation == "arctan":
        return ops.arctan(hidden)
    # Keras' own gelu is made of a function that ONNX does not have; this one differs from it by less than 0.0005.
    return ops.gelu(hidden, approximate=True) if activation == "gelu" else layers.Activation(activation)(hidden)


def mlp(inputs: "keras.KerasTensor", options: MlpOptions) -> "keras.KerasTensor":
    """Return the last hidden layer, shape ``(n_events, widths[-1])``, of dense layers with biases and nothing else."""
    hidden = inputs
    for width in options.widths:
        hidden = dense_layer(hidden, width, options)
    return hidden


def deep_dense(inputs: "keras.KerasTensor", options: DeepDenseOptions) -> "keras.KerasTensor":
    """Return the last hidden layer, shape ``(n_events, widths[-1])``, of a stack with batch norm and dropout."""
    return dense_layers(inputs, options.widths, options)


def dense_layers(
    inputs: "keras.KerasTensor",
    widths: Iterable[int],
    options: DeepDenseOptions,
    present: "keras.KerasTensor | None" = None,
) -> "keras.KerasTensor":
    """Return the last of some layers, shape ``(..., widths[-1])``; where not ``present``, nobody learns from them."""
    from keras import layers

    hidden = inputs
    for width in widths:
        linear = partial(layers.Dense, width)
        hidden = hidden_layer(hidden, linear, options, options.batch_norm, options.dropout, present)
    return hidden


def residual(inputs: "keras.KerasTensor", options: ResidualOptions) -> "keras.KerasTensor":
    """Return the sum, shape ``(n_events, width)``, of a linear layer and of what each block adds to it.

    A block's second layer begins at 0: an untrained network of any depth is a linear one, which neither fades nor
    explodes.

    References:
        He et al., "Deep residual learning for image recognition", CVPR 2016, section 3.2; Zhang, Dauphin, Ma,
        "Fixup initialization", ICLR 2019 (why the last layer of a block begins at 0).
    """
    from keras import layers

    hidden = layers.Dense(options.width)(inputs)
    for _ in range(options.blocks):
        inner = dense_layer(hidden, options.width, options, options.batch_norm, options.dropout)
        hidden = layers.Add()([hidden, layers.Dense(options.width, kernel_initializer="zeros")(inner)])
    return hidden
