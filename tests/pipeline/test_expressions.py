"""Column expressions: what both styles mean, on flat, fixed-size and jagged columns."""

import operator
from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.chunk import Chunk, chunk_of
from pipeline.errors import ColumnTypeError, ExpressionError, MissingColumnError
from pipeline.expressions import column_or_expression, evaluate_flat, parse_expression

NAN = np.nan
INF = np.inf
BEYOND = 2**53 + 1  # the first integer that float64 cannot hold


@pytest.fixture
def events() -> Chunk:
    return chunk_of(
        {
            "x": np.array([1, -2, 0, 4]),
            "y": [0.5, NAN, 2.0, 0.0],
            "good": np.array([True, False, True, True]),
            "byte": np.array([200, 250, 1, 0], dtype=np.uint8),
            "Jet_Pt": [[50.0, 30.0, 20.0], [], [25.0], [40.0, 35.0]],
            "Jet_Eta": [[0.5, -3.0, 1.0], [], [2.5], [-1.0, 2.0]],
            "Jet_N": [[1, 2, 3], [], [5], [7, 8]],
            "hit": np.arange(12).reshape(4, 3),
            "cells": [[[1, 2], [3]], [], [[]], [[4]]],
            "species": ["pi", "mu", "pi", "e"],
            "lep.pt": [1.0, 2.0, 3.0, 4.0],
            "tau": [1, 2, 3, 4],
            "lambda": [1, 2, 3, 4],
        }
    )


def value_of(text: str, chunk: Chunk) -> Any:
    return parse_expression(text).evaluate(chunk)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x > 0 && y >= 0", [True, False, False, True]),
        ("(x > 0) & (y >= 0)", [True, False, False, True]),
        ("x < 0 || y > 1", [False, True, True, False]),
        ("(x < 0) | (y > 1)", [False, True, True, False]),
        ("!good", [False, True, False, False]),
        ("~good", [False, True, False, False]),
        ("!x", [False, False, True, False]),
        ("TMath::Sqrt(x)", [1, NAN, 0, 2]),
        ("sqrt(x)", [1, NAN, 0, 2]),
        ("TMath::Abs(x) + fabs(x)", [2, 4, 0, 8]),
        ("pow(x, 2) - x**2 + x^2", [1, 4, 0, 16]),
        ("TMath::Max(x, 1)", [1, 1, 1, 4]),
        ("min(x, 1)", [1, -2, 0, 1]),
        ("TMath::TwoPi() * 0 + x", [1, -2, 0, 4]),
        ("where(x > 0, x, -1)", [1, -1, -1, 4]),
        ("x / 2", [0.5, -1, 0, 2]),
        ("1 / x", [1, -0.5, INF, 0.25]),
        ("x / 0", [INF, -INF, NAN, INF]),
        ("log(x)", [0, NAN, -INF, np.log(4)]),
        ("x % 3", [1, -2, 0, 1]),
        ("x % 0", [NAN, NAN, NAN, NAN]),
        ("-x ** 2", [-1, -4, 0, -16]),
        ("good + good", [2, 0, 2, 2]),
        ("byte + byte", [400, 500, 2, 0]),
        ("byte * 2 - 500", [-100, 0, -498, -500]),
        ("isnan(y)", [False, True, False, False]),
        ("lep.pt * 2", [2, 4, 6, 8]),
        ("tau + lambda", [2, 4, 6, 8]),
        ("species == 'pi'", [True, False, True, False]),
        ('species != "pi" && x > 0', [False, False, False, True]),
        ("007 + 1", [8, 8, 8, 8]),
        ("true", [True, True, True, True]),
    ],
)
def test_flat_expressions_give_what_a_physicist_expects(text: str, expected: list[float], events: Chunk) -> None:
    np.testing.assert_allclose(evaluate_flat(parse_expression(text), events), expected, rtol=1e-15)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Jet_Pt[0]", [50, NAN, 25, 40]),
        ("Jet_Pt[-1]", [20, NAN, 25, 35]),
        ("Jet_Pt[1] + 1", [31, NAN, NAN, 36]),
        ("Jet_N[0]", [1, NAN, 5, 7]),
        ("Jet_Pt[x]", [30, NAN, 25, NAN]),
        ("Sum$(Jet_Pt)", [100, 0, 25, 75]),
        ("sum(Jet_N)", [6, 0, 5, 15]),
        ("Max$(Jet_Pt) - min(Jet_Pt)", [30, NAN, 0, 5]),
        ("Length$(Jet_Pt)", [3, 0, 1, 2]),
        ("count(Jet_Pt) + len(Jet_Pt)", [6, 0, 2, 4]),
        ("mean(Jet_N)", [2, NAN, 5, 7.5]),
        ("any(Jet_Pt > 45)", [True, False, False, False]),
        ("all(Jet_Pt > 22)", [False, True, True, True]),
        ("sum(Jet_Pt > 30)", [1, 0, 0, 2]),
        ("sum(Jet_Pt * (abs(Jet_Eta) < 2.4))", [70, 0, 0, 75]),
        ("max(Jet_Pt[abs(Jet_Eta) > 2.4])", [30, NAN, 25, NAN]),
        ("count(Jet_Pt[good])", [3, 0, 1, 2]),
        ("(Jet_Pt[0] > 30) & (count(Jet_Pt) > 1)", [True, False, False, True]),
        ("Jet_Pt[Jet_N[0]]", [30, NAN, NAN, NAN]),
        ("hit[2]", [2, 5, 8, 11]),
        ("hit[-1] + sum(hit * x)", [5, -19, 8, 131]),
        ("count(hit[hit > 4])", [0, 1, 3, 3]),
        ("cells[0][1]", [2, NAN, NAN, NAN]),
        ("sum(cells)", [6, 0, 0, 4]),
    ],
)
def test_lists_are_reduced_to_one_number_an_event(text: str, expected: list[float], events: Chunk) -> None:
    np.testing.assert_array_equal(evaluate_flat(parse_expression(text), events), expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Jet_N + x", [[2, 3, 4], [], [5], [11, 12]]),
        ("Jet_Pt / 10 > x + 2", [[True, False, False], [], [True], [False, False]]),
        ("Jet_Pt[Jet_N > 1]", [[30, 20], [], [25], [40, 35]]),
        ("Jet_N % 2", [[1, 0, 1], [], [1], [1, 0]]),
        ("where(good, Jet_N, 0)", [[1, 2, 3], [], [5], [7, 8]]),
        ("cells[0]", [[1, 2], [], [], [4]]),
    ],
)
def test_lists_meet_flat_columns_event_by_event(text: str, expected: list[Any], events: Chunk) -> None:
    assert value_of(text, events).to_list() == expected


