"""What the metrics promise: definitions by brute force, symmetries, edges, refusals."""

from dataclasses import astuple
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from models.metrics import (
    Roc,
    auc_difference,
    auc_with_error,
    thin_roc,
    weighted_auc,
    weighted_roc,
)
from models.scored import Measured, effective_events
from models.working_points import efficiency_at
from pipeline.errors import DataError, DeclarationError

Array = NDArray[Any]


def toy(n_events: int = 600, seed: int = 1, negative: float = 0.0) -> tuple[Array, Array, Array]:
    """Scores with many ties, labels, and weights of which a share is negative."""
    generator = np.random.default_rng(seed)
    labels = (generator.random(n_events) < 0.4).astype(np.int64)
    scores = np.round(generator.normal(size=n_events) + labels, 1)
    weights = generator.gamma(2.0, size=n_events) * np.where(generator.random(n_events) < negative, -1.0, 1.0)
    return scores, labels, weights


def won_pairs(scores: Array, labels: Array) -> Array:
    """One row a signal event, one column a background event: 1 won, 1/2 tied, 0 lost."""
    signal, background = scores[labels == 1][:, None], scores[labels == 0][None, :]
    return np.asarray((signal > background) + 0.5 * (signal == background))


@st.composite
def scored_events(draw: st.DrawFn) -> tuple[Array, Array, Array]:
    n_events = draw(st.integers(2, 60))
    numbers = st.lists(st.integers(-20, 20), min_size=n_events, max_size=n_events)
    weights = st.lists(st.floats(0.1, 10.0), min_size=n_events, max_size=n_events)
    others = st.lists(st.integers(0, 1), min_size=n_events - 2, max_size=n_events - 2)
    return np.array(draw(numbers), dtype=float), np.array([0, 1, *draw(others)]), np.array(draw(weights))


@pytest.mark.parametrize("negative", [0.0, 0.2])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_auc_is_the_weighted_share_of_won_pairs(negative: float, dtype: type) -> None:
    scores, labels, weights = toy(negative=negative)
    scores = scores.astype(dtype)
    products = np.outer(weights[labels == 1], weights[labels == 0])
    expected = (products * won_pairs(scores, labels)).sum() / products.sum()
    assert weighted_auc(scores, labels, weights) == pytest.approx(expected, rel=1e-12)


@given(scored_events())
def test_auc_agrees_with_scikit_learn_for_positive_weights(events: tuple[Array, Array, Array]) -> None:
    scores, labels, weights = events
    expected = roc_auc_score(labels, scores, sample_weight=weights)
    assert weighted_auc(scores, labels, weights) == pytest.approx(expected, abs=1e-12)


@given(scored_events())
def test_auc_does_not_change_under_monotone_maps_of_the_score(events: tuple[Array, Array, Array]) -> None:
    scores, labels, weights = events
    unchanged = astuple(auc_with_error(scores, labels, weights))
    for mapped in (scores**3 + scores, np.exp(scores / 7.0), np.float32(scores / 64.0)):
        measured = astuple(auc_with_error(mapped, labels, weights))
        assert measured == pytest.approx(unchanged, abs=1e-12, nan_ok=True)


@given(scored_events(), st.floats(1e-6, 1e6), st.floats(1e-6, 1e6))
def test_auc_and_error_do_not_depend_on_the_scale_of_each_class(
    events: tuple[Array, Array, Array], signal_scale: float, background_scale: float
) -> None:
    scores, labels, weights = events
    scaled = weights * np.where(labels == 1, signal_scale, background_scale)
    before, after = auc_with_error(scores, labels, weights), auc_with_error(scores, labels, scaled)
    assert astuple(after) == pytest.approx(astuple(before), rel=1e-9, abs=1e-12, nan_ok=True)


@given(scored_events())
def test_swapping_the_classes_reflects_the_auc(events: tuple[Array, Array, Array]) -> None:
    scores, labels, weights = events
    swapped = weighted_auc(scores, 1 - labels, weights)
    assert swapped == pytest.approx(1.0 - weighted_auc(scores, labels, weights), abs=1e-12)


@given(scored_events())
def test_auc_is_the_area_under_the_roc_curve(events: tuple[Array, Array, Array]) -> None:
    roc = weighted_roc(*events)
    assert weighted_auc(*events) == pytest.approx(np.trapezoid(roc.tpr, roc.fpr), abs=1e-12)


