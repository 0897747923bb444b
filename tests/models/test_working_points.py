"""What working points promise: the request met, by the right threshold, in every bin, or what can be had."""

import json
from collections.abc import Callable
from dataclasses import asdict, astuple
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from models.cuts import Cut, WorkingPointSpec
from models.metrics import weighted_roc
from models.working_points import QuotedCut, choose, efficiency_at, quote, working_point
from pipeline.declare import read_declaration
from pipeline.errors import DataError, DeclarationError

Array = NDArray[Any]
EDGES = (20.0, 30.0, 40.0, 60.0, 80.0)


def point(**requested: Any) -> WorkingPointSpec:
    return read_declaration({"name": "tight", **requested}, WorkingPointSpec, "[evaluation]")


def toy(n_events: int = 2_000, seed: int = 1, negative: float = 0.0) -> tuple[Array, Array, Array]:
    """Scores with many ties, labels, and weights of which a share is negative."""
    generator = np.random.default_rng(seed)
    labels = (generator.random(n_events) < 0.4).astype(np.int64)
    scores = np.round(generator.normal(size=n_events) + 1.5 * labels, 1).astype(np.float32)
    weights = generator.gamma(2.0, size=n_events) * np.where(generator.random(n_events) < negative, -1.0, 1.0)
    return scores, labels, weights


def dependent_toy(n_events: int, seed: int) -> tuple[Array, Array, Array]:
    """Scores whose signal rises with pt: by half a standard deviation every 10 GeV."""
    generator = np.random.default_rng(seed)
    labels, pt = generator.integers(0, 2, size=n_events), generator.uniform(20.0, 80.0, size=n_events)
    return generator.normal(size=n_events) + labels * (pt - 20.0) / 20.0, labels, pt


def pulls(rows: tuple[QuotedCut, ...], expected: float) -> Array:
    efficiencies = [row.kept.signal_efficiency for row in rows]
    return np.array([(found.value - expected) / found.error for found in efficiencies])


def test_working_point_is_the_highest_threshold_that_keeps_enough_signal() -> None:
    roc = weighted_roc([0.9, 0.8, 0.6, 0.5, 0.3], [1, 1, 1, 1, 0])
    assert [working_point(roc, wanted) for wanted in (0.25, 0.3, 0.5, 1.0)] == [0.9, 0.8, 0.8, 0.5]


def test_working_point_forgives_rounding_in_sums_of_weights() -> None:
    roc = weighted_roc([5, 4, 3, 2, 1, 0], [1, 1, 1, 1, 1, 0], [0.2, 0.5, 0.4, 0.1, 0.2, 1.0])
    assert roc.tpr[2] < 0.5
    assert working_point(roc, 0.5) == 4.0


@pytest.mark.parametrize("wanted", [0.0, -0.1, 1.5, float("nan")])
def test_working_point_refuses_an_efficiency_that_is_none(wanted: float) -> None:
    roc = weighted_roc([2, 1], [1, 0])
    with pytest.raises(DeclarationError, match=r"signal efficiency .* is not above 0 and at most 1"):
        working_point(roc, wanted)


def test_efficiency_counts_events_at_the_threshold_as_passing() -> None:
    point = efficiency_at(0.5, np.array([0.9, 0.5, 0.4, 0.5, 0.2, 0.1], np.float32), [1, 1, 1, 0, 0, 0])
    assert (point.n_signal, point.n_background) == (2, 1)
    assert astuple(point.signal_efficiency) == pytest.approx((2 / 3, np.sqrt(2 / 27)))
    assert point.background_efficiency.value == pytest.approx(1 / 3)
    assert astuple(point.rejection) == pytest.approx((3.0, 9.0 * np.sqrt(2 / 27)))
    assert point.purity.value == pytest.approx(2 / 3)