@pytest.mark.parametrize(("text", "value"), [("n * n", 1.6e19), ("2 * n * n", 3.2e19), ("4000000000 * n", 1.6e19)])
def test_a_product_beyond_64_bits_does_not_wrap_round(text: str, value: float) -> None:
    events = chunk_of({"n": np.array([4_000_000_000, 1])})
    assert parse_expression(text).evaluate(events)[0] == value


def test_integers_stay_integers_and_division_is_true_division(events: Chunk) -> None:
    assert value_of("x * 2 + byte", events).dtype == np.int64
    assert value_of("abs(x)", events).dtype == np.int64
    assert value_of("x / 1", events).dtype == np.float64


@pytest.mark.parametrize("first", [BEYOND, 2**63 + 1, 2**64 - 1])
def test_identities_that_no_float_holds_stay_exact(first: int) -> None:
    chunk = chunk_of({"event": np.array([first, first - 1, 3], dtype=np.uint64)})
    assert value_of(f"event == {first}", chunk).tolist() == [True, False, False]
    assert value_of("event % 1000", chunk).tolist() == [first % 1000, (first - 1) % 1000, 3]


def test_signed_identities_stay_exact_through_a_difference() -> None:
    chunk = chunk_of({"event": np.array([BEYOND, -BEYOND])})
    assert value_of(f"event - {BEYOND - 2}", chunk).tolist() == [2, -2 * BEYOND + 2]


LEAVES = {
    "a": np.array([0.0, 1.5, -2.25, 1e9, NAN]),
    "b": np.array([3.0, -0.5, 0.0, 7.0, 1.0]),
    "2.5": np.full(5, 2.5),
    "3": np.full(5, 3.0),
}
ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": np.true_divide,
    "<": lambda left, right: np.where(left < right, 1.0, 0.0),
    "!=": lambda left, right: np.where(left != right, 1.0, 0.0),
    "&&": lambda left, right: np.where((abs(left) > 0) & (abs(right) > 0), 1.0, 0.0),
}  # fmt: skip


def combined(parts: tuple[tuple[str, Any], str, tuple[str, Any]]) -> tuple[str, Any]:
    (left, left_values), sign, (right, right_values) = parts
    with np.errstate(all="ignore"):
        return f"({left} {sign} {right})", ARITHMETIC[sign](left_values, right_values)


TREES = st.recursive(
    st.sampled_from(sorted(LEAVES.items(), key=lambda leaf: leaf[0])),
    lambda inner: st.tuples(inner, st.sampled_from(sorted(ARITHMETIC)), inner).map(combined),
    max_leaves=20,
)


@given(TREES)
def test_any_tree_of_arithmetic_agrees_with_numpy(tree: tuple[str, Any]) -> None:
    text, expected = tree
    chunk = chunk_of({"a": LEAVES["a"], "b": LEAVES["b"]})
    np.testing.assert_array_equal(np.asarray(value_of(text, chunk), dtype=np.float64), expected)


