"""What the folds promise: a known event gets the network that tested it, and any other event all of them."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.folds import NEW, KnownEvents

MAX = 2**64 - 1


def known(contents: list[int], folds: list[int], n_folds: int = 3) -> KnownEvents:
    return KnownEvents.gather(np.array(contents, dtype=np.uint64), np.array(folds), n_folds)


def asked(events: KnownEvents, contents: list[int]) -> list[int]:
    return events.folds_of(np.array(contents, dtype=np.uint64)).tolist()


def test_a_known_event_gets_its_fold_and_a_new_one_none() -> None:
    events = known([7, 0, MAX, 3], [2, 1, 0, 0])
    assert asked(events, [3, 7, 5, MAX, 0, MAX - 1, 1]) == [0, 2, NEW, 0, 1, NEW, NEW]


def test_a_content_that_two_folds_share_has_been_seen_by_every_network() -> None:
    assert asked(known([4, 4, 9, 9, 9], [1, 2, 0, 0, 0]), [4, 9]) == [NEW, 0]


@given(st.dictionaries(st.integers(0, MAX), st.integers(0, 2)), st.lists(st.integers(0, MAX)))
def test_it_is_a_dictionary_with_a_default(folds: dict[int, int], others: list[int]) -> None:
    events = known(list(folds), list(folds.values()))
    queries = [*folds, *others]
    assert asked(events, queries) == [folds.get(query, NEW) for query in queries]


def test_without_events_every_event_is_new() -> None:
    assert asked(known([], []), [1, 2]) == [NEW, NEW]


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    events = known([5, 1, 1, MAX], [0, 1, 2, 2])
    events.save(tmp_path / "known.npy")
    again = KnownEvents.load(tmp_path / "known.npy", 3)
    assert isinstance(again.contents, np.memmap)
    assert asked(again, [1, 5, MAX, 6]) == asked(events, [1, 5, MAX, 6]) == [NEW, 0, 2, NEW]


@pytest.mark.parametrize("n_events", [1, 2, 1000])
def test_every_event_of_the_experiment_is_found(n_events: int) -> None:
    contents = np.random.default_rng(1).integers(0, MAX, n_events, dtype=np.uint64)
    events = KnownEvents.gather(contents, np.arange(n_events) % 3, 3)
    assert np.array_equal(events.folds_of(contents), np.arange(n_events) % 3)
