"""Splitting: which events train, which validate, which test.

Owns the identity of an event and the part that follows from it. The part is a pure function of the
identity (a salted 64-bit hash), never of the order of files or rows, so that a file read twice, in
another order or next year gives every event the same part, and candidates of one event stay together.
"""

from collections.abc import Collection
from hashlib import blake2b
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field, model_validator

from pipeline.chunk import Chunk, flattened
from pipeline.declare import Declaration
from pipeline.errors import ColumnTypeError, DataError

PARTS = ("train", "validation", "test")
"""The parts of a dataset; an event's part is an index into this."""

TEST = PARTS.index("test")

_ALL_WHOLE_FROM = {np.dtype(np.float32): 2**24, np.dtype(np.float64): 2**53}
"""Where the whole numbers of a type begin to be too far apart: two ids may have become one."""


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

    ``by`` is what identifies an event: columns, within its sample; ``"content"`` (the default), the values of all
    columns that the features need, which keeps exact duplicates on one side whatever file or sample they are in; or
    ``"row"``, file name and position, which does not. With ``"content"`` other inputs from other columns give another
    split: compare such models by columns that identify an event.
    ``salt`` gives another, independent split.

    With ``folds = k`` larger than 1 there are k splits: the test part of each is one of k equal shares of the events,
    and of the others train and validation get what ``fractions`` say, in proportion. The test fraction has no say then.
    """

    by: Annotated[tuple[str, ...], Field(min_length=1)] | Literal["row", "content"] = "content"
    fractions: Fractions = Fractions()
    folds: int = Field(1, ge=1, le=100)
    salt: str = "winnow"

    def columns(self, feature_columns: Collection[str]) -> tuple[str, ...]:
        """Return the columns that the identity needs, in a defined order."""
        if self.by == "row":
            return ()
        return tuple(sorted(feature_columns)) if self.by == "content" else tuple(self.by)

    def share(self, part: str) -> float:
        """Return the share of the events that a part is meant to get."""
        meant = float(getattr(self.fractions, part))
        if self.folds == 1:
            return meant
        of_the_others = (1 - 1 / self.folds) / (self.fractions.train + self.fractions.validation)
        return 1 / self.folds if part == "test" else meant * of_the_others


def event_identities(
    chunk: Chunk, spec: SplitSpec, sample: str, file_name: str, feature_columns: Collection[str]
) -> NDArray[np.uint64]:
    """Return the 64-bit identity of every event, shape ``(n_events,)``: a hash of salt, sample and columns.

    Raises:
        ColumnTypeError: an identity column is jagged, or holds numbers whose last digits are lost.
        DataError: an event has no value in a column of ``by``.

    """
    names = spec.columns(feature_columns)
    # An event number says who an event is within its sample; its content does so everywhere.
    origin = "" if spec.by == "content" else sample
    state = np.full(len(chunk), _hash_text(f"{spec.salt}\0{origin}"), dtype=np.uint64)
    if spec.by == "row":
        state = scramble(state ^ _hash_text(file_name))
        return scramble(state ^ (np.arange(len(chunk), dtype=np.uint64) + np.uint64(chunk.first_event)))
    for name in names:
        bits = _column_bits(chunk, name, is_declared=spec.by != "content")
        state = scramble(state ^ bits)
    return state


def content_identities(chunk: Chunk, feature_columns: Collection[str]) -> NDArray[np.uint64]:
    """Return 64 bits for every event, shape ``(n_events,)``, by which it is known again wherever it turns up.

    They are a hash of the values of all columns that the features need.
    """
    return event_identities(chunk, SplitSpec(by="content"), "", "", feature_columns)


def assign_parts(identities: NDArray[np.uint64], spec: SplitSpec, fold: int = 0) -> NDArray[np.int8]:
    """Return the part of every event as an index into ``PARTS``, shape ``(n_events,)``, in the split of one fold."""
    edges = [spec.fractions.train, spec.fractions.train + spec.fractions.validation]
    if spec.folds == 1:
        return np.searchsorted(edges, _uniform(identities), side="right").astype(np.int8)
    # Another hash than the fold's, so that an event that is validated on is so in every fold that does not test it.
    is_validation = _uniform(scramble(identities)) * edges[1] >= edges[0]
    return np.where(assign_folds(identities, spec.folds) == fold, TEST, is_validation).astype(np.int8)


def assign_folds(identities: NDArray[np.uint64], n_folds: int) -> NDArray[np.int16]:
    """Return the fold in whose test part every event is, shape ``(n_events,)``."""
    return (_uniform(identities) * n_folds).astype(np.int16)


def _uniform(identities: NDArray[np.uint64]) -> NDArray[np.float64]:
    # 53 bits, so that no number is rounded up to 1.
    return (scramble(identities) >> np.uint64(11)).astype(np.float64) / 2.0**53


def _column_bits(chunk: Chunk, name: str, is_declared: bool) -> NDArray[np.uint64]:
    """Return 64 bits that are equal exactly where the values of a column are equal."""
    column = chunk[name]
    where = f"{chunk.source}: {name!r} in [split] by"
    if is_declared:
        if not isinstance(column, np.ndarray):
            raise ColumnTypeError(f"{where} is jagged; an identity has one value per event")
        _refuse_lost_identities(column, where)
    return _value_bits(np.asarray(column)) if column.ndim == 1 else _list_bits(*flattened(column))


def _value_bits(values: NDArray[Any]) -> NDArray[np.uint64]:
    """Return 64 bits for each value, shape ``(n,)``: the same for 3 as int16, as uint64 and as double."""
    if values.dtype == object:
        return pd.util.hash_array(values).astype(np.uint64)
    if values.dtype.kind == "u":
        return values.astype(np.uint64)
    if values.dtype.kind in "ib":
        return values.astype(np.int64).view(np.uint64)
    # Adding 0.0 turns -0.0 into 0.0; NaNs of different payload become one.
    exact = np.where(np.isnan(values), np.nan, values.astype(np.float64) + 0.0)
    # One block of a CSV may hold whole numbers only and the next not: the type must not decide.
    is_whole = (exact == np.floor(exact)) & (np.abs(exact) < 2.0**63)
    whole = np.where(is_whole, exact, 0.0).astype(np.int64)
    return np.where(is_whole, whole.view(np.uint64), exact.view(np.uint64))


def _refuse_lost_identities(column: NDArray[Any], where: str) -> None:
    # A missing text is an empty one in some files.
    n_missing = int((pd.isna(column) | (column == "")).sum() if column.dtype == object else pd.isna(column).sum())
    if n_missing:
        raise DataError(f"{where} has no value in {n_missing} of {len(column)} events")
    if column.dtype.kind != "f" or not column.size:
        return
    largest, limit = np.abs(column).max(), _ALL_WHOLE_FROM.get(column.dtype, 2**11)
    if largest >= limit:
        msg = f"{where} holds numbers up to {largest:.0f} as {column.dtype}, "
        raise ColumnTypeError(msg + f"which is exact below {limit} only: different events would become one")


def _list_bits(values: NDArray[Any], counts: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return 64 bits for each list, whether all have the same length or not; ``counts`` are the lengths."""
    bits = _value_bits(values)
    position = np.arange(len(bits)) - np.repeat(np.cumsum(counts) - counts, counts)
    mixed = scramble(bits ^ scramble(position.astype(np.uint64)))
    sums = np.zeros(len(counts) + 1, dtype=np.uint64)
    ends = np.cumsum(counts)
    running = np.concatenate([sums[:1], np.cumsum(mixed, dtype=np.uint64)])
    return scramble((running[ends] - running[ends - counts]) ^ counts.view(np.uint64))


def _hash_text(text: str) -> np.uint64:
    return np.uint64(int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little"))


def scramble(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scramble 64 bits so that every output bit depends on every input bit (the SplitMix64 step).

    References:
        Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014, 453.

    """
    with np.errstate(over="ignore"):
        z = state + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))
