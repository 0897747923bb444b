"""What the record of labels promises: each by itself, all together, and which of them go together."""

import json
from dataclasses import replace

import numpy as np
import pytest

from models.metrics import auc_with_error
from models.multilabel import MultilabelEvaluation, ScoredFlags, judge_flags
from models.probabilities import brier_score
from models.working_points import efficiency_at
from pipeline.errors import DataError

NAMES = ("prompt", "isolated")


def part(seed: int, n_events: int = 1_000) -> ScoredFlags:
    generator = np.random.default_rng(seed)
    prompt = generator.random(n_events) < 0.4
    flags = np.stack((prompt, np.where(prompt, generator.random(n_events) < 0.8, np.arange(n_events) % 5 == 0)), axis=1)
    scores = 1.0 / (1.0 + np.exp(-generator.normal(size=(n_events, 2)) - 2.0 * (flags - 0.5)))
    return ScoredFlags(scores, flags.astype(np.float32), np.where(generator.random(n_events) < 0.1, -1.0, 1.0))


TRAIN, VALIDATION, TEST = part(1), part(2), part(3)


def judged(test: ScoredFlags = TEST) -> MultilabelEvaluation:
    parts = {"train": TRAIN, "validation": VALIDATION, "test": test}
    return judge_flags(parts, NAMES, np.random.default_rng(5), 20)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def record() -> MultilabelEvaluation:
    return judged()


def test_each_label_is_judged_by_itself(record: MultilabelEvaluation) -> None:
    for place, (output, point) in enumerate(zip(record.outputs, record.working_points, strict=True)):
        arrays = TEST.scores[:, place], TEST.flags[:, place], TEST.weights
        assert output.auc.value == pytest.approx(auc_with_error(*arrays).value)
        assert output.brier_score.value == pytest.approx(brier_score(*arrays).value)
        assert point == efficiency_at(0.5, *arrays)


def test_the_exact_match_is_the_weighted_share_with_every_label_right(record: MultilabelEvaluation) -> None:
    right = ((TEST.scores >= 0.5) == TEST.flags.astype(bool)).all(axis=1)
    assert record.exact_match.value == pytest.approx(np.average(right, weights=TEST.weights))
    assert 0.0 < record.exact_match.error < 0.05


def test_labels_that_go_together_are_counted_among_the_events_of_each(record: MultilabelEvaluation) -> None:
    prompt, isolated = TEST.flags.astype(bool).T
    share = np.average(isolated[prompt], weights=TEST.weights[prompt])
    assert record.company.true.values[0] == pytest.approx([1.0, share])
    said_prompt, said_isolated = (TEST.scores >= 0.5).T
    share = np.average(said_prompt[said_isolated], weights=TEST.weights[said_isolated])
    assert record.company.chosen.values[1, 0] == pytest.approx(share)
    assert np.isnan(record.company.true.errors.diagonal()).all()


def test_the_mean_area_has_an_error_that_replicas_vouch_for(record: MultilabelEvaluation) -> None:
    assert record.headline.value == record.auc
    assert record.auc.value == pytest.approx(np.mean([output.auc.value for output in record.outputs]))
    assert record.auc.error == pytest.approx(record.bootstrap.error, rel=0.5)


def test_events_are_counted_in_all_and_by_label(record: MultilabelEvaluation) -> None:
    of_test = {one.kind: one.events for one in record.counts if one.part == "test"}
    assert of_test == {"all events": 1_000, **dict(zip(NAMES, TEST.flags.sum(axis=0).astype(int), strict=True))}


def test_record_and_metrics_are_plain_numbers_with_the_names_of_the_labels(record: MultilabelEvaluation) -> None:
    written = json.loads(json.dumps(record.to_json(), allow_nan=False))
    assert written["headline"]["name"] == "auc"
    metrics = record.metrics()
    assert {"auc", "auc_prompt", "efficiency_isolated", "purity_isolated", "brier_score_prompt"} <= set(metrics)
    assert metrics["exact_match"] == record.exact_match.value
    assert np.isfinite(list(metrics.values())).all()


def test_a_label_that_no_event_is_said_to_have_has_no_company() -> None:
    record = judged(replace(TEST, scores=TEST.scores * np.array([1.0, 0.49])))
    assert np.isnan(record.company.chosen.values[1]).all()
    assert np.isnan(record.working_points[1].purity.value)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"flags": TEST.flags[:, :1]}, r"needed are .*flags \(1000, 2\); received .*flags \(1000, 1\)"),
        ({"flags": TEST.flags * 2}, r"\d+ of 1000 flags 'prompt' are neither 0 nor 1; \d+ of 1000 flags 'isolated'"),
        (
            {"flags": np.ones((1_000, 2))},
            "no events without 'prompt'; there are no events without 'isolated'",
        ),
        ({"scores": TEST.scores * 3.0}, r"scores are not in \[0, 1\]"),
        ({"scores": TEST.scores * np.inf}, "2000 of 2000 scores are NaN or infinite"),
    ],
)
def test_a_part_that_cannot_be_judged_is_refused_by_name(changed: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(DataError, match=f"the test part cannot be judged: .*{message}"):
        judged(replace(TEST, **changed))
