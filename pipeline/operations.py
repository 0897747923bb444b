"""Operations: what the signs and functions of an expression do to columns.

Owns the arithmetic on flat, fixed-size and jagged columns, event by event: widening, broadcasting,
reducing, indexing. Which text asks for which operation is `grammar`'s business, when each runs is
`expressions`'.

Numbers are widened first (integers to int64, floats to float64), as ROOT computes in double. ``+ - *``
keep integers unless a result leaves int64, ``/`` and ``**`` give floats. ``%`` has the sign of its left
side, as in C and ROOT.
Unsigned values of 2^63 and more stay exact under comparisons and ``%`` and become floats elsewhere.
"""

from collections.abc import Callable
from functools import partial, reduce
from typing import Any, TypeAlias

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ColumnTypeError, ExpressionError

Value: TypeAlias = Any  # a Python number or text, an array (n_events, …), or a jagged Awkward array
Operation: TypeAlias = Callable[..., Value]

_LIST_ADVICE = "lists are reduced by [0], sum, max, min, mean, any, all or count"


def widened(name: str, column: Value) -> Value:
    """Return a column as bool, int64 or float64 (text stays); only values of 2^63 and more stay uint64.

    Raises:
        ColumnTypeError: for times, records and other things that are neither number nor text.

    """
    if isinstance(column, ak.Array):
        return _widened_lists(name, column)
    if column.dtype.kind in "OUS":
        return column
    if column.dtype.kind not in "biuf":
        msg = f"column {name!r} holds {column.dtype}: an expression reads numbers, true or false, and text"
        raise ColumnTypeError(msg)
    if column.dtype.kind == "b" or _is_beyond_int64(column):
        return column
    return _cast(column, np.float64 if column.dtype.kind == "f" else np.int64)


def _widened_lists(name: str, column: ak.Array) -> Value:
    if column.ndim == 1 and not _has_text(column):
        return widened(name, ak.to_numpy(ak.fill_none(column, np.nan)))
    dtype = _dtype(column)
    if dtype is None or _has_text(column):
        msg = f"column {name!r} holds {column.type}: an expression reads lists of numbers"
        raise ColumnTypeError(msg)
    if "?" in str(column.type) or "option[" in str(column.type):
        # A missing list has no entries; a missing entry is NaN.
        column = ak.fill_none(_cast(ak.fill_none(column, [], axis=0), np.float64), np.nan, axis=-1)
    elif dtype == np.uint64:
        column = _cast(column, np.float64 if _is_beyond_int64(ak.to_numpy(_flat(column))) else np.int64)
    elif dtype.kind != "b":
        column = _cast(column, np.float64 if dtype.kind == "f" else np.int64)
    return ak.from_regular(column, axis=None)


def _has_text(column: ak.Array) -> bool:
    return "string" in str(column.type) or "bytes" in str(column.type)


def _depth(value: Value) -> int:
    return getattr(value, "ndim", 0)


def _is_beyond_int64(value: Value) -> bool:
    if isinstance(value, int):
        return value > np.iinfo(np.int64).max
    return _dtype(value) == np.uint64 and bool(np.any(value > np.uint64(np.iinfo(np.int64).max)))


def _dtype(value: Value) -> np.dtype[Any] | None:
    """The element type; None for a jagged array of records or of several types."""
    if not isinstance(value, ak.Array):
        return np.result_type(type(value)) if isinstance(value, bool | int | float) else np.asarray(value).dtype
    layout = ak.to_layout(value)
    while hasattr(layout, "content"):
        layout = layout.content
    if layout.is_unknown:
        return np.dtype(np.float64)
    return np.dtype(layout.dtype) if layout.is_numpy else None


def _kind(value: Value) -> str:
    dtype = _dtype(value)
    return "O" if dtype is None else dtype.kind


def _cast(value: Value, dtype: type) -> Value:
    if isinstance(value, ak.Array):
        return ak.values_astype(value, dtype, including_unknown=True)
    if isinstance(value, np.ndarray):
        return value.astype(dtype, copy=False)
    return dtype(value).item()


def is_text(value: Value) -> bool:
    """Tell whether a value is a text or a column of texts."""
    return _kind(value) in "OUS"


def _number(value: Value) -> Value:
    if is_text(value):
        msg = "text cannot be computed with: it can only be compared, by == and !="
        raise ColumnTypeError(msg)
    return _cast(value, np.int64) if _kind(value) == "b" else value


def _float(value: Value) -> Value:
    return _cast(_number(value), np.float64)


def truth(value: Value) -> Value:
    """Return where a value is neither zero nor missing (NaN)."""
    return value if _kind(value) == "b" else np.abs(_number(value)) > 0


def _aligned(values: tuple[Value, ...]) -> list[Value]:
    """Bring flat, fixed-size and jagged values to shapes that broadcast event by event."""
    if any(isinstance(value, ak.Array) for value in values):
        return [as_lists(value) if _depth(value) > 1 else value for value in values]
    depth = max(_depth(value) for value in values)
    return [
        value.reshape(value.shape + (1,) * (depth - value.ndim)) if isinstance(value, np.ndarray) else value
        for value in values
    ]


