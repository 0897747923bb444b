"""Showers: whoever undoes what the layers do is left with the resolution that was asked for."""

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.simulation.showers import LAYERS, ShowersOptions, draw_shares, draw_showers, seen, showers_files, unseen

Floats = NDArray[np.float64]
WORSE = ShowersOptions(stochastic=0.3, constant=0.02)


def drawn(options: ShowersOptions, n_events: int = 40_000) -> tuple[Floats, Floats]:
    """The signals of the layers, and the true energy."""
    events = draw_showers(n_events, np.random.default_rng(1), options)
    return np.stack([np.asarray(events[name], np.float64) for name in LAYERS], axis=1), np.asarray(
        events["true_energy"]
    )


@pytest.mark.parametrize("options", [ShowersOptions(), WORSE], ids=["default", "worse"])
@pytest.mark.parametrize("low", [5.0, 20.0, 80.0])
def test_the_best_estimate_has_the_asked_for_resolution_at_every_energy(options: ShowersOptions, low: float) -> None:
    signals, energy = drawn(options)
    pulls = (unseen(signals).sum(axis=1) / energy - 1.0) / np.hypot(
        options.stochastic / np.sqrt(energy), options.constant
    )
    inside = (energy >= low) & (energy < 2 * low)
    assert pulls[inside].std() == pytest.approx(1.0, abs=0.04)
    assert pulls[inside].mean() == pytest.approx(0.0, abs=0.06)


def test_the_plain_sum_of_the_layers_does_much_worse() -> None:
    signals, energy = drawn(ShowersOptions())
    high = energy > 80.0
    plain, best = (
        np.std(np.log((estimate / energy)[high])) for estimate in (signals.sum(axis=1), unseen(signals).sum(axis=1))
    )
    assert plain > 2.0 * best


def test_the_best_weights_of_a_sum_do_worse_as_well() -> None:
    signals, energy = drawn(ShowersOptions())
    weights, *_ = np.linalg.lstsq(signals / energy[:, None], np.ones(len(energy)))
    linear, best = (np.std(estimate / energy) for estimate in (signals @ weights, unseen(signals).sum(axis=1)))
    assert linear > 1.2 * best


def test_the_shares_of_the_layers_sum_to_one_and_move_back_with_energy() -> None:
    low, high = (draw_shares(np.full(5000, energy), np.random.default_rng(2)) for energy in (5.0, 200.0))
    assert np.concatenate([low, high]).sum(axis=1) == pytest.approx(1.0)
    assert high[:, -1].mean() > 2 * low[:, -1].mean()


def test_what_is_seen_can_be_undone() -> None:
    energy = np.random.default_rng(3).uniform(0.0, 200.0, (100, len(LAYERS)))
    assert unseen(seen(energy)) == pytest.approx(energy)


def test_labelled_and_new_showers_tell_their_energy() -> None:
    files = showers_files(50, np.random.default_rng(4), ShowersOptions())
    assert [set(events) >= {"event", "true_energy", *LAYERS} for part in files for events in part.values()] == [
        True,
        True,
    ]
