"""Arrow columns as columns of a chunk.

Owns the one rule for what is missing: a null number is NaN, a null string is empty, a null list is empty;
and the one rule for integers: they stay integers, and where nulls force floats they must survive it. Leaves
the files that Arrow reads to ``csv_files`` and ``parquet_files``.
"""

from collections.abc import Callable
from typing import Any

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.chunk import Column
from pipeline.errors import ColumnTypeError
from pipeline.layout import ColumnKind

EXACT_IN_FLOAT64 = 2**53


def kind_of(arrow_type: Any) -> ColumnKind:
    """Return the kind of column that an Arrow type becomes."""
    if pa.types.is_dictionary(arrow_type):
        return kind_of(arrow_type.value_type)
    for is_type, kind in _KINDS:
        if is_type(arrow_type):
            return kind
    if _is_list(arrow_type) or pa.types.is_fixed_size_list(arrow_type):
        holds_numbers = kind_of(arrow_type.value_type) in ("integer", "float", "boolean")
        is_fixed = pa.types.is_fixed_size_list(arrow_type)
        return "unreadable" if not holds_numbers else "fixed" if is_fixed else "jagged"
    return "unreadable"


def column_of(array: Any, where: str) -> Column:
    """Return an Arrow chunked array as a flat, fixed-size or jagged column.

    Raises:
        ColumnTypeError: integers beyond 2^53 beside nulls, which float64 would round.

    """
    if pa.types.is_dictionary(array.type):
        array = array.cast(array.type.value_type)
    return _CONVERTERS[kind_of(array.type)](array, where)


def _is_list(arrow_type: Any) -> bool:
    return bool(pa.types.is_list(arrow_type) or pa.types.is_large_list(arrow_type))


def _is_text(arrow_type: Any) -> bool:
    return bool(pa.types.is_string(arrow_type) or pa.types.is_large_string(arrow_type))


def _integers(array: Any, where: str) -> NDArray[Any]:
    if array.null_count == 0:
        return np.asarray(array.to_numpy())
    bounds = pc.min_max(array).as_py()
    largest = max((abs(bound) for bound in bounds.values() if bound is not None), default=0)
    if largest > EXACT_IN_FLOAT64:
        msg = (
            f"{where} holds integers up to {largest} beside missing values: float64, which could mark "
            f"those as NaN, is exact only to {EXACT_IN_FLOAT64}; fill the blanks, or leave the column out"
        )
        raise ColumnTypeError(msg)
    return np.asarray(array.cast(pa.float64()).to_numpy())


def _floats(array: Any, where: str) -> NDArray[Any]:
    if pa.types.is_null(array.type):
        return np.full(len(array), np.nan)
    return np.asarray(array.to_numpy())


def _booleans(array: Any, where: str) -> NDArray[Any]:
    if array.null_count == 0:
        return np.asarray(array.to_numpy(), dtype=np.bool_)
    return np.asarray(array.cast(pa.uint8()).cast(pa.float64()).to_numpy())


def _strings(array: Any, where: str) -> NDArray[Any]:
    return np.asarray(pc.fill_null(array, "").to_numpy(), dtype=object)


def _jagged(array: Any, where: str) -> ak.Array:
    counts = pc.fill_null(pc.list_value_length(array), 0).to_numpy()
    return ak.unflatten(np.asarray(column_of(pc.list_flatten(array), where)), counts)


def _fixed(array: Any, where: str) -> NDArray[Any]:
    values = np.asarray(column_of(pc.list_flatten(array), where)).reshape(-1, array.type.list_size)
    if array.null_count == 0:
        return values
    rows = np.full((len(array), array.type.list_size), np.nan)
    rows[array.is_valid().to_numpy()] = values
    return rows


_KINDS: tuple[tuple[Callable[[Any], bool], ColumnKind], ...] = (
    (pa.types.is_boolean, "boolean"),
    (pa.types.is_integer, "integer"),
    (pa.types.is_floating, "float"),
    (pa.types.is_null, "float"),
    (_is_text, "string"),
)
_CONVERTERS: dict[ColumnKind, Callable[[Any, str], Column]] = {
    "integer": _integers,
    "float": _floats,
    "boolean": _booleans,
    "string": _strings,
    "jagged": _jagged,
    "fixed": _fixed,
}
