"""What the record of predicted quantities promises: the test part is quoted, in the unit of each quantity."""

import json
from dataclasses import replace

import numpy as np
import pytest

from models.headline import recorded_headline
from models.regression import PredictedQuantities, RegressionEvaluation, judge_quantities
from models.residuals import Quantity, mean_relative_rms
from pipeline.errors import DataError

NAMES = ("energy", "angle")


def part(seed: int, n_events: int = 2_000, noise: float = 5.0) -> PredictedQuantities:
    """An energy of spread 10 with noise of 5 and a bias of 1, and an angle of spread 1 that is predicted to 0.1."""
    generator = np.random.default_rng(seed)
    true = np.stack((generator.normal(50.0, 10.0, n_events), generator.normal(size=n_events)), axis=1)
    scatter = generator.normal(size=(n_events, 2)) * [noise, 0.1] + [1.0, 0.0]
    return PredictedQuantities(true + scatter, true, np.where(generator.random(n_events) < 0.1, -1.0, 1.0))


TRAIN, VALIDATION, TEST = part(1), part(2), part(3)


def judged(test: PredictedQuantities = TEST, train: PredictedQuantities = TRAIN) -> RegressionEvaluation:
    return judge_quantities({"train": train, "validation": VALIDATION, "test": test}, NAMES)


def only(column: int, of: PredictedQuantities) -> PredictedQuantities:
    return PredictedQuantities(of.predicted[:, [column]], of.true[:, [column]], of.weights)


@pytest.fixture(scope="module")
def record() -> RegressionEvaluation:
    return judged()


def test_bias_rms_and_width_are_those_of_the_toy(record: RegressionEvaluation) -> None:
    energy, angle = record.quantities
    rms = np.hypot(1.0, 5.0)
    for found, expected in ((energy.bias, 1.0), (energy.rms, rms), (energy.width, 5.0), (angle.rms, 0.1)):
        assert found.value == pytest.approx(expected, abs=4 * found.error)
    assert energy.tails.value == pytest.approx(0.0027, abs=0.005)
    assert energy.spread == pytest.approx(10.0, rel=0.05)


def test_what_was_gained_is_told_by_the_trivial_prediction(record: RegressionEvaluation) -> None:
    """The trivial one has the spread of 10; 1 - R² is (5² + 1²) / 10² of the variance."""
    energy = record.quantities[0]
    assert energy.trivial_rms.value == pytest.approx(10.0, abs=4 * energy.trivial_rms.error)
    assert energy.r_squared.value == pytest.approx(0.74, abs=4 * energy.r_squared.error)
    assert energy.r_squared.value == pytest.approx(1.0 - (energy.rms.value / energy.spread) ** 2)


def test_the_trivial_prediction_itself_gains_nothing() -> None:
    mean = np.average(TRAIN.true, axis=0, weights=TRAIN.weights)
    energy = judged(replace(TEST, predicted=np.broadcast_to(mean, TEST.true.shape))).quantities[0]
    assert energy.rms.value == pytest.approx(energy.trivial_rms.value)
    assert abs(energy.r_squared.value) < 0.01


def test_a_network_that_knows_its_training_events_has_a_smaller_rms_there() -> None:
    gap = judged(train=part(1, noise=1.0)).quantities[0].gap
    assert gap.gap.value < 0.0
    assert gap.verdict == "harmful"
    assert judged().quantities[0].gap.verdict != "harmful"


def test_every_event_is_in_the_histogram_or_beyond_it(record: RegressionEvaluation) -> None:
    for found, of in ((record.quantities[0].histogram, TEST), (record.quantities[0].histogram_train, TRAIN)):
        assert found.sums.sum() + found.below + found.above == pytest.approx(of.weights.sum())
        assert len(found.edges) == len(found.sums) + 1 == len(found.squares) + 1


def test_one_quantity_is_known_by_its_rms_and_several_by_the_mean_over_their_spreads(
    record: RegressionEvaluation,
) -> None:
    expected = np.mean([found.rms.value / found.spread for found in record.quantities])
    assert record.headline.value.value == pytest.approx(expected)
    parts = {"train": only(0, TRAIN), "validation": only(0, VALIDATION), "test": only(0, TEST)}
    alone = judge_quantities(parts, NAMES[:1])  # type: ignore[arg-type]
    assert alone.headline.value == record.quantities[0].rms
    assert (alone.headline.label, alone.headline.higher_is_better) == ("RMS of energy", False)


def test_quantities_that_err_in_the_same_events_have_no_smaller_error_together() -> None:
    one = Quantity(TEST.predicted[:, 0], TEST.true[:, 0], TEST.weights)
    twice = mean_relative_rms({"a": one, "b": one})
    once = mean_relative_rms({"a": one})
    assert (twice.value, twice.error) == pytest.approx((once.value, once.error))


def test_record_and_metrics_are_plain_numbers_with_the_names_of_the_quantities(record: RegressionEvaluation) -> None:
    written = json.loads(json.dumps(record.to_json(), allow_nan=False))
    assert recorded_headline(written) == record.headline
    metrics = record.metrics()
    assert metrics["rms"] == record.headline.value.value
    assert {"rms_error", "rms_energy", "bias_angle", "bias_angle_error", "r_squared_energy"} <= set(metrics)
    assert np.isfinite(list(metrics.values())).all()


def test_perfect_predictions_have_no_width_and_are_still_a_record() -> None:
    found = judged(replace(TEST, predicted=TEST.true)).quantities[0]
    assert (found.bias.value, found.rms.value, found.width.value, found.tails.value) == (0.0, 0.0, 0.0, 0.0)
    assert np.isnan(found.rms.error)
    assert found.r_squared.value == 1.0
    assert found.histogram.sums.sum() == pytest.approx(TEST.weights.sum())


def test_a_quantity_that_is_always_the_same_explains_nothing() -> None:
    found = judged(replace(TEST, true=np.full(TEST.true.shape, 7.0))).quantities[0]
    assert np.isnan([found.spread, found.r_squared.value, found.against_true.slope.value]).all()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"true": TEST.true[:, :1]}, r"needed are .*true \(2000, 2\); received .*true \(2000, 1\)"),
        ({"predicted": np.where(TEST.true > 60.0, np.nan, 1.0)}, r"\d+ of 4000 predictions are NaN or infinite"),
        ({"true": TEST.true * np.inf}, "4000 of 4000 true values are NaN or infinite"),
        ({"weights": -np.ones(2_000)}, "the weights of events add up to -2000"),
    ],
)
def test_a_part_that_cannot_be_judged_is_refused_by_name(changed: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(DataError, match=f"the test part cannot be judged: .*{message}"):
        judged(replace(TEST, **changed))
