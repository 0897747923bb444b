"""What probabilities and calibrations promise: definitions by brute force, order, laws of weights, refusals."""

import subprocess
import sys
from dataclasses import astuple
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError
from sklearn.metrics import brier_score_loss
from sklearn.metrics import log_loss as sklearn_log_loss

from models.calibration import Calibration, fit_calibration, shift_prior
from models.metrics import weighted_auc
from models.probabilities import brier_score, calibration_error, log_loss, reliability
from pipeline.errors import DataError, DeclarationError

Array = NDArray[Any]
METHODS = ("temperature", "platt", "isotonic")


def toy(n_events: int = 2_000, seed: int = 1, negative: float = 0.0) -> tuple[Array, Array, Array]:
    """Overconfident single-precision scores with some ties, labels, and weights of which a share is negative."""
    generator = np.random.default_rng(seed)
    labels = (generator.random(n_events) < 0.4).astype(np.int64)
    logits = np.round(3.0 * (generator.normal(size=n_events) + 1.5 * labels - 1.0), 2)
    weights = generator.gamma(2.0, size=n_events) * np.where(generator.random(n_events) < negative, -1.0, 1.0)
    return (1.0 / (1.0 + np.exp(-logits))).astype(np.float32), labels, weights


@st.composite
def scored_events(draw: st.DrawFn) -> tuple[Array, Array, Array]:
    n_events = draw(st.integers(2, 40))
    scores = st.lists(st.floats(0.0, 1.0), min_size=n_events, max_size=n_events)
    weights = st.lists(st.floats(0.1, 10.0), min_size=n_events, max_size=n_events)
    others = st.lists(st.integers(0, 1), min_size=n_events - 2, max_size=n_events - 2)
    return np.array(draw(scores)), np.array([0, 1, *draw(others)]), np.array(draw(weights))


@given(scored_events())
def test_brier_score_and_log_loss_agree_with_scikit_learn_for_positive_weights(
    events: tuple[Array, Array, Array],
) -> None:
    scores, labels, weights = events
    assert brier_score(*events).value == pytest.approx(brier_score_loss(labels, scores, sample_weight=weights))
    expected = sklearn_log_loss(labels, scores, sample_weight=weights)
    assert log_loss(*events).value == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("measure", [brier_score, log_loss])
def test_losses_do_not_depend_on_the_scale_of_the_weights(measure: Any) -> None:
    scores, labels, weights = toy(negative=0.2)
    expected = astuple(measure(scores, labels, weights))
    assert astuple(measure(scores, labels, 1e6 * weights)) == pytest.approx(expected)


def test_brier_score_of_signed_weights_by_hand() -> None:
    """Losses 0.01, 0.25, 0.04 with weights 2, -1, 3: L = (0.02 - 0.25 + 0.12) / 4 = -0.0275."""
    measured = brier_score([0.9, 0.5, 0.2], [1, 1, 0], [2.0, -1.0, 3.0])
    deviations = np.array([2.0, -1.0, 3.0]) * (np.array([0.01, 0.25, 0.04]) + 0.0275)
    n_effective = 16.0 / 14.0
    error = np.sqrt((deviations**2).sum() / 16.0 * n_effective / (n_effective - 1.0))
    assert astuple(measured) == pytest.approx((-0.0275, error))


def test_weights_that_nearly_cancel_leave_no_error() -> None:
    measured = log_loss([0.6, 0.6, 0.4, 0.4], [1, 1, 0, 0], [1.0, -0.9, 1.0, -0.9])
    assert measured.value == pytest.approx(-np.log(0.6))
    assert np.isnan(measured.error)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_saturated_score_costs_the_precision_of_its_type(dtype: type[np.floating[Any]]) -> None:
    measured = log_loss(np.array([1.0, 1.0, 0.0, 0.0], dtype=dtype), [1, 0, 1, 0])
    assert measured.value == pytest.approx(-0.5 * np.log(np.finfo(dtype).eps), rel=1e-6)