@pytest.mark.parametrize("weights", [None, [0.1, 0.7, 1.3, -0.2, 0.9]])
def test_auc_is_exactly_one_half_when_all_scores_are_equal(weights: list[float] | None) -> None:
    assert weighted_auc([0.3] * 5, [1, 0, 1, 0, 0], weights) == 0.5


@pytest.mark.parametrize("labels", [[True, False, True], [1, 0, 1], [1.0, 0.0, 1.0]])
def test_labels_may_be_truth_values_or_numbers(labels: list[float]) -> None:
    assert weighted_auc([3, 2, 1], labels) == 0.5


def test_zero_and_minus_zero_are_the_same_score() -> None:
    assert weighted_auc(np.array([0.0, -0.0], dtype=np.float32), [1, 0]) == 0.5


def test_scores_that_differ_beyond_single_precision_are_told_apart() -> None:
    assert weighted_auc([0.5 + 1e-12, 0.5], [1, 0]) == 1.0


def test_roc_has_one_point_per_distinct_score_and_runs_from_corner_to_corner() -> None:
    roc = weighted_roc([0.9, 0.5, 0.5, 0.1], [1, 1, 0, 0])
    assert roc.thresholds.tolist() == [np.inf, 0.9, 0.5, 0.1]
    assert roc.tpr.tolist() == [0.0, 0.5, 1.0, 1.0]
    assert roc.fpr.tolist() == [0.0, 0.0, 0.5, 1.0]
    assert {array.dtype for array in (roc.thresholds, roc.tpr, roc.fpr)} == {np.dtype(np.float64)}


def test_with_negative_weights_efficiencies_may_leave_the_unit_interval() -> None:
    roc = weighted_roc([4, 3, 2, 1], [0, 0, 1, 0], [2.0, 2.0, 1.0, -3.0])
    assert roc.fpr.tolist() == [0.0, 2.0, 4.0, 4.0, 1.0]
    assert weighted_auc([4, 3, 2, 1], [0, 0, 1, 0], [2.0, 2.0, 1.0, -3.0]) == -3.0


def test_error_without_weights_is_that_of_delong_by_brute_force() -> None:
    scores, labels, _ = toy()
    won = won_pairs(scores, labels)
    variances = [np.var(won.mean(axis=axis), ddof=1) / won.shape[1 - axis] for axis in (0, 1)]
    assert auc_with_error(scores, labels).error == pytest.approx(np.sqrt(sum(variances)), rel=1e-10)


def test_equal_weights_change_neither_auc_nor_error() -> None:
    scores, labels, _ = toy()
    weighted = auc_with_error(scores, labels, np.full(600, 0.3))
    assert astuple(weighted) == pytest.approx(astuple(auc_with_error(scores, labels)), rel=1e-9)


def test_error_does_not_exist_for_a_class_of_one_event() -> None:
    measured = auc_with_error([0.9, 0.5, 0.1], [1, 0, 0])
    assert measured.value == 1.0
    assert np.isnan(measured.error)


def test_paired_difference_of_like_scores_has_a_smaller_error_than_the_unpaired_one() -> None:
    scores, labels, weights = toy(5_000)
    noisier = scores + np.random.default_rng(2).normal(scale=0.3, size=scores.size)
    a, b = auc_with_error(scores, labels, weights), auc_with_error(noisier, labels, weights)
    difference = auc_difference(scores, noisier, labels, weights)
    assert difference.value == pytest.approx(a.value - b.value)
    assert 0.0 < difference.error < 0.5 * np.hypot(a.error, b.error)


def test_a_score_does_not_differ_from_itself() -> None:
    scores, labels, weights = toy(negative=0.1)
    assert auc_difference(scores, 2.0 * scores, labels, weights) == Measured(0.0, 0.0)


def test_paired_difference_has_the_spread_of_toys() -> None:
    def difference(seed: int) -> Measured:
        scores, labels, weights = toy(500, seed)
        noise = np.random.default_rng(1_000 + seed).normal(size=500)
        return auc_difference(scores, scores + noise, labels, weights)

    toys = [difference(seed) for seed in range(200)]
    spread = np.std([toy.value for toy in toys])
    assert np.mean([toy.error for toy in toys]) == pytest.approx(spread, rel=0.15)


