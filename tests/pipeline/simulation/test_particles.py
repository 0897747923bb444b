"""Four particles: showers begin where they should, and only electrons and photons are hard to tell apart."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from pipeline.simulation.calorimeter import MUON, PION
from pipeline.simulation.particles import (
    ELECTRON,
    LAYER_NAMES,
    PHOTON,
    SPECIES,
    ParticlesOptions,
    draw_cascades,
    draw_particles,
)

N_EVENTS = 8_000
Floats = NDArray[np.float64]


@pytest.fixture(scope="module")
def judged() -> tuple[NDArray[np.int64], Floats, list[int]]:
    """Species of half of the events, the scores of trees trained on the other half, and the order of the classes."""
    species = np.array(list(SPECIES.values()))[np.arange(N_EVENTS) % 4]
    events = draw_particles(species, np.random.default_rng(1), ParticlesOptions())
    layers = np.stack([np.asarray(events[name]) for name in (*LAYER_NAMES, "eta")], axis=1)
    half = N_EVENTS // 2
    trees = HistGradientBoostingClassifier(max_iter=20, random_state=0).fit(layers[:half], species[:half])
    return species[half:], trees.predict_proba(layers[half:]), trees.classes_.tolist()


def auc_between(judged: tuple[NDArray[np.int64], Floats, list[int]], one: int, other: int) -> float:
    species, scores, classes = judged
    chosen = np.isin(species, (one, other))
    odds = scores[:, classes.index(one)] / (scores[:, classes.index(one)] + scores[:, classes.index(other)])
    return float(roc_auc_score(species[chosen] == one, odds[chosen]))


def test_electrons_and_photons_are_mistaken_for_each_other(
    judged: tuple[NDArray[np.int64], Floats, list[int]],
) -> None:
    assert 0.65 < auc_between(judged, ELECTRON, PHOTON) < 0.95


@pytest.mark.parametrize(("one", "other"), [(ELECTRON, MUON), (PHOTON, MUON), (ELECTRON, PION), (MUON, PION)])
def test_other_pairs_are_told_apart(judged: tuple[NDArray[np.int64], Floats, list[int]], one: int, other: int) -> None:
    assert auc_between(judged, one, other) > 0.93


def test_a_photon_showers_later_than_an_electron() -> None:
    shares = []
    for is_photon in (False, True):
        deposits = draw_cascades(np.full(20_000, 5.0), np.ones(20_000), is_photon, np.random.default_rng(2))
        shares.append(deposits[:, 0].sum() / deposits.sum())
    assert shares[0] > shares[1] + 0.03


def test_a_photon_leaves_nothing_in_the_first_layer_when_it_converts_behind_it() -> None:
    """The first layer is 4.01 radiation lengths deep: exp(-7/9 · 4.01) = 0.044 of the photons."""
    deposits = draw_cascades(np.full(40_000, 5.0), np.ones(40_000), True, np.random.default_rng(3))
    assert (deposits[:, 0] == 0).mean() == pytest.approx(np.exp(-7 / 9 * 4.011), abs=0.005)


def test_nearly_all_of_a_cascade_is_contained_and_sampled() -> None:
    """0.9 of the energy, of which the scintillator samples 2 in 82."""
    deposits = draw_cascades(np.full(5000, 10.0), np.ones(5000), False, np.random.default_rng(4))
    assert deposits.sum(axis=1).mean() == pytest.approx(1e3 * 10.0 * 0.9 * 2 / 82, rel=0.02)
