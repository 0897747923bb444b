"""Recurrent networks: the elements of a collection, one after the other.

Owns the hidden part of such networks: cells that read an event's elements in their order and keep their state where
an element is absent, and a dense network of the last state.
"""

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Literal

from pydantic import Field, PositiveInt

from models.dense import DeepDenseOptions, deep_dense
from models.parts import Parts, elements_of

if TYPE_CHECKING:
    import keras

CELLS: Mapping[str, str] = {"gru": "GRU", "lstm": "LSTM", "rnn": "SimpleRNN"}
"""Name in the experiment file → Keras layer."""


class RecurrentOptions(DeepDenseOptions):
    """``options`` of ``recurrent``: one layer of cells for each of ``units``, then dense layers of ``widths``.

    ``bidirectional`` adds to each layer as many cells that read from the last element to the first. ``dropout``
    follows every layer, and never stands between an element and the next; ``batch_norm`` is that of the dense layers.
    """

    cell: Literal["rnn", "lstm", "gru"] = "gru"
    units: tuple[PositiveInt, ...] = Field((64,), min_length=1)
    bidirectional: bool = False
    widths: tuple[PositiveInt, ...] = Field((64,), min_length=1)


def recurrent(parts: Parts, options: RecurrentOptions) -> "keras.KerasTensor":
    """Return the last hidden layer, shape ``(n_events, widths[-1])``, of the state that each collection leaves.

    References:
        Elman, "Finding structure in time", Cognitive Science 14 (1990) 179 (rnn); Hochreiter, Schmidhuber, "Long
        short-term memory", Neural Computation 9 (1997) 1735, with the gate of Gers, Schmidhuber, Cummins, Neural
        Computation 12 (2000) 2451 (lstm); Cho et al., EMNLP 2014, section 2.3 (gru); Schuster, Paliwal,
        "Bidirectional recurrent neural networks", IEEE Transactions on Signal Processing 45 (1997) 2673.
    """
    return deep_dense(parts.joined(partial(_last_state, options=options)), options)


def _last_state(collection: "keras.KerasTensor", options: RecurrentOptions) -> "keras.KerasTensor":
    from keras import layers

    hidden, present = elements_of(collection)
    for depth, units in enumerate(options.units, 1):
        # Unrolled, because a loop within a step can neither be compiled well nor exported.
        cells = getattr(layers, CELLS[options.cell])(units, unroll=True, return_sequences=depth < len(options.units))
        hidden = (layers.Bidirectional(cells) if options.bidirectional else cells)(hidden, mask=present)
        hidden = layers.Dropout(options.dropout)(hidden) if options.dropout else hidden
    return hidden
