"""Splitting: which events train, which validate, which test.

Owns the identity of an event and the part that follows from it. The part is a pure function of the
identity (a salted 64-bit hash), never of the order of files or rows, so that a file read twice, in
another order or next year gives every event the same part, and candidates of one event stay together.
"""

from collections.abc import Collection
from hashlib import blake2b
from typing import Any, Literal

import awkward as ak
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field, model_validator

from pipeline.chunk import Chunk
from pipeline.declare import Declaration
from pipeline.errors import ColumnTypeError, DataError

PARTS = ("train", "validation", "test")
"""The parts of a dataset; an event's part is an index into this."""

_LARGEST_EXACT = {np.dtype(np.float32): 2**24, np.dtype(np.float64): 2**53}


class Fractions(Declaration):
    """The share of each part; a little more or less comes out, since events are assigned one by one."""

    train: float = Field(0.6, gt=0, lt=1)
    validation: float = Field(0.2, gt=0, lt=1)
    test: float = Field(0.2, gt=0, lt=1)

    @model_validator(mode="after")
    def _sum_to_one(self) -> "Fractions":
        total = self.train + self.validation + self.test
        if abs(total - 1) > 1e-9:
            raise ValueError(f"the fractions add up to {total:g}, not to 1")
        return self


class SplitSpec(Declaration):
    """The ``[split]`` section.

    ``by`` is what identifies an event: columns; ``"content"``, all columns that the features need, which
    keeps exact duplicates together; or ``"row"``, file name and position, where there is nothing better.
    ``salt`` gives another, independent split. ``folds`` larger than 1 is not available yet.
    """

    by: tuple[str, ...] | Literal["row", "content"] = "row"
    fractions: Fractions = Fractions()
    folds: Literal[1] = 1
    salt: str = "winnow"

    def columns(self, feature_columns: Collection[str]) -> tuple[str, ...]:
        """Return the columns that the identity needs, in a defined order."""
        if self.by == "row":
            return ()
        return tuple(sorted(feature_columns)) if self.by == "content" else tuple(self.by)


def event_identities(
    chunk: Chunk, spec: SplitSpec, sample: str, file_name: str, feature_columns: Collection[str]
) -> NDArray[np.uint64]:
    """Return the 64-bit identity of every event, shape ``(n_events,)``: a hash of sample, salt and columns.

    Raises:
        ColumnTypeError: an identity column is jagged, or holds numbers whose last digits are lost.
        DataError: an event has no value in a column of ``by``.

    """
    names = spec.columns(feature_columns)
    state = np.full(len(chunk), _hash_text(f"{spec.salt}\0{sample}"), dtype=np.uint64)
    if spec.by == "row":
        state = _mix(state ^ _hash_text(file_name))
        return _mix(state ^ (np.arange(len(chunk), dtype=np.uint64) + np.uint64(chunk.first_event)))
    for name in names:
        bits = _column_bits(chunk, name, is_declared=spec.by != "content")
        state = _mix(state ^ bits)
    return state


def assign_parts(identities: NDArray[np.uint64], fractions: Fractions) -> NDArray[np.int8]:
    """Return the part of every event as an index into ``PARTS``, shape ``(n_events,)``."""
    uniform = _mix(identities).astype(np.float64) / 2.0**64
    edges = [fractions.train, fractions.train + fractions.validation]
    return np.searchsorted(edges, uniform, side="right").astype(np.int8)


def _column_bits(chunk: Chunk, name: str, is_declared: bool) -> NDArray[np.uint64]:
    """Return 64 bits that are equal exactly where the values of a column are equal."""
    column = chunk[name]
    where = f"{chunk.source}: {name!r} in [split] by"
    if not isinstance(column, np.ndarray):
        if is_declared:
            raise ColumnTypeError(f"{where} is jagged; an identity has one value per event")
        return _jagged_bits(column)
    if column.ndim > 1:
        return _row_bits(column)
    if column.dtype == object:
        return pd.util.hash_array(column).astype(np.uint64)
    if column.dtype.kind in "iub":
        return column.astype(np.int64).view(np.uint64) if column.dtype.kind != "u" else column.astype(np.uint64)
    if is_declared:
        _refuse_lost_digits(column, where)
    # Adding 0.0 turns -0.0 into 0.0; NaNs of different payload become one.
    canonical = np.where(np.isnan(column), np.nan, column.astype(np.float64) + 0.0)
    return canonical.view(np.uint64)


def _refuse_lost_digits(column: NDArray[Any], where: str) -> None:
    n_missing = int(np.isnan(column).sum())
    if n_missing:
        raise DataError(f"{where} has no value in {n_missing} of {len(column)} events")
    is_whole = bool(len(column)) and bool(np.all(column == np.floor(column)))
    limit = _LARGEST_EXACT.get(column.dtype, 2**11)
    if is_whole and np.abs(column).max() > limit:
        msg = f"{where} holds whole numbers up to {np.abs(column).max():.0f} as {column.dtype}, "
        raise ColumnTypeError(msg + f"which is exact to {limit} only: different events would become one")


def _row_bits(matrix: NDArray[Any]) -> NDArray[np.uint64]:
    state = np.zeros(len(matrix), dtype=np.uint64)
    for column in np.ascontiguousarray(matrix.astype(np.float64) + 0.0).view(np.uint64).T:
        state = _mix(state ^ column)
    return state


def _jagged_bits(column: Any) -> NDArray[np.uint64]:
    counts = ak.to_numpy(ak.num(column)).astype(np.int64)
    values = ak.to_numpy(ak.flatten(column)).astype(np.float64) + 0.0
    position = np.arange(len(values)) - np.repeat(np.cumsum(counts) - counts, counts)
    mixed = _mix(values.view(np.uint64) ^ _mix(position.astype(np.uint64)))
    sums = np.zeros(len(counts) + 1, dtype=np.uint64)
    ends = np.cumsum(counts)
    running = np.concatenate([sums[:1], np.cumsum(mixed, dtype=np.uint64)])
    return _mix((running[ends] - running[ends - counts]) ^ counts.view(np.uint64))


def _hash_text(text: str) -> np.uint64:
    return np.uint64(int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little"))


def _mix(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scramble 64 bits so that every output bit depends on every input bit (the SplitMix64 step).

    References:
        Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014, figure 17.

    """
    with np.errstate(over="ignore"):
        z = state + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))
