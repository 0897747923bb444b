"""From lists to columns: every element in its place, every event a row, and nothing lost without a word."""

from typing import Any

import awkward as ak
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.blocks import CollectionSpec
from pipeline.chunk import Chunk, chunk_of
from pipeline.errors import ColumnTypeError, DataError, ExpressionError, MissingColumnError
from pipeline.features import Recipe
from pipeline.padding import Truncation

NAN = np.nan
EVENTS = chunk_of(
    {
        "met": [1.0, 2.0, 3.0],
        "pt": ak.Array([[10, 30, 20], [], [5]]),
        "eta": ak.Array([[1.0, 2.0, -999.0], [], [0.5]]),
        "flux": np.arange(12).reshape(3, 4),
        "grid": np.arange(12).reshape(3, 2, 2),
        "a": [1.0, 2.0, 3.0],
        "b": [4.0, 5.0, 6.0],
        "name": ["x", "y", "z"],
    }
)


def jets(length: int = 2, inputs: Any = ("pt", "eta"), **more: Any) -> Recipe:
    collection = {"inputs": inputs, "length": length, "order": more.pop("order", None)}
    return Recipe.model_validate({"collections": {"jets": collection}, **more})


def stamp(pixels: Any = "flux", shape: Any = (2, 2), **more: Any) -> Recipe:
    return Recipe.model_validate({"images": {"stamp": {"pixels": pixels, "shape": shape}}, **more})


def matrix(recipe: Recipe, chunk: Chunk = EVENTS) -> Any:
    return recipe.matrix(recipe.derived(chunk))


def test_elements_are_in_the_order_of_the_file_with_their_presence_and_nan_where_there_is_none() -> None:
    expected = [[10, 1, 1, 30, 2, 1], [NAN, NAN, 0, NAN, NAN, 0], [5, 0.5, 1, NAN, NAN, 0]]
    np.testing.assert_array_equal(matrix(jets()), expected)


def test_the_largest_element_comes_first_whatever_is_cut_off() -> None:
    assert matrix(jets(order="pt"))[0].tolist() == [30, 2, 1, 20, -999, 1]
    assert matrix(jets(length=1, order="-pt"))[0].tolist() == [10, 1, 1]


def test_equal_elements_stay_in_order_and_what_has_no_value_comes_last() -> None:
    events = chunk_of({"pt": [[NAN, 1.0, -999.0, 2.0, np.inf, 1.0]], "eta": [[0, 1, 2, 3, 4, 5]]})
    found = matrix(jets(6, ["eta"], order="pt", sentinels=(-999.0,)), events)
    assert found[0, ::2].tolist() == [3, 1, 5, 0, 2, 4]


def test_a_sentinel_in_a_list_enters_no_expression_and_is_of_an_element_that_is_there() -> None:
    found = matrix(jets(3, ["eta", "eta * 2", "double"], derive={"double": "2 * eta"}, sentinels=(-999.0,)))
    np.testing.assert_array_equal(found[0, 8:], [-999.0, NAN, NAN, 1.0])


@given(st.lists(st.lists(st.floats(-10, 10), max_size=6), min_size=1, max_size=12), st.integers(1, 11))
def test_an_event_gets_the_same_columns_in_every_chunk(lists: list[list[float]], cut: int) -> None:
    whole = matrix(jets(3, ["x"], order="x"), chunk_of({"x": ak.Array([[0.0], *lists])}))
    alone = [matrix(jets(3, ["x"], order="x"), chunk_of({"x": ak.Array([[0.0], event])}))[1] for event in lists]
    np.testing.assert_array_equal(whole[1:], alone)
    for event, row in zip(lists, whole[1:], strict=True):
        kept = sorted(event, reverse=True)[:3]
        assert row[::2][: len(kept)].tolist() == kept
        assert row[1::2].tolist() == [1.0] * len(kept) + [0.0] * (3 - len(kept))


@pytest.mark.parametrize("lists", [[[1.0, None], None], [[1.0, NAN], []]])
def test_a_missing_entry_is_an_element_without_a_value_and_a_missing_list_is_empty(lists: Any) -> None:
    found = matrix(jets(2, ["x"]), chunk_of({"x": lists}))
    np.testing.assert_array_equal(found, [[1, 1, NAN, 1], [NAN, 0, NAN, 0]])


