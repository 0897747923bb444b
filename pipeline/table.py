"""The table: events packed as a network trains on them, one row of single precision numbers each.

Owns the layout of a row: the inputs, then the targets, then the training weight. One array, so that an event is
fetched, copied or shuffled at one place in memory. What becomes of the rows is the business of others.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.dataset import EventArrays, loaded_blocks
from pipeline.normalise import InputTransform
from pipeline.nuisance import Nuisance
from pipeline.targets import TargetTransform

BLOCK = 65_536


@dataclass(frozen=True)
class RowShape:
    """How many inputs and how many targets a row has; the last number is the training weight."""

    n_inputs: int
    n_targets: int = 1

    @property
    def n_columns(self) -> int:
        """Numbers in a row."""
        return self.n_inputs + self.n_targets + 1


@dataclass(frozen=True, eq=False)
class EventTable:
    """Packed events: ``rows`` has shape ``(n_events, n_inputs + n_targets + 1)``."""

    rows: NDArray[np.float32]
    n_targets: int = 1

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def n_inputs(self) -> int:
        """Number of inputs of the network."""
        return int(self.rows.shape[1]) - self.n_targets - 1

    @property
    def shape(self) -> RowShape:
        """What a row is made of."""
        return RowShape(self.n_inputs, self.n_targets)

    @property
    def inputs(self) -> NDArray[np.float32]:
        """What the network sees, shape ``(n_events, n_inputs)``; a view."""
        return self.rows[:, : self.n_inputs]

    @property
    def targets(self) -> NDArray[np.float32]:
        """What the network shall find, shape ``(n_events, n_targets)``; a view."""
        return self.rows[:, self.n_inputs : -1]

    @property
    def labels(self) -> NDArray[np.float32]:
        """The first target, shape ``(n_events,)``, which is the index of an event's class unless it has others."""
        return self.rows[:, self.n_inputs]

    @property
    def weights(self) -> NDArray[np.float32]:
        """Training weights, shape ``(n_events,)``; a view."""
        return self.rows[:, -1]

    def among(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> "EventTable":
        """Return some of the events, copied."""
        return EventTable(self.rows[rows], self.n_targets)

    @property
    def sum_of_weights(self) -> float:
        """What a weighted mean over these events divides by, added up in double precision."""
        return float(self.weights.sum(dtype=np.float64))


@dataclass(frozen=True)
class Packing:
    """How events of a dataset become rows; without ``targets`` the index of its class is what an event has.

    The rank of a nuisance, if there is one, is the last of the targets: it is what an adversary shall not find.
    """

    transform: InputTransform
    targets: TargetTransform | None = None
    nuisance: Nuisance | None = None

    @property
    def shape(self) -> RowShape:
        """What a row is made of."""
        n_targets = len(self.targets.offset) if self.targets else 1
        return RowShape(self.transform.n_inputs, n_targets + (self.nuisance is not None))

    def pack(self, events: EventArrays) -> EventTable:
        """Return the table of events that are in memory."""
        targets = self.targets_of(events)
        if self.nuisance:
            targets = np.column_stack([targets, self.nuisance.ranks_of(events.spectators)])
        return pack(self.transform.apply(events.features), targets, events.training_weight)

    def targets_of(self, events: EventArrays, rows: NDArray[np.intp] | slice = slice(None)) -> NDArray[np.number]:
        """Return what a network shall find of some events, shape ``(n_events, n_targets)``."""
        found: NDArray[np.number] = events.label[rows][:, None]
        return self.targets.apply(events.target[rows]) if self.targets else found


def pack(inputs: NDArray[np.float32], targets: NDArray[np.number], weights: NDArray[np.number]) -> EventTable:
    """Return a table.

    Args:
        inputs: shape ``(n_events, n_inputs)``.
        targets: shape ``(n_events, n_targets)``, or ``(n_events,)`` where there is one.
        weights: shape ``(n_events,)``.

    """
    n_targets = targets.shape[1] if targets.ndim > 1 else 1
    table = _empty_table(len(inputs), RowShape(inputs.shape[1], n_targets))
    table.inputs[:], table.weights[:] = inputs, weights
    table.targets[:] = targets.reshape(len(inputs), n_targets)
    return table


def table_of(part: EventArrays, packing: Packing) -> EventTable:
    """Return all events of a part, in their order; beside the table itself one block is in memory at a time."""
    table = _empty_table(len(part), packing.shape)
    filled = 0
    for block in iter_tables(part, packing):
        table.rows[filled : filled + len(block)] = block.rows
        filled += len(block)
    return table


def iter_tables(part: EventArrays, packing: Packing, n_events: int = BLOCK) -> Iterator[EventTable]:
    """Yield the events of a part in their order, ``n_events`` at a time; of no events there is no table."""
    return map(packing.pack, loaded_blocks(part, n_events))


def _empty_table(n_events: int, shape: RowShape) -> EventTable:
    return EventTable(np.empty((n_events, shape.n_columns), dtype=np.float32), shape.n_targets)
