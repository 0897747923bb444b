"""Schema: what must hold of a column.

Owns the ``[columns]`` section. Whether a column is there at all is found when it is asked for.
"""

from collections.abc import Mapping
from typing import Literal, Self

import awkward as ak
import numpy as np
from pydantic import model_validator

from pipeline.chunk import Chunk, Column
from pipeline.declare import Declaration
from pipeline.errors import ColumnTypeError, DataError
from pipeline.missing import MissingSpec, is_missing

NO_SENTINELS = MissingSpec()


class ColumnSpec(Declaration):
    """One line of ``[columns]``: the unit (for people), the allowed range, and the kind.

    An ``id`` must be whole numbers or text, and cannot be a feature. Missing values are outside of no range.
    """

    unit: str | None = None
    min: float | None = None
    max: float | None = None
    kind: Literal["number", "id", "text"] = "number"

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min = {self.min:g} is above max = {self.max:g}")
        return self


def check_columns(chunk: Chunk, columns: Mapping[str, ColumnSpec], missing: MissingSpec = NO_SENTINELS) -> None:
    """Check the columns of a chunk against what was declared of them; columns that are not there are not checked.

    Raises:
        ColumnTypeError: a column is of another kind than declared.
        DataError: values lie outside of the declared range; the message counts them and names the first.

    """
    for name, spec in columns.items():
        if name in chunk:
            _check_kind(name, chunk, spec)
            _check_range(name, chunk, spec, missing.of(name).values)


def _check_kind(name: str, chunk: Chunk, spec: ColumnSpec) -> None:
    column = chunk[name]
    found = "jagged" if not isinstance(column, np.ndarray) else str(column.dtype)
    is_text = found == "object"
    is_wrong = {
        "id": not is_text and (found == "jagged" or column.dtype.kind not in "iu"),
        "text": not is_text,
        "number": is_text,
    }[spec.kind]
    if is_wrong and len(chunk):
        found = "text" if is_text else found
        raise ColumnTypeError(f"{chunk.source}: column {name!r} is declared as {spec.kind}, but holds {found}")


def _check_range(name: str, chunk: Chunk, spec: ColumnSpec, sentinels: tuple[float, ...]) -> None:
    if spec.min is None and spec.max is None:
        return
    column = chunk[name]
    if isinstance(column, np.ndarray) and column.dtype == object:
        raise ColumnTypeError(f"{chunk.source}: column {name!r} holds text, which cannot lie between min and max")
    values = _numbers(column)
    # In the column's own precision: 2.7 stored in single precision is a little more than 2.7.
    kind = column.dtype.type if isinstance(column, np.ndarray) and column.dtype.kind == "f" else np.float64
    low = -np.inf if spec.min is None else float(kind(spec.min))
    high = np.inf if spec.max is None else float(kind(spec.max))
    outside = ((values < low) | (values > high)) & ~is_missing(values[:, None], [sentinels])[:, 0]
    if outside.any():
        unit = f" {spec.unit}" if spec.unit else ""
        first = values[np.flatnonzero(outside)[0]]
        msg = f"{chunk.source}: column {name!r} has {int(outside.sum())} values outside of [{low:g}, {high:g}]{unit}"
        raise DataError(f"{msg} (first: {first:g})")


def _numbers(column: Column) -> "np.ndarray[tuple[int, ...], np.dtype[np.float64]]":
    flat = column if isinstance(column, np.ndarray) else ak.to_numpy(ak.flatten(column, axis=None))
    return flat.astype(np.float64).ravel()
