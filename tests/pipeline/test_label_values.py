"""What a label column holds is counted, so that a value that never comes can be told from those that do."""

from typing import Any

import numpy as np
import pytest

from pipeline.label_values import MOST, LabelValues


def counted(*columns: Any) -> LabelValues:
    found = LabelValues()
    for column in columns:
        found.update(column)
    return found


def test_the_values_are_told_with_their_counts_whatever_the_chunks() -> None:
    species = np.repeat([0, 1, 2, 3], 8000)
    told = counted(species[:10_000], species[10_000:]).tell_absent("species", "signal", [7])
    assert told == (
        "label column 'species' has no event with signal = 7; it has 0 (8000), 1 (8000), 2 (8000), 3 (8000)"
    )


def test_the_most_frequent_values_come_first_and_the_others_are_counted() -> None:
    told = counted(np.repeat(np.arange(20), np.arange(20) + 1)).tell_absent("kind", "signal", [30, 31])
    assert told.startswith("label column 'kind' has no event with signal = 30 or 31; it has 19 (20), 18 (19), ")
    assert told.endswith("12 (13), … (20 values in all)")


@pytest.mark.parametrize(
    ("column", "here", "absent"),
    [
        (np.array([1, 2]), 1.0, 3),
        (np.array([0.1, 0.2], dtype=np.float32), 0.1, 0.3),
        (np.array([True, True]), True, False),
        (np.array(["mu", None], dtype=object), "mu", "pi"),
        (np.array([1.0, np.nan]), 1, 0),
        (np.array([], dtype=np.int64), None, 0),
    ],
    ids=["whole", "single precision", "truth", "text", "not a number", "empty"],
)
def test_a_value_is_absent_where_the_column_never_has_it(column: Any, here: Any, absent: Any) -> None:
    wanted = [absent] if here is None else [here, absent]
    assert counted(column).absent(wanted) == (absent,)


@pytest.mark.parametrize(
    ("column", "shown"),
    [
        (np.array(["mu", None], dtype=object), "'mu' (1)"),
        (np.array([True]), "true (1)"),
        (np.array([0.1], dtype=np.float32), "0.1 (1)"),
        (np.array([np.nan]), "no value"),
    ],
)
def test_a_value_is_shown_as_the_experiment_file_writes_it(column: Any, shown: str) -> None:
    assert counted(column).tell_absent("kind", "signal", ["x"]).endswith(f"it has {shown}")


def test_a_column_of_too_many_values_is_not_counted_to_the_end() -> None:
    found = counted(np.arange(MOST), np.arange(5 * MOST))
    assert found.absent([-1]) == ()
    assert found.tell_absent("x", "signal", [-1]).endswith(f"… (at least {MOST} values in all)")
