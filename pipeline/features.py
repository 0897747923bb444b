"""Features: derived columns and the model's input matrix.

Owns the way from raw columns to the feature matrix, one number per feature and event, in double precision
and still in the features' own units. Missing values stay missing here; ``normalise`` comes after.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Self

import awkward as ak
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationInfo, field_validator, model_validator

from pipeline.blocks import InputSpec
from pipeline.chunk import Chunk, Column
from pipeline.declare import Declaration
from pipeline.errors import DataError, nearest_spelling
from pipeline.expressions import Expression, column_or_expression, evaluate_flat
from pipeline.missing import MissingSpec

BLOCK = 2048
"""Events at a time: a block of the matrix stays in the cache while its columns are filled in."""


class FeatureSpec(InputSpec):
    """The ``[features]`` section.

    ``inputs`` are columns, derived columns or expressions of them, one number an event; ``collections`` and ``images``
    hold many. ``spectators`` are as ``inputs``: no network sees them,
    and the evaluation asks how the score depends on them, as on a mass. ``allow`` names columns that may be
    inputs although they also make the label, a weight or the identity of an event.
    """

    spectators: tuple[str, ...] = ()
    missing: MissingSpec = MissingSpec()
    allow: tuple[str, ...] = ()

    @field_validator("inputs", "spectators")
    @classmethod
    def _are_different(cls, names: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            noun = "an input" if info.field_name == "inputs" else "a spectator"
            raise ValueError(f"names {noun} twice: {', '.join(twice)}")
        return names

    @model_validator(mode="after")
    def _overrides_name_inputs(self) -> Self:
        unknown = [n for n in self.missing.overrides if n not in self.inputs]
        if unknown:
            hints = ", ".join(f"{n!r}{nearest_spelling(n, self.inputs)}" for n in unknown)
            raise ValueError(f"missing.overrides names what is no input: {hints}")
        return self


class Recipe(Declaration):
    """How the feature matrix is made: the derived columns in their order, then the inputs.

    ``sentinels`` are taken for missing (NaN) wherever a derived column or an input that is an expression uses
    a flat column, be it of the file or derived, so that -999 never enters a sum or a ratio; ``own_sentinels``
    holds the columns that have others. Cuts and weights see columns as they are in the file.
    """

    derive: dict[str, str] = Field(default_factory=dict)
    inputs: tuple[str, ...]
    sentinels: tuple[float, ...] = ()
    own_sentinels: dict[str, tuple[float, ...]] = Field(default_factory=dict)

    def needed_for(self, texts: Collection[str], available: Collection[str]) -> frozenset[str]:
        """Return the columns of a file that ``texts`` (columns, derived columns, expressions) need in the end.

        Args:
            texts: what is to be computed.
            available: the columns that the file has.

        Raises:
            DataError: a derived column has the name of a column of the file, or needs itself or a later one.
            ExpressionError: a text is neither a column nor an expression.

        """
        shadowed = sorted(set(self.derive) & set(available))
        if shadowed:
            raise DataError(f"[derive] {shadowed[0]!r} is already a column of the file; choose another name")
        needs: dict[str, frozenset[str]] = {}
        for name, text in self.derive.items():
            used = self._resolve(text, available).columns
            unready = sorted(used & (self.derive.keys() - needs.keys()))
            if unready:
                raise DataError(f"[derive] {name} = {text!r} needs {unready[0]!r}, which comes later; move it up")
            needs[name] = _without_derived(used, needs)
        used_by_texts = [self._resolve(text, available).columns for text in texts]
        return frozenset().union(*(_without_derived(used, needs) for used in used_by_texts))

    def _resolve(self, text: str, available: Collection[str]) -> Expression:
        return column_or_expression(text, {*available, *self.derive})

    def derived(self, chunk: Chunk, only: Collection[str] | None = None) -> Chunk:
        """Return the chunk with its derived columns; flat or jagged, each may use those before it."""
        masked, made = self._masked(chunk), dict[str, Column]()
        for name, text in self.derive.items():
            if only is None or name in only:
                made[name] = self._resolve(text, masked.columns).evaluate(masked)
                masked = masked.with_columns({name: self._masked_column(name, made[name])})
        return chunk.with_columns(made)

    def _masked(self, chunk: Chunk) -> Chunk:
        """Return the chunk with NaN for sentinels in the columns that expressions use."""
        if not self.sentinels and not any(self.own_sentinels.values()):
            return chunk
        texts = [*self.derive.values(), *(text for text in self.inputs if text not in chunk)]
        used = {name for text in texts for name in self._resolve(text, chunk.columns).columns if name in chunk}
        return chunk.with_columns({name: self._masked_column(name, chunk[name]) for name in sorted(used)})

    def _masked_column(self, name: str, column: Column) -> Column:
        if isinstance(column, ak.Array):
            return self._masked_lists(name, column)
        if column.dtype.kind not in "fiu":
            return column
        missing = self._is_sentinel(name, column)
        return np.where(missing, np.nan, column.astype(np.float64)) if missing.any() else column

    def _masked_lists(self, name: str, lists: ak.Array) -> ak.Array:
        """Return lists with NaN for sentinels, so that a sum over a list with one is missing as well."""
        values = ak.to_numpy(ak.flatten(lists, axis=None))
        if values.dtype.kind not in "fiu" or not self._is_sentinel(name, values).any():
            return lists
        return ak.transform(lambda layout, **_: self._masked_leaf(name, layout), lists)

    def _masked_leaf(self, name: str, layout: Any) -> Any:
        if not layout.is_numpy:
            return None
        return ak.contents.NumpyArray(np.asarray(self._masked_column(name, layout.data)))

    def _is_sentinel(self, name: str, column: NDArray[Any]) -> NDArray[np.bool_]:
        """Say where a column holds a sentinel as its type stores it: -99.99 in single precision is another number."""
        result = np.zeros(column.shape, dtype=np.bool_)
        with np.errstate(over="ignore"):
            for value in self.own_sentinels.get(name, self.sentinels):
                result |= column == (column.dtype.type(value) if column.dtype.kind == "f" else value)
        return result

    def matrix(self, chunk: Chunk) -> NDArray[np.float64]:
        """Return the feature matrix of a chunk that has its derived columns, shape ``(n_events, n_inputs)``.

        Raises:
            ColumnTypeError: an input is text, or not one number per event.
            MissingColumnError: a column is not there.

        """
        masked = chunk if all(text in chunk for text in self.inputs) else self._masked(chunk)
        columns = [
            evaluate_flat(self._resolve(text, chunk.columns), chunk if text in chunk else masked)
            for text in self.inputs
        ]
        return _side_by_side(columns, len(chunk))

    def values(self, chunk: Chunk, texts: Sequence[str]) -> NDArray[np.float64]:
        """Return columns, derived columns or expressions of a chunk that has its derived columns.

        Shape ``(n_events, n_texts)``, in the order of ``texts``; NaN where a value is missing or a sentinel.

        Raises:
            ColumnTypeError: one is text, or not one number per event.
            MissingColumnError: a column is not there.

        """
        expressions = [self._resolve(text, chunk.columns) for text in texts]
        used = sorted({name for expression in expressions for name in expression.columns if name in chunk})
        masked = chunk.with_columns({name: self._masked_column(name, chunk[name]) for name in used})
        return _side_by_side([evaluate_flat(expression, masked) for expression in expressions], len(chunk))

    def derived_for(self, texts: Collection[str], available: Collection[str]) -> frozenset[str]:
        """Return the derived columns that ``texts`` need, directly or through others."""
        wanted = {name for text in texts for name in self._resolve(text, available).columns if name in self.derive}
        for name in reversed(self.derive):
            if name in wanted:
                wanted |= self._resolve(self.derive[name], available).columns & self.derive.keys()
        return frozenset(wanted)


def _side_by_side(columns: Sequence[NDArray[Any]], n_events: int) -> NDArray[np.float64]:
    matrix = np.empty((n_events, len(columns)), dtype=np.float64)
    # Row by row is slow, column by column leaves the cache: blocks of rows do neither.
    for start in range(0, n_events, BLOCK):
        for i, column in enumerate(columns):
            matrix[start : start + BLOCK, i] = column[start : start + BLOCK]
    return matrix


def _without_derived(used: frozenset[str], needs: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """Replace each derived column by the columns of the file that it needs."""
    return frozenset().union(*(needs.get(name, frozenset({name})) for name in used))
