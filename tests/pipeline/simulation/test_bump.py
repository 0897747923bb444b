"""The mass bump: one feature depends on the mass as said, the other not at all, and a cut on the first sculpts."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from pipeline.simulation.bump import MassBumpOptions, draw_bump, gaussian_mass

N_EVENTS = 20_000
Floats = NDArray[np.float64]


def drawn(label: int, seed: int, correlation: float = 0.7) -> dict[str, Floats]:
    options = MassBumpOptions(correlation=correlation)
    events = draw_bump(np.full(N_EVENTS, label), np.random.default_rng(seed), options)
    return {name: np.asarray(column) for name, column in events.items()}


def test_the_background_falls_exponentially_between_its_ends() -> None:
    falling = stats.truncexpon(b=200.0 / 60.0, loc=50.0, scale=60.0)
    assert stats.kstest(drawn(0, 1)["mass"], falling.cdf).pvalue > 0.001


def test_the_signal_peaks_at_its_mass() -> None:
    mass = drawn(1, 2)["mass"]
    assert stats.kstest(mass, stats.norm(125.0, 10.0).cdf).pvalue > 0.001


def test_the_backgrounds_mass_is_a_unit_gaussian_on_a_gaussians_scale() -> None:
    assert stats.kstest(gaussian_mass(drawn(0, 3)["mass"]), "norm").pvalue > 0.001


@pytest.mark.parametrize("correlation", [-0.5, 0.0, 0.7])
def test_the_tilted_feature_has_the_asked_for_correlation_with_the_mass(correlation: float) -> None:
    background = drawn(0, 4, correlation)
    measured = np.corrcoef(gaussian_mass(background["mass"]), background["tilted"])[0, 1]
    assert measured == pytest.approx(correlation, abs=0.02)
    assert background["tilted"].std() == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("label", [0, 1])
def test_the_plain_feature_is_independent_of_the_mass(label: int) -> None:
    events = drawn(label, 5)
    upper = events["mass"] > np.median(events["mass"])
    assert stats.ks_2samp(events["plain"][upper], events["plain"][~upper]).pvalue > 0.001


def test_the_plain_feature_separates_as_the_closed_form_says() -> None:
    """Two unit Gaussians 1 apart: Phi(1 / √2) = 0.760."""
    signal, background = drawn(1, 6)["plain"], drawn(0, 7)["plain"]
    assert stats.mannwhitneyu(signal, background).statistic / N_EVENTS**2 == pytest.approx(0.7602, abs=0.008)


def test_a_cut_on_the_tilted_feature_shifts_the_backgrounds_mass_and_one_on_the_plain_feature_does_not() -> None:
    background = drawn(0, 8)
    means = {
        name: background["mass"][background[name] > np.quantile(background[name], 0.8)].mean()
        for name in ("tilted", "plain")
    }
    assert means["tilted"] > background["mass"].mean() + 30.0
    assert means["plain"] == pytest.approx(background["mass"].mean(), abs=2.5)
