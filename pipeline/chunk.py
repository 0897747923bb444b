"""A chunk: a block of events in memory, as named columns.

Owns the in-memory shape of events and nothing else: who read them (``sources``) and what is computed
from them (``expressions``, ``features``) live elsewhere.

A *flat* column is a NumPy array of shape ``(n_events,)`` (numbers, booleans, or Python strings as
``object``) or ``(n_events, k)`` (fixed-size); a *jagged* column is an Awkward array with one
variable-length list an event. Integers are never turned into floats.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, TypeAlias

import awkward as ak
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.errors import DataError, missing_column

Column: TypeAlias = "NDArray[Any] | ak.Array"


@dataclass(frozen=True, eq=False)
class Chunk:
    """A block of consecutive events.

    ``first_event`` is the position of the first one in its file (or frame). ``original`` is the same
    block exactly as the file has it (text lines of a CSV, an Arrow table, an Awkward record array);
    only the writer of the same format looks into it, so that scored files keep every column unchanged.
    ``places``, shape ``(n_events,)``, counts from ``first_event`` where events between these were left out.
    """

    columns: Mapping[str, Column]
    n_events: int
    first_event: int = 0
    source: str = "these events"
    original: Any = field(default=None, repr=False)
    places: NDArray[np.intp] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for name, column in self.columns.items():
            if len(column) != self.n_events:
                msg = f"{self.source}: column {name!r} has {len(column)} entries for {self.n_events} events"
                raise DataError(msg)
        object.__setattr__(self, "columns", MappingProxyType(dict(self.columns)))

    def __len__(self) -> int:
        return self.n_events

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __contains__(self, name: object) -> bool:
        return name in self.columns

    def __getitem__(self, name: str) -> Column:
        try:
            return self.columns[name]
        except KeyError:
            raise missing_column(name, self.columns, self.source) from None

    def with_columns(self, columns: Mapping[str, Column]) -> "Chunk":
        """Return the same events with more columns; a name that exists already is replaced."""
        return replace(self, columns={**self.columns, **columns})

    def keep(self, mask: NDArray[np.bool_]) -> "Chunk":
        """Return the events where ``mask`` (shape ``(n_events,)``) is true; ``original`` is let go."""
        columns = {name: column[mask] for name, column in self.columns.items()}
        places = np.flatnonzero(mask) if self.places is None else self.places[mask]
        return replace(self, columns=columns, n_events=len(places), original=None, places=places)

    def number_of(self, row: int) -> int:
        """Return the number of an event in its file (or frame), the first being 0."""
        return self.first_event + (row if self.places is None else int(self.places[row]))


def chunk_of(columns: Mapping[str, Any], source: str = "these events") -> Chunk:
    """Make a chunk from anything array-like, one sequence a column; lists of lists become jagged columns."""
    converted = {str(name): as_column(values) for name, values in columns.items()}
    n_events = len(next(iter(converted.values()))) if converted else 0
    return Chunk(converted, n_events, source=source)


def chunk_of_frame(frame: pd.DataFrame, source: str = "this frame") -> Chunk:
    """Make a chunk from a pandas frame, one column each; the index is not looked at."""
    return chunk_of({str(name): frame[name].to_numpy() for name in frame.columns}, source)


def as_column(values: Any) -> Column:
    """Return ``values`` as a flat or jagged column; what is missing is NaN among numbers and ``None`` among texts."""
    if isinstance(values, ak.Array):
        return values
    if isinstance(values, np.ndarray) and values.dtype != object:
        return values
    items = list(values)
    if any(isinstance(item, list | tuple | np.ndarray | ak.Array) for item in items):
        return ak.Array([[] if item is None else list(item) for item in items])
    if any(isinstance(item, str) for item in items):
        return np.array([None if pd.isna(item) else str(item) for item in items], dtype=object)
    array = np.asarray(items) if items else np.empty(0)
    if array.dtype == object:
        return np.array([np.nan if pd.isna(item) else item for item in items], dtype=np.float64)
    return array


def flattened(column: Column) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return what a column of several values an event holds, one event after the other, and how many each has.

    The column is jagged or of fixed size, and lists of lists count as one: shapes ``(n_values,)``, ``(n_events,)``.
    """
    if isinstance(column, np.ndarray):
        return column.ravel(), np.full(len(column), math.prod(column.shape[1:]), dtype=np.int64)
    while column.ndim > 2:
        column = ak.flatten(column, axis=2)
    values = ak.to_numpy(ak.flatten(column))
    if isinstance(values, np.ma.MaskedArray):
        values = np.ma.filled(values.astype(np.float64), np.nan)
    return values, ak.to_numpy(ak.num(column)).astype(np.int64)