def as_lists(value: Value) -> ak.Array:
    """Return a fixed-size or jagged column as jagged lists."""
    return value if isinstance(value, ak.Array) else ak.from_regular(ak.from_numpy(value), axis=None)


def _elementwise(ufunc: Operation, prepare: Operation, *values: Value) -> Value:
    return ufunc(*_aligned(tuple(prepare(value) for value in values)))


def _integer_arithmetic(ufunc: Operation, *values: Value) -> Value:
    numbers = [_number(value) for value in values]
    in_double = ufunc(*_aligned(tuple(map(_float, numbers))))
    if "f" in map(_kind, numbers) or any(map(_is_beyond_int64, numbers)):
        return in_double
    # What leaves int64 would wrap round without a word.
    return in_double if np.any(np.abs(_flat(in_double)) >= 2.0**63) else ufunc(*_aligned(tuple(numbers)))


def _remainder(left: Value, right: Value) -> Value:
    """``left % right`` with the sign of ``left``; NaN where ``right`` is zero."""
    left, right = _aligned((_number(left), _number(right)))
    if _kind(left) + _kind(right) not in ("ii", "uu", "ui", "iu") or _has_zero(right):
        return np.fmod(_float(left), _float(right))
    if _is_beyond_int64(left) or _is_beyond_int64(right):
        if _has_negative(left) or _has_negative(right):
            msg = "'%' cannot mix negative integers with integers of 2^63 and more exactly"
            raise ColumnTypeError(msg)
        left, right = (_cast(side, np.uint64) for side in (left, right))
    return np.fmod(left, right)


def _flat(value: Value) -> Value:
    return ak.ravel(value) if isinstance(value, ak.Array) else value


def _has_zero(value: Value) -> bool:
    return bool(np.any(np.asarray(_flat(value)) == 0))


def _has_negative(value: Value) -> bool:
    return bool(np.any(np.asarray(_flat(value)) < 0))


def _equality(ufunc: Operation, left: Value, right: Value) -> Value:
    if not is_text(left) and not is_text(right):
        return _elementwise(ufunc, _number, left, right)
    if not (is_text(left) and is_text(right)):
        msg = "text is compared with a number: put the number in quotes, or name another column"
        raise ColumnTypeError(msg)
    same = np.asarray(np.asarray(left, dtype=object) == np.asarray(right, dtype=object), dtype=np.bool_)
    return same if ufunc is np.equal else ~same


def _choose(condition: Value, yes: Value, no: Value) -> Value:
    numbers = [_number(yes), _number(no)]
    if any(_is_beyond_int64(number) for number in numbers):
        numbers = [_float(number) for number in numbers]
    sides = _aligned((truth(condition), *numbers))
    if any(isinstance(side, ak.Array) for side in sides):
        return ak.where(*ak.broadcast_arrays(*sides))
    return np.where(*sides)


def _extreme(ufunc: Operation, *values: Value) -> Value:
    if len(values) == 1:
        return _reduced(ufunc, np.nan, _float, values[0])
    return reduce(partial(_integer_arithmetic, ufunc), values)


