"""The number by which each kind of network is known: the one that its record quotes, with a gain to match."""

from typing import get_args

import numpy as np
import pytest

from models.heads import JudgedAs
from models.multiclass import ScoredClasses, judge_classes
from models.multilabel import ScoredFlags, judge_flags
from models.paired import Scores
from models.regression import PredictedQuantities, judge_quantities
from models.scored import Measured
from models.yardsticks import YARDSTICKS, Truth
from pipeline.errors import DataError

N = 400
RANDOM = np.random.default_rng(4)
TRUTH = Truth(np.arange(N) % 3, RANDOM.normal(size=(N, 2)) * [1.0, 50.0], RANDOM.gamma(4.0, 0.25, N))
FLAGS = Truth(TRUTH.label, (TRUTH.target > 0).astype(float), TRUTH.weight)
SIGNAL = Truth(np.arange(N) % 2, TRUTH.target, TRUTH.weight)
TRUTHS = {"signal": SIGNAL, "class": TRUTH, "flags": FLAGS, "quantities": TRUTH}
PARTS = ("train", "validation", "test")


def scores(judged_as: JudgedAs, noise: float) -> Scores:
    """What is true, with noise on it; of classes and flags as probabilities."""
    truth, random = TRUTHS[judged_as], np.random.default_rng(1)
    if judged_as == "quantities":
        return truth.target + noise * random.normal(size=(N, 2)) * [1.0, 50.0]
    if judged_as == "signal":
        return truth.label + noise * random.normal(size=N)
    if judged_as == "flags":
        return 1 / (1 + np.exp(-(truth.target + noise * random.normal(size=(N, 2)))))
    odds = np.exp(np.eye(3)[truth.label] + noise * random.normal(size=(N, 3)))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))


def headline(judged_as: JudgedAs, said: Scores) -> Measured:
    """The number that the record of such a network begins with."""
    truth, random = TRUTHS[judged_as], np.random.default_rng(1)
    if judged_as == "class":
        part = ScoredClasses(said, truth.label, truth.weight)
        return judge_classes(dict.fromkeys(PARTS, part), ("e", "mu", "pi"), random, 5).headline.value
    if judged_as == "flags":
        flags = ScoredFlags(said, truth.target, truth.weight)
        return judge_flags(dict.fromkeys(PARTS, flags), ("up", "right"), random, 5).headline.value
    numbers = PredictedQuantities(said, truth.target, truth.weight)
    return judge_quantities(dict.fromkeys(PARTS, numbers), ("energy", "time")).headline.value


@pytest.mark.parametrize("judged_as", ["class", "flags", "quantities"])
def test_what_is_measured_is_the_headline_of_the_record(judged_as: JudgedAs) -> None:
    said = scores(judged_as, 0.7)
    found, expected = YARDSTICKS[judged_as].measure(said, TRUTHS[judged_as]), headline(judged_as, said)
    assert (found.value, found.error) == pytest.approx((expected.value, expected.error))


@pytest.mark.parametrize("judged_as", get_args(JudgedAs))
def test_a_gain_is_the_difference_of_two_measurements_and_positive_for_the_better_one(judged_as: JudgedAs) -> None:
    yardstick, truth = YARDSTICKS[judged_as], TRUTHS[judged_as]
    good, poor = scores(judged_as, 0.5), scores(judged_as, 1.5)
    values = [yardstick.measure(one, truth).value for one in (good, poor)]
    found = yardstick.gain(good, poor, truth)
    assert found.value > 3 * found.error > 0
    assert found.value == pytest.approx((values[0] - values[1]) * (1 if yardstick.higher_is_better else -1))


def test_events_without_one_of_the_classes_have_no_mean_auc() -> None:
    rows = TRUTH.label < 2
    with pytest.raises(DataError, match="no signal among"):
        YARDSTICKS["class"].measure(scores("class", 1.0)[rows], TRUTH.among(rows))
