"""Convolutional networks: images, and rows of pixels such as the layers of a calorimeter.

Owns the hidden part of such networks: stages of convolutions, each of which ends with a pooling, and a dense network
of the maps that remain.
"""

from functools import partial
from typing import TYPE_CHECKING

from pydantic import Field, PositiveInt

from models.dense import DeepDenseOptions, deep_dense, hidden_layer
from models.parts import Parts
from pipeline.blocks import Block

if TYPE_CHECKING:
    import keras


class ConvolutionalOptions(DeepDenseOptions):
    """``options`` of ``convolutional``: a stage for each of ``filters``, then dense layers of ``widths``.

    A stage has so many ``convolutions`` of that number of filters, each looking at ``window`` pixels along every side,
    and keeps the largest of ``pool`` neighbours along every side. What a side has over after pooling is left out.
    """

    filters: tuple[PositiveInt, ...] = Field((16, 32), min_length=1)
    convolutions: PositiveInt = 1
    window: PositiveInt = 3
    pool: PositiveInt = 2
    widths: tuple[PositiveInt, ...] = Field((64,), min_length=1)


def convolutional(parts: Parts, options: ConvolutionalOptions) -> "keras.KerasTensor":
    """Return the last hidden layer, shape ``(n_events, widths[-1])``, of what the stages make of each image.

    References:
        LeCun et al., "Gradient-based learning applied to document recognition", Proceedings of the IEEE 86 (1998)
        2278; Simonyan, Zisserman, "Very deep convolutional networks", ICLR 2015 (stages of several convolutions).
    """
    return deep_dense(parts.joined(partial(_maps, options=options)), options)


def _maps(image: "keras.KerasTensor", options: ConvolutionalOptions) -> "keras.KerasTensor":
    from keras import layers

    dimensions = len(image.shape) - 2
    convolution, pooling = (getattr(layers, f"{name}{dimensions}D") for name in ("Conv", "MaxPooling"))
    for filters in options.filters:
        linear = partial(convolution, filters, options.window, padding="same")
        for _ in range(options.convolutions):
            image = hidden_layer(image, linear, options, options.batch_norm)
        image = pooling(options.pool)(image) if options.pool > 1 else image
        image = layers.Dropout(options.dropout)(image) if options.dropout else image
    return layers.Flatten()(image)


def too_small(options: ConvolutionalOptions, image: Block) -> str:
    """Say what would have to change where an image is too small for what is done to it; return an empty text if not."""
    shortest, stages = min(image.shape[:-1]), len(options.filters)
    shape = " x ".join(map(str, image.shape[:-1]))
    if options.window >= 2 * max(image.shape[:-1]):
        msg = f"a window of {options.window} pixels is larger than image {image.name!r}, {shape} pixels"
        return f"{msg}; give window = {max(image.shape[:-1])} at most"
    if shortest >= options.pool**stages:
        return ""
    most = max(stage for stage in range(stages) if shortest >= options.pool**stage)
    msg = f"of image {image.name!r}, {shape} pixels, {stages} poolings by {options.pool} leave nothing"
    return f"{msg}; " + (f"give filters for {most} at most, or a smaller pool" if most else "give pool = 1")
