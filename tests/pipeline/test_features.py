"""From raw columns to the matrix: derived columns, sentinels, and what each input needs."""

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from pipeline.chunk import Chunk, chunk_of
from pipeline.errors import ColumnTypeError, DataError, ExpressionError
from pipeline.expressions import expression_problem
from pipeline.features import BLOCK, FeatureSpec, Recipe


def matrix(recipe: Recipe, chunk: Chunk) -> Any:
    return recipe.matrix(recipe.derived(chunk))


def test_inputs_are_columns_derived_columns_and_expressions_in_their_order() -> None:
    recipe = Recipe(derive={"ratio": "a / b", "twice": "2 * ratio"}, inputs=("twice", "a", "a + b"))
    assert matrix(recipe, chunk_of({"a": [1.0, 4.0], "b": [2, 2]})).tolist() == [[1.0, 1.0, 3.0], [4.0, 4.0, 6.0]]


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("text", ["derived", "a / b"])
def test_a_sentinel_never_enters_a_ratio(kind: Any, text: str) -> None:
    recipe = Recipe(derive={"derived": "a / b"}, inputs=(text,), sentinels=(-99.99, 1e300))
    chunk = chunk_of({"a": np.array([-99.99, 1.0, 1.0], kind), "b": np.array([2.0, -99.99, 2.0], kind)})
    assert np.isnan(matrix(recipe, chunk)[:, 0]).tolist() == [True, True, False]


def test_a_sentinel_that_a_derived_column_makes_enters_no_other() -> None:
    recipe = Recipe(
        derive={"lead": "where(n > 0, pt, -999)", "ratio": "lead / met"}, inputs=("ratio",), sentinels=(-999,)
    )
    found = matrix(recipe, chunk_of({"n": [0, 1], "pt": [5.0, 6.0], "met": [10.0, 20.0]}))[:, 0]
    np.testing.assert_array_equal(found, [np.nan, 0.3])


def test_a_sentinel_in_a_column_of_whole_numbers_is_masked_as_well() -> None:
    recipe = Recipe(derive={"per_jet": "ht / n_jets"}, inputs=("per_jet",), sentinels=(-999,))
    found = matrix(recipe, chunk_of({"ht": [10.0, 10.0], "n_jets": [2, -999]}))
    assert found[0, 0] == 5.0
    assert np.isnan(found[1, 0])


def test_a_column_with_sentinels_of_its_own_is_masked_by_those() -> None:
    recipe = Recipe(derive={"sum": "a + b"}, inputs=("sum",), sentinels=(-1.0,), own_sentinels={"b": (-2.0,)})
    found = matrix(recipe, chunk_of({"a": [5.0, 5.0, -1.0], "b": [-1.0, -2.0, 0.0]}))[:, 0]
    assert found[0] == 4.0
    assert np.isnan(found[1:]).all()


def test_values_are_nan_where_a_column_or_an_expression_holds_a_sentinel() -> None:
    recipe = Recipe(derive={"twice": "2 * a"}, inputs=("b",), sentinels=(-999.0,))
    derived = recipe.derived(chunk_of({"a": [-999.0, 1.0], "b": [3.0, -999.0]}))
    found = recipe.values(derived, ["a", "twice", "a + 1", "b"])
    np.testing.assert_array_equal(found, [[np.nan, np.nan, np.nan, 3.0], [1.0, 2.0, 2.0, np.nan]])


def test_no_values_are_a_matrix_without_columns() -> None:
    assert Recipe(inputs=("a",)).values(chunk_of({"a": [1.0, 2.0]}), []).shape == (2, 0)


def test_cuts_and_weights_see_the_columns_as_they_are_in_the_file() -> None:
    recipe = Recipe(derive={"twice": "2 * a"}, inputs=("a", "twice"), sentinels=(-999.0,))
    derived = recipe.derived(chunk_of({"a": [-999.0, 1.0]}))
    assert derived["a"].tolist() == [-999.0, 1.0]
    assert np.isnan(derived["twice"][0])


