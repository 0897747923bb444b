"""The area under the ROC curve, and its error, against answers known without this code."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from models.metrics import auc_with_error, weighted_auc

Draw = Callable[[np.random.Generator], tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.float64]]]


def gaussians(
    generator: np.random.Generator, n_events: int, distance: float
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    labels = np.arange(n_events) % 2 == 1
    return generator.normal(size=n_events) + distance * labels, labels


def test_two_unit_gaussians_one_and_a_half_apart_have_auc_0_8556() -> None:
    """The AUC is P(s > b) for s ~ N(d, 1) and b ~ N(0, 1).

    Their difference s - b is N(d, 2), so that P(s - b > 0) = Phi(d / sqrt 2), and for d = 1.5
    Phi(1.06066) = 0.85558.
    """
    scores, labels = gaussians(np.random.default_rng(20261121), 2_000_000, 1.5)
    measured = auc_with_error(scores, labels)
    assert measured.value == pytest.approx(0.85558, abs=4 * measured.error)
    assert measured.error < 0.0004


def test_six_events_by_hand() -> None:
    """Signal 0.9, 0.6, 0.3 against background 0.6, 0.5, 0.1: nine pairs.

    0.9 wins three; 0.6 ties once and wins two, 2.5; 0.3 wins one. AUC = 6.5 / 9.
    """
    assert weighted_auc([0.9, 0.6, 0.3, 0.6, 0.5, 0.1], [1, 1, 1, 0, 0, 0]) == pytest.approx(6.5 / 9)


def test_four_weighted_events_by_hand() -> None:
    """Signal 0.8 (w = 2) and 0.4 (w = 1) against background 0.4 (w = 3) and 0.2 (w = -1).

    The first wins both pairs: 2 (3 - 1) = 4; the second ties and wins: 3/2 - 1 = 1/2.
    The sums of weights are 3 and 2, so that AUC = 4.5 / 6.
    """
    assert weighted_auc([0.8, 0.4, 0.4, 0.2], [1, 1, 0, 0], [2, 1, 3, -1]) == pytest.approx(0.75)


def test_delong_error_of_five_events_by_hand() -> None:
    """Signal 3, 1 against background 2, 1, 0.

    Placements of the signal: 1 and (1/2 + 1)/3 = 1/2; mean 3/4, sample variance 1/8.
    Placements of the background: 1/2, (1 + 1/2)/2 = 3/4, 1; mean 3/4, sample variance 1/16.
    Var(AUC) = 1/8/2 + 1/16/3 = 1/12.
    """
    measured = auc_with_error([3, 1, 2, 1, 0], [1, 1, 0, 0, 0])
    assert (measured.value, measured.error) == pytest.approx((0.75, (1 / 12) ** 0.5))


def unweighted(generator: np.random.Generator) -> tuple[NDArray, NDArray, NDArray]:
    scores, labels = gaussians(generator, 400, 1.5)
    return scores, labels, np.ones(400)


def weighted(generator: np.random.Generator) -> tuple[NDArray, NDArray, NDArray]:
    scores, labels = gaussians(generator, 400, 1.5)
    return scores, labels, generator.gamma(2.0, size=400)


def partly_negative(generator: np.random.Generator) -> tuple[NDArray, NDArray, NDArray]:
    scores, labels = gaussians(generator, 800, 1.5)
    return scores, labels, np.where(generator.random(800) < 0.1, -1.0, 1.0)


@pytest.mark.parametrize("draw", [unweighted, weighted, partly_negative])
def test_the_truth_lies_within_one_error_in_two_toys_of_three(draw: Draw) -> None:
    generator = np.random.default_rng(7)
    toys = [auc_with_error(*draw(generator)) for _ in range(300)]
    covered = np.mean([abs(toy.value - 0.85558) < toy.error for toy in toys])
    assert 0.60 <= covered <= 0.76
