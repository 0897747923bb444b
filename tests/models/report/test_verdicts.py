"""What the verdicts promise: the words follow the numbers, and nothing is claimed that chance explains."""

from dataclasses import replace

import numpy as np
import pytest

from models.multiclass import MulticlassEvaluation, ScoredClasses, judge_classes
from models.multilabel import ScoredFlags, judge_flags
from models.overtraining import gap_of
from models.regression import PredictedQuantities, judge_quantities
from models.report.verdicts import (
    confusion_sentence,
    dependence_sentence,
    gap_sentence,
    labels_sentence,
    residuals_sentence,
)
from models.residuals import QuantityFinding
from models.scored import Measured


def classes(chosen: list[int]) -> MulticlassEvaluation:
    labels = np.arange(300) % 3
    part = ScoredClasses(0.97 * np.eye(3)[np.resize(chosen, 300)] + 0.01, labels, np.ones(300))
    parts = {"train": part, "validation": part, "test": part}
    return judge_classes(parts, ["muon", "pion", "kaon"], np.random.default_rng(1), 2)  # type: ignore[arg-type]


def quantity(slope: float = 1.0, bias: float = 0.0, tails: float = 50.0) -> QuantityFinding:
    """Predictions of ``slope`` times the measurement, of which that of 0.64 is the best: true values have spread 4."""
    generator = np.random.default_rng(2)
    true, noise = generator.normal(0.0, 4.0, 4_000), generator.normal(0.0, 3.0, 4_000)
    predicted = slope * (true + noise) + bias + np.where(np.arange(4_000) % 100 == 0, tails, 0.0) * np.sign(noise)
    part = PredictedQuantities(predicted[:, np.newaxis], true[:, np.newaxis], np.ones(4_000))
    return judge_quantities({"train": part, "validation": part, "test": part}, ["energy"]).quantities[0]


def test_the_most_confused_pair_is_named_with_both_directions() -> None:
    said = confusion_sentence(classes([0, 1, 2, 0, 2, 2, 0, 1, 2]))
    assert "89.0 ± 1.8 % of the test events are taken for what they are" in said
    assert said.endswith(
        "The most frequent confusion: 33.0 ± 4.7 % of the pion events are taken for kaon (and none of the kaon events "
        "for pion)."
    )


def test_a_network_without_mistakes_confuses_nothing() -> None:
    assert confusion_sentence(classes([0, 1, 2])).endswith("No class is taken for another.")


def test_the_label_that_is_found_worst_is_named() -> None:
    flags = np.stack((np.arange(400) % 2, np.arange(400) // 2 % 2), axis=1)
    scores = np.clip(flags * [0.8, 0.1] + np.random.default_rng(1).uniform(0.0, 0.5, (400, 2)), 0.0, 1.0)
    part = ScoredFlags(scores, flags, np.ones(400))
    parts = {"train": part, "validation": part, "test": part}
    said = labels_sentence(judge_flags(parts, ["good", "bad"], np.random.default_rng(1), 2))  # type: ignore[arg-type]
    assert "The label that is found worst is bad, with an AUC of 0.6" in said


@pytest.mark.parametrize(
    ("train", "beginning"),
    [
        (Measured(0.9005, 0.001), "No overtraining is seen: mean AUC(train) - mean AUC(test) = 0.0005 ± 0.0014"),
        (Measured(0.906, 0.001), "The training part does differently by more than chance explains, but harmlessly"),
        (Measured(0.95, 0.001), "The training and test part differ"),
        (Measured(0.95, float("nan")), "Whether the network is overtrained cannot be told"),
    ],
)
def test_a_gap_is_told_as_it_was_judged(train: Measured, beginning: str) -> None:
    said = gap_sentence("mean AUC", gap_of(train, Measured(0.9, 0.001), tolerance=0.01))
    assert said.startswith(beginning)


def test_a_bias_is_claimed_only_beyond_chance() -> None:
    found = quantity(tails=0.0)
    for bias, words in ((2.5, "No bias is seen: the mean residual is"), (4.0, "They are biased: the mean residual is")):
        assert f"{words} 0.{10 * bias:.0f} ± 0.10" in residuals_sentence(replace(found, bias=Measured(0.1 * bias, 0.1)))


def test_heavy_tails_are_told_from_gaussian_ones() -> None:
    assert "The tails are heavy: " in residuals_sentence(quantity())
    assert "heavy" not in residuals_sentence(quantity(tails=0.0))


def test_what_was_gained_over_not_looking_is_told() -> None:
    """Of residuals -0.36 t + 0.64 n the variance is 0.36² 16 + 0.64² 9 = 5.76, 0.6² of that of the true values."""
    said = residuals_sentence(quantity(slope=0.64, tails=0.0))
    share = float(said.split("(RMS), ")[1].split(" %")[0])
    assert share == pytest.approx(60.0, abs=2.0)


def test_regression_to_the_mean_is_told_from_what_can_be_corrected() -> None:
    best, exaggerated = (dependence_sentence(quantity(slope=slope, tails=0.0)) for slope in (0.64, 1.5))
    assert "regression to the mean" in best
    assert "No straight dependence on the predicted value is seen" in best
    assert "as if differences between events were exaggerated" in exaggerated
    assert "predictions could be corrected" in exaggerated


def test_a_measurement_without_bias_depends_on_no_true_value() -> None:
    assert dependence_sentence(quantity(tails=0.0)).startswith("No dependence on the true value is seen")


def test_where_no_slope_exists_nothing_is_claimed() -> None:
    found = quantity(tails=0.0)
    nothing = Measured(float("nan"), float("nan"))
    unknown = replace(found, against_true=replace(found.against_true, slope=nothing))
    assert dependence_sentence(unknown) == "Whether the residuals of energy depend on its value cannot be told."
