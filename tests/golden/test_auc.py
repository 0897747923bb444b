"""The area under the ROC curve, and its error, against answers known without this code."""

from collections.abc import Callable, Iterable

import numpy as np
import pytest
from numpy.typing import NDArray

from models.bootstrap import bootstrap_roc
from models.metrics import auc_with_error, weighted_auc
from models.scored import Measured

Toy = tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.float64] | None]
Draw = Callable[[np.random.Generator], Toy]

TRUTH = 0.85558
"""Phi(1.5 / sqrt 2): the AUC of two unit Gaussians 1.5 apart."""


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
    assert measured.value == pytest.approx(TRUTH, abs=4 * measured.error)
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


def unweighted(generator: np.random.Generator, n_events: int = 400) -> Toy:
    return *gaussians(generator, n_events, 1.5), None


def weighted(generator: np.random.Generator, n_events: int = 400) -> Toy:
    return *gaussians(generator, n_events, 1.5), generator.gamma(2.0, size=n_events)


def partly_negative(generator: np.random.Generator, n_events: int = 400) -> Toy:
    """A tenth of the weights is negative, so that 100 events tell as much as 64 with positive ones."""
    signs = np.where(generator.random(n_events) < 0.1, -1.0, 1.0)
    return *gaussians(generator, n_events, 1.5), signs * generator.gamma(2.0, size=n_events)


DRAWS = [unweighted, weighted, partly_negative]


def share_covered(toys: Iterable[Measured], truth: float) -> float:
    return float(np.mean([abs(toy.value - truth) < toy.error for toy in toys]))


@pytest.mark.parametrize("draw", DRAWS)
def test_the_true_auc_lies_within_one_quoted_error_in_68_toys_of_100(draw: Draw) -> None:
    """A Gaussian variable lies within one standard deviation in 68.27 %; of 2,000 toys that is known to 1.0 %."""
    generator = np.random.default_rng(7)
    toys = (auc_with_error(*draw(generator)) for _ in range(2_000))
    assert 0.64 <= share_covered(toys, TRUTH) <= 0.72


@pytest.mark.parametrize("draw", DRAWS)
def test_auc_and_curve_lie_within_the_bootstrap_band_in_68_toys_of_100(draw: Draw) -> None:
    """Above the threshold t are Phi(-t) of the background and Phi(d - t) of the signal.

    At 10 % background t = 1.28155, and for d = 1.5 the signal efficiency is Phi(0.21845) = 0.58646. Of 400 toys
    the shares are known to 2.3 %; errors from 40 replicas, themselves known to 11 %, lower them by about 1 %.
    """
    generator = np.random.default_rng(7)
    bands = [bootstrap_roc(*draw(generator), random=generator, n_replicas=40, at=[0.1]) for _ in range(400)]
    assert 0.64 <= share_covered((band.auc for band in bands), TRUTH) <= 0.72
    assert 0.62 <= np.mean([band.low[0] < 0.58646 < band.high[0] for band in bands]) <= 0.74
