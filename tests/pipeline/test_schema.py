"""What was declared of a column must hold, and missing values break no range."""

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from pipeline.chunk import chunk_of
from pipeline.errors import ColumnTypeError, DataError
from pipeline.missing import MissingSpec
from pipeline.schema import ColumnSpec, check_columns


def check(values: Any, spec: ColumnSpec, missing: MissingSpec | None = None) -> None:
    check_columns(chunk_of({"pt": values}), {"pt": spec, "absent": ColumnSpec(min=0)}, missing or MissingSpec())


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1.0], "number"), ([1], "number"), ([True], "number"), ([[1.0], []], "number"),
        ([1], "id"), (["a"], "id"), (["a"], "text"), ([], "text"),
    ],
)  # fmt: skip
def test_columns_of_the_declared_kind_pass(values: Any, kind: Any) -> None:
    check(values, ColumnSpec(kind=kind))


@pytest.mark.parametrize(
    ("values", "kind", "held"),
    [(["a"], "number", "text"), ([1.5], "id", "float64"), ([[1], []], "id", "jagged"), ([1], "text", "int64")],
)
def test_columns_of_another_kind_are_refused(values: Any, kind: Any, held: str) -> None:
    with pytest.raises(ColumnTypeError, match=f"column 'pt' is declared as {kind}, but holds {held}"):
        check(values, ColumnSpec(kind=kind))


@pytest.mark.parametrize("values", [[-1.0, 5.0, 11.0], [[5.0, -1.0], [11.0]], np.array([[-1, 5], [5, 11]])])
def test_values_out_of_range_are_counted_and_the_first_is_named(values: Any) -> None:
    with pytest.raises(DataError, match=r"'pt' has 2 values outside of \[0, 10\] GeV \(first: -1\)"):
        check(values, ColumnSpec(min=0, max=10, unit="GeV"))


def test_missing_values_are_outside_of_no_range() -> None:
    missing = MissingSpec.model_validate({"values": [-99.99], "overrides": {"pt": {"values": [-1.0, -99.99]}}})
    values = np.array([np.nan, np.inf, -np.inf, -1.0, -99.99, 5.0], dtype=np.float32)
    check(values, ColumnSpec(min=0, max=10), missing)
    with pytest.raises(DataError, match="has 2 values outside"):
        check(values, ColumnSpec(min=0, max=10))


def test_a_text_has_no_range() -> None:
    with pytest.raises(ColumnTypeError, match="column 'pt' holds text, which cannot lie between min and max"):
        check(["a"], ColumnSpec(kind="text", min=0))


def test_a_range_upside_down_is_refused_when_declared() -> None:
    with pytest.raises(ValidationError, match="min = 3 is above max = 1"):
        ColumnSpec(min=3, max=1)


def test_a_range_holds_in_the_precision_of_the_column() -> None:
    chunk = chunk_of({"eta": np.array([2.7, -2.7], dtype=np.float32)})
    check_columns(chunk, {"eta": ColumnSpec(min=-2.7, max=2.7)})