@given(TREES)
def test_flat_and_jagged_ways_agree(tree: tuple[str, Any]) -> None:
    flat = chunk_of({"a": LEAVES["a"], "b": LEAVES["b"]})
    lists = chunk_of({name: ak.Array(flat[name][:, np.newaxis].tolist()) for name in ("a", "b")})
    expression = parse_expression(f"{tree[0]} + a * 0")
    np.testing.assert_array_equal(np.ravel(expression.evaluate(lists)), expression.evaluate(flat))


@given(TREES)
def test_parse_then_print_then_parse_is_stable(tree: tuple[str, Any]) -> None:
    expression = parse_expression(tree[0])
    again = parse_expression(str(expression))
    # As text, for a constant may be NaN, which equals nothing.
    assert repr(again.program) == repr(expression.program)
    assert str(again) == str(expression)


@pytest.mark.parametrize(
    "text",
    ["max(Jet_Pt[Jet_N > 1])", "cells[0][-1]", 'species == "it\'s"', "!(x < 1e-5) || ~good", "`a b`[0]^-2"],
)
def test_what_is_printed_reads_back_as_the_same(text: str) -> None:
    expression = parse_expression(text)
    assert parse_expression(str(expression)).program == expression.program


def test_an_expression_knows_its_columns_and_takes_no_constant_for_one() -> None:
    expression = parse_expression("TMath::Pi() * sum(Jet_Pt[Jet_N > 1]) + tau * pi")
    assert expression.columns == {"Jet_Pt", "Jet_N", "tau"}


@pytest.mark.parametrize("name", ["energy (GeV)", "lep.pt", "a-b", "lambda", "sum(x)"])
def test_a_text_that_names_a_column_is_that_column(name: str) -> None:
    chunk = chunk_of({name: [1.0, 2.0]})
    expression = column_or_expression(name, chunk.columns)
    assert expression.columns == {name}
    assert expression.evaluate(chunk) is chunk[name]


def test_an_odd_name_is_written_in_backticks_inside_an_expression() -> None:
    chunk = chunk_of({"energy (GeV)": [1.0, 2.0]})
    assert value_of("`energy (GeV)` / 2", chunk).tolist() == [0.5, 1.0]


def test_a_text_that_names_no_column_is_an_expression(events: Chunk) -> None:
    assert column_or_expression("x - y", events.columns).columns == {"x", "y"}


def test_a_column_alone_is_returned_as_it_is(events: Chunk) -> None:
    assert value_of("byte", events) is events["byte"]


@pytest.mark.parametrize(
    "text", ["x + 1", "Jet_Pt[0]", "sum(Jet_Pt)", "max(Jet_Pt[Jet_N > 1])", "hit[2]", "cells[0][1]", "3", "x % 2"]
)
def test_a_chunk_without_events_gives_an_empty_result(text: str, events: Chunk) -> None:
    nothing = events.keep(np.zeros(4, dtype=np.bool_))
    assert evaluate_flat(parse_expression(text), nothing).shape == (0,)


@pytest.mark.parametrize(("text", "expected"), [("j[0]", NAN), ("max(j)", NAN), ("sum(j)", 0), ("count(j + k)", 0)])
def test_lists_that_are_all_empty_are_no_special_case(text: str, expected: float) -> None:
    chunk = chunk_of({"j": [[], []], "k": [[], []]})
    np.testing.assert_array_equal(value_of(text, chunk), [expected, expected])


