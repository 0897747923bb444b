"""A chunk keeps named columns of one length, exactly as they came."""

from typing import Any

import awkward as ak
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.chunk import Chunk, as_column, chunk_of, chunk_of_frame
from pipeline.errors import DataError, MissingColumnError


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(DataError, match=r"file\.root: column 'b' has 1 entries for 2 events"):
        chunk_of({"a": [1, 2], "b": [1]}, source="file.root")


def test_an_unknown_column_is_an_error_with_the_nearest_spelling() -> None:
    with pytest.raises(MissingColumnError, match=r"has no column 'tau_tp' \(did you mean 'tau_pt'\?\)"):
        chunk_of({"tau_pt": [1.0]})["tau_tp"]


def test_whole_numbers_above_two_to_the_53_stay_exact() -> None:
    events = [2**53 + 1, 2**63 - 1, -(2**53) - 1]
    assert chunk_of({"event": events})["event"].tolist() == events


@given(hnp.arrays(st.sampled_from([np.int16, np.uint64, np.float32, np.bool_]), st.integers(0, 20)))
def test_arrays_are_passed_through_as_they_are(values: Any) -> None:
    assert as_column(values) is values


@pytest.mark.parametrize(
    ("values", "kind"),
    [([1, 2], "i"), ([1.5, 2], "f"), ([True, False], "b"), (["pi", "mu"], "O"), ([None, 1], "f"), ([], "f")],
)
def test_a_list_becomes_the_kind_of_column_that_it_looks_like(values: list[Any], kind: str) -> None:
    column = as_column(values)
    assert column.dtype.kind == kind
    assert len(column) == len(values)


def test_none_among_numbers_is_nan_and_among_texts_stays_none() -> None:
    assert np.isnan(as_column([1, None])[1])
    assert as_column(["pi", None])[1] is None


@pytest.mark.parametrize("kind", ["Int64", "Float64", "boolean", "object"])
def test_a_blank_number_of_a_frame_is_nan(kind: str) -> None:
    chunk = chunk_of_frame(pd.DataFrame({"x": pd.array([1, None], dtype=kind)}))
    np.testing.assert_array_equal(chunk["x"], [1.0, np.nan])


def test_a_blank_text_of_a_frame_is_none() -> None:
    assert chunk_of_frame(pd.DataFrame({"species": ["pi", None]}))["species"].tolist() == ["pi", None]


def test_lists_become_jagged_and_none_an_empty_list() -> None:
    column = as_column([[1.0, 2.0], [], None])
    assert isinstance(column, ak.Array)
    assert column.to_list() == [[1.0, 2.0], [], []]


def test_a_frame_becomes_a_chunk_whatever_its_index() -> None:
    frame = pd.DataFrame({"pt": [1.0, 2.0], "species": ["pi", "mu"]}, index=[7, 7])
    chunk = chunk_of_frame(frame)
    assert (len(chunk), list(chunk)) == (2, ["pt", "species"])
    assert chunk["species"].tolist() == ["pi", "mu"]


def test_keeping_events_keeps_every_kind_of_column_and_lets_the_original_go() -> None:
    columns = {"flat": np.arange(3), "fixed": np.eye(3), "jagged": ak.Array([[1], [], [2, 3]])}
    kept = Chunk(columns, 3, first_event=10, original="text").keep(np.array([True, False, True]))
    assert (len(kept), kept.original) == (2, None)
    assert kept["fixed"].shape == (2, 3)
    assert kept["jagged"].to_list() == [[1], [2, 3]]


def test_an_event_that_is_kept_has_the_number_that_it_had() -> None:
    events = Chunk({"x": np.arange(4)}, 4, first_event=10)
    kept = events.keep(np.array([False, True, True, True])).keep(np.array([False, True, True]))
    assert [events.number_of(3), kept.number_of(0), kept.number_of(1)] == [13, 12, 13]


def test_more_columns_make_a_new_chunk_and_leave_the_old_one() -> None:
    before = chunk_of({"a": [1, 2]})
    after = before.with_columns({"a": np.array([3, 4]), "b": np.array([5, 6])})
    assert (list(before), before["a"].tolist()) == (["a"], [1, 2])
    assert (list(after), after["a"].tolist()) == (["a", "b"], [3, 4])


def test_the_columns_of_a_chunk_cannot_be_changed_from_outside() -> None:
    columns = {"a": np.arange(2)}
    chunk = Chunk(columns, 2)
    columns["b"] = np.arange(2)
    assert "b" not in chunk
    with pytest.raises(TypeError, match="item assignment"):
        chunk.columns["b"] = np.arange(2)  # type: ignore[index]
