"""Probabilities and calibrations of two unit Gaussians, of which everything is known.

Background is N(0, 1), signal N(d, 1) with d = 1.5, and the share of signal is π. The logarithm of the ratio of the
densities is d x - d²/2, so that the posterior is p(x) = 1 / (1 + exp(-(d x - d²/2) - log(π / (1 - π)))).
"""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.calibration import Calibration, fit_calibration, shift_prior
from models.probabilities import brier_score, calibration_error, log_loss, reliability

Array = NDArray[Any]
DISTANCE = 1.5


def posterior(x: Array, fraction: float) -> Array:
    """The chance of signal at x, if this is the fraction of signal."""
    return np.asarray(1.0 / (1.0 + np.exp(-logit(fraction) - DISTANCE * x + 0.5 * DISTANCE**2)))


def logit(probability: Any) -> Any:
    return np.log(probability) - np.log1p(-probability)


def draw(generator: np.random.Generator, n_events: int, fraction: float) -> tuple[Array, Array]:
    labels = generator.random(n_events) < fraction
    return generator.normal(size=n_events) + DISTANCE * labels, labels


def expected_loss(loss_of_signal: Array, loss_of_background: Array, x: Array, fraction: float) -> float:
    """Integrate over both Gaussians."""
    signal, background = np.exp(-0.5 * (x - DISTANCE) ** 2), np.exp(-0.5 * x**2)
    density = fraction * signal * loss_of_signal + (1.0 - fraction) * background * loss_of_background
    return float(np.trapezoid(density, x) / np.sqrt(2.0 * np.pi))


@pytest.mark.parametrize("fraction", [0.5, 0.1])
def test_a_constant_score_has_the_brier_score_of_a_coin_and_the_log_loss_of_its_entropy(fraction: float) -> None:
    """If all scores are π: π (1 - π)² + (1 - π) π² = π (1 - π), and -π log π - (1 - π) log(1 - π)."""
    scores, labels = np.full(10, fraction), np.arange(10) % 2
    weights = np.where(labels == 1, fraction, 1.0 - fraction)
    entropy = -fraction * np.log(fraction) - (1.0 - fraction) * np.log(1.0 - fraction)
    assert brier_score(scores, labels, weights).value == pytest.approx(fraction * (1.0 - fraction))
    assert log_loss(scores, labels, weights).value == pytest.approx(entropy)


def test_losses_of_the_posterior_are_its_integrals() -> None:
    x = np.linspace(-8.0, 10.0, 20_001)
    p = posterior(x, 0.3)
    brier, entropy = expected_loss((1 - p) ** 2, p**2, x, 0.3), expected_loss(-np.log(p), -np.log1p(-p), x, 0.3)
    events, labels = draw(np.random.default_rng(1), 500_000, 0.3)
    for measured, expected in (
        (brier_score(posterior(events, 0.3), labels), brier),
        (log_loss(posterior(events, 0.3), labels), entropy),
    ):
        assert measured.error < 0.001
        assert measured.value == pytest.approx(expected, abs=4 * measured.error)


@pytest.mark.parametrize("negative", [0.0, 0.1])
def test_the_truth_lies_within_one_error_in_two_toys_of_three(negative: float) -> None:
    x = np.linspace(-8.0, 10.0, 2_001)
    p = posterior(x, 0.3)
    brier, entropy = expected_loss((1 - p) ** 2, p**2, x, 0.3), expected_loss(-np.log(p), -np.log1p(-p), x, 0.3)
    generator, covered = np.random.default_rng(7), []
    for _ in range(300):
        events, labels = draw(generator, 400, 0.3)
        weights = generator.gamma(2.0, size=400) * np.where(generator.random(400) < negative, -1.0, 1.0)
        scores = posterior(events, 0.3)
        pairs = ((brier_score(scores, labels, weights), brier), (log_loss(scores, labels, weights), entropy))
        covered.append([abs(measured.value - truth) < measured.error for measured, truth in pairs])
    assert np.mean(covered, axis=0) == pytest.approx([0.68, 0.68], abs=0.08)


def test_the_reliability_diagram_of_the_posterior_is_diagonal() -> None:
    events, labels = draw(np.random.default_rng(2), 200_000, 0.3)
    diagram = reliability(posterior(events, 0.3), labels)
    pulls = (diagram.signal_fraction - diagram.mean_score) / diagram.error
    assert diagram.error.max() < 0.01
    assert np.abs(pulls).max() < 3.5
    assert 3.0 < np.sum(pulls**2) < 37.0  # chi-square of 15 degrees of freedom, both tails of 0.1 %


