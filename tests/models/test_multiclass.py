"""What the record of several classes promises: the test part is quoted, weights count, bad events are refused."""

import json
from dataclasses import replace

import numpy as np
import pytest

from models.headline import recorded_headline
from models.metrics import auc_with_error
from models.multiclass import MulticlassEvaluation, ScoredClasses, judge_classes
from models.probabilities import log_loss
from pipeline.errors import DataError

CLASSES = ("muon", "pion", "kaon")


def part(seed: int, n_events: int = 1_500, negative: float = 0.1) -> ScoredClasses:
    """Half muons, a third pions, a sixth kaons; every score a softmax of noise around the truth."""
    generator = np.random.default_rng(seed)
    labels = np.array([0, 1, 0, 1, 0, 2])[np.arange(n_events) % 6]
    odds = np.exp(generator.normal(size=(n_events, 3)) + 1.5 * np.eye(3)[labels])
    weights = np.where(generator.random(n_events) < negative, -1.0, 1.0)
    return ScoredClasses((odds / odds.sum(axis=1, keepdims=True)).astype(np.float32), labels, weights)


TRAIN, VALIDATION, TEST = part(1), part(2), part(3)


def judged(test: ScoredClasses = TEST, **options: object) -> MulticlassEvaluation:
    parts = {"train": TRAIN, "validation": VALIDATION, "test": test}
    return judge_classes(parts, CLASSES, np.random.default_rng(5), 20, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def record() -> MulticlassEvaluation:
    return judged()


def test_each_class_is_judged_against_the_rest_on_its_own_part(record: MulticlassEvaluation) -> None:
    for place, output in enumerate(record.outputs):
        for found, of in ((output.auc, TEST), (output.auc_train, TRAIN), (output.auc_validation, VALIDATION)):
            expected = auc_with_error(of.scores[:, place], of.labels == place, of.weights)
            assert (found.value, found.error) == pytest.approx((expected.value, expected.error))


def test_the_headline_is_the_mean_area_and_replicas_vouch_for_its_error(record: MulticlassEvaluation) -> None:
    assert record.headline.value.value == pytest.approx(np.mean([output.auc.value for output in record.outputs]))
    assert record.headline.higher_is_better
    assert record.bootstrap.value == pytest.approx(record.auc.value)
    assert record.auc.error == pytest.approx(record.bootstrap.error, rel=0.5)
    assert record.auc.error < max(output.auc.error for output in record.outputs)


def test_overtraining_is_train_minus_test_of_the_mean_area(record: MulticlassEvaluation) -> None:
    assert record.overtraining.gap.value == pytest.approx(record.auc_train.value - record.auc.value)
    assert record.overtraining.verdict == "none seen"


def test_accuracy_is_that_of_the_weights_and_the_balanced_one_that_of_the_classes(record: MulticlassEvaluation) -> None:
    right = TEST.scores.argmax(axis=1) == TEST.labels
    assert record.accuracy.value == pytest.approx(np.average(right, weights=TEST.weights))
    each = [np.average(right[TEST.labels == k], weights=TEST.weights[TEST.labels == k]) for k in range(3)]
    assert record.balanced_accuracy.value == pytest.approx(np.mean(each))
    assert record.balanced_accuracy.value == pytest.approx(record.confusion.efficiencies.values.diagonal().mean())


def test_the_balanced_accuracy_of_one_more_copy_of_a_class_is_the_same(record: MulticlassEvaluation) -> None:
    rows = np.concatenate((np.arange(TEST.labels.size), np.flatnonzero(TEST.labels == 2)))
    doubled = judged(ScoredClasses(TEST.scores[rows], TEST.labels[rows], TEST.weights[rows]))
    assert doubled.balanced_accuracy.value == pytest.approx(record.balanced_accuracy.value)
    assert doubled.confusion.efficiencies.values == pytest.approx(record.confusion.efficiencies.values)
    assert doubled.accuracy.value != pytest.approx(record.accuracy.value)


def test_probabilities_are_judged_at_the_balance_of_the_training(record: MulticlassEvaluation) -> None:
    balanced = judged(fractions=[1 / 3, 1 / 3, 1 / 3])
    assert balanced.outputs[0].auc == record.outputs[0].auc
    assert balanced.accuracy == record.accuracy
    assert balanced.outputs[2].calibration_error.observed.value < record.outputs[2].calibration_error.observed.value


def test_the_log_loss_of_two_classes_is_the_binary_one() -> None:
    two = np.stack((1.0 - TEST.scores[:, 0], TEST.scores[:, 0]), axis=1)
    labels = np.arange(TEST.labels.size) % 2
    part = ScoredClasses(two, labels, TEST.weights)
    found = judge_classes({"train": part, "validation": part, "test": part}, "ab", np.random.default_rng(1), 2)
    expected = log_loss(two[:, 1], labels, TEST.weights)
    assert (found.log_loss.value, found.log_loss.error) == pytest.approx((expected.value, expected.error))


def test_every_class_is_counted_in_every_part(record: MulticlassEvaluation) -> None:
    assert [one.kind for one in record.counts] == [*CLASSES] * 3
    assert [one.part for one in record.counts[2:4]] == ["train", "validation"]
    assert sum(one.events for one in record.counts) == 4_500
    negative = sum(one.negative_weights for one in record.counts if one.part == "test")
    assert negative == np.count_nonzero(TEST.weights < 0.0)


def test_the_record_is_plain_json_with_its_headline(record: MulticlassEvaluation) -> None:
    written = json.loads(json.dumps(record.to_json(), allow_nan=False))
    assert recorded_headline(written) == record.headline
    assert written["pairs"]["values"][0][0] is None
    assert written["confusion"]["events"] == record.confusion.events.tolist()


def test_metrics_have_the_names_of_the_classes_and_are_finite(record: MulticlassEvaluation) -> None:
    metrics = record.metrics()
    assert metrics["auc"] == record.auc.value
    assert metrics["auc_kaon"] == record.outputs[2].auc.value
    assert metrics["efficiency_kaon_as_pion"] == record.confusion.efficiencies.values[2, 1]
    assert {"auc_error", "auc_gap", "accuracy", "accuracy_error", "log_loss"} <= set(metrics)
    assert np.isfinite(list(metrics.values())).all()


def test_a_perfect_network_has_no_mistakes_and_no_error_of_them() -> None:
    found = judged(ScoredClasses(np.eye(3)[TEST.labels], TEST.labels, np.ones(TEST.labels.size)))
    assert (found.accuracy.value, found.balanced_accuracy.value, found.auc.value) == (1.0, 1.0, 1.0)
    assert np.isnan(found.accuracy.error)
    assert "accuracy_error" not in found.metrics()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"scores": TEST.scores[:, :2]}, r"needed are .*scores \(1500, 3\); received .*scores \(1500, 2\)"),
        ({"labels": TEST.labels[1:]}, r"labels \(1499,\)"),
        ({"labels": np.where(TEST.labels == 2, 3, TEST.labels)}, r"250 of 1500 labels are none of the classes 0 to 2"),
        ({"labels": np.where(TEST.labels == 2, 1, TEST.labels)}, "there are no events of class 'kaon'"),
        ({"weights": np.where(TEST.labels == 1, -1.0, 1.0)}, "the weights of events of class 'pion' add up to -500"),
        ({"weights": TEST.weights * np.nan}, "1500 of 1500 weights are NaN or infinite"),
        ({"scores": TEST.scores * 2}, "the scores of 1500 of 1500 events are no probabilities that add up to 1"),
    ],
)
def test_a_part_that_cannot_be_judged_is_refused_by_name(changed: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(DataError, match=f"the test part cannot be judged: .*{message}"):
        judged(replace(TEST, **changed))
