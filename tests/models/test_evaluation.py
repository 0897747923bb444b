"""What the record of an evaluation promises: which part answers which question, and nothing lost in JSON."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from models.evaluation import NETWORK, EvaluationSpec, ScoredPart, evaluate
from models.histograms import KINDS
from models.metrics import auc_difference, weighted_auc, weighted_roc
from models.record import Evaluation
from models.scored import Floats
from models.significance import best_threshold, scan
from models.working_points import working_point
from pipeline.errors import DataError


def part(n_events: int, distance: float = 1.5, seed: int = 1) -> ScoredPart:
    generator = np.random.default_rng(seed)
    labels = (np.arange(n_events) % 3 == 0).astype(np.int64)
    logits = generator.normal(size=n_events) + distance * (labels - 0.5)
    weights = np.where(generator.random(n_events) < 0.05, -0.5, 1.5)
    columns = {"pt": generator.exponential(30.0, n_events)}
    return ScoredPart((1.0 / (1.0 + np.exp(-logits))).astype(np.float32), labels, weights, columns)


TRAIN, VALIDATION, TEST = part(6_000, 1.7, seed=1), part(3_000, seed=2), part(4_000, seed=3)
NOISY = TEST.scores + np.random.default_rng(4).normal(0.0, 0.3, 4_000)
POINTS = [
    {"name": "tight", "background_rejection": 20.0},
    {"name": "flat", "signal_efficiency": 0.5, "bins": {"variable": "pt", "edges": [0, 20, 100]}},
    {"name": "hopeless", "purity": 0.999, "min_events": 1_000},
]
SPEC = EvaluationSpec.model_validate({"replicas": 50, "working_points": POINTS})
FEW = ScoredPart(np.array([0.9, 0.8, 0.2, 0.1]), np.array([1, 1, 0, 0]), np.ones(4))


def judged(
    train: ScoredPart, validation: ScoredPart, test: ScoredPart, rivals: Mapping[str, Floats] | None = None, **spec: Any
) -> Evaluation:
    asked = EvaluationSpec.model_validate({"replicas": 10, **spec})
    return evaluate(train, validation, test, asked, random=np.random.default_rng(5), rivals=rivals)


@pytest.fixture(scope="module")
def record() -> Evaluation:
    random = np.random.default_rng(5)
    return evaluate(TRAIN, VALIDATION, TEST, SPEC, random=random, signal_fraction=0.5, rivals={"noisy": NOISY})


def test_the_headline_auc_is_that_of_the_test_part(record: Evaluation) -> None:
    assert record.auc.value == weighted_auc(TEST.scores, TEST.labels, TEST.weights)
    assert record.auc_train.value == weighted_auc(TRAIN.scores, TRAIN.labels, TRAIN.weights)
    assert record.auc_validation.value == weighted_auc(VALIDATION.scores, VALIDATION.labels, VALIDATION.weights)


def test_the_gap_is_train_minus_test_with_both_errors(record: Evaluation) -> None:
    assert record.gap.value == record.auc_train.value - record.auc.value
    assert record.gap.error == pytest.approx(np.hypot(record.auc_train.error, record.auc.error))
    assert record.gap.value > 2.0 * record.gap.error


def test_thresholds_come_from_validation_and_are_quoted_on_test(record: Evaluation) -> None:
    roc = weighted_roc(VALIDATION.scores, VALIDATION.labels, VALIDATION.weights)
    for point in record.working_points:
        assert point.quoted.threshold == working_point(roc, point.requested)
        passing = (point.quoted.threshold <= TEST.scores) & (TEST.labels == 1)
        assert point.quoted.n_signal == np.count_nonzero(passing)
        pull = (point.quoted.signal_efficiency.value - point.requested) / point.quoted.signal_efficiency.error
        assert pull != 0.0
        assert abs(pull) < 4.0


def test_the_test_part_has_no_say_in_the_thresholds(record: Evaluation) -> None:
    other = judged(TRAIN, VALIDATION, part(500, seed=9))
    thresholds = [point.quoted.threshold for point in other.working_points]
    assert thresholds == [point.quoted.threshold for point in record.working_points]
    assert other.significance.quoted is not None
    assert record.significance.quoted is not None
    assert other.significance.quoted.threshold == record.significance.quoted.threshold


def test_every_event_is_in_a_histogram_and_in_a_count(record: Evaluation) -> None:
    assert sum(count.events for count in record.counts) == 13_000
    assert {(h.part, h.kind) for h in record.histograms} == {
        (name, kind) for name in ("train", "validation", "test") for kind in KINDS
    }
    for histogram in record.histograms:
        count = next(c for c in record.counts if (c.part, c.kind) == (histogram.part, histogram.kind))
        assert histogram.sums.sum() == pytest.approx(count.sum_of_weights)
        assert histogram.squares.sum() == pytest.approx(count.sum_of_weights**2 / count.effective_events)
        assert 0 < count.negative_weights < 0.1 * count.events


def test_scores_outside_the_unit_interval_fall_into_the_outer_bins() -> None:
    test = ScoredPart(np.array([-3.0, 0.0, 1.0, 7.0]), np.array([0, 0, 1, 1]), np.ones(4))
    record = judged(test, test, test)
    assert record.histogram("test", "background").sums[0] == 2.0
    assert record.histogram("test", "signal").sums[-1] == 2.0


def test_density_has_unit_area(record: Evaluation) -> None:
    histogram = record.histogram("train", "signal")
    heights, errors = histogram.density()
    assert np.dot(heights, np.diff(histogram.edges)) == pytest.approx(1.0)
    assert errors == pytest.approx(40.0 * np.sqrt(histogram.squares) / histogram.sums.sum())


def test_the_band_lies_around_the_curve_and_its_error_agrees_with_the_formula(record: Evaluation) -> None:
    band = record.band
    assert band.auc.value == pytest.approx(record.auc.value)
    assert band.auc.error == pytest.approx(record.auc.error, rel=0.4)
    assert np.mean((band.low <= band.signal_efficiency) & (band.signal_efficiency <= band.high)) > 0.9
    assert band.auc_replicas.size == 50


def test_the_same_generator_gives_the_same_record_and_another_one_other_replicas() -> None:
    records = [
        evaluate(FEW, FEW, TEST, EvaluationSpec(replicas=10), random=np.random.default_rng(seed)) for seed in (1, 1, 2)
    ]
    assert json.dumps(records[0].to_json()) == json.dumps(records[1].to_json())
    assert not np.array_equal(records[0].band.auc_replicas, records[2].band.auc_replicas)


def test_the_significance_is_chosen_on_validation_and_quoted_on_test(record: Evaluation) -> None:
    arrays = VALIDATION.scores, VALIDATION.labels, VALIDATION.weights
    quoted = record.significance.quoted
    assert quoted is not None
    assert quoted.threshold == best_threshold(scan(*arrays, background_uncertainty=0.1))
    passes = TEST.scores >= np.float64(quoted.threshold)
    assert quoted.signal.value == pytest.approx(TEST.weights[passes & (TEST.labels == 1)].sum())
    assert quoted.n_background == np.count_nonzero(passes & (TEST.labels == 0))
    assert record.significance.scan.signal[-1] == pytest.approx(TEST.weights[TEST.labels == 1].sum())


def test_where_no_background_is_left_there_is_a_problem_instead_of_a_significance() -> None:
    record = judged(FEW, FEW, FEW)
    assert record.significance.quoted is None
    assert "no threshold can be chosen: there are 2 background events in all" in record.significance.problem
    assert np.isnan(record.significance.scan.significances["asimov"]).all()


def test_probabilities_are_judged_at_the_share_of_signal_that_training_had(record: Evaluation) -> None:
    as_it_is = judged(TRAIN, VALIDATION, TEST).probabilities
    assert record.probabilities is not None
    assert as_it_is is not None
    assert record.probabilities.signal_fraction == 0.5
    assert as_it_is.signal_fraction == pytest.approx(TEST.weights[TEST.labels == 1].sum() / TEST.weights.sum())
    found = record.probabilities.reliability.sum_of_weights
    assert found.sum() == pytest.approx(1.0)
    # Equal sums of both classes: the mean squared distance is that of the two class means.
    squares = np.square(TEST.scores.astype(np.float64) - TEST.labels)
    means = [np.average(squares[TEST.labels == kind], weights=TEST.weights[TEST.labels == kind]) for kind in (0, 1)]
    assert record.probabilities.brier_score.value == pytest.approx(np.mean(means))


@pytest.mark.parametrize("outside", [-0.01, 1.01])
def test_scores_outside_the_unit_interval_are_no_probabilities(outside: float) -> None:
    scores = np.append(TEST.scores[1:], np.float32(outside))
    record = judged(TRAIN, VALIDATION, replace(TEST, scores=scores))
    assert record.probabilities is None
    assert record.to_json()["probabilities"] is None


def test_named_points_are_chosen_on_validation_and_quoted_on_test_bin_by_bin(record: Evaluation) -> None:
    tight, flat, _ = record.named_points
    assert [point.name for point in record.named_points] == ["tight", "flat", "hopeless"]
    assert tight.cut is not None
    [everything] = tight.quoted
    passes = TEST.scores >= np.float64(tight.cut.thresholds[0])
    assert everything.kept.n_background == np.count_nonzero(passes & (TEST.labels == 0))
    assert [(row.low, row.high) for row in flat.quoted] == [(None, None), (-np.inf, 20.0), (20.0, np.inf)]
    assert sum(row.total_signal for row in flat.quoted[1:]) == flat.quoted[0].total_signal


def test_a_named_point_that_cannot_be_met_says_why_and_the_others_stand(record: Evaluation) -> None:
    hopeless = record.named_points[2]
    assert (hopeless.cut, hopeless.quoted) == (None, ())
    assert "purity = 0.999 cannot be met with at least 1000 events passing" in hopeless.problem
    assert all(point.problem == "" for point in record.named_points[:2])


def test_the_leader_board_ranks_the_network_among_its_rivals(record: Evaluation) -> None:
    assert [row.name for row in record.leader_board] == [NETWORK, "noisy"]
    lead = auc_difference(TEST.scores, NOISY, TEST.labels, TEST.weights)
    assert (record.leader_board[1].lead.value, record.leader_board[1].lead.error) == (lead.value, lead.error)
    better = judged(TRAIN, VALIDATION, replace(TEST, scores=NOISY), {"sharp": TEST.scores.astype(np.float64)})
    assert [row.name for row in better.leader_board] == ["sharp", NETWORK]


def test_without_rivals_the_network_is_alone_on_the_leader_board() -> None:
    assert [row.name for row in judged(FEW, FEW, FEW).leader_board] == [NETWORK]


def test_the_record_is_plain_json_without_nan(record: Evaluation) -> None:
    written = json.loads(json.dumps(record.to_json(), allow_nan=False))
    assert written["auc"] == {"value": record.auc.value, "error": record.auc.error}
    assert written["roc"]["thresholds"][0] is None
    assert len(written["roc"]["fpr"]) <= 500
    assert written["overtraining"]["verdict"] == record.overtraining.verdict
    assert written["named_points"][1]["cut"]["bins"] == {"variable": "pt", "edges": [0.0, 20.0, 100.0]}
    assert len(written["significance"]["scan"]["significances"]["ams"]) <= 500


def test_numbers_that_do_not_exist_are_none_in_json() -> None:
    record = judged(FEW, FEW, replace(FEW, scores=FEW.scores / 2))
    written = json.loads(json.dumps(record.to_json(), allow_nan=False))
    kept = written["working_points"][0]["quoted"]
    assert (kept["rejection"]["value"], kept["purity"]["value"]) == (None, None)
    assert written["significance"]["quoted"] is None


@pytest.mark.parametrize("name", ["train", "validation", "test"])
def test_a_part_without_signal_is_refused_by_name(name: str) -> None:
    parts = {"train": TRAIN, "validation": VALIDATION, "test": TEST}
    parts[name] = replace(TEST, labels=np.zeros(4_000, dtype=np.int64))
    with pytest.raises(DataError, match=f"the {name} part cannot be judged: no signal among 4000 events"):
        judged(parts["train"], parts["validation"], parts["test"])


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"signal_efficiencies": [0.5, 1.0]}, "signal_efficiencies.1"),
        ({"signal_efficiencies": [0.0]}, "greater than 0"),
        ({"background_uncertainty": -0.1}, "greater than or equal to 0"),
        ({"baselines": ["fischer"]}, "no baseline is called 'fischer'.*fisher"),
        ({"working_points": [POINTS[0], POINTS[0]]}, "two working points are called 'tight'"),
        ({"signal_eficiencies": [0.5]}, "Extra inputs"),
    ],
)
def test_a_wrong_section_is_refused(section: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        EvaluationSpec.model_validate(section)