def _lists(value: Value) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return the entries of all lists, one after the other, and how many each event has."""
    if _depth(value) < 2:
        msg = f"one number an event is no list: {_LIST_ADVICE}, and only lists are"
        raise ExpressionError(msg)
    if isinstance(value, np.ndarray):
        return value.ravel(), np.full(len(value), value[:1].size if len(value) else 0)
    while value.ndim > 2:
        value = ak.flatten(value, axis=2)
    return ak.to_numpy(ak.flatten(value, axis=1)), ak.to_numpy(ak.num(value, axis=1))


def _reduced(ufunc: Any, empty: float, prepare: Operation, value: Value) -> NDArray[Any]:
    entries, counts = _lists(value)
    entries = prepare(entries)
    dtype = entries.dtype if entries.dtype.kind != "u" else np.dtype(np.float64)
    result = np.full(len(counts), empty, dtype=dtype)
    filled = counts > 0
    if filled.any():
        starts = (np.cumsum(counts) - counts)[filled]
        result[filled] = ufunc.reduceat(entries.astype(dtype, copy=False), starts)
        # A sum of integers that leaves int64 would wrap round without a word.
        if ufunc is np.add and dtype.kind == "i":
            in_double = np.add.reduceat(entries.astype(np.float64), starts)
            if np.any(np.abs(in_double) >= 2.0**63):
                result = result.astype(np.float64)
                result[filled] = in_double
    return result


def _count(value: Value) -> NDArray[np.int64]:
    return _lists(value)[1].astype(np.int64)


def _mean(value: Value) -> NDArray[np.float64]:
    total: NDArray[np.float64] = _reduced(np.add, 0, _float, value)
    return total / _count(value)


def _index(value: Value, *indices: Value) -> Value:
    for index in indices:
        if _depth(value) < 2:
            msg = "[…] takes an entry of a list, and this is one number an event"
            raise ExpressionError(msg)
        value = _masked(value, index) if _kind(index) == "b" else _picked(value, index)
    return value


def _masked(value: Value, mask: Value) -> ak.Array:
    """The entries where ``mask`` (of entries, or of whole events) is true."""
    lists = as_lists(value)
    if _depth(mask) < 2:
        mask = ak.broadcast_arrays(np.broadcast_to(mask, len(lists)), lists, depth_limit=2)[0]
    return lists[as_lists(mask)]


def _picked(value: Value, index: Value) -> Value:
    """One entry an event, NaN where it is not there; ``index`` counts from 0, or from -1 at the end."""
    if _depth(index) > 1:
        msg = "[…] takes one number, or one condition on the same list"
        raise ExpressionError(msg)
    position = _float(index)
    if isinstance(value, np.ndarray) and _depth(position) == 0:
        return _picked_column(value, int(position))
    lists = as_lists(value)
    counts = ak.to_numpy(ak.num(lists, axis=1))
    position = np.where(position < 0, position + counts, position)
    there = (position >= 0) & (position < counts)
    places = (np.cumsum(counts) - counts + np.where(there, position, 0)).astype(np.int64)
    return _gathered(ak.flatten(lists, axis=1), places, there)


def _picked_column(value: NDArray[Any], position: int) -> NDArray[Any]:
    width = value.shape[1]
    if not -width <= position < width:
        msg = f"[{position}] is not there: the column has {width} entries an event, [0] to [{width - 1}]"
        raise ExpressionError(msg)
    return value[:, position]


def _gathered(entries: ak.Array, places: NDArray[np.int64], there: NDArray[np.bool_]) -> Value:
    if entries.ndim > 1:
        places = np.where(there, places, -1)
        layout = ak.contents.IndexedOptionArray(ak.index.Index64(places), ak.to_layout(entries))
        return ak.fill_none(ak.Array(layout), [], axis=0)
    result = np.full(len(places), np.nan)
    result[there] = ak.to_numpy(entries)[places[there]]
    return result


def _table(names: str, prepare: Operation) -> dict[str, Operation]:
    return {name: partial(_elementwise, getattr(np, name), prepare) for name in names.split()}


SIGNS: dict[str, Operation] = {
    "pos": _number,
    "neg": partial(_integer_arithmetic, np.negative),
    "inv": partial(_elementwise, np.logical_not, truth),
    "add": partial(_integer_arithmetic, np.add),
    "sub": partial(_integer_arithmetic, np.subtract),
    "mul": partial(_integer_arithmetic, np.multiply),
    "div": partial(_elementwise, np.true_divide, _float),
    "pow": partial(_elementwise, np.power, _float),
    "mod": _remainder,
    "lt": partial(_elementwise, np.less, _number),
    "lte": partial(_elementwise, np.less_equal, _number),
    "gt": partial(_elementwise, np.greater, _number),
    "gte": partial(_elementwise, np.greater_equal, _number),
    "eq": partial(_equality, np.equal),
    "neq": partial(_equality, np.not_equal),
    "and": partial(_elementwise, np.logical_and, truth),
    "or": partial(_elementwise, np.logical_or, truth),
    "index": _index,
}

ONE_ARGUMENT: dict[str, Operation] = {
    **_table("sqrt exp expm1 log log2 log10 log1p sin cos tan arcsin arccos arctan", _float),
    **_table("sinh cosh tanh arcsinh arccosh arctanh floor ceil isnan isfinite", _float),
    "abs": partial(_integer_arithmetic, np.abs),
    "sum": partial(_reduced, np.add, 0, _number),
    "any": partial(_reduced, np.logical_or, False, truth),
    "all": partial(_reduced, np.logical_and, True, truth),
    "mean": _mean,
    "count": _count,
}
TWO_ARGUMENTS: dict[str, Operation] = {**_table("arctan2 hypot", _float), "pow": SIGNS["pow"]}
THREE_ARGUMENTS: dict[str, Operation] = {"where": _choose}
ANY_ARGUMENTS: dict[str, Operation] = {
    "max": partial(_extreme, np.maximum),
    "min": partial(_extreme, np.minimum),
}
FUNCTIONS: dict[str, Operation] = {**ONE_ARGUMENT, **TWO_ARGUMENTS, **THREE_ARGUMENTS, **ANY_ARGUMENTS}


def apply(operation: str, arguments: list[Value]) -> Value:
    """Do one operation on its arguments: Python numbers, texts, and columns of the same events.

    Raises:
        ExpressionError: where lists of different lengths meet, or a list is wanted and there is none.
        ColumnTypeError: where text is computed with.

    """
    function = SIGNS.get(operation) or FUNCTIONS[operation]
    try:
        with np.errstate(all="ignore"):
            return function(*arguments)
    except ValueError as problem:
        if not any(word in str(problem) for word in ("broadcast", "jagged")):
            raise
        msg = f"lists of different lengths cannot meet in one operation; {_LIST_ADVICE}"
        raise ExpressionError(msg) from problem
