"""Several classes against answers known without this code."""

from math import erf, sqrt

import numpy as np
import pytest
from numpy.typing import NDArray

from models.confusion import pair_aucs
from models.metrics import aucs_with_mean
from models.multiclass import ScoredClasses, judge_classes
from models.scored import ScoredEvents

PLACES = np.array([0.0, 1.0, 2.5])


def phi(x: float) -> float:
    return 0.5 * (1.0 + erf(x / sqrt(2.0)))


def posteriors(generator: np.random.Generator, n_events: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Unit Gaussians at three places, equally many, and the exact probability of each class."""
    labels = np.arange(n_events) % 3
    x = generator.normal(size=n_events) + PLACES[labels]
    likelihoods = np.exp(-0.5 * (x[:, np.newaxis] - PLACES) ** 2)
    return likelihoods / likelihoods.sum(axis=1, keepdims=True), labels


def test_pairs_of_three_gaussians_are_told_apart_as_two_gaussians_are() -> None:
    """The ratio of two posteriors rises with x, whatever the third: AUC = Phi(d / sqrt 2), d being the distance."""
    scores, labels = posteriors(np.random.default_rng(1), 30_000)
    found = pair_aucs(scores, labels, np.ones(labels.size))
    for first, second in ((0, 1), (0, 2), (1, 2)):
        expected = phi((PLACES[second] - PLACES[first]) / sqrt(2.0))
        assert found.values[first, second] == pytest.approx(expected, abs=4 * found.errors[first, second])


def test_the_outermost_class_against_the_rest_is_the_mean_of_its_pairs() -> None:
    """Its posterior falls with x alone, and the rest are equally many events of both others."""
    scores, labels = posteriors(np.random.default_rng(2), 30_000)
    [(outer, *_), _] = aucs_with_mean([ScoredEvents(scores[:, k].copy(), labels == k, None) for k in range(3)])
    assert outer.value == pytest.approx(0.5 * (phi(1.0 / sqrt(2.0)) + phi(2.5 / sqrt(2.0))), abs=4 * outer.error)


def test_exact_posteriors_are_found_calibrated_and_chosen_best() -> None:
    """The borders are half-way between the places, at 0.5 and 1.75.

    Class 0 lies below 0.5: Phi(0.5). Class 1 between 0.5 and 1.75: Phi(0.75) - Phi(-0.5). Class 2 above: Phi(0.75).
    """
    part = ScoredClasses(*posteriors(np.random.default_rng(3), 9_000), np.ones(9_000))
    found = judge_classes({"train": part, "validation": part, "test": part}, "abc", np.random.default_rng(1), 2)
    expected = (phi(0.5) + phi(0.75) - phi(-0.5) + phi(0.75)) / 3.0
    assert found.accuracy.value == pytest.approx(expected, abs=4 * found.accuracy.error)
    for output in found.outputs:
        error = output.calibration_error
        assert error.observed.value < error.if_calibrated.value + 4.0 * error.if_calibrated.error


def test_two_classes_have_two_equal_areas_and_the_error_of_one() -> None:
    generator = np.random.default_rng(4)
    labels = np.arange(500) % 2
    score = 1.0 / (1.0 + np.exp(-generator.normal(size=500) - labels))
    weights = np.where(generator.random(500) < 0.1, -1.0, 1.0)
    outputs = [ScoredEvents(1.0 - score, labels == 0, weights), ScoredEvents(score, labels == 1, weights)]
    [(first, second), mean] = aucs_with_mean(outputs)
    assert (first.value, first.error) == pytest.approx((second.value, second.error))
    assert (mean.value, mean.error) == pytest.approx((first.value, first.error))


def test_the_true_mean_area_lies_within_one_quoted_error_in_68_toys_of_100() -> None:
    """Of 200 toys the share is known to 3.3 %; the truth is taken from 60,000 events."""
    generator = np.random.default_rng(5)

    def mean(n_events: int) -> tuple[float, float]:
        scores, labels = posteriors(generator, n_events)
        found = aucs_with_mean([ScoredEvents(scores[:, k].copy(), labels == k, None) for k in range(3)])[1]
        return found.value, found.error

    truth, toys = mean(60_000)[0], np.array([mean(200) for _ in range(200)])
    assert 0.58 <= np.mean(np.abs(toys[:, 0] - truth) < toys[:, 1]) <= 0.78
