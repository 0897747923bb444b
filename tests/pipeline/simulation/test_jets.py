"""Jets: the pair has the mass that it was given, peaks where it should, and all else is alike in both classes."""

import awkward as ak
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from pipeline.simulation.files import Events
from pipeline.simulation.jets import LIGHTEST_PAIR, JetsOptions, draw_jet_events, draw_pairs

N_EVENTS = 10_000
Floats = NDArray[np.float64]


def drawn(label: int, seed: int = 1, **options: float) -> Events:
    return draw_jet_events(np.full(N_EVENTS, label), np.random.default_rng(seed), JetsOptions(**options))


def pair_mass(pt: Floats, eta: Floats, phi: Floats) -> Floats:
    """The mass of two massless jets, m² = 2 pt pt (cosh Δη - cos Δφ); arrays ``(2, n_events)``."""
    return np.sqrt(2 * pt[0] * pt[1] * (np.cosh(eta[0] - eta[1]) - np.cos(phi[0] - phi[1])))


def masses_of_pairs(events: Events) -> Floats:
    """Of events that have two jets and no more."""
    jets = events["jet"]
    return pair_mass(*(np.asarray(ak.to_numpy(jets[name]), np.float64).T for name in ("pt", "eta", "phi")))


def test_two_jets_of_a_decay_have_the_mass_of_what_decayed() -> None:
    mass = np.linspace(20.0, 400.0, 2000)
    assert pair_mass(*draw_pairs(mass, np.random.default_rng(2))) == pytest.approx(mass, rel=1e-6)


def test_decays_are_thrown_with_the_mean_transverse_momentum_of_the_table() -> None:
    pt, _, phi = draw_pairs(np.full(40_000, 125.0), np.random.default_rng(3))
    assert np.abs(np.sum(pt * np.exp(1j * phi), axis=0)).mean() == pytest.approx(60.0, rel=0.03)


def test_the_pair_of_a_signal_event_peaks_at_the_resonance() -> None:
    """Two momenta with a relative error of 8 % each: the mass has one of 8 % / √2."""
    masses = masses_of_pairs(drawn(1, more_jets=0.0))
    assert np.median(masses) == pytest.approx(125.0, rel=0.005)
    assert np.log(masses).std() == pytest.approx(0.08 / np.sqrt(2), rel=0.05)


def test_the_pair_of_a_background_event_falls_exponentially() -> None:
    masses = masses_of_pairs(drawn(0, more_jets=0.0, resolution=0.0))
    assert stats.kstest(masses - LIGHTEST_PAIR, stats.expon(scale=60.0).cdf).pvalue > 0.001


def test_the_number_of_jets_is_the_same_in_both_classes() -> None:
    counts = [ak.to_numpy(ak.num(drawn(label, seed)["jet"])) for label, seed in ((0, 4), (1, 5))]
    assert [n.min() for n in counts] == [2, 2]
    assert [n.mean() for n in counts] == pytest.approx([3.5, 3.5], abs=0.05)


def test_the_jets_are_in_no_order() -> None:
    """Of two jets, the first is the harder one in half of the events."""
    pt = ak.to_numpy(drawn(1, more_jets=0.0)["jet"]["pt"])
    assert (pt[:, 0] > pt[:, 1]).mean() == pytest.approx(0.5, abs=0.02)


def test_weights_and_the_direction_of_jets_tell_nothing() -> None:
    signal, background = drawn(1, 6), drawn(0, 7)
    for name in ("weight", "phi"):
        one, other = (
            ak.to_numpy(ak.flatten(e["jet"][name]) if name == "phi" else e[name]) for e in (signal, background)
        )
        assert stats.ks_2samp(one, other).pvalue > 0.001
    assert np.mean(signal["weight"]) == pytest.approx(1.0, abs=0.02)


def test_only_the_mass_of_the_pair_tells_much() -> None:
    """How far from the resonance the nearest pair is, among two jets; and the missing momentum beside it."""
    signal, background = drawn(1, 8, more_jets=0.0), drawn(0, 9, more_jets=0.0)
    distances = [np.abs(masses_of_pairs(events) - 125.0) for events in (signal, background)]
    assert stats.mannwhitneyu(distances[1], distances[0]).statistic / N_EVENTS**2 > 0.9
    met = stats.mannwhitneyu(np.asarray(signal["met"]), np.asarray(background["met"])).statistic / N_EVENTS**2
    assert met == pytest.approx(0.5, abs=0.1)
