"""What every message has: the thing, what was received, what there is, the nearest spelling."""

import pytest

from pipeline import errors
from pipeline.errors import DataError, MissingColumnError, WinnowError, missing_column, nearest_spelling


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("tau_tp", "tau_pt"), ("TAU_PT", "tau_pt"), ("tau_pt", "tau_pt"), ("meet", "met"), ("zzz", None), ("", None)],
)
def test_the_nearest_spelling_is_offered_only_where_it_is_near(name: str, nearest: str | None) -> None:
    expected = f" (did you mean {nearest!r}?)" if nearest else ""
    assert nearest_spelling(name, ["tau_pt", "met"]) == expected


def test_nothing_is_near_where_there_is_nothing() -> None:
    assert nearest_spelling("tau_pt", []) == ""


def test_a_missing_column_names_the_file_and_the_columns_it_has_instead() -> None:
    error = missing_column("tau_tp", ["tau_pt", "met"], "muons.root:tracks")
    assert isinstance(error, MissingColumnError)
    assert str(error) == "muons.root:tracks has no column 'tau_tp' (did you mean 'tau_pt'?); it has: met, tau_pt"


def test_of_many_columns_a_dozen_is_shown_and_all_are_counted() -> None:
    message = str(missing_column("x", [f"column_{i:03}" for i in range(500)], "wide.root"))
    assert "column_011" in message
    assert "column_012" not in message
    assert message.endswith("(500 in all)")


def test_a_file_without_columns_is_said_to_have_none() -> None:
    assert str(missing_column("x", [], "these events")).endswith("it has: none")


def test_every_refusal_is_under_one_root_and_in_the_drawn_tree() -> None:
    family = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert all(issubclass(kind, WinnowError) for kind in family)
    assert all(kind.__name__ in str(errors.__doc__) for kind in family)
    assert issubclass(MissingColumnError, DataError)