def test_a_derived_list_may_be_reduced_by_an_input() -> None:
    recipe = Recipe(derive={"hard": "jet_pt[jet_pt > 20]"}, inputs=("count(hard)", "sum(jet_pt)"))
    assert matrix(recipe, chunk_of({"jet_pt": [[30.0, 10.0], [], [50.0]]})).tolist() == [[1, 40], [0, 0], [1, 50]]


def test_a_list_without_reduction_is_refused_with_the_way_out() -> None:
    with pytest.raises(ExpressionError, match=r"'jet_pt' is a list for each event.*take one with \[0\]"):
        matrix(Recipe(inputs=("jet_pt",)), chunk_of({"jet_pt": [[30.0, 10.0], []]}))


def test_a_text_is_no_feature() -> None:
    with pytest.raises(ColumnTypeError, match=r"'species' .*text"):
        matrix(Recipe(inputs=("species",)), chunk_of({"species": ["pi", "mu"]}))


def test_blocks_do_not_show_in_the_matrix() -> None:
    columns = {"a": np.arange(2 * BLOCK + 3), "b": np.arange(2 * BLOCK + 3) > 5}
    found = matrix(Recipe(inputs=("a", "b")), chunk_of(columns))
    assert np.array_equal(found, np.stack([columns["a"], columns["b"]], axis=1))


def test_what_is_needed_of_a_file_goes_through_derived_columns() -> None:
    recipe = Recipe(derive={"ratio": "a / b", "twice": "2 * ratio", "unused": "c"}, inputs=("twice", "d"))
    assert recipe.needed_for(recipe.inputs, set("abcd")) == {"a", "b", "d"}
    assert recipe.derived_for(["twice"], set("abcd")) == {"ratio", "twice"}
    assert list(recipe.derived(chunk_of({"a": [1.0], "b": [2.0], "c": [3.0]}), only={"ratio"})) == [*"abc", "ratio"]


@pytest.mark.parametrize(
    ("derive", "message"),
    [
        ({"a": "2 * b"}, "'a' is already a column of the file"),
        ({"x": "y + 1", "y": "a"}, "x = 'y . 1' needs 'y', which comes later; move it up"),
        ({"x": "x + 1"}, "needs 'x'"),
    ],
)
def test_derived_columns_that_cannot_be_made_are_refused(derive: dict[str, str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Recipe(derive=derive, inputs=("a",)).needed_for(["a"], {"a", "b"})


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"inputs": []}, "there is no input: needed are inputs"),
        ({"inputs": ["a", "a"]}, "names an input twice: a"),
        ({"inputs": ["a"], "spectators": ["b", "c", "b"]}, "names a spectator twice: b"),
        ({"inputs": ["met"], "missing": {"overrides": {"mett": {}}}}, "no input: 'mett' .did you mean 'met'"),
    ],
)
def test_a_section_that_cannot_be_obeyed_is_refused_when_declared(section: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        FeatureSpec.model_validate(section)


def test_an_expression_is_judged_without_a_file() -> None:
    assert expression_problem("a / b") is None
    assert "no expression" in str(expression_problem("a / / b"))


def test_a_sentinel_in_a_list_makes_its_sum_missing_and_leaves_the_others() -> None:
    recipe = Recipe(derive={"ht": "sum(pt)", "lead": "pt[0]"}, inputs=("ht", "lead", "max(n)"), sentinels=(-999.0,))
    chunk = chunk_of({"pt": [[10.0, -999.0], [], [5.0, 6.0]], "n": [[1, 2], [-999], [3]]})
    matrix = recipe.matrix(recipe.derived(chunk))
    np.testing.assert_array_equal(matrix, [[np.nan, 10.0, 2.0], [0.0, np.nan, np.nan], [11.0, 5.0, 3.0]])
