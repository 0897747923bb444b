import contextlib
import json
from typing import Any

import awkward as ak
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.json_events import chunk_of_request, example_of, read_request
from pipeline.errors import ColumnTypeError, DataError, MissingColumnError

KINDS = {"pt": "float", "run": "integer", "hits": "jagged", "name": "string"}
EVENTS = [
    {"pt": 1.5, "run": 2**53 + 1, "hits": [1.0, None], "name": "pi", "unused": {}},
    {"pt": None, "run": 7, "hits": None, "name": None},
]


def read(document: Any, kinds: dict[str, str]):
    return chunk_of_request(read_request(json.dumps(document).encode()), kinds)


def as_columns(events: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {name: [event[name] for event in events] for name in KINDS}


def test_both_forms_give_the_same_chunk():
    by_event, by_column = read({"events": EVENTS}, KINDS), read({"columns": as_columns(EVENTS)}, KINDS)
    assert len(by_event) == len(by_column) == 2
    assert by_event["name"].tolist() == by_column["name"].tolist() == ["pi", None]
    for name in ("pt", "run", "hits"):
        assert ak.array_equal(by_event[name], by_column[name], equal_nan=True)


def test_null_is_a_missing_number_or_an_empty_list():
    chunk = read({"events": EVENTS}, KINDS)
    assert np.array_equal(chunk["pt"], [1.5, np.nan], equal_nan=True)
    assert ak.num(chunk["hits"]).tolist() == [2, 0]
    assert np.isnan(chunk["hits"][0, 1])


def test_integers_stay_exact_and_floats_stay_floats():
    chunk = read({"columns": {"pt": [3], "run": [2**53 + 1]}}, {"pt": "float", "run": "integer"})
    assert chunk["pt"].dtype == np.float64
    assert chunk["run"].tolist() == [2**53 + 1]


@pytest.mark.parametrize("document", [{"events": []}, {"columns": {name: [] for name in KINDS}}])
def test_no_events_are_columns_without_entries(document):
    chunk = read(document, KINDS)
    assert len(chunk) == 0
    assert str(chunk["hits"].type) == "0 * var * float64"
    assert chunk["name"].dtype == object


def test_lists_may_hold_lists():
    chunk = read({"columns": {"hits": [[[1, 2], []], []]}}, {"hits": "jagged"})
    assert chunk["hits"].tolist() == [[[1, 2], []], []]


def test_columns_that_nobody_needs_are_not_looked_at():
    assert set(read({"columns": {"pt": [1.0], "junk": ["a", {}, None]}}, {"pt": "float"})) == {"pt"}


def test_an_example_has_every_kind_of_column():
    kinds = {kind: kind for kind in ("integer", "float", "boolean", "string", "fixed", "jagged")}
    example = example_of(kinds, {"fixed": 4})
    assert len(example) == 1
    assert set(example) == set(kinds)
    assert [len(example[name][0]) for name in ("fixed", "jagged")] == [4, 1]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "is not JSON: EOF"),
        (b"\xff\xfe", "is not JSON"),
        (b'{"columns": ', "is not JSON"),
        (b"[" * 10_000, "is not JSON: recursion limit"),
        (b'{"columns": {"pt": [NaN]}}', "NaN or Infinity.* write null"),
        (b'{"columns": {"pt": [-Infinity]}}', "NaN or Infinity.* write null"),
        (b"[1, 2]", "neither form"),
        (b"{}", 'needs either "columns"'),
        (b'{"columns": {}, "events": []}', 'needs either "columns"'),
        (b'{"colums": {}}', "at colums: Extra inputs"),
        (b'{"columns": {"pt": 1.5}}', "at columns.pt: Input should be a valid list"),
        (b'{"events": [1.5]}', "at events.0: Input should be"),
    ],
)
def test_a_body_of_neither_form_is_refused_with_a_reason(body, told):
    with pytest.raises(DataError, match=told):
        read_request(body)


@pytest.mark.parametrize(
    ("kind", "entry", "told"),
    [
        ("float", "high", r"'x' needs numbers, and holds text \('high'\); null is a missing value"),
        ("integer", [1], "needs numbers, and holds a list"),
        ("boolean", {"a": 1}, "needs numbers, and holds an object"),
        ("string", 1.5, r"needs text, and holds a number \(1.5\)"),
        ("string", True, "needs text, and holds a truth"),
        ("jagged", 1.5, "needs a list for each event, and holds a number"),
        ("fixed", ["a"], "needs numbers, and holds text"),
        ("jagged", [[1], 2], "needs a list for each event, and holds a number"),
    ],
)
def test_an_entry_of_another_kind_is_named(kind, entry, told):
    with pytest.raises(ColumnTypeError, match=told):
        read({"columns": {"x": [entry]}}, {"x": kind})


@pytest.mark.parametrize("number", ["1e999", "-1e999", "1" + "0" * 400])
def test_a_number_beyond_double_precision_is_refused(number):
    body = f'{{"columns": {{"x": [1.5, {number}]}}}}'.encode()
    with pytest.raises(DataError, match="'x' holds a number too large"):
        chunk_of_request(read_request(body), {"x": "float"})


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({"columns": {"Pt": [1.0]}}, r"the request has no column 'pt' \(did you mean 'Pt'\?\)"),
        ({"columns": {}}, "has no column 'pt'; it has: none"),
        (
            {"events": [{"pt": 1.0}, {"pt_": 1.0}]},
            r"event 1 of the request has no column 'pt' \(did you mean 'pt_'\?\)",
        ),
    ],
)
def test_a_missing_column_is_named_with_its_nearest_spelling(document, told):
    with pytest.raises(MissingColumnError, match=told):
        read(document, {"pt": "float"})


def test_columns_of_different_length_are_refused():
    with pytest.raises(DataError, match="column 'run' has 2 entries for 1 events"):
        read({"columns": {"pt": [1.0], "run": [1, 2]}}, {"pt": "float", "run": "integer"})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["pt", "hits", "name"]), inner),
    max_leaves=12,
)
documents = (
    json_values | st.fixed_dictionaries({"columns": json_values}) | st.fixed_dictionaries({"events": json_values})
)


@given(documents)
def test_any_json_is_read_or_refused_as_data(document):
    with contextlib.suppress(DataError):
        assert set(read(document, KINDS)) == set(KINDS)


@given(st.lists(st.floats(allow_infinity=False, allow_nan=False)))
def test_floats_arrive_bit_for_bit(numbers):
    column = read({"columns": {"pt": numbers}}, {"pt": "float"})["pt"]
    assert np.array_equal(column.view(np.int64), np.array(numbers, dtype=np.float64).view(np.int64))
