"""The table: events packed as a network trains on them, one row of single precision numbers each.

Owns the layout of a row: the inputs, then the label, then the training weight. One array, so that an event is
fetched, copied or shuffled at one place in memory. What becomes of the rows is the business of others.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.dataset import EventArrays, loaded_blocks
from pipeline.normalise import InputTransform

N_BESIDE_INPUTS = 2
"""Label and training weight."""

BLOCK = 65_536


@dataclass(frozen=True, eq=False)
class EventTable:
    """Packed events: ``rows`` has shape ``(n_events, n_inputs + 2)``."""

    rows: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def n_inputs(self) -> int:
        """Number of inputs of the network."""
        return int(self.rows.shape[1]) - N_BESIDE_INPUTS

    @property
    def inputs(self) -> NDArray[np.float32]:
        """What the network sees, shape ``(n_events, n_inputs)``; a view."""
        return self.rows[:, :-N_BESIDE_INPUTS]

    @property
    def labels(self) -> NDArray[np.float32]:
        """Index of each event's class, shape ``(n_events,)``; a view."""
        return self.rows[:, -2]

    @property
    def weights(self) -> NDArray[np.float32]:
        """Training weights, shape ``(n_events,)``; a view."""
        return self.rows[:, -1]

    @property
    def sum_of_weights(self) -> float:
        """What a weighted mean over these events divides by, added up in double precision."""
        return float(self.weights.sum(dtype=np.float64))


def pack(inputs: NDArray[np.float32], labels: NDArray[np.number], weights: NDArray[np.number]) -> EventTable:
    """Return the table of inputs ``(n_events, n_inputs)``, labels ``(n_events,)`` and weights ``(n_events,)``."""
    table = _empty_table(*inputs.shape)
    table.inputs[:], table.labels[:], table.weights[:] = inputs, labels, weights
    return table


def table_of(part: EventArrays, transform: InputTransform) -> EventTable:
    """Return all events of a part, in their order; beside the table itself one block is in memory at a time."""
    table = _empty_table(len(part), transform.n_inputs)
    filled = 0
    for block in iter_tables(part, transform):
        table.rows[filled : filled + len(block)] = block.rows
        filled += len(block)
    return table


def iter_tables(part: EventArrays, transform: InputTransform, n_events: int = BLOCK) -> Iterator[EventTable]:
    """Yield the events of a part in their order, ``n_events`` at a time; of no events there is no table."""
    for block in loaded_blocks(part, n_events):
        yield pack(transform.apply(block.features), block.label, block.training_weight)


def _empty_table(n_events: int, n_inputs: int) -> EventTable:
    return EventTable(np.empty((n_events, n_inputs + N_BESIDE_INPUTS), dtype=np.float32))
