"""What significances and scans promise: limits, laws, definitions by brute force, guards, refusals."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.scored import Measured
from models.significance import (
    SIGNIFICANCES,
    SignificanceScan,
    ams,
    asimov_significance,
    best_threshold,
    quote,
    s_over_sqrt_b,
    s_over_sqrt_s_plus_b,
    scan,
)
from pipeline.errors import DataError, DeclarationError

Array = NDArray[Any]
Formula = Callable[[Any, Any], Any]

FORMULAS = [asimov_significance, ams, s_over_sqrt_b, s_over_sqrt_s_plus_b]
YIELDS = st.floats(1e-3, 1e6)


def toy(n_events: int = 400, seed: int = 1, negative: float = 0.15, decimals: int = 1) -> tuple[Array, Array, Array]:
    """Scores with ties, labels, and weights of which a share is negative."""
    generator = np.random.default_rng(seed)
    labels = (generator.random(n_events) < 0.4).astype(np.int64)
    scores = np.round(generator.normal(size=n_events) + labels, decimals)
    weights = generator.gamma(2.0, size=n_events) * np.where(generator.random(n_events) < negative, -1.0, 1.0)
    return scores, labels, weights


@pytest.mark.parametrize("formula", FORMULAS)
def test_numbers_give_a_number_and_arrays_an_array(formula: Formula) -> None:
    assert isinstance(formula(10, 100), float)
    together = formula([[10], [20]], np.array([100, 50, 1]))
    assert together.shape == (2, 3)
    assert together[1, 2] == formula(20, 1)
    assert formula([], []).shape == (0,)


def test_each_yield_may_have_its_own_uncertainty() -> None:
    found = asimov_significance(50, 100, [0.0, 0.07])
    assert found.tolist() == [asimov_significance(50, 100), asimov_significance(50, 100, 0.07)]


@pytest.mark.parametrize("uncertainty", [0.0, 0.02, 0.1, 2.0])
@pytest.mark.parametrize("signal", [1e-200, 1e-15, 1e-9, 1e-4])
def test_little_signal_is_s_over_root_b_and_the_variance(signal: float, uncertainty: float) -> None:
    expected = signal / np.sqrt(100.0 + (100.0 * uncertainty) ** 2)
    assert asimov_significance(signal, 100.0, uncertainty) == pytest.approx(expected, rel=1e-5, abs=0.0)


@given(YIELDS, YIELDS)
def test_a_vanishing_uncertainty_leads_to_the_formula_without(signal: float, background: float) -> None:
    without = asimov_significance(signal, background)
    for uncertainty in (1e-6, 1e-9, 1e-30, 1e-200):
        slack = uncertainty**2 * (signal + background) + 1e-13
        assert asimov_significance(signal, background, uncertainty) == pytest.approx(without, rel=slack)


@given(YIELDS, YIELDS, st.floats(0.0, 2.0))
def test_more_signal_helps_and_more_background_or_uncertainty_does_not(s: float, b: float, uncertainty: float) -> None:
    significance = asimov_significance(s, b, uncertainty)
    assert 0.0 < significance < asimov_significance(1.01 * s, b, uncertainty)
    assert asimov_significance(s, 1.01 * b, uncertainty) < significance
    assert asimov_significance(s, b, uncertainty + 0.01) <= significance


@given(YIELDS, YIELDS, st.floats(0.0, 2.0), st.floats(1e-3, 1e3))
def test_significance_grows_with_the_root_of_the_luminosity(s: float, b: float, uncertainty: float, k: float) -> None:
    """At a relative uncertainty that shrinks with the root, as that of a control region does."""
    larger = asimov_significance(k * s, k * b, uncertainty / np.sqrt(k))
    assert larger == pytest.approx(np.sqrt(k) * asimov_significance(s, b, uncertainty), rel=1e-12)


@given(YIELDS, YIELDS)
def test_the_formulas_keep_their_order(signal: float, background: float) -> None:
    assert ams(signal, background) < asimov_significance(signal, background)
    assert asimov_significance(signal, background) <= s_over_sqrt_b(signal, background) * (1 + 1e-14)
    assert s_over_sqrt_s_plus_b(signal, background) <= s_over_sqrt_b(signal, background)
    assert ams(signal, background, 0.0) == asimov_significance(signal, background)


@pytest.mark.parametrize("formula", FORMULAS)
def test_no_signal_has_no_significance(formula: Formula) -> None:
    assert formula(0.0, [0.0, 1e-300, 1.0, 1e300]).tolist() == [0.0] * 4


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        (asimov_significance, np.inf),
        (lambda s, b: asimov_significance(s, b, 0.1), np.inf),
        (lambda s, b: ams(s, b, 0.0), np.inf),
        (s_over_sqrt_b, np.inf),
        (s_over_sqrt_s_plus_b, 2.0),
    ],
)
def test_signal_on_no_background(formula: Formula, expected: float) -> None:
    assert formula(4.0, 0.0) == expected


@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize(
    ("signal", "background"),
    [(-1, 100), (10, -1), (10, -20), (0, -1), (np.nan, 1), (1, np.nan), (np.inf, 1), (1, np.inf)],
)
def test_a_yield_that_is_none_has_no_significance(formula: Formula, signal: float, background: float) -> None:
    assert np.isnan(formula(signal, background))


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_an_uncertainty_or_regularisation_that_is_none_is_refused(value: float) -> None:
    with pytest.raises(DeclarationError, match=r"background uncertainty .* is not a finite number of at least 0"):
        asimov_significance(10, 100, value)
    with pytest.raises(DeclarationError, match=r"background uncertainty .* is not a finite number of at least 0"):
        scan(*toy(), background_uncertainty=value)
    with pytest.raises(DeclarationError, match=r"regularisation .* is not a finite number of at least 0"):
        ams(10, 100, value)


def passing(threshold: float, kind: int, events: tuple[Array, Array, Array]) -> tuple[float, float, int]:
    scores, labels, weights = events
    passes = (scores >= threshold) & (labels == kind)
    return weights[passes].sum(), np.sqrt((weights[passes] ** 2).sum()), int(passes.sum())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("negative", [0.0, 0.3])
def test_scan_is_the_sum_over_passing_events(negative: float, dtype: type) -> None:
    events = toy(negative=negative)
    found = scan(events[0].astype(dtype), *events[1:], background_uncertainty=0.2, min_background_events=4)
    expected = np.array([(*passing(t, 1, events), *passing(t, 0, events)) for t in np.unique(events[0])[::-1]])
    yields = [found.signal, found.signal_error, found.n_signal]
    yields += [found.background, found.background_error, found.n_background]
    assert np.column_stack(yields) == pytest.approx(expected, rel=1e-12, abs=1e-10)
    s, b, error, n = expected[:, 0], expected[:, 3], expected[:, 4], expected[:, 5]
    quotable = (n >= 4) & (b >= error - 1e-9)
    asimov = np.where(quotable, asimov_significance(s, np.where(quotable, b, 1.0), 0.2), np.nan)
    assert found.significances["asimov"] == pytest.approx(asimov, rel=1e-9, nan_ok=True)


def test_scan_has_one_threshold_per_distinct_score_from_the_highest_down() -> None:
    found = scan([0.9, 0.5, 0.5, 0.1], [1, 1, 0, 0], background_uncertainty=0.0, min_background_events=1)
    assert found.thresholds.tolist() == [0.9, 0.5, 0.1]
    assert found.n_signal.tolist() == [1, 2, 2]
    assert found.background.tolist() == [0.0, 1.0, 2.0]
    assert found.background_error == pytest.approx(np.sqrt([0.0, 1.0, 2.0]))
    assert found.significances["s_over_sqrt_b"] == pytest.approx([np.nan, 2.0, np.sqrt(2.0)], nan_ok=True)


def test_every_formula_is_in_the_table_with_its_own_numbers() -> None:
    found = scan(*toy(negative=0.0), background_uncertainty=0.3)
    s, b = found.signal[-1], found.background[-1]
    expected = [asimov_significance(s, b, 0.3), ams(s, b), s_over_sqrt_b(s, b), s_over_sqrt_s_plus_b(s, b)]
    assert list(found.significances) == ["asimov", "ams", "s_over_sqrt_b", "s_over_sqrt_s_plus_b"]
    assert [values[-1] for values in found.significances.values()] == expected


@pytest.mark.parametrize("metric", SIGNIFICANCES)
def test_no_maximum_is_lost_on_the_way_to_few_points(metric: str) -> None:
    events = toy(5_000, decimals=12)
    every = scan(*events, background_uncertainty=0.1, n_points=5_000)
    few = scan(*events, background_uncertainty=0.1, n_points=50)
    assert every.thresholds.size == 5_000
    assert 30 < few.thresholds.size <= 50
    assert best_threshold(few, metric) == best_threshold(every, metric)
    assert (few.thresholds[0], few.thresholds[-1]) == (every.thresholds[0], every.thresholds[-1])


def test_few_points_are_whole_rows_of_the_full_table() -> None:
    events = toy(2_000, decimals=12)
    every, few = (scan(*events, background_uncertainty=0.1, n_points=n) for n in (2_000, 6))
    rows = np.flatnonzero(np.isin(every.thresholds, few.thresholds))
    for name in ("signal", "signal_error", "background", "background_error", "n_signal", "n_background"):
        np.testing.assert_array_equal(getattr(few, name), getattr(every, name)[rows])
    np.testing.assert_array_equal(few.significances["ams"], every.significances["ams"][rows])


def test_a_scan_in_too_few_points_is_refused() -> None:
    with pytest.raises(DeclarationError, match="its best thresholds and its ends in 5 points; it needs at least 6"):
        scan(*toy(), background_uncertainty=0.1, n_points=5)


@given(st.integers(0, 10_000))
def test_monotone_maps_of_the_scores_change_nothing_but_thresholds(seed: int) -> None:
    scores, labels, weights = toy(60, seed, negative=0.05)
    before = asdict(scan(scores, labels, weights, background_uncertainty=0.1))
    for mapped in (scores**3 + scores, np.exp(scores / 7.0)):
        after = asdict(scan(mapped, labels, weights, background_uncertainty=0.1))
        assert set(after.pop("thresholds")) == set(mapped)
        np.testing.assert_equal(after, {name: value for name, value in before.items() if name != "thresholds"})


def test_no_weights_are_weights_of_one() -> None:
    scores, labels, _ = toy()
    without = scan(scores, labels, background_uncertainty=0.1)
    np.testing.assert_equal(asdict(without), asdict(scan(scores, labels, np.ones(400), background_uncertainty=0.1)))
    assert without.background.tolist() == without.n_background.tolist()


def test_too_few_raw_background_events_are_neither_quoted_nor_chosen() -> None:
    """One background event of weight 50 is a large yield, but one event."""
    scores, labels = np.arange(30, 0, -1), np.array([1] * 10 + [0] * 20)
    weights = np.where(labels == 1, 1.0, 50.0)
    found = scan(scores, labels, weights, background_uncertainty=0.0, min_background_events=7)
    assert np.isnan(found.significances["asimov"]).tolist() == [True] * 16 + [False] * 14
    assert best_threshold(found) == 14.0


@pytest.mark.parametrize(
    ("first_weights", "why"),
    [
        ([1.0, -2.0], "negative"),
        ([0.1 + 0.2, -0.3], "zero but for rounding"),
        ([5.0, -4.9], "small by chance"),
    ],
)
def test_a_background_yield_that_cancels_is_not_quoted(first_weights: list[float], why: str) -> None:
    weights = [1.0, *first_weights, 10.0, 10.0]
    found = scan([5, 4, 3, 2, 1], [1, 0, 0, 0, 0], weights, background_uncertainty=0.1, min_background_events=1)
    assert np.isnan(found.significances["ams"])[[2, 4]].tolist() == [True, False], why
    quoted = quote(3, [5, 4, 3, 2, 1], [1, 0, 0, 0, 0], weights, 0.1, min_background_events=1)
    assert np.isnan(quoted.significances["ams"].value), why


def test_a_negative_signal_yield_has_no_significance_but_its_numbers() -> None:
    found = scan([4, 3, 2, 1], [1, 0, 0, 1], [-1, 1, 1, 5], background_uncertainty=0.1, min_background_events=1)
    assert found.signal.tolist() == [-1.0, -1.0, -1.0, 4.0]
    assert np.isnan(found.significances["asimov"]).tolist() == [True, True, True, False]
    assert best_threshold(found) == 1.0


def test_where_nothing_can_be_chosen_the_error_says_what_there_is_and_what_is_needed() -> None:
    found = scan([3, 2, 1], [1, 0, 0], [1.0, 2.0, 1.0], background_uncertainty=0.1)
    message = r"2 background events in all, with a yield of 3 ± 2\.2; at least 10 must pass"
    with pytest.raises(DataError, match=message):
        best_threshold(found)


def test_of_equal_significances_the_highest_threshold_is_chosen() -> None:
    found = scan(*toy(), background_uncertainty=0.1)
    level = replace(found, significances={"ams": np.full(found.thresholds.size, 2.0)})
    assert best_threshold(level, "ams") == found.thresholds[0]


def test_an_unknown_significance_is_refused_by_name() -> None:
    found = scan(*toy(), background_uncertainty=0.1)
    with pytest.raises(DeclarationError, match=r"no significance 'azimov' \(did you mean 'asimov'\?\); there are: as"):
        best_threshold(found, "azimov")


def test_at_a_threshold_of_the_scan_the_quotation_says_the_same() -> None:
    events = toy()
    found: SignificanceScan = scan(*events, background_uncertainty=0.1)
    row = int(np.flatnonzero(found.thresholds == best_threshold(found))[0])
    quoted = quote(found.thresholds[row], *events, 0.1)
    assert (quoted.n_signal, quoted.n_background) == (found.n_signal[row], found.n_background[row])
    assert quoted.background.value == pytest.approx(found.background[row])
    assert quoted.background.error == pytest.approx(found.background_error[row])
    values = {name: significance.value for name, significance in quoted.significances.items()}
    assert values == pytest.approx({name: column[row] for name, column in found.significances.items()})


def test_the_error_of_s_over_root_b_by_hand() -> None:
    """With dZ/ds = 1/√b and dZ/db = -s/(2 b√b): s = 8 ± √32, b = 16 ± √8, Z = 2, Var Z = 32/16 + 8/256."""
    scores, labels = np.ones(34), np.repeat([1, 0], [2, 32])
    quoted = quote(1.0, scores, labels, np.where(labels == 1, 4.0, 0.5), 0.1)
    found = quoted.significances["s_over_sqrt_b"]
    assert (found.value, found.error) == pytest.approx((2.0, np.sqrt(2.0 + 8.0 / 256.0)))
    assert (quoted.signal, quoted.background) == (Measured(8.0, np.sqrt(32.0)), Measured(16.0, np.sqrt(8.0)))


def test_without_enough_background_counts_are_quoted_and_significances_are_not() -> None:
    quoted = quote(2, [3, 2, 1], [1, 0, 0], None, 0.1)
    assert (quoted.n_signal, quoted.n_background, quoted.background.value) == (1, 1, 1.0)
    assert np.isnan([(found.value, found.error) for found in quoted.significances.values()]).all()


def test_a_threshold_above_all_scores_keeps_nothing() -> None:
    quoted = quote(np.inf, *toy(), 0.1, min_background_events=0)
    assert (quoted.n_signal, quoted.n_background, quoted.signal) == (0, 0, Measured(0.0, 0.0))
    assert np.isnan(quoted.significances["ams"].value)


def test_no_signal_is_a_significance_of_zero_whose_error_is_not_known() -> None:
    quoted = quote(2, [1, 2, 3], [1, 0, 0], None, 0.1, min_background_events=2)
    assert quoted.significances["asimov"].value == 0.0
    assert np.isnan(quoted.significances["asimov"].error)


def test_scores_in_single_precision_pass_the_threshold_that_one_of_them_is() -> None:
    scores = np.array([0.1, 0.1, 0.7], dtype=np.float32)
    found = scan(scores, [1, 0, 1], background_uncertainty=0.1, min_background_events=1)
    assert quote(best_threshold(found), scores, [1, 0, 1], None, 0.1).n_background == 1


def test_a_threshold_is_not_rounded_to_the_precision_of_the_scores() -> None:
    """In single precision 0.7 is a little less than 0.7."""
    scores = np.array([0.1, 0.7], dtype=np.float32)
    assert quote(0.7, scores, [0, 1], None, 0.1).n_signal == 0


def test_a_quotation_is_plain_numbers() -> None:
    quoted = quote(0.0, *toy(), 0.1)
    assert json.loads(json.dumps(asdict(quoted)))["significances"]["ams"].keys() == {"value", "error"}


def test_bad_requests_are_refused_by_name() -> None:
    with pytest.raises(DeclarationError, match="no event passes or fails a threshold that is NaN"):
        quote(float("nan"), *toy(), 0.1)
    with pytest.raises(DeclarationError, match=r"min_background_events -1\.0 is not a finite number of at least 0"):
        quote(0.0, *toy(), 0.1, min_background_events=-1)
    with pytest.raises(DeclarationError, match=r"min_background_events -1\.0 is not a finite number of at least 0"):
        scan(*toy(), background_uncertainty=0.1, min_background_events=-1)


@pytest.mark.parametrize(
    ("scores", "labels", "weights", "message"),
    [
        ([1, 2, 3], [1, 0], None, r"same length; received scores \(3,\), labels \(2,\)"),
        ([np.nan, 2], [1, 0], None, "1 of 2 scores are NaN or infinite"),
        ([1, 2], [1, 1], None, "no background among 2 events"),
        ([], [], None, "no signal among 0 events"),
    ],
)
def test_bad_events_are_refused(scores: Any, labels: Any, weights: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        scan(scores, labels, weights, background_uncertainty=0.1)
    with pytest.raises(DataError, match=message):
        quote(0.5, scores, labels, weights, 0.1)


def test_background_events_without_weight_do_not_vouch_for_a_significance() -> None:
    scores, labels = np.linspace(0.0, 1.0, 40), np.tile([0, 1], 20)
    weights = np.where(scores < 0.8, 1.0, 0.0)
    found = scan(scores, labels, weights, background_uncertainty=0.1, min_background_events=17)
    assert found.n_background.max() == 16
    with pytest.raises(DataError, match="there are 16 background events in all"):
        best_threshold(found)
    quoted = quote(0.0, scores, labels, weights, 0.1, min_background_events=17)
    assert (quoted.n_background, np.isnan(quoted.significances["asimov"].value)) == (16, True)
