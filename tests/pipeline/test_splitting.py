"""The part of an event follows from its identity, and from nothing else."""

from typing import Any

import awkward as ak
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pydantic import ValidationError

from pipeline.chunk import Chunk, chunk_of
from pipeline.errors import ColumnTypeError, DataError, MissingColumnError
from pipeline.splitting import (
    PARTS,
    Fractions,
    SplitSpec,
    assign_folds,
    assign_parts,
    content_identities,
    event_identities,
)

BY_EVENT = SplitSpec(by=("event",))


def identities(columns: dict[str, Any], spec: SplitSpec = BY_EVENT, sample: str = "muons", file: str = "a.root") -> Any:
    return event_identities(chunk_of(columns), spec, sample, file, set(columns))


@pytest.mark.parametrize("fractions", [(0.6, 0.2, 0.2), (0.5, 0.25, 0.25), (0.98, 0.01, 0.01)])
def test_parts_have_their_fractions_within_four_standard_deviations(fractions: tuple[float, float, float]) -> None:
    n = 200_000
    spec = SplitSpec(fractions=Fractions(**dict(zip(PARTS, fractions, strict=True))))
    counts = np.bincount(assign_parts(identities({"event": np.arange(n)}), spec), minlength=3)
    expected = np.array(fractions)
    assert np.all(np.abs(counts - n * expected) < 4 * np.sqrt(n * expected * (1 - expected)))


@given(hnp.arrays(np.int64, st.integers(0, 50)), st.randoms())
def test_an_identity_does_not_depend_on_the_other_rows(events: Any, random: Any) -> None:
    order = list(range(len(events)))
    random.shuffle(order)
    assert np.array_equal(identities({"event": events})[order], identities({"event": events[order]}))


@given(st.integers(1, 30))
def test_a_split_by_row_does_not_depend_on_the_chunk_size(size: int) -> None:
    whole = event_identities(chunk_of({"x": np.arange(30)}), SplitSpec(), "muons", "a.root", {"x"})
    pieces = [Chunk({"x": np.arange(i, min(i + size, 30))}, min(size, 30 - i), i) for i in range(0, 30, size)]
    parts = [event_identities(piece, SplitSpec(), "muons", "a.root", {"x"}) for piece in pieces]
    assert np.array_equal(whole, np.concatenate(parts))


@pytest.mark.parametrize("width", [np.int16, np.uint16, np.int32, np.uint64, np.float32, np.float64])
@pytest.mark.parametrize("by", [("event",), "content"])
def test_a_split_does_not_depend_on_the_width_of_the_numbers(width: Any, by: Any) -> None:
    events, spec = np.arange(1000), SplitSpec(by=by)
    assert np.array_equal(identities({"event": events}, spec), identities({"event": events.astype(width)}, spec))


@given(st.integers(2**53, 2**63 - 2))
def test_neighbouring_ids_above_two_to_the_53_stay_different(event: int) -> None:
    first, second = identities({"event": np.array([event, event + 1])})
    assert first != second


@given(st.integers(2**63, 2**64 - 2))
def test_unsigned_ids_up_to_two_to_the_64_stay_different(event: int) -> None:
    first, second = identities({"event": np.array([event, event + 1], dtype=np.uint64)})
    assert first != second


@pytest.mark.parametrize(("width", "limit"), [(np.float32, 2**24), (np.float64, 2**53)])
def test_ids_whose_last_digits_may_be_lost_are_refused(width: Any, limit: int) -> None:
    assert len(identities({"event": np.array([limit - 1], dtype=width)})) == 1
    with pytest.raises(ColumnTypeError, match=f"exact below {limit} only"):
        identities({"event": np.array([0.5, limit + 1], dtype=width)})


@pytest.mark.parametrize("by", [("x",), "content"])
def test_minus_zero_is_zero(by: Any) -> None:
    first, second = identities({"x": np.array([0.0, -0.0])}, SplitSpec(by=by))
    assert first == second


def test_every_nan_is_the_same_content() -> None:
    payloads = np.array([0x7FF8000000000000, 0xFFF8000000000001], dtype=np.uint64).view(np.float64)
    for column in (payloads, payloads[:, None], ak.Array([[payloads[0]], [payloads[1]]])):
        first, second = identities({"x": column}, SplitSpec(by="content"))
        assert first == second


@pytest.mark.parametrize(
    "values", [np.array([1.0, np.nan]), np.array(["a", None], dtype=object), np.array(["a", ""], dtype=object)]
)
def test_an_event_without_an_identity_is_refused(values: Any) -> None:
    with pytest.raises(DataError, match=r"'event' in \[split\] by has no value in 1 of 2 events"):
        identities({"event": values})


def test_texts_are_identities_as_well() -> None:
    first, second, third = identities({"event": np.array(["a", "b", "a"], dtype=object)})
    assert first == third != second


def test_a_jagged_column_is_no_identity_but_is_content() -> None:
    jagged = ak.Array([[1, 2], [2, 1], [1, 2], [1], []])
    with pytest.raises(ColumnTypeError, match="is jagged; an identity has one value per event"):
        identities({"event": jagged})
    found = identities({"event": jagged}, SplitSpec(by="content"))
    assert found[0] == found[2]
    assert len(set(found.tolist())) == 4


