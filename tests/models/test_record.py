"""The numbers by which an evaluation is known everywhere."""

import json
from dataclasses import replace

import numpy as np
import pytest

from models.evaluation import EvaluationSpec, ScoredPart, evaluate
from models.headline import recorded_headline
from models.record import Evaluation, Significance
from models.scored import Measured


def part(seed: int) -> ScoredPart:
    random, labels = np.random.default_rng(seed), np.arange(2_000) % 2
    return ScoredPart(random.beta(2 + labels, 3 - labels), labels, np.ones(2_000))


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    spec = EvaluationSpec(replicas=10, signal_efficiencies=(0.25, 0.7))
    return evaluate(part(1), part(2), part(3), spec, random=np.random.default_rng(4))


def test_the_final_numbers_are_those_of_the_test_part_under_fixed_names(evaluation: Evaluation) -> None:
    found = evaluation.metrics()
    assert list(found) == [
        "auc", "auc_error", "auc_train", "auc_validation", "auc_gap", "auc_gap_error",
        "background_efficiency_at_0.25", "threshold_at_0.25", "background_efficiency_at_0.7", "threshold_at_0.7",
        "auc_bootstrap_error", "brier_score", "log_loss", "calibration_error",
        "significance_threshold", "significance_asimov", "significance_ams",
    ]  # fmt: skip
    assert (found["auc"], found["auc_error"]) == (evaluation.auc.value, evaluation.auc.error)
    assert found["auc_gap"] == pytest.approx(found["auc_train"] - found["auc"])
    assert found["background_efficiency_at_0.7"] == evaluation.working_points[1].quoted.background_efficiency.value
    assert evaluation.significance.quoted is not None
    assert found["significance_ams"] == evaluation.significance.quoted.significances["ams"].value


def test_numbers_that_an_evaluation_does_not_have_are_no_metrics(evaluation: Evaluation) -> None:
    lost = Significance(evaluation.significance.scan, None, "nothing is left")
    band = replace(evaluation.band, auc=Measured(0.9, float("nan")))
    found = replace(evaluation, probabilities=None, significance=lost, band=band).metrics()
    assert list(evaluation.metrics())[:10] == list(found)


def test_a_significance_that_does_not_exist_is_no_metric_though_its_threshold_is(evaluation: Evaluation) -> None:
    quoted = evaluation.significance.quoted
    assert quoted is not None
    blind = replace(quoted, significances={name: Measured(float("nan"), float("nan")) for name in quoted.significances})
    found = replace(evaluation, significance=replace(evaluation.significance, quoted=blind)).metrics()
    assert {name for name in found if "significance" in name} == {"significance_threshold"}


def test_the_headline_is_the_auc_and_is_read_back_from_what_is_written_down(evaluation: Evaluation) -> None:
    assert recorded_headline(json.loads(json.dumps(evaluation.to_json()))) == evaluation.headline
    assert (evaluation.headline.name, evaluation.headline.value) == ("auc", evaluation.auc)


def test_an_error_that_does_not_exist_is_none_once_written_down_and_read_back_as_no_number(
    evaluation: Evaluation,
) -> None:
    written = replace(evaluation, auc=Measured(1.0, float("nan"))).to_json()
    assert written["headline"]["value"] == {"value": 1.0, "error": None}
    assert np.isnan(recorded_headline(written).value.error)


def test_a_record_without_a_headline_is_known_by_its_auc(evaluation: Evaluation) -> None:
    written = evaluation.to_json()
    del written["headline"]
    assert recorded_headline(written) == evaluation.headline
