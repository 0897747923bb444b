"""What is said of a score that shall not tell a variable: closed forms, weights, and chance as it is."""

import numpy as np
import pytest

from models.decorrelation import DecorrelateSpec
from models.dependence import dependence_by_chance, judge_dependence, sampled_dependence
from models.record import SpectatorFinding
from pipeline.errors import DataError

N = 4_000
ONES = np.ones(N)
RANDOM = np.random.default_rng(1)
MASS = RANDOM.exponential(50.0, N)
NOTHING = RANDOM.random(N)


def generator() -> np.random.Generator:
    return np.random.default_rng(7)


def test_the_rank_itself_has_a_dependence_of_1_whatever_the_shape_of_the_variable() -> None:
    ranks = MASS.argsort().argsort() / N
    found = sampled_dependence(ranks, MASS, ONES, generator())
    assert found.value == pytest.approx(1.0, abs=1e-3)
    assert sampled_dependence(ranks, np.log(MASS), ONES, generator()) == found


def test_gaussians_have_the_dependence_of_the_closed_form() -> None:
    """With correlation r: (r asin r + √(1 - r²) - r asin(r/2) - √(4 - r²) + 1) / (1 + π/3 - √3).

    That is of the values; the score is as Gaussian as the variable here, and ranks change it by a little.

    References:
        Székely, Rizzo, Bakirov, Annals of Statistics 35 (2007) 2769, theorem 7.
    """
    r = 0.6
    x, noise = RANDOM.normal(size=(2, 20_000))
    y = r * x + np.sqrt(1 - r**2) * noise
    expected = r * np.arcsin(r) + np.sqrt(1 - r**2) - r * np.arcsin(r / 2) - np.sqrt(4 - r**2) + 1
    expected /= 1 + np.pi / 3 - np.sqrt(3)
    found = sampled_dependence(x, y, np.ones(20_000), generator())
    assert found.value == pytest.approx(expected, rel=0.06)
    assert found.error < 0.01


def test_what_tells_nothing_shows_what_chance_shows() -> None:
    """Of 40 scores that tell nothing few are beyond three spreads; one that tells a little is far beyond."""
    chance = dependence_by_chance(NOTHING, MASS, ONES, generator())
    assert 0 < chance.value < 0.005
    seen = [sampled_dependence(np.random.default_rng(i).random(N), MASS, ONES, generator()).value for i in range(40)]
    assert np.mean(seen) == pytest.approx(chance.value, abs=3 * chance.error)
    assert sum(value > chance.value + 3 * chance.error for value in seen) <= 3
    little = sampled_dependence(NOTHING + 0.2 * (MASS > 50), MASS, ONES, generator())
    assert little.value > chance.value + 10 * chance.error


def test_events_without_weight_or_value_have_no_say() -> None:
    weights = np.where(np.arange(N) % 2, 1.0, -0.5)
    score = np.where(weights > 0, NOTHING, MASS)
    missing = np.where(np.arange(N) % 2, MASS, np.nan)
    expected = sampled_dependence(NOTHING[1::2], MASS[1::2], ONES[1::2], generator())
    assert sampled_dependence(score, MASS, weights, generator()).value == pytest.approx(expected.value, abs=1e-4)
    assert sampled_dependence(score, missing, ONES, generator()).value == pytest.approx(expected.value, abs=1e-4)


def test_too_few_events_are_refused() -> None:
    with pytest.raises(DataError, match="19 events with a value are too few to tell what a score says of it"):
        sampled_dependence(NOTHING[:19], MASS[:19], ONES[:19], generator())


def test_before_and_after_are_those_of_the_background() -> None:
    is_signal = np.arange(N) % 4 == 0
    before = np.where(is_signal, NOTHING, MASS / 400)
    after = np.where(is_signal, MASS / 400, NOTHING)
    spec = DecorrelateSpec(variable="mass", within="background")
    spectator = SpectatorFinding("mass")
    found = judge_dependence(spec, spectator, (before, after), MASS, is_signal, ONES, generator())
    assert found.plain.value > 0.8
    assert found.decorrelated.value == pytest.approx(found.by_chance.value, abs=4 * found.by_chance.error)