def test_a_bin_of_the_reliability_diagram_holds_its_lower_edge_and_the_last_its_upper() -> None:
    diagram = reliability([0.0, 0.25, 0.5, 0.5, 0.75, 1.0], [0, 1, 0, 1, 1, 1], edges=[0.0, 0.25, 0.5, 1.0])
    assert diagram.n_events.tolist() == [1, 1, 4]
    assert diagram.sum_of_weights.tolist() == [1.0, 1.0, 4.0]


def test_a_bin_gives_mean_score_fraction_and_the_error_of_a_weighted_binomial() -> None:
    """Signal of weights 3, 1 and background of 2, 1, 1: f = 1/2, Var = (10/4 + 6/4) / 64 = 1/16."""
    scores, weights = np.array([0.6, 0.7, 0.6, 0.8, 0.9]), np.array([3.0, 1.0, 2.0, 1.0, 1.0])
    diagram = reliability(scores, [1, 1, 0, 0, 0], weights, edges=[0.0, 0.5, 1.0])
    assert np.isnan(diagram.mean_score).tolist() == [True, True]  # 64 / 16 = 4 effective events are too few
    diagram = reliability(np.tile(scores, 2), [1, 1, 0, 0, 0] * 2, np.tile(weights, 2), edges=[0.0, 0.5, 1.0])
    assert diagram.effective_events.tolist() == [0.0, 8.0]
    found = (diagram.mean_score[1], diagram.signal_fraction[1], diagram.error[1])
    assert found == pytest.approx((np.average(scores, weights=weights), 0.5, 0.25 / np.sqrt(2.0)))


@pytest.mark.parametrize(
    ("n_events", "weights", "is_measurable"),
    [(0, 1.0, False), (4, 1.0, False), (5, 1.0, True), (5, 0.1, True), (8, -1.0, False)],
)
def test_bins_with_few_events_or_negative_sums_cannot_be_measured_but_are_kept(
    n_events: int, weights: float, is_measurable: bool
) -> None:
    scores = np.concatenate([np.full(20, 0.9), np.full(n_events, 0.1)])
    labels = np.arange(20 + n_events) % 2
    diagram = reliability(scores, labels, np.where(scores > 0.5, 1.0, weights), edges=[0.0, 0.5, 1.0])
    assert diagram.n_events.tolist() == [n_events, 20]
    for values in (diagram.mean_score, diagram.signal_fraction, diagram.error):
        assert np.isfinite(values).tolist() == [is_measurable, True]


def test_a_bin_of_one_class_has_a_fraction_without_error() -> None:
    diagram = reliability([0.1] * 9 + [0.9] * 9, [0] * 9 + [1] * 9, edges=[0.0, 0.5, 1.0])
    assert diagram.signal_fraction.tolist() == [0.0, 1.0]
    assert np.isnan(diagram.error).all()


def test_calibration_error_is_the_weighted_distance_from_the_diagonal() -> None:
    events = toy(negative=0.1)
    diagram = reliability(*events)
    distances = diagram.sum_of_weights * np.abs(diagram.signal_fraction - diagram.mean_score)
    assert calibration_error(*events).observed.value == pytest.approx(distances.sum() / diagram.sum_of_weights.sum())


def test_calibration_error_counts_bins_that_the_diagram_cannot_measure() -> None:
    """One event a bin: |0 - 0.2| of weight -1, |1 - 0.9| of weight 3, |0 - 0.6| of weight 2, over a sum of 4."""
    events = ([0.2, 0.9, 0.6], [0, 1, 0], [-1.0, 3.0, 2.0])
    measured = calibration_error(*events, edges=[0.0, 0.5, 0.8, 1.0])
    assert measured.observed.value == pytest.approx((0.2 + 0.3 + 1.2) / 4.0)
    assert measured.if_calibrated.value == pytest.approx(np.sqrt(2.0 / np.pi) * (0.2 + 0.3 + 1.2) / 4.0)


