"""What the record of an evaluation promises: which part answers which question, and nothing lost in JSON."""

import json
from dataclasses import astuple, replace
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from models.evaluation import Evaluation, EvaluationSpec, ScoredPart, evaluate
from models.metrics import weighted_auc, weighted_roc
from models.working_points import working_point
from pipeline.errors import DataError


def part(n_events: int, distance: float = 1.5, seed: int = 1) -> ScoredPart:
    generator = np.random.default_rng(seed)
    labels = (np.arange(n_events) % 3 == 0).astype(np.int64)
    logits = generator.normal(size=n_events) + distance * (labels - 0.5)
    weights = np.where(generator.random(n_events) < 0.05, -0.5, 1.5)
    return ScoredPart((1.0 / (1.0 + np.exp(-logits))).astype(np.float32), labels, weights)


TRAIN, VALIDATION, TEST = part(6_000, 1.7, seed=1), part(3_000, seed=2), part(4_000, seed=3)


@pytest.fixture(scope="module")
def record() -> Evaluation:
    return evaluate(TRAIN, VALIDATION, TEST, EvaluationSpec())


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
    other = evaluate(TRAIN, VALIDATION, part(500, seed=9), EvaluationSpec())
    thresholds = [point.quoted.threshold for point in other.working_points]
    assert thresholds == [point.quoted.threshold for point in record.working_points]


def test_every_event_is_in_a_histogram_and_in_a_count(record: Evaluation) -> None:
    assert sum(count.events for count in record.counts) == 13_000
    for histogram in record.histograms:
        count = next(c for c in record.counts if (c.part, c.kind) == (histogram.part, histogram.kind))
        assert histogram.sums.sum() == pytest.approx(count.sum_of_weights)
        assert histogram.squares.sum() == pytest.approx(count.sum_of_weights**2 / count.effective_events)
        assert 0 < count.negative_weights < 0.1 * count.events


def test_scores_outside_the_unit_interval_fall_into_the_outer_bins() -> None:
    test = ScoredPart(np.array([-3.0, 0.0, 1.0, 7.0]), np.array([0, 0, 1, 1]), np.ones(4))
    record = evaluate(test, test, test, EvaluationSpec())
    assert record.histogram("test", "background").sums[0] == 2.0
    assert record.histogram("test", "signal").sums[-1] == 2.0


def test_density_has_unit_area(record: Evaluation) -> None:
    histogram = record.histogram("train", "signal")
    heights, errors = histogram.density()
    assert np.dot(heights, np.diff(histogram.edges)) == pytest.approx(1.0)
    assert errors == pytest.approx(40.0 * np.sqrt(histogram.squares) / histogram.sums.sum())


def test_the_record_survives_json(record: Evaluation) -> None:
    text = json.dumps(record.to_json(), allow_nan=False)
    again = Evaluation.from_json(json.loads(text))
    assert json.dumps(again.to_json()) == text
    assert astuple(again.working_points[0]) == astuple(record.working_points[0])
    assert again.roc.thresholds[0] == np.inf
    assert len(record.roc.fpr) <= 500


def test_numbers_that_do_not_exist_are_none_in_json() -> None:
    apart = ScoredPart(np.array([0.9, 0.8, 0.2, 0.1]), np.array([1, 1, 0, 0]), np.ones(4))
    record = evaluate(apart, apart, replace(apart, scores=apart.scores / 2), EvaluationSpec())
    written = json.loads(json.dumps(record.to_json(), allow_nan=False))["working_points"][0]["quoted"]
    assert (written["rejection"]["value"], written["purity"]["value"]) == (None, None)
    again = Evaluation.from_json(record.to_json())
    assert again.working_points[0].quoted.rejection.value == np.inf
    assert np.isnan(again.working_points[0].quoted.purity.value)


@pytest.mark.parametrize("name", ["train", "validation", "test"])
def test_a_part_without_signal_is_refused_by_name(name: str) -> None:
    parts = {"train": TRAIN, "validation": VALIDATION, "test": TEST}
    parts[name] = replace(TEST, labels=np.zeros(4_000, dtype=np.int64))
    with pytest.raises(DataError, match=f"the {name} part cannot be judged: no signal among 4000 events"):
        evaluate(**parts, spec=EvaluationSpec())


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"signal_efficiencies": [0.5, 1.0]}, "signal_efficiencies.1"),
        ({"signal_efficiencies": [0.0]}, "greater than 0"),
        ({"background_uncertainty": -0.1}, "greater than or equal to 0"),
        ({"baselines": [""]}, "baselines.0"),
        ({"signal_eficiencies": [0.5]}, "Extra inputs"),
    ],
)
def test_a_wrong_section_is_refused(section: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        EvaluationSpec.model_validate(section)