def test_missing_entries_and_missing_lists_become_nan_and_empty() -> None:
    chunk = chunk_of({"j": ak.Array([[1, None], None, [3]])})
    np.testing.assert_array_equal(value_of("j[1]", chunk), [NAN, NAN, NAN])
    np.testing.assert_array_equal(value_of("count(j)", chunk), [2, 0, 1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "stopped at its end"),
        ("x + ", "stopped at its end"),
        ("(x + 1", "stopped at its end"),
        ("x + 1)", r"character 6, before '\)'"),
        ("x y", "character 3, before 'y'"),
        ("x = 1", "write =="),
        ("x > 1 and y > 1", "write &&"),
        ("x ? y : 1", r"write where\(condition, a, b\)"),
        ("0 < x < 1", "comparisons do not chain: write a < b && b < c"),
        ("x > 1 & y > 1", r"write \(a > 1\) & \(b > 2\)"),
        ("x & y > 1", r"write \(a > 1\) & \(b > 2\)"),
        ("(x ^ 2 > 1) & good", r"write \*\* or !="),
        ("sqr(x)", r"no function 'sqr' \(did you mean 'sqrt'\?\); there are: abs, all"),
        ("TMath::Sqr(x)", "did you mean 'sqrt'"),
        ("atan2(x)", "arctan2 takes 2 argument"),
        ("Length$", r"write Length\$\(…\)"),
        ("sum(3)", "one number an event is no list"),
        ("'a' + 1", "text cannot be computed with"),
    ],
)
def test_a_text_that_is_no_expression_is_refused_with_the_way_to_mend_it(text: str, message: str) -> None:
    with pytest.raises(ExpressionError, match=message):
        parse_expression(text)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("Jet_pt[0]", MissingColumnError, r"no column 'Jet_pt' \(did you mean 'Jet_Pt'\?\)"),
        ("species + 1", ColumnTypeError, "text cannot be computed with"),
        ("species == 1", ColumnTypeError, "put the number in quotes"),
        ("species", ColumnTypeError, "is text .compare it"),
        ("sum(x)", ExpressionError, "one number an event is no list"),
        ("x[0]", ExpressionError, "takes an entry of a list"),
        ("hit[3]", ExpressionError, r"3 entries an event, \[0\] to \[2\]"),
        ("Jet_Pt[Jet_Eta]", ExpressionError, "one number, or one condition"),
        ("Jet_Pt + cells[0]", ExpressionError, "lists of different lengths"),
        ("Jet_Pt * 2", ExpressionError, r"take one with \[0\], or reduce with sum"),
        ("hit", ExpressionError, r"take one with \[0\]"),
    ],
)
def test_what_the_columns_cannot_do_is_refused(text: str, error: type[Exception], message: str, events: Chunk) -> None:
    with pytest.raises(error, match=message):
        evaluate_flat(parse_expression(text), events)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" + ".join(["x * y"] * 1000), 6000.0),
        (" && ".join(f"x > -{i}" for i in range(1000)), 1.0),
        ("(" * 1000 + "x" + ")" * 1000, 2.0),
        ("abs(" * 1000 + "x" + ")" * 1000, 2.0),
        ("-" * 1000 + "x", 2.0),
        ("sqrt(" * 88 + "x / 2" + ")" * 88, 1.0),
    ],
)
def test_long_and_deep_expressions_are_no_problem(text: str, expected: float) -> None:
    chunk = chunk_of({"x": [2.0], "y": [3.0]})
    assert float(value_of(text, chunk)[0]) == expected


def test_one_event_gets_the_same_value_as_among_many() -> None:
    values = np.random.default_rng(1).normal(size=1000)
    expression = parse_expression("exp(x) / 3 + x**3 + sin(x)")
    whole = evaluate_flat(expression, chunk_of({"x": values}))
    alone = [evaluate_flat(expression, chunk_of({"x": values[[i]]}))[0] for i in range(0, 1000, 50)]
    assert whole[::50].tolist() == alone


def test_a_hundred_thousand_events_take_milliseconds(benchmark: Any) -> None:
    rng = np.random.default_rng(1)
    chunk = chunk_of({"pt": rng.exponential(30, 100_000), "eta": rng.normal(size=100_000)})
    kept = benchmark(parse_expression("pt > 20 && abs(eta) < 2.5").evaluate, chunk)
    assert 0.4 < kept.mean() < 0.6


def test_the_jets_of_a_real_file_agree_with_awkward(samples: Path) -> None:
    import uproot

    with uproot.open(samples / "cms-open" / "ww.root") as file:
        tree = next(tree for tree in file.values() if hasattr(tree, "num_entries"))
        arrays = tree.arrays(["Jet_Px", "Jet_Py", "Jet_btag", "NJet"])
    chunk = chunk_of({name: arrays[name] for name in arrays.fields})
    pt = np.sqrt(ak.values_astype(arrays.Jet_Px, np.float64) ** 2 + arrays.Jet_Py**2)
    leading = value_of("TMath::Sqrt(Jet_Px^2 + Jet_Py^2)[0]", chunk)
    np.testing.assert_allclose(leading, ak.to_numpy(ak.fill_none(ak.firsts(pt), NAN)), rtol=1e-6)
    np.testing.assert_array_equal(value_of("count(Jet_Px)", chunk), arrays.NJet)
    tagged = ak.to_numpy(ak.sum(arrays.Jet_btag > 1, axis=1))
    np.testing.assert_array_equal(value_of("sum(Jet_btag > 1)", chunk), tagged)
    np.testing.assert_array_equal(value_of("count(Jet_Px[Jet_btag > 1])", chunk), tagged)


def test_a_sum_over_a_list_of_large_integers_does_not_wrap_round() -> None:
    chunk = chunk_of({"n": ak.Array([[2**62, 2**62], [1, 2], []])})
    assert parse_expression("sum(n)").evaluate(chunk).tolist() == [2.0**63, 3.0, 0.0]