def test_thinned_curve_keeps_ends_and_follows_the_whole_one() -> None:
    generator = np.random.default_rng(3)
    labels = np.arange(100_000) % 2
    roc = weighted_roc(generator.normal(size=labels.size) + 2.0 * labels, labels)
    thin = thin_roc(roc, 500)
    assert 300 < thin.fpr.size <= 500
    assert (thin.fpr[0], thin.fpr[-1], thin.thresholds[0]) == (0.0, 1.0, np.inf)
    rising = roc.fpr > 0.0  # at zero the curve is a vertical line
    followed = np.interp(roc.fpr[rising], thin.fpr, thin.tpr)
    assert followed == pytest.approx(roc.tpr[rising], abs=0.02)
    assert np.count_nonzero((thin.fpr > 0.0) & (thin.fpr < 0.001)) > 50


def test_thinning_leaves_a_short_curve_alone_and_bears_negative_weights() -> None:
    roc = weighted_roc(*toy(negative=0.3))
    assert thin_roc(roc, 10_000) is roc
    thin = thin_roc(roc, 12)
    assert (thin.fpr[-1], thin.tpr[-1]) == (1.0, 1.0)


def test_thinning_refuses_fewer_points_than_ends() -> None:
    roc = Roc(np.array([0.0, 1.0]), np.array([0.0, 1.0]), np.array([np.inf, 0.0]))
    with pytest.raises(DeclarationError, match="thinned to 1 points"):
        thin_roc(roc, 1)


@pytest.mark.parametrize(("weights", "expected"), [([2.0, 2.0, 2.0], 3.0), ([3.0, -1.0], 0.4), ([], 0.0), ([0.0], 0.0)])
def test_effective_events(weights: list[float], expected: float) -> None:
    assert effective_events(weights) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("scores", "labels", "weights", "message"),
    [
        ([1, 2, 3], [1, 0], None, r"same length; received scores \(3,\), labels \(2,\)"),
        ([1, 2], [1, 0], [1.0], r"weights \(1,\)"),
        ([[1], [2]], [[1], [0]], None, r"one number per event"),
        ([np.nan, 2, np.inf], [1, 0, 1], None, "2 of 3 scores are NaN or infinite"),
        ([1, 2], [1, 0], [np.nan, 1.0], "1 of 2 weights are NaN or infinite"),
        ([1, 2, 3], [1, 0, 2], None, r"1 of 3 labels are neither 0 nor 1 \(the first is 2\)"),
        ([1, 2], [1, 0.5], None, "1 of 2 labels are neither"),
        ([1, 2], [0, 0], None, "no signal among 2 events"),
        ([1, 2], [1, 1], None, "no background among 2 events"),
        ([], [], None, "no signal among 0 events; no background"),
        ([1, 2, 3], [1, 0, 0], [1.0, 1.0, -1.0], "background weights add up to 0; an efficiency needs"),
        ([1, 2], [1, 0], [-2.0, -1.0], "signal weights add up to -2 and background weights add up to -1"),
        ([1, 2], [1, 0], [1e300, 1.0], r"the largest weight is 1e\+300, and only from 1e-140 to 1e\+140"),
        ([1, 2], [1, 0], [1e-300, 1e-300], "the largest weight is 1e-300, and only from 1e-140"),
        ([1, 2], [1, 0], [1e-300, 1.0], "signal weights add up to 1e-300; an efficiency needs"),
        (["a", "b"], [1, 0], None, "scores are needed as real numbers; received <U1"),
        ([1, 2], [1, 0], [1j, 2j], "weights are needed as real numbers; received complex128"),
    ],
)
def test_bad_input_is_refused_by_name_and_number(scores: Any, labels: Any, weights: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        weighted_roc(scores, labels, weights)
    with pytest.raises(DataError, match=message):
        efficiency_at(0.5, scores, labels, weights)


def test_beside_one_event_that_outweighs_all_others_the_auc_has_no_error() -> None:
    labels, weights = np.repeat([0, 1], 50), np.ones(100)
    weights[7] = 1e6
    area = auc_with_error(np.arange(100) % 50, labels, weights)
    assert area.value == pytest.approx((42 + 0.5) / 50, abs=1e-4)
    assert np.isnan(area.error)
