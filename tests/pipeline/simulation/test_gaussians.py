"""The Gaussians' best AUC is the closed form, whatever the dimensions and the weights."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.declare import read_declaration
from pipeline.errors import DeclarationError
from pipeline.simulation.gaussians import GaussiansOptions, draw_events, gaussians_files

N_EVENTS = 40_000


def likelihood_ratio_auc(options: GaussiansOptions, seed: int = 1) -> float:
    """The weighted AUC of the likelihood ratio, a monotone function of the sum of the features."""
    events = gaussians_files(N_EVENTS, np.random.default_rng(seed), options)[0][f"gaussians.{options.format}"]
    score = np.sum([events[name] for name in options.features], axis=0)
    weight = np.asarray(events["weight"]) if options.weights else np.ones(N_EVENTS)
    return weighted_auc(score, np.asarray(events["label"]) == 1, weight)


def weighted_auc(score: NDArray[np.float64], is_signal: NDArray[np.bool_], weight: NDArray[np.float64]) -> float:
    order = np.argsort(score)
    signal, background = (weight * is_signal)[order], (weight * ~is_signal)[order]
    return float(np.sum(signal * np.cumsum(background)) / (signal.sum() * background.sum()))


@pytest.mark.parametrize(("distance", "dimensions"), [(0.0, 2), (0.5, 1), (1.5, 1), (1.5, 4), (3.0, 10)])
def test_the_likelihood_ratio_reaches_the_closed_form(distance: float, dimensions: int) -> None:
    """AUC = P(s > b) for s - b ~ N(d, 2), which is Phi(d / √2); its error here is below 0.003."""
    options = GaussiansOptions(distance=distance, dimensions=dimensions)
    assert likelihood_ratio_auc(options) == pytest.approx(options.best_auc, abs=0.01)


def test_the_closed_form_is_what_the_textbook_says() -> None:
    assert GaussiansOptions(distance=1.5).best_auc == pytest.approx(0.8556, abs=5e-5)
    assert GaussiansOptions(distance=0.0).best_auc == 0.5


@pytest.mark.parametrize("negative_fraction", [0.0, 0.1])
def test_event_weights_change_nothing_about_the_auc(negative_fraction: float) -> None:
    options = GaussiansOptions(weights=True, negative_fraction=negative_fraction)
    assert likelihood_ratio_auc(options) == pytest.approx(options.best_auc, abs=0.015)


def test_negative_weights_leave_the_mean_weight_at_one() -> None:
    options = GaussiansOptions(weights=True, negative_fraction=0.2)
    weight = np.asarray(draw_events(np.zeros(N_EVENTS, np.int64), np.random.default_rng(2), options)["weight"])
    assert (weight < 0).mean() == pytest.approx(0.2, abs=0.01)
    assert weight.mean() == pytest.approx(1.0, abs=0.05)


def test_the_asked_for_fraction_is_missing() -> None:
    options = GaussiansOptions(missing_fraction=0.25)
    events = draw_events(np.zeros(N_EVENTS, np.int64), np.random.default_rng(3), options)
    assert np.mean([np.isnan(events[name]) for name in options.features]) == pytest.approx(0.25, abs=0.01)


@given(n_events=st.integers(10, 60), dimensions=st.integers(1, 5), seed=st.integers(0, 1000))
def test_the_classes_balance_and_events_are_numbered_once(n_events: int, dimensions: int, seed: int) -> None:
    options = GaussiansOptions(dimensions=dimensions)
    training, new = gaussians_files(n_events, np.random.default_rng(seed), options)
    labelled, unlabelled = training["gaussians.csv"], new["new_gaussians.csv"]
    numbers = np.concatenate([np.asarray(labelled["event"]), np.asarray(unlabelled["event"])])
    assert np.sum(labelled["label"]) == n_events // 2
    assert len(np.unique(numbers)) == n_events + n_events // 5


def test_negative_weights_without_weights_are_refused() -> None:
    with pytest.raises(DeclarationError, match="needs weights = true"):
        read_declaration({"negative_fraction": 0.1}, GaussiansOptions, "simulate 'gaussians'")