@pytest.mark.parametrize(
    "edges", [[0.0], [0.0, 0.9], [0.1, 1.0], [0.0, 0.5, 0.5, 1.0], [[0.0, 1.0]], [0.0, np.nan, 1.0]]
)
def test_edges_that_do_not_rise_from_0_to_1_are_refused(edges: Any) -> None:
    for measure in (reliability, calibration_error):
        with pytest.raises(DeclarationError, match="edges of bins rise from 0 to 1; received"):
            measure([0.1, 0.9], [0, 1], edges=edges)


@pytest.mark.parametrize(
    ("scores", "labels", "weights", "message"),
    [
        ([0.1, np.nan], [0, 1], None, "1 of 2 scores are NaN or infinite"),
        ([0.1, 1.5], [0, 1], None, r"1 of 2 scores are not in \[0, 1\] \(the first is 1.5\)"),
        ([-0.1, -1.0], [0, 1], None, r"2 of 2 scores are not in \[0, 1\] \(the first is -0.1\)"),
        ([0.1, 0.9], [1, 1], None, "no background among 2 events"),
        ([], [], None, "no signal among 0 events"),
        ([0.1, 0.9, 0.8], [0, 1, 1], [1.0, 1.0, -2.0], "signal weights add up to -1"),
        ([0.1, 0.9], [0, 1], [0.0, 1.0], "background weights add up to 0"),
    ],
)
def test_events_that_hold_no_probabilities_are_refused(scores: Any, labels: Any, weights: Any, message: str) -> None:
    for measure in (brier_score, log_loss, reliability, calibration_error):
        with pytest.raises(DataError, match=message):
            measure(scores, labels, weights)
    for method in METHODS:
        with pytest.raises(DataError, match=message):
            fit_calibration(method, scores, labels, weights)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("negative", [0.0, 0.2])
def test_a_calibration_keeps_order_and_range(method: str, negative: float) -> None:
    calibration = fit_calibration(method, *toy(negative=negative))
    scores = np.concatenate([[0.0, 1e-30], np.linspace(0.0, 1.0, 5_001)[1:-1], [1.0]]).astype(np.float32)
    for fitted in (calibration, calibration.for_fraction(0.001), calibration.for_fraction(0.999)):
        probabilities = fitted.apply(scores)
        assert probabilities.dtype == np.float32
        assert np.all(np.diff(probabilities) >= 0.0)
        assert (probabilities[0] >= 0.0) & (probabilities[-1] <= 1.0)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("negative", [0.0, 0.2])