def test_efficiency_error_is_that_of_a_weighted_binomial() -> None:
    """Signal passes with weights 3 and -1, fails with 2: e = 1/2, Var = (9/4 + 1/4 + 4/4) / 16."""
    point = efficiency_at(0.5, [0.9, 0.8, 0.1, 0.7, 0.2], [1, 1, 1, 0, 0], [3, -1, 2, 1, 1])
    assert astuple(point.signal_efficiency) == pytest.approx((0.5, np.sqrt(3.5 / 16.0)))


def test_purity_counts_weights_not_events() -> None:
    point = efficiency_at(0.5, [0.9, 0.8, 0.1, 0.2], [1, 0, 1, 0], [1.0, 9.0, 1.0, 9.0])
    assert point.purity.value == pytest.approx(0.1)


def test_threshold_above_all_scores_keeps_nothing() -> None:
    point = efficiency_at(np.inf, [0.9, 0.8, 0.1], [1, 0, 0])
    assert (point.signal_efficiency.value, point.background_efficiency.value) == (0.0, 0.0)
    assert point.rejection.value == np.inf
    assert np.isnan(point.purity.value)


def test_an_efficiency_of_none_or_all_has_no_error() -> None:
    point = efficiency_at(0.5, [0.9, 0.8, 0.1, 0.2], [1, 1, 0, 0])
    found = np.array([astuple(point.signal_efficiency), astuple(point.background_efficiency), astuple(point.purity)])
    np.testing.assert_array_equal(found, [[1.0, np.nan], [0.0, np.nan], [1.0, np.nan]])


@pytest.mark.parametrize("negative", [0.0, 0.2])
def test_a_signal_efficiency_takes_the_threshold_of_working_point(negative: float) -> None:
    events = toy(negative=negative)
    cut = choose(point(signal_efficiency=0.4), *events)
    assert cut.thresholds == (working_point(weighted_roc(*events), 0.4),)


def rejection_above(threshold: float, scores: Array, labels: Array, weights: Array) -> tuple[float, int]:
    passes = (scores >= threshold) & (labels == 0)
    above = weights[passes].sum()
    return float(weights[labels == 0].sum() / above) if above > 0.0 else -np.inf, int(np.count_nonzero(passes))


def purity_above(threshold: float, scores: Array, labels: Array, weights: Array) -> tuple[float, int]:
    passes = scores >= threshold
    signal, background = (float(weights[passes & (labels == label)].sum()) for label in (1, 0))
    has_one = min(signal, background) >= 0.0 and signal + background > 0.0
    return signal / (signal + background) if has_one else -np.inf, int(np.count_nonzero(passes))


@pytest.mark.parametrize("negative", [0.0, 0.3])
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("requested", "measure"),
    [({"background_rejection": 8.0}, rejection_above), ({"purity": 0.75}, purity_above)],
)
def test_other_requests_take_the_lowest_threshold_that_reaches_them_with_enough_events(
    requested: dict[str, float], measure: Callable[..., tuple[float, int]], seed: int, negative: float
) -> None:
    events, [wanted] = toy(seed=seed, negative=negative), requested.values()
    measured = {float(threshold): measure(threshold, *events) for threshold in np.unique(events[0])}
    reached = [threshold for threshold, (value, n_passing) in measured.items() if value >= wanted and n_passing >= 30]
    assert choose(point(**requested), *events).thresholds == (min(reached),)


@pytest.mark.parametrize(("wanted", "threshold"), [(0.5, 1.0), (0.66, 1.0), (0.75, 2.0), (0.8, 2.0)])
def test_a_purity_may_fall_short_again_above_the_threshold(wanted: float, threshold: float) -> None:
    """From the top B S S S S B: the purity is 0, 1/2, 2/3, 3/4, 4/5, 2/3."""
    scores, labels = [6, 5, 4, 3, 2, 1], [0, 1, 1, 1, 1, 0]
    assert choose(point(purity=wanted, min_events=1), scores, labels).thresholds == (threshold,)
    with pytest.raises(DataError, match=r"the largest that can is 0\.8$"):
        choose(point(purity=0.9, min_events=1), scores, labels)


