"""The calorimeter's physics: where the answer is known it comes out, and the classes are as hard as said."""

import awkward as ak
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from pipeline.simulation.calorimeter import (
    DEAD,
    INTERACTION_LENGTHS_A_LAYER,
    LAYERS,
    MUON_MASS,
    PionMuonOptions,
    draw_electromagnetic_share,
    draw_events,
    draw_hits,
    draw_interaction_depths,
    draw_ionisation,
    draw_showers,
    draw_tracks,
    most_probable_deposit,
    pion_muon_files,
    shower_profiles,
)

N_EVENTS = 40_000


@pytest.fixture(scope="module")
def events() -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Layers, momentum and direction, shape ``(n_events, 12)``, and which events are muons."""
    is_muon = np.arange(N_EVENTS) % 2 == 0
    columns = draw_events(is_muon, np.arange(N_EVENTS), np.random.default_rng(5), PionMuonOptions())
    names = [*(f"layer_{k}" for k in LAYERS), "p", "eta"]
    return np.stack([np.asarray(columns[name], np.float64) for name in names], axis=1), is_muon


def auc_of_trees(features: NDArray[np.float64], is_muon: NDArray[np.bool_], iterations: int) -> float:
    half = len(features) // 2
    trees = HistGradientBoostingClassifier(max_iter=iterations, random_state=0)
    trees.fit(features[:half], is_muon[:half])
    return float(roc_auc_score(is_muon[half:], trees.predict_proba(features[half:])[:, 1]))


def test_a_good_classifier_reaches_the_stated_auc(events: tuple[NDArray[np.float64], NDArray[np.bool_]]) -> None:
    assert 0.95 < auc_of_trees(*events, iterations=150) < 0.99


@pytest.mark.parametrize("column", [0, 4, 9, 10, 11])
def test_no_single_column_gets_far_however_it_is_cut(
    events: tuple[NDArray[np.float64], NDArray[np.bool_]], column: int
) -> None:
    features, is_muon = events
    auc = auc_of_trees(features[:, [column]], is_muon, iterations=30)
    assert auc < (0.86 if column < len(LAYERS) else 0.53)


def test_the_most_probable_deposit_agrees_with_a_calculation_by_hand() -> None:
    """A muon of 2 GeV, by = 18.9, in 1 cm of polystyrene.

    With xi = 0.0877 MeV, the logarithms 15.49 and 7.15, j = 0.20, beta² = 1.00 and delta = 2.90,
    the bracket is 18.94 and the deposit 1.66 MeV.
    """
    assert most_probable_deposit(np.array(2.0 / MUON_MASS)) == pytest.approx(1.66, abs=0.01)


def test_the_relativistic_rise_is_weak_and_ends() -> None:
    slow, fast, faster = most_probable_deposit(np.array([10.0, 1e3, 1e5]))
    assert 1.0 < fast / slow < 1.1
    assert faster == pytest.approx(fast, rel=0.005)


def test_ionisation_peaks_at_the_most_probable_deposit() -> None:
    beta_gamma = np.full(400_000, 50.0)
    drawn = draw_ionisation(beta_gamma, 1.0, np.random.default_rng(6))
    counts, edges = np.histogram(drawn, bins=40, range=(1.2, 2.4))
    peak = edges[counts.argmax()] + 0.015
    assert peak == pytest.approx(most_probable_deposit(np.array(50.0)), abs=0.04)


def test_ionisation_has_the_mean_of_moyals_density() -> None:
    """Moyal's density has its mean 1.2704 scales above its peak (Euler's constant plus log 2)."""
    beta_gamma = np.full(400_000, 50.0)
    drawn = draw_ionisation(beta_gamma, 1.0, np.random.default_rng(7))
    scale = drawn.std() / (np.pi / np.sqrt(2.0))
    assert drawn.mean() == pytest.approx(most_probable_deposit(np.array(50.0)) + 1.2704 * scale, abs=0.003)


def test_interaction_depths_are_exponential_with_mean_one() -> None:
    depth = draw_interaction_depths(100_000, np.random.default_rng(8))
    assert stats.kstest(depth, "expon").pvalue > 0.001
    assert (depth > len(LAYERS) * INTERACTION_LENGTHS_A_LAYER).mean() == pytest.approx(0.0295, abs=0.003)


def test_a_shower_begins_where_the_pion_interacts_and_never_gives_more_than_it_has() -> None:
    depth = np.array([0.0, 2.5, 20.0]) * INTERACTION_LENGTHS_A_LAYER
    for profile in shower_profiles(np.full(3, 10.0), depth, np.ones(3)):
        assert (profile[1, :2] == 0).all()
        assert (profile[1, 2:] > 0).all()
        assert (profile[2] == 0).all()
        assert (profile.sum(axis=1) <= 1.0).all()


def test_the_resolution_of_showers_is_stochastic() -> None:
    """At equal shares the relative width falls like 1 / √E; fluctuating shares only slow it down."""
    widths = []
    for energy in (4.0, 16.0):
        many = np.full(20_000, energy)
        seen = draw_showers(many, np.zeros(20_000), np.ones(20_000), np.random.default_rng(9)).sum(axis=1)
        widths.append(seen.std() / seen.mean())
    assert 1.4 < widths[0] / widths[1] < 2.1


def test_the_electromagnetic_share_grows_with_energy() -> None:
    """Gabriel's law with E0 = 0.7 GeV and k = 0.82 gives 0.380 at 10 GeV."""
    generator = np.random.default_rng(10)
    means = [draw_electromagnetic_share(np.full(50_000, e), generator).mean() for e in (2.0, 10.0, 20.0)]
    assert means == sorted(means)
    assert means[1] == pytest.approx(0.380, abs=0.005)