def test_a_calibration_does_not_change_the_auc(method: str, negative: float) -> None:
    scores, labels, weights = toy(negative=negative)
    calibrated = fit_calibration(method, scores, labels, weights).apply(scores)
    assert weighted_auc(calibrated, labels, weights) == pytest.approx(weighted_auc(scores, labels, weights), abs=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_a_calibration_lowers_the_log_loss_on_events_it_was_not_fitted_on(method: str) -> None:
    scores, labels, weights = toy(seed=2)
    calibrated = fit_calibration(method, *toy(negative=0.1)).apply(scores)
    assert log_loss(calibrated, labels, weights).value < log_loss(scores, labels, weights).value - 0.02
    assert calibration_error(calibrated, labels, weights).observed.value < 0.05


@pytest.mark.parametrize("method", METHODS)
def test_a_weight_of_three_is_the_same_as_three_events(method: str) -> None:
    scores, labels, _ = toy(500)
    weights = 1 + np.arange(500) % 3
    weighted = fit_calibration(method, scores, labels, weights)
    repeated = fit_calibration(method, *(np.repeat(array, weights) for array in (scores, labels)))
    assert weighted.apply(scores) == pytest.approx(repeated.apply(scores), rel=1e-5)
    assert weighted.fitted_fraction == pytest.approx(repeated.fitted_fraction)


@pytest.mark.parametrize("method", METHODS)
def test_events_whose_weights_cancel_at_one_score_change_nothing(method: str) -> None:
    scores, labels, weights = toy(500)
    twice = [np.concatenate([array, array[:100], array[:100]]) for array in (scores, labels)]
    cancelling = np.concatenate([weights, weights[:100], -weights[:100]])
    expected = fit_calibration(method, scores, labels, weights).apply(scores)
    assert fit_calibration(method, *twice, cancelling).apply(scores) == pytest.approx(expected, rel=1e-4)


def test_fits_of_temperature_and_platt_are_minima_of_the_log_loss() -> None:
    scores, labels, weights = toy()
    for method in ("temperature", "platt"):
        best = fit_calibration(method, scores, labels, weights)
        least = log_loss(best.apply(scores), labels, weights).value
        for change in ({"temperature": 1.05}, {"temperature": 0.95}, {"intercept": 0.05}, {"intercept": -0.05}):
            if method == "platt" or "temperature" in change:
                factor, term = change.get("temperature", 1.0), change.get("intercept", 0.0)
                moved = {"temperature": best.temperature * factor, "intercept": best.intercept + term}
                assert log_loss(best.model_copy(update=moved).apply(scores), labels, weights).value > least


def test_a_temperature_is_fitted_at_the_balance_of_the_training() -> None:
    scores, labels, weights = toy(20_000)
    balanced = fit_calibration("temperature", scores, labels, weights, 0.5)
    rare = np.where(labels == 1, 0.001, 1.0) * weights
    assert fit_calibration("temperature", scores, labels, rare, 0.5).apply(scores) == pytest.approx(
        balanced.apply(scores), rel=1e-5
    )
    assert balanced.fitted_fraction == pytest.approx(0.5)


def test_isotonic_steps_by_hand_meet_at_their_centres() -> None:
    """Labels by rising score 0 | 1 0 | 1 0 | 1 are steps 0, 1/2, 1/2, 1; the middle two are one, centred at 0.45.

    The first step has one event and no signal: Laplace's 1/3, but no more than half of the next, 1/4; the last alike.
    """
    calibration = fit_calibration("isotonic", [0.1, 0.2, 0.4, 0.5, 0.7, 0.9], [0, 1, 0, 1, 0, 1])
    assert calibration.knots[1:-1] == ((0.1, 0.25), (pytest.approx(0.45), 0.5), (0.9, 0.75))
    assert calibration.apply([0.0, 0.275, 1.0]) == pytest.approx([0.25 - 0.1 * 0.25 / 0.35, 0.375, 0.75 + 0.25 / 4.5])


def test_no_answer_of_isotonic_is_a_certainty() -> None:
    """By Laplace's rule: the first step has 50 events without signal, and a share 0.25 comes next; the last alike."""
    scores = np.repeat([0.1, 0.4, 0.6, 0.9], [50, 40, 40, 50])
    labels = np.concatenate([np.zeros(50), np.arange(40) % 4 == 0, np.arange(40) % 4 > 0, np.ones(50)])
    calibration = fit_calibration("isotonic", scores, labels)
    assert calibration.apply([0.1, 0.9]) == pytest.approx([1 / 52, 51 / 52])
    outermost = calibration.apply([0.0, 1.0])
    assert 0.0 < outermost[0] < 1 / 52
    assert 51 / 52 < outermost[1] < 1.0


def test_the_outer_lines_of_isotonic_go_on_to_the_ends() -> None:
    """Steps 1/4 at 0.2 and 3/4 at 0.8: the line between them is at 1/12 for 0 and at 11/12 for 1."""
    calibration = fit_calibration("isotonic", [0.2] * 4 + [0.8] * 4, [0, 0, 0, 1, 0, 1, 1, 1])
    assert calibration.apply([0.0, 0.2, 0.8, 1.0]) == pytest.approx([1 / 12, 1 / 4, 3 / 4, 11 / 12])


def test_isotonic_pools_neighbours_until_no_sum_is_negative() -> None:
    """The signal at 0.6 (w = -1) joins that at 0.5 (w = 2): a pool at 0.55 of weight 1; all others stay alone.

    By rising score there is 0, 0 | 1, 0 | 1: steps 0 (centre (4 x 0.1 + 2 x 0.4) / 6), 1/2 (0.55 and 0.8) and 1. The
    outer ones are moved half way to the middle one, since Laplace's rule would move them further.
    """
    scores, labels = [0.9, 0.8, 0.6, 0.5, 0.4, 0.1], [1, 0, 1, 1, 0, 0]
    calibration = fit_calibration("isotonic", scores, labels, [4.0, 1.0, -1.0, 2.0, 2.0, 4.0])
    assert np.array(calibration.knots[1:-1]) == pytest.approx(np.array([[0.2, 0.25], [0.675, 0.5], [0.9, 0.75]]))


@given(scored_events())
def test_isotonic_is_defined_or_refused_for_any_events(events: tuple[Array, Array, Array]) -> None:
    scores, labels, weights = np.round(events[0], 3), *events[1:]  # apart by more than single precision
    try:
        calibration = fit_calibration("isotonic", scores, labels, weights)
    except DataError:
        return
    probabilities = calibration.apply(scores)
    assert np.all(np.diff(probabilities[np.argsort(scores)]) >= 0.0)
    assert weighted_auc(probabilities, labels, weights) == pytest.approx(weighted_auc(scores, labels, weights))


def test_a_calibration_survives_being_written_and_read() -> None:
    for method in METHODS:
        calibration = fit_calibration(method, *toy()).for_fraction(0.01)
        read = Calibration.model_validate_json(calibration.model_dump_json())
        assert read == calibration
        assert np.array_equal(read.apply(toy()[0]), calibration.apply(toy()[0]))


def test_a_calibration_without_map_only_shifts_the_balance() -> None:
    scores = np.linspace(0.0, 1.0, 11, dtype=np.float32)
    plain = Calibration(method="temperature", fitted_fraction=0.5)
    assert np.array_equal(plain.apply(scores), scores)
    shifted = plain.for_fraction(0.1)
    assert np.array_equal(shifted.apply(scores), shift_prior(scores, 0.5, 0.1).astype(np.float32))


def test_the_map_comes_before_the_shift() -> None:
    calibration = Calibration(
        method="platt", temperature=2.0, intercept=1.0, fitted_fraction=0.3, expected_fraction=0.1
    )
    mapped = 1.0 / (1.0 + np.exp(-(np.log(0.8 / 0.2) / 2.0 + 1.0)))
    assert calibration.apply([0.8]) == pytest.approx(shift_prior([mapped], 0.3, 0.1), rel=1e-6)


def test_saturated_scores_stay_the_outermost_and_are_not_beyond_doubt() -> None:
    hot = Calibration(method="temperature", temperature=4.0, fitted_fraction=0.5)
    below_one = np.nextafter(np.float32(1.0), np.float32(0.0))
    low, high, one = hot.apply(np.array([0.0, below_one, 1.0], dtype=np.float32))
    assert 0.0 < low < 1e-9
    assert 0.98 < high < one < 1.0


@pytest.mark.parametrize(
    "calibration", [{"method": "platt"}, {"method": "isotonic", "knots": ((0.0, 0.1), (1.0, 0.9))}]
)
def test_applying_to_no_events_gives_none_and_to_bad_ones_an_error(calibration: dict[str, Any]) -> None:
    fitted = Calibration.model_validate({"fitted_fraction": 0.5, **calibration})
    assert fitted.apply(np.empty(0, dtype=np.float32)).shape == (0,)
    with pytest.raises(DataError, match=r"1 of 2 scores are not in \[0, 1\] \(the first is nan\)"):
        fitted.apply([0.5, np.nan])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"method": "isotonic"}, "0 knots for 'isotonic'"),
        ({"method": "platt", "knots": ((0.0, 0.0), (1.0, 1.0))}, "2 knots for 'platt'"),
        ({"method": "isotonic", "knots": ((0.5, 0.5),)}, "at least two"),
        ({"method": "isotonic", "knots": ((0.0, 0.5), (1.0, 0.4))}, "rise in score and in probability"),
        ({"method": "isotonic", "knots": ((0.0, 0.5), (1.0, 1.4))}, "less than or equal to 1"),
        ({"method": "temperature", "temperature": 0.0}, "greater than 0"),
        ({"method": "temperature", "expected_fraction": 1.0}, "less than 1"),
    ],
)
def test_a_calibration_that_does_not_rise_cannot_be_declared(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Calibration.model_validate({"fitted_fraction": 0.5, **fields})


@given(st.floats(0.0, 1.0), st.floats(0.01, 0.99), st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_shifts_of_the_balance_add_up(score: float, first: float, second: float, third: float) -> None:
    directly = shift_prior([score], first, third)
    in_two_steps = shift_prior(shift_prior([score], first, second), second, third)
    assert in_two_steps == pytest.approx(directly, rel=1e-9, abs=1e-12)


def test_a_shift_leaves_certainty_alone_and_moves_one_half_to_the_new_balance() -> None:
    assert shift_prior(np.float32([0.0, 0.5, 1.0]), 0.5, 0.01) == pytest.approx([0.0, 0.01, 1.0], abs=1e-15)


@pytest.mark.parametrize("bad", [0.0, 1.0, -0.5, float("nan")])
def test_a_fraction_that_is_none_is_refused(bad: float) -> None:
    calls = [
        lambda: shift_prior([0.5], bad, 0.5),
        lambda: shift_prior([0.5], 0.5, bad),
        lambda: Calibration(method="platt", fitted_fraction=0.5).for_fraction(bad),
        lambda: fit_calibration("platt", *toy(100), signal_fraction=bad),
    ]
    for call in calls:
        with pytest.raises(
            DeclarationError, match="a fraction of signal lies between 0 and 1, both excluded; received"
        ):
            call()


def test_an_unknown_method_is_refused_with_the_nearest_spelling() -> None:
    with pytest.raises(
        DeclarationError, match=r"no calibration 'isotone' \(did you mean 'isotonic'\?\); there are: temp"
    ):
        fit_calibration("isotone", *toy(100))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        ([0.5, 0.5, 0.5], [0, 1, 0], "all 3 scores are 0.5; there is nothing to calibrate"),
        ([0.9, 0.8, 0.2, 0.1, 0.9, 0.1], [0, 0, 1, 1, 1, 0], "does not rise with the score"),
    ],
)
def test_scores_without_a_rising_map_are_refused(method: str, scores: Any, labels: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        fit_calibration(method, scores, labels)


@pytest.mark.parametrize("method", ["temperature", "platt"])
@pytest.mark.parametrize("scores", [[0.1, 0.2, 0.8, 0.9], [0.4999, 0.4999, 0.5001, 0.5001]])
def test_classes_that_do_not_overlap_have_no_temperature(method: str, scores: list[float]) -> None:
    with pytest.raises(DataError, match="the classes do not overlap"):
        fit_calibration(method, scores, [0, 0, 1, 1])


def test_applying_needs_neither_scipy_nor_scikit_learn() -> None:
    program = (
        "import sys; from models.calibration import Calibration; "
        "Calibration(method='platt', intercept=1.0, fitted_fraction=0.5, expected_fraction=0.1).apply([0.2]); "
        "sys.exit(bool({'scipy', 'sklearn'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_two_events_make_no_certainty() -> None:
    with pytest.raises(DataError, match=r"no 'isotonic' calibration: .* the classes do not overlap"):
        fit_calibration("isotonic", [0.2, 0.8], [0, 1])