def test_few_pure_events_at_the_very_top_do_not_count() -> None:
    scores, labels = np.arange(105.0), np.append(np.arange(100) % 2, np.ones(5))
    assert choose(point(purity=0.9, min_events=1), scores, labels).thresholds == (99.0,)
    with pytest.raises(DataError, match=r"purity = 0.9 .* at least 30 events passing: the largest that can is 0.6"):
        choose(point(purity=0.9), scores, labels)


def test_events_of_equal_score_pass_together() -> None:
    scores, labels = [3, 2, 2, 2, 1], [1, 0, 0, 1, 0]
    assert choose(point(background_rejection=1.5, min_events=1), scores, labels).thresholds == (2.0,)
    with pytest.raises(DataError, match=r"the largest that can is 1\.5"):
        choose(point(background_rejection=1.6, min_events=1), scores, labels)


def test_background_whose_weights_cancel_is_not_rejected_perfectly() -> None:
    """From the top the background weights add up to 1, 0, -1, 1 and 5: rejections 5, none, none, 5 and 1."""
    scores, labels, weights = [6, 5, 4, 3, 2, 1], [0, 0, 0, 0, 0, 1], [1.0, -1.0, -1.0, 2.0, 4.0, 1.0]
    assert choose(point(background_rejection=2.0, min_events=1), scores, labels, weights).thresholds == (3.0,)
    with pytest.raises(DataError, match="the largest that can is 5"):
        choose(point(background_rejection=6.0, min_events=1), scores, labels, weights)


def test_weights_that_cancel_but_for_rounding_are_no_background() -> None:
    """0.1 + 0.2 - 0.3 is 6e-17: a rejection of 2e16, if it were believed."""
    scores, labels, weights = [5, 4, 3, 2, 1], [0, 0, 0, 0, 1], [0.1, 0.2, -0.3, 1.0, 1.0]
    with pytest.raises(DataError, match="the largest that can is 10"):
        choose(point(background_rejection=20.0, min_events=1), scores, labels, weights)


def test_a_purity_above_one_is_none() -> None:
    """From the top signal and background add up to (2, 0), (2, -1), (2, 3), (4, 3): purities 1, none, 2/5, 4/7."""
    scores, labels, weights = [4, 3, 2, 1], [1, 0, 0, 1], [2.0, -1.0, 4.0, 2.0]
    assert choose(point(purity=0.9, min_events=1), scores, labels, weights).thresholds == (4.0,)


@pytest.mark.parametrize(
    ("requested", "message"),
    [
        (
            {"signal_efficiency": 0.2},
            "signal_efficiency = 0.2 .* 30 signal events passing: the smallest that can is 0.6$",
        ),
        (
            {"background_rejection": 1e4},
            "background_rejection = 10000 .* background events passing: the largest .* is 5$",
        ),
        ({"purity": 0.9}, "purity = 0.9 .* 30 events passing: the largest that can is 0.6875"),
        ({"purity": 0.1, "min_events": 300}, "purity = 0.1 .* at least 300 events passing: there are 200"),
    ],
)
def test_a_request_out_of_reach_is_told_what_can_be_had(requested: dict[str, float], message: str) -> None:
    """From the top 20 signal events alone, then 30 ties of 1 signal and 5 background events: 22 of 32 and 30 of 80."""
    labels = np.append(np.ones(20), np.tile([1, 0, 0, 0, 0, 0], 30))
    scores = np.append(np.full(20, 99.0), np.repeat(np.arange(30.0, 0.0, -1.0), 6))
    with pytest.raises(DataError, match=f"^working point 'tight': {message}"):
        choose(point(**requested), scores, labels)