@pytest.mark.parametrize("signal_weight", [1.0, 0.05])
def test_calibrated_scores_show_the_calibration_error_that_chance_gives_them(signal_weight: float) -> None:
    """Signal of weight u makes of a raw share of 0.3 a fraction of 0.3 u / (0.3 u + 0.7), and posteriors at that."""
    fraction = 0.3 * signal_weight / (0.3 * signal_weight + 0.7)
    generator, toys = np.random.default_rng(3), []
    for _ in range(200):
        events, labels = draw(generator, 4_000, 0.3)
        weights = np.where(labels, signal_weight, 1.0)
        measured = calibration_error(posterior(events, fraction), labels, weights)
        toys.append((measured.observed.value, measured.if_calibrated.value, measured.if_calibrated.error))
    observed, expected, spread = np.transpose(toys)
    assert expected.mean() == pytest.approx(observed.mean(), rel=0.10)
    assert spread.mean() == pytest.approx(observed.std(), rel=0.20)


def test_the_calibration_error_of_bad_scores_has_the_spread_of_toys() -> None:
    generator, toys = np.random.default_rng(4), []
    for _ in range(200):
        events, labels = draw(generator, 2_000, 0.3)
        toys.append(calibration_error(posterior(events, 0.3) ** 2, labels).observed)
    assert np.mean([toy.error for toy in toys]) == pytest.approx(np.std([toy.value for toy in toys]), rel=0.15)


@pytest.mark.parametrize("method", ["temperature", "platt"])
@pytest.mark.parametrize("factor", [0.5, 3.0])
@pytest.mark.parametrize("negative", [0.0, 0.1])
def test_a_logit_times_a_factor_is_undone_by_that_temperature(method: str, factor: float, negative: float) -> None:
    """The information on the slope a = 1 of the true logit z is I = n <p (1 - p) z²>, less what the intercept shares.

    Weights of ±1, negative in a share q, leave n (1 - 2q)² effective events. The temperature is the factor over a,
    its relative error 1/sqrt(I).
    """
    generator = np.random.default_rng(5)
    events, labels = draw(generator, 100_000, 0.3)
    weights = np.where(generator.random(labels.size) < negative, -1.0, 1.0)
    truth = posterior(events, 0.3)
    calibration = fit_calibration(method, 1.0 / (1.0 + np.exp(-factor * logit(truth))), labels, weights)
    z, information = logit(truth), truth * (1.0 - truth)
    shared = (information @ z) ** 2 / information.sum() if method == "platt" else 0.0
    error = (information @ z**2 - shared) ** -0.5 / (1.0 - 2.0 * negative)
    assert calibration.temperature / factor == pytest.approx(1.0, abs=4.0 * error)
    assert calibration.intercept == pytest.approx(0.0, abs=0.1)


def test_platt_finds_the_balance_that_the_scores_do_not_know() -> None:
    """Posteriors at 1/2 lack the log-odds of π = 0.1, -2.197; the intercept is that, and no temperature is needed."""
    events, labels = draw(np.random.default_rng(6), 200_000, 0.1)
    calibration = fit_calibration("platt", posterior(events, 0.5), labels)
    assert calibration.intercept == pytest.approx(logit(0.1), abs=0.05)
    assert calibration.temperature == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize("negative", [0.0, 0.1])
def test_isotonic_finds_the_posterior_of_any_rising_score(negative: float) -> None:
    """The score is Φ-like, not of logistic shape: 1/2 + arctan(x - d/2) / π."""
    generator = np.random.default_rng(8)
    events, labels = draw(generator, 100_000, 0.3)
    weights = np.where(generator.random(labels.size) < negative, -1.0, 1.0)
    calibration = fit_calibration("isotonic", 0.5 + np.arctan(events - 0.75) / np.pi, labels, weights)
    x = np.linspace(-1.5, 3.0, 50)
    assert calibration.apply(0.5 + np.arctan(x - 0.75) / np.pi) == pytest.approx(posterior(x, 0.3), abs=0.05)


def test_a_shifted_posterior_is_the_posterior_at_the_other_balance() -> None:
    x = np.linspace(-6.0, 8.0, 1_001)
    assert shift_prior(posterior(x, 0.5), 0.5, 0.02) == pytest.approx(posterior(x, 0.02), rel=1e-12)
    calibration = Calibration(method="temperature", fitted_fraction=0.5, expected_fraction=0.02)
    assert calibration.apply(posterior(x, 0.5)) == pytest.approx(posterior(x, 0.02), rel=1e-6)


def test_scores_of_balanced_classes_become_probabilities_for_rare_signal() -> None:
    """An overconfident posterior at 1/2 is calibrated there, and then describes events with one signal in fifty."""
    generator = np.random.default_rng(9)
    events, labels = draw(generator, 100_000, 0.3)
    overconfident = 1.0 / (1.0 + np.exp(-2.0 * logit(posterior(events, 0.5))))
    calibration = fit_calibration("temperature", overconfident, labels, signal_fraction=0.5).for_fraction(0.02)
    x = np.linspace(-3.0, 4.0, 50)
    new = 1.0 / (1.0 + np.exp(-2.0 * logit(posterior(x, 0.5))))
    assert calibration.apply(new) == pytest.approx(posterior(x, 0.02), rel=0.1)