def test_slow_pions_decay_more_often() -> None:
    """At 1 to 2 GeV, 3 m of flight are 1 - exp(-3 / 7.8045 * 0.1396 / p) or about four in a hundred."""
    tracks = draw_tracks(np.zeros(200_000, bool), np.random.default_rng(11))
    slow = tracks.momentum < 2.0
    assert (~tracks.showers)[slow].mean() == pytest.approx(0.039, abs=0.004)
    assert (~tracks.showers)[~slow].mean() < 0.015


def test_muons_and_pions_are_alike_before_the_calorimeter() -> None:
    tracks = draw_tracks(np.arange(N_EVENTS) % 2 == 0, np.random.default_rng(12))
    for values in (tracks.momentum, tracks.eta):
        assert stats.ks_2samp(values[tracks.is_muon], values[~tracks.is_muon]).pvalue > 0.001
    assert tracks.momentum.min() >= 1.0
    assert tracks.momentum.max() <= 20.0


def test_hits_of_a_layer_sum_to_its_deposit() -> None:
    deposits = np.array([[0.1, 2.0, 60.0, DEAD, *[0.0] * 6], [5.0, *[0.0] * 9]])
    hits = draw_hits(deposits, np.random.default_rng(13))
    sums = [[float(ak.sum(event.energy[event.layer == k])) for k in (1, 2, 3, 4)] for event in hits]
    assert sums[0] == pytest.approx([0.0, 2.0, 60.0, 0.0], rel=1e-5)
    assert sums[1] == pytest.approx([5.0, 0.0, 0.0, 0.0], rel=1e-5)


def test_a_dead_layer_is_the_sentinel_in_the_asked_for_share_of_events() -> None:
    options = PionMuonOptions(dead_layer_fraction=0.1)
    columns = draw_events(np.ones(20_000, bool), np.arange(20_000), np.random.default_rng(14), options)
    dead = np.stack([np.asarray(columns[f"layer_{k}"]) == np.float32(DEAD) for k in LAYERS], axis=1)
    assert dead.sum(axis=1).max() == 1
    assert dead.any(axis=1).mean() == pytest.approx(0.1, abs=0.01)


def test_classes_balance_and_the_truth_of_new_events_is_apart() -> None:
    training, new = pion_muon_files(1001, np.random.default_rng(15), PionMuonOptions())
    counts = {name: len(events["event"]) for name, events in training.items()}
    assert counts == {"muons.root": 500, "pions.root": 501}
    assert set(np.unique(new["new_tracks.root"]["true_species"])) == {13, 211}
    assert not any("true_species" in events for events in training.values())


def test_event_weights_have_mean_one() -> None:
    columns = draw_events(np.ones(20_000, bool), np.arange(20_000), np.random.default_rng(16), PionMuonOptions())
    assert np.asarray(columns["weight"]).mean() == pytest.approx(1.0, abs=0.01)