def test_fixed_size_columns_tell_large_whole_numbers_apart() -> None:
    first, second = identities({"ids": np.array([[2**60, 1], [2**60 + 1, 1]])}, SplitSpec(by="content"))
    assert first != second


def test_an_image_is_the_same_content_as_an_array_as_a_list_and_as_lists_of_lists() -> None:
    grid = np.array([[[1.5, np.nan], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]])
    forms = [grid, grid.reshape(2, 4), ak.Array(grid.reshape(2, 4).tolist()), ak.Array(grid.tolist())]
    forms.append(ak.Array([[1.5, None, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]))
    found = [identities({"grid": form}, SplitSpec(by="content")).tolist() for form in forms]
    assert found == [found[0]] * 5
    assert found[0][0] != found[0][1]


@pytest.mark.parametrize("other", [{"sample": "pions"}, {"spec": SplitSpec(by=("event",), salt="other")}])
def test_another_sample_or_salt_gives_an_independent_split(other: dict[str, Any]) -> None:
    events = {"event": np.arange(100_000)}
    parts = [assign_parts(identities(events, **kind), SplitSpec()) for kind in ({}, other)]
    table = np.histogram2d(parts[0], parts[1], bins=3)[0]
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    assert ((table - expected) ** 2 / expected).sum() < 25  # χ² of 4 degrees of freedom: p = 5e-5


def test_rows_of_another_file_get_another_identity() -> None:
    by_row = SplitSpec(by="row")
    assert identities({"x": [1.0]}, by_row, file="a.root") != identities({"x": [1.0]}, by_row, file="b.root")


def test_equal_content_is_one_event_whatever_file_or_sample_it_is_in() -> None:
    here, there = ({"x": [1.0, 2.0]}, {"x": [2.0]})
    first = identities(here, SplitSpec(), sample="old", file="a.root")
    assert first[1] == identities(there, SplitSpec(), sample="new", file="b.root")[0]


def test_lists_of_one_length_are_known_again_as_an_array_of_rows() -> None:
    """A file may hold an array where a request or a frame brings lists."""
    rows = np.random.default_rng(1).normal(size=(5, 3))
    found = [content_identities(chunk_of({"v": column}), {"v"}) for column in (rows, ak.Array(rows.tolist()))]
    assert np.array_equal(found[0], found[1])
    assert len(set(found[0].tolist())) == 5


def test_candidates_of_one_event_stay_together() -> None:
    parts = assign_parts(identities({"event": np.repeat(np.arange(1000), 5)}), SplitSpec()).reshape(1000, 5)
    assert np.all(parts == parts[:, :1])


FOLDS = SplitSpec(folds=5, fractions=Fractions(train=0.6, validation=0.3, test=0.1))


@pytest.fixture(scope="module")
def parts_by_fold() -> Any:
    events = identities({"event": np.arange(100_000)})
    return np.array([assign_parts(events, FOLDS, fold) for fold in range(FOLDS.folds)])


def test_every_event_is_tested_in_exactly_one_fold(parts_by_fold: Any) -> None:
    tested = parts_by_fold == PARTS.index("test")
    assert np.all(tested.sum(axis=0) == 1)
    events = identities({"event": np.arange(100_000)})
    assert np.array_equal(tested.argmax(axis=0), assign_folds(events, FOLDS.folds))


@pytest.mark.parametrize(("part", "share"), [("train", 0.8 * 2 / 3), ("validation", 0.8 / 3), ("test", 0.2)])
def test_the_parts_of_every_fold_have_their_shares(parts_by_fold: Any, part: str, share: float) -> None:
    assert FOLDS.share(part) == pytest.approx(share)
    found = (parts_by_fold == PARTS.index(part)).mean(axis=1)
    assert np.all(np.abs(found - share) < 4 * np.sqrt(share * (1 - share) / 100_000))


def test_whether_an_event_is_validated_on_does_not_depend_on_its_fold(parts_by_fold: Any) -> None:
    validated = (parts_by_fold == PARTS.index("validation")).sum(axis=0)
    assert set(validated) == {0, FOLDS.folds - 1}
    by_fold = [validated[part == PARTS.index("test")].mean() for part in parts_by_fold]
    assert np.ptp(by_fold) < 0.1


def test_without_folds_the_shares_are_the_fractions() -> None:
    assert [SplitSpec().share(part) for part in PARTS] == [0.6, 0.2, 0.2]


def test_an_identity_needs_its_column() -> None:
    with pytest.raises(MissingColumnError, match="has no column 'event'"):
        identities({"evnt": [1]})


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"by": []}, "at least 1 item"),
        ({"fractions": {"train": 0.7}}, "add up to 1.1, not to 1"),
        ({"folds": 0}, "greater than or equal to 1"),
    ],
)
def test_a_split_that_cannot_be_made_is_refused_when_declared(section: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SplitSpec.model_validate(section)