@pytest.mark.parametrize("columns", [{"pt": [], "eta": []}, {"pt": ak.Array([[1.0]])[:0], "eta": ak.Array([[1]])[:0]}])
def test_no_events_have_all_columns(columns: dict[str, Any]) -> None:
    assert matrix(jets(), chunk_of(columns)).shape == (0, 6)


def test_events_that_are_all_empty_are_valid() -> None:
    found = matrix(jets(order="pt"), chunk_of({"pt": ak.Array([[], []]), "eta": ak.Array([[], []])}))
    np.testing.assert_array_equal(found, [[NAN, NAN, 0, NAN, NAN, 0]] * 2)


def test_a_column_of_fixed_size_is_a_collection_without_gaps() -> None:
    assert matrix(jets(3, ["flux"]))[1].tolist() == [4, 1, 5, 1, 6, 1]


def test_lists_of_different_length_are_refused_with_the_event_in_its_file() -> None:
    uneven = EVENTS.with_columns({"eta": ak.Array([[1.0, 2.0, 3.0], [], []])})
    later = Chunk(uneven.columns, 3, first_event=100, source="a.root:events").keep(np.array([False, True, True]))
    told = r"a.root:events: event 102: collection 'jets' has 1 elements by 'pt' and 0 by 'eta'"
    with pytest.raises(DataError, match=told):
        matrix(jets(), later)


@pytest.mark.parametrize(
    ("recipe", "kind", "message"),
    [
        (jets(inputs=["met"]), ColumnTypeError, r"'met' has one value an event.*belongs into \[features\] inputs"),
        (jets(inputs=["name"]), ColumnTypeError, "'name' is text"),
        (jets(inputs=["grid"]), ColumnTypeError, "'grid' has lists of lists"),
        (jets(inputs=["ptt"]), MissingColumnError, "no column 'ptt' .did you mean 'pt'"),
        (Recipe(inputs=("pt",)), ExpressionError, r"as a list it is for \[features.collections.NAME\]"),
        (stamp("met"), ColumnTypeError, "'met' has one value an event, and image 'stamp' of shape 2 x 2 x 1 needs 4"),
        (stamp("pt"), DataError, "event 0: 'pt' has 3 numbers, and image 'stamp' .* needs 4 .it is so in 3 of 3"),
        (stamp(shape=(5,)), DataError, "event 0: 'flux' has 4 numbers, and image 'stamp' of shape 5 x 1 needs 5"),
        (stamp("grid", (4, 1, 1)), DataError, "'grid' has shape 2 x 2 in an event"),
        (stamp(("a", "pt"), (2,)), ExpressionError, "'pt' is a list for each event"),
    ],
)
def test_what_does_not_belong_into_a_block_is_refused(recipe: Recipe, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        matrix(recipe)


@pytest.mark.parametrize("pixels", ["flux", "grid", "as_lists", "nested", "flux + 0 * met"])
def test_pixels_are_row_by_row_whether_of_fixed_size_or_in_lists_of_one_size(pixels: str) -> None:
    lists = {"as_lists": ak.Array(EVENTS["flux"].tolist()), "nested": ak.Array(EVENTS["grid"].tolist())}
    assert matrix(stamp(pixels), EVENTS.with_columns(lists)).tolist() == EVENTS["flux"].tolist()


def test_pixels_may_be_columns_of_their_own() -> None:
    assert matrix(stamp(("a", "b * 2"), (2,), inputs=["met"])).tolist() == [[1, 1, 8], [2, 2, 10], [3, 3, 12]]


def test_what_a_length_cuts_off_is_counted() -> None:
    found, spec = Truncation(), CollectionSpec(inputs=("pt",), order="pt", length=2)
    assert found.told("jets", spec) == []
    for counts in jets().lengths(EVENTS).values():
        found.update(counts, 2)
    found.update(np.array([5, 0]), 2)
    [told] = found.told("jets", spec)
    assert "length = 2 cuts off 4 of 9 elements (those of the smallest 'pt'), in 2 of 5 events" in told
    assert told.endswith("the longest has 5")


def test_the_lists_of_an_example_are_as_long_as_an_image_needs() -> None:
    cells = {"collections": {"cells": {"inputs": ["e", "log(x)"], "length": 3}}, "derive": {"log_e": "log(e * gain)"}}
    assert stamp("log_e", **cells).list_sizes({"e", "x", "gain"}) == {"e": 4, "gain": 4, "x": 4}