def test_one_threshold_gives_an_efficiency_that_follows_the_variable_and_one_per_bin_a_flat_one() -> None:
    validation, test = dependent_toy(400_000, seed=1), dependent_toy(40_000, seed=2)
    bins = {"variable": "pt", "edges": EDGES}
    flat = choose(point(signal_efficiency=0.5, bins=bins), *validation[:2], values=validation[2])
    rows = quote(flat, *test[:2], values=test[2])
    assert np.abs(pulls(rows, 0.5)).max() < 3.5
    [threshold] = choose(point(signal_efficiency=0.5), *validation[:2]).thresholds
    uneven = quote(flat.model_copy(update={"thresholds": (threshold,) * 4}), *test[:2], values=test[2])
    assert abs(pulls(uneven[:1], 0.5)[0]) < 3.5
    lowest, *_, highest = pulls(uneven[1:], 0.5)
    assert lowest < -20.0 < 20.0 < highest


@pytest.mark.parametrize(("quantity", "wanted"), [("background_rejection", 4.0), ("purity", 0.8)])
def test_every_bin_meets_a_rejection_or_a_purity_of_its_own(quantity: str, wanted: float) -> None:
    validation, test = dependent_toy(200_000, seed=3), dependent_toy(40_000, seed=4)
    bins = {"variable": "pt", "edges": (30.0, 40.0, 60.0, 80.0)}
    cut = choose(point(**{quantity: wanted}, bins=bins), *validation[:2], values=validation[2])
    for row in quote(cut, *test[:2], values=test[2]):
        found = row.kept.rejection if quantity == "background_rejection" else row.kept.purity
        assert abs(found.value - wanted) < 4.0 * found.error


BINNED = Cut(
    name="tight",
    quantity="purity",
    requested=0.9,
    thresholds=(0.5, 0.8),
    bins={"variable": "pt", "edges": (20, 40, 80)},
)


@pytest.mark.parametrize(
    ("value", "threshold"),
    [(30, 0.5), (40, 0.8), (80, 0.8), (19, 0.5), (99, 0.8), (-np.inf, 0.5), (np.inf, 0.8), (np.nan, np.inf)],
)
def test_an_event_outside_the_edges_has_the_nearest_threshold_and_one_without_value_never_passes(
    value: float, threshold: float
) -> None:
    scores = np.array([0.4, 0.5, 0.7, 0.8, 1.0])
    assert BINNED.passes(scores, np.full(5, value)).tolist() == (scores >= threshold).tolist()


def test_a_cut_passes_the_very_events_that_it_was_chosen_to_pass_also_when_read_back() -> None:
    scores, labels, weights = toy()
    cut = choose(point(signal_efficiency=0.3), scores, labels, weights)
    again = Cut.model_validate_json(cut.model_dump_json())
    assert again == cut
    [row] = quote(again, scores, labels, weights)
    assert np.count_nonzero(again.passes(scores) & (labels == 1)) == row.kept.n_signal
    assert astuple(row.kept) == astuple(efficiency_at(cut.thresholds[0], scores, labels, weights))


def test_a_threshold_is_not_rounded_to_the_precision_of_the_scores() -> None:
    scores, threshold = np.array([0.5, 0.25], np.float32), 0.5 + 1e-12
    assert efficiency_at(threshold, scores, [1, 0]).n_signal == 0
    assert not BINNED.model_copy(update={"thresholds": (threshold,), "bins": None}).passes(scores).any()


def test_no_events_and_nan_scores_pass_nothing() -> None:
    assert BINNED.passes([], []).shape == (0,)
    assert BINNED.passes([np.nan, 0.9], [30, 30]).tolist() == [False, True]


@pytest.mark.parametrize(
    ("values", "kind", "message"),
    [
        (None, DeclarationError, "thresholds depend on 'pt': its values are needed, one per score"),
        ([30.0], DataError, r"'pt' needs one value per score; received \(1,\) for \(2,\)"),
        (["a", "b"], DataError, "'pt' holds <U1 values, and bins need numbers"),
    ],
)
def test_a_cut_in_bins_refuses_values_that_it_cannot_use(values: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        BINNED.passes([0.5, 0.6], values)
    with pytest.raises(kind, match=message):
        quote(BINNED, [0.5, 0.6], [1, 0], values=values)
    with pytest.raises(kind, match=message):
        choose(point(purity=0.5, bins={"variable": "pt", "edges": [1, 2]}), [0.5, 0.6], [1, 0], values=values)


def test_every_event_is_quoted_in_one_bin_unless_its_variable_is_nan() -> None:
    scores, labels, pt = dependent_toy(3_000, seed=5)
    pt[:100] = np.nan
    cut = choose(point(signal_efficiency=0.5, bins={"variable": "pt", "edges": EDGES}), scores, labels, values=pt)
    everything, *rows = quote(cut, scores, labels, values=pt)
    assert [(row.low, row.high) for row in (everything, *rows)] == [
        (None, None),
        (-np.inf, 30),
        (30, 40),
        (40, 60),
        (60, np.inf),
    ]
    assert sum(row.total_signal + row.total_background for row in rows) == 2_900
    assert everything.total_signal + everything.total_background == 3_000
    assert sum(row.kept.n_signal for row in rows) == everything.kept.n_signal
    assert [row.kept.threshold for row in rows] == list(cut.thresholds)
    assert np.isnan(everything.kept.threshold)


def test_a_bin_is_chosen_and_quoted_as_if_it_stood_alone() -> None:
    scores, labels, weights = toy(negative=0.1)
    inside = np.arange(scores.size) % 3 == 0
    bins = {"variable": "pt", "edges": [20, 40, 80]}
    cut = choose(point(purity=0.8, bins=bins), scores, labels, weights, np.where(inside, 50, 30))
    alone = [array[inside] for array in (scores, labels, weights)]
    assert cut.thresholds[1:] == choose(point(purity=0.8), *alone).thresholds
    row = quote(cut, scores, labels, weights, np.where(inside, 50, 30))[2]
    assert astuple(row.kept) == astuple(efficiency_at(cut.thresholds[1], *alone))


def test_an_efficiency_is_quoted_without_error_in_a_bin_where_nothing_passes() -> None:
    _, low, high = quote(BINNED, [0.9, 0.4, 0.6, 0.1, 0.2, 0.3], [1, 1, 0, 0, 1, 0], values=[30, 30, 30, 30, 50, 50])
    assert low.kept.signal_efficiency.error == pytest.approx(np.sqrt(1 / 8))
    assert astuple(high.kept.signal_efficiency) == pytest.approx((0.0, np.nan), nan_ok=True)
    assert (high.kept.rejection.value, high.total_signal, high.total_background) == (np.inf, 1, 1)


def test_a_quotation_is_made_of_plain_numbers() -> None:
    rows = quote(BINNED, [0.9, 0.4, 0.9, 0.1], [1, 0, 1, 0], [1.0, 2.0, 3.0, -1.0e-3 + 1.0], values=[30, 30, 50, 50])
    assert json.loads(json.dumps([asdict(row) for row in rows]))[1]["kept"]["n_signal"] == 1


def test_a_bin_that_cannot_be_judged_is_refused_by_name_and_number() -> None:
    scores, labels, pt = np.arange(200.0), np.arange(200) % 2, np.repeat([25.0, 55.0], [150, 50])
    bins = {"variable": "pt", "edges": [20, 40, 60]}
    with pytest.raises(
        DataError, match=r"'tight': pt from 40 to 60 \(25 signal and 25 background events\): .* there are 25"
    ):
        choose(point(signal_efficiency=0.9, bins=bins), scores, labels, values=pt)
    with pytest.raises(DataError, match=r"pt from 40 to 60 \(0 signal and 50 background events\): no signal among 50"):
        choose(point(signal_efficiency=0.5, bins=bins), scores, labels * (pt < 40), values=pt)
    with pytest.raises(
        DataError, match=r"'tight': pt from 40 to 80 \(0 signal and 2 background events\): no signal among"
    ):
        quote(BINNED, [1, 2, 3, 4], [1, 0, 0, 0], values=[30, 30, 50, 50])


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({}, "requests nothing; give exactly one of signal_efficiency, background_rejection, purity"),
        ({"purity": 0.9, "signal_efficiency": 0.5}, "requests signal_efficiency and purity; give exactly one of"),
        ({"purity": 1.0}, "purity: received 1.0; it should be less than 1"),
        ({"background_rejection": 1}, "background_rejection: received 1; it should be greater than 1"),
        ({"purity": 0.5, "name": "very tight!"}, "'very tight!' cannot be part of a column name .* as in 'very_tight'"),
        ({"purity": 0.5, "name": ""}, "'' cannot be part of a column name"),
        ({"purity": 0.5, "min_events": 0}, "min_events: received 0; it should be greater than or equal to 1"),
        ({"purity": 0.5, "bins": {"variable": "pt", "edges": [20]}}, r"bins.edges: received \[20\]; at least 2"),
        (
            {"purity": 0.5, "bins": {"variable": "pt", "edges": [2, 5, 5, 1]}},
            "must rise, and 5 follows 5 and 1 follows 5",
        ),
        ({"purity": 0.5, "bins": {"variable": "pt"}}, "bins.edges: is missing"),
        ({"efficiency": 0.5}, r"efficiency: unknown key \(did you mean 'signal_efficiency'\?\)"),
    ],
)
def test_a_wrong_declaration_is_refused_with_what_is_right(section: dict[str, Any], message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        point(**section)


def test_a_cut_needs_a_threshold_for_every_bin() -> None:
    with pytest.raises(ValidationError, match="the number of thresholds is 3, and of bins 2"):
        Cut.model_validate(BINNED.model_dump() | {"thresholds": (0.1, 0.2, 0.3)})
    with pytest.raises(ValidationError, match="the number of thresholds is 2, and of bins 1"):
        Cut.model_validate(BINNED.model_dump() | {"bins": None})


def test_with_negative_weights_only_an_efficiency_that_is_reached_anew_can_be_had() -> None:
    """Signal from the top 0.75, 0.5, 0.25, 1 of the sum 4: with three events there is 1, and never again 0.5."""
    scores, labels, weights = [0.9, 0.8, 0.7, 0.6, 0.1], [1, 1, 1, 1, 0], [3.0, -1.0, -1.0, 3.0, 1.0]
    with pytest.raises(DataError, match=r"at least 3 signal events passing: the smallest that can is 1$"):
        choose(point(signal_efficiency=0.5, min_events=3), scores, labels, weights)
    with pytest.raises(DataError, match="there are 5, but with their weights it rises no higher than with fewer"):
        choose(point(signal_efficiency=0.5, min_events=5), [1.0, *scores], [1, *labels], [4.0, *weights[:3], -1.0, 1.0])


def test_events_without_weight_do_not_make_up_the_number_that_must_pass() -> None:
    scores, labels = np.arange(8.0), np.tile([0, 1], 4)
    weights = np.where(scores < 4.0, 1.0, 0.0)
    with pytest.raises(DataError, match=r"signal_efficiency = 0.5 .* 3 signal events passing: there are 2"):
        choose(point(signal_efficiency=0.5, min_events=3), scores, labels, weights)


def test_an_efficiency_of_weightless_events_has_no_error() -> None:
    kept = efficiency_at(2.0, [1.0, 1.0, 2.0, 2.0], [0, 1, 0, 1], [1.0, 1.0, 0.0, 0.0])
    assert (kept.signal_efficiency.value, kept.n_signal) == (0.0, 0)
    assert np.isnan([kept.signal_efficiency.error, kept.background_efficiency.error]).all()


def test_a_threshold_that_is_no_number_is_refused() -> None:
    with pytest.raises(DeclarationError, match="no event passes or fails a threshold that is NaN"):
        efficiency_at(float("nan"), [0.1, 0.9], [0, 1])
