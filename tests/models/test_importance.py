"""What the judgement of inputs promises: noise is noise, copies hide each other, definitions by brute force."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.integrate import quad
from scipy.stats import norm

from models.importance import (
    InputImportance,
    InputSeparation,
    correlations,
    input_separations,
    permutation_importance,
)
from models.metrics import auc_difference, auc_with_error
from models.scored import Measured
from pipeline.errors import DataError, DeclarationError

Array = NDArray[Any]

STRONG, WEAK, NOISE = 0, 1, 2
SLOPES = np.array([1.0, 0.4, 0.3])


def toy(n_events: int = 600, seed: int = 1, negative: float = 0.0) -> tuple[Array, Array, Array]:
    """A strong, a weak and a useless input, labels, and weights of which a share is negative."""
    random = np.random.default_rng(seed)
    labels = (random.random(n_events) < 0.4).astype(np.int64)
    features = random.normal(size=(n_events, 3)) + np.outer(labels, [1.0, 0.4, 0.0])
    weights = random.gamma(2.0, size=n_events) * np.where(random.random(n_events) < negative, -1.0, 1.0)
    return features, labels, weights


def linear(features: Array) -> Array:
    """A scorer that uses all three inputs, the useless one too."""
    return np.asarray(features @ SLOPES)


def importances(seed: int = 1, **options: Any) -> dict[str, InputImportance]:
    features, labels, weights = toy(seed=seed)
    random = np.random.default_rng(1_000 + seed)
    found = permutation_importance(linear, features, labels, weights, random=random, **options)
    return {importance.group: importance for importance in found}


def separation_of(values: Any, labels: Any, weights: Any = None, **options: Any) -> InputSeparation:
    return input_separations(np.asarray(values)[:, np.newaxis], labels, weights, **options)[0]


def measured_separation(found: InputSeparation) -> float:
    """The separation as the histograms have it, fluctuations included."""
    return found.separation.value + found.bias


@pytest.mark.parametrize("seed", range(6))
def test_an_input_of_noise_has_no_importance_within_its_error(seed: int) -> None:
    fall = importances(seed)[str(NOISE)].fall
    assert fall.error > 0.0
    assert abs(fall.value) < 3.0 * fall.error


def test_the_strongest_input_comes_first() -> None:
    assert list(importances()) == [str(STRONG), str(WEAK), str(NOISE)]


@pytest.mark.parametrize("weighted", [False, True])
def test_one_repeat_is_the_paired_difference_of_one_shuffling(weighted: bool) -> None:
    features, labels, weights = toy(negative=0.1)
    used = weights if weighted else None
    shuffled = features.copy()
    shuffled[:, WEAK] = features[np.random.default_rng(5).permutation(600), WEAK]
    expected = auc_difference(linear(features), linear(shuffled), labels, used)
    options: dict[str, Any] = {"groups": {"weak": [WEAK]}, "n_repeats": 1}
    found = permutation_importance(linear, features, labels, used, random=np.random.default_rng(5), **options)
    assert found == (InputImportance("weak", (WEAK,), expected, 600, 1),)


@pytest.mark.parametrize("column", [STRONG, NOISE])
def test_the_error_of_the_mean_over_repeats_is_the_spread_of_toys(column: int) -> None:
    toys = [importances(seed, groups={"one": [column]})["one"].fall for seed in range(150)]
    spread = np.std([toy.value for toy in toys])
    assert np.sqrt(np.mean([toy.error**2 for toy in toys])) == pytest.approx(spread, rel=0.2)


def test_an_input_that_the_scorer_ignores_has_importance_zero_without_error() -> None:
    features, labels, _ = toy()
    random = np.random.default_rng(1)
    found = permutation_importance(lambda some: some[:, STRONG], features, labels, random=random)
    assert {importance.group: importance.fall for importance in found[1:]} == {
        str(WEAK): Measured(0.0, 0.0),
        str(NOISE): Measured(0.0, 0.0),
    }
    assert found[0].fall.value > 0.1, "a scorer may return a view of its argument"


def test_copies_share_their_importance_and_have_all_of_it_as_a_group() -> None:
    features, labels, _ = toy(4_000)
    twice = np.column_stack([features[:, STRONG], features[:, STRONG]])
    groups = {"first": [0], "second": [1], "both": [0, 1]}
    found = permutation_importance(
        lambda some: some.sum(axis=1), twice, labels, random=np.random.default_rng(2), groups=groups
    )
    falls = {importance.group: importance.fall for importance in found}
    auc = auc_with_error(features[:, STRONG], labels)
    assert falls["both"].value == pytest.approx(auc.value - 0.5, abs=3.0 * falls["both"].error)
    assert falls["first"].value == pytest.approx(falls["second"].value, abs=0.01)
    assert 0.0 < falls["first"].value < 0.6 * falls["both"].value


def test_columns_of_a_group_move_together() -> None:
    features, labels, _ = toy()
    pair = np.column_stack([features[:, STRONG], -features[:, STRONG]])
    seen: list[Array] = []

    def spy(some: Array) -> Array:
        seen.append(some.sum(axis=1))
        return some[:, 0]

    permutation_importance(spy, pair, labels, random=np.random.default_rng(1), groups={"both": [0, 1]}, n_repeats=2)
    assert len(seen) == 3
    assert not np.any(seen)


@pytest.mark.parametrize("max_events", [200, 10_000])
def test_the_events_are_left_as_they_were(max_events: int) -> None:
    features, labels, weights = toy()
    untouched = features.copy()
    features.setflags(write=False)
    permutation_importance(
        linear, features, labels, weights, random=np.random.default_rng(1), max_events=max_events, n_repeats=1
    )
    np.testing.assert_array_equal(features, untouched)


def test_a_memory_map_is_sampled_with_labels_and_weights_of_the_same_events(tmp_path: Path) -> None:
    features, labels, weights = toy(5_000)
    together = np.column_stack([features, labels])
    on_disk = np.memmap(tmp_path / "features", dtype=np.float64, mode="w+", shape=together.shape)
    on_disk[:] = together
    found = permutation_importance(
        lambda some: some[:, 3], on_disk, labels, weights, random=np.random.default_rng(1), max_events=800
    )
    assert {importance.n_events for importance in found} == {800}
    assert found[0].columns == (3,)
    assert found[0].fall.value == pytest.approx(0.5, abs=0.1), "the label itself separates perfectly"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_repeats": 0}, "n_repeats of 1 or more and max_events of 2 or more; received 0 and 200000"),
        ({"max_events": 1}, "received 5 and 1"),
        ({"groups": {"a": [], "b": [1, 3, -1]}}, r"'a' has no columns; group 'b' has columns \[3, -1\].*0 to 2"),
    ],
)
def test_requests_that_cannot_be_met_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        importances(**options)


def test_scores_of_the_wrong_shape_are_refused() -> None:
    features, labels, _ = toy()
    with pytest.raises(DataError, match=r"received scores \(600, 3\), labels \(600,\)"):
        permutation_importance(lambda some: some, features, labels, random=np.random.default_rng(1))


@pytest.mark.parametrize("class_name", ["signal", "background"])
def test_correlations_are_those_of_numpy_for_positive_weights(class_name: str) -> None:
    features, labels, weights = toy(40_000)
    features = features @ np.random.default_rng(4).normal(size=(3, 3)) + [0.0, 1e6, -50.0]
    members = labels == (class_name == "signal")
    covariance = np.cov(features[members], rowvar=False, aweights=weights[members])
    sigma = np.sqrt(np.diag(covariance))
    found = getattr(correlations(features, labels, weights), class_name)
    np.testing.assert_allclose(found, covariance / np.outer(sigma, sigma), rtol=1e-9)


def test_missing_values_are_left_out_pair_by_pair() -> None:
    features, labels, weights = toy(negative=0.05)
    random = np.random.default_rng(3)
    features[random.random(features.shape) < 0.3] = np.nan
    features[random.random(features.shape) < 0.05] = np.inf
    found = correlations(features, labels, weights).background
    both = (labels == 0) & np.isfinite(features[:, 0]) & np.isfinite(features[:, 2])
    x, y, shares = features[both, 0], features[both, 2], weights[both] / weights[both].sum()
    x, y = x - shares @ x, y - shares @ y
    expected = (shares @ (x * y)) / np.sqrt((shares @ x**2) * (shares @ y**2))
    assert found[0, 2] == pytest.approx(expected, rel=1e-10)
    assert found[2, 0] == pytest.approx(found[0, 2])
    assert np.diag(found) == pytest.approx(np.ones(3))


@pytest.mark.parametrize("value", [0.1, 91.2, -1e6, np.nan, np.inf])
def test_a_constant_or_missing_column_has_no_correlation(value: float) -> None:
    features, labels, weights = toy()
    features[:, 1] = value
    found = correlations(features, labels, weights).signal
    assert np.isnan(found[1]).all()
    assert np.isnan(found[:, 1]).all()
    assert np.isfinite(found[np.ix_([0, 2], [0, 2])]).all()


def test_a_variance_that_negative_weights_make_negative_gives_no_correlation() -> None:
    """Weights 2, -1/2, -1/2 at x = 0, -1, 1: the mean is 0 and the variance -1."""
    features = np.array([[0.0, 0.0], [-1.0, 1.0], [1.0, 2.0], [0.0, 1.0], [1.0, 0.0]])
    found = correlations(features, [1, 1, 1, 0, 0], [2.0, -0.5, -0.5, 1.0, 1.0])
    assert np.isnan(found.signal[0]).all()
    assert found.background[0, 1] == pytest.approx(-1.0)


def test_a_class_whose_weights_are_negative_in_sum_has_no_correlations() -> None:
    features, labels, weights = toy()
    found = correlations(features, labels, np.where(labels == 1, -weights, weights))
    assert np.isnan(found.signal).all()
    assert np.isfinite(found.background).all()


def test_a_column_that_is_constant_where_the_other_has_values_has_no_correlation_with_it() -> None:
    features, labels, weights = toy()
    has_both = np.arange(600) % 5 == 0
    features[~has_both, 1] = np.nan
    features[has_both, 0] = 5.3  # above all others, so not the median from which values are counted
    found = correlations(features, labels, weights).background
    assert np.isnan(found[0, 1])
    assert np.isfinite(found[[0, 1], 2]).all()


def test_separation_is_that_of_the_histograms_by_brute_force() -> None:
    features, labels, weights = toy(2_000)
    values = features[:, STRONG]
    found = separation_of(values, labels, weights, n_bins=8)
    edges = [-np.inf, *np.quantile(values, np.arange(1, 8) / 8), np.inf]
    signal, background = (np.histogram(values[labels == k], edges, weights=weights[labels == k])[0] for k in (1, 0))
    p, q = signal / signal.sum(), background / background.sum()
    assert found.n_bins == 8
    assert measured_separation(found) == pytest.approx(0.5 * np.sum((p - q) ** 2 / (p + q)), rel=1e-10)


def test_equal_classes_have_separation_zero_and_disjoint_ones_one() -> None:
    values = np.repeat(np.arange(500.0), 2)
    labels = np.arange(1_000) % 2
    equal, disjoint = separation_of(values, labels), separation_of(values + 1e4 * labels, labels)
    assert measured_separation(equal) == pytest.approx(0.0, abs=1e-12)
    assert disjoint.separation.value == pytest.approx(1.0, abs=1e-12)
    assert disjoint.bias == pytest.approx(0.0, abs=1e-12)


def test_separation_of_two_gaussians_is_the_integral() -> None:
    """The integral of the definition over unit Gaussians one apart; 40 bins of 2,500 events hide little of it."""

    def integrand(x: float) -> float:
        s, b = norm.pdf(x - 1.0), norm.pdf(x)
        return float(0.5 * (s - b) ** 2 / (s + b))

    random = np.random.default_rng(6)
    labels = np.arange(100_000) % 2
    found = separation_of(random.normal(size=labels.size) + labels, labels)
    expected, _ = quad(integrand, -9.0, 10.0)
    assert found.separation.value == pytest.approx(expected, abs=3.0 * found.separation.error)
    assert found.separation.error < 0.004


@given(st.integers(0, 1_000), st.integers(2, 30))
def test_separation_does_not_change_under_rising_maps(seed: int, n_bins: int) -> None:
    features, labels, weights = toy(300, seed, negative=0.1)
    values = np.round(features[:, STRONG], 1)
    unchanged = separation_of(values, labels, weights, n_bins=n_bins)
    for mapped in (np.exp(values), values**3 + values, 1e5 * values):
        found = separation_of(mapped, labels, weights, n_bins=n_bins)
        assert asdict(replace(found, auc=unchanged.auc)) == asdict(unchanged)


def test_without_a_difference_the_bias_is_the_number_of_free_bins_over_the_events() -> None:
    """Equal shares 1/B: bias = (B - 1)/4 (1/N_s + 1/N_b), here 4/4 (1/1000 + 1/1000), up to fluctuations."""
    values = np.repeat(np.arange(1_000.0), 2)
    assert separation_of(values, np.arange(2_000) % 2, n_bins=5).bias == pytest.approx(0.002)


@pytest.mark.parametrize(("shift", "negative"), [(0.0, 0.0), (0.0, 0.1), (0.8, 0.1)])
def test_separation_less_its_bias_scatters_about_the_truth_as_its_error_says(shift: float, negative: float) -> None:
    def separation(seed: int) -> Measured:
        features, labels, weights = toy(1_500, seed, negative)
        return separation_of(features[:, NOISE] + shift * labels, labels, weights, n_bins=20).separation

    toys = [separation(seed) for seed in range(150)]
    values = np.array([toy.value for toy in toys])
    expected, _ = quad(
        lambda x: 0.5 * (norm.pdf(x - shift) - norm.pdf(x)) ** 2 / (norm.pdf(x - shift) + norm.pdf(x)), -8, 9
    )
    assert values.mean() == pytest.approx(expected, abs=3.5 * values.std() / np.sqrt(150))
    assert np.mean([toy.error for toy in toys]) == pytest.approx(values.std(), rel=0.3)


@pytest.mark.parametrize(("n_signal", "n_bins"), [(5_000, 40), (130, 13), (3, 2)])
def test_bins_are_no_more_than_the_smaller_class_can_fill(n_signal: int, n_bins: int) -> None:
    labels = np.arange(10_000) < n_signal
    assert separation_of(np.random.default_rng(1).normal(size=10_000), labels).n_bins == n_bins


def test_missing_values_are_a_bin_of_their_own() -> None:
    labels = np.arange(400) % 2
    values = np.where(labels == 1, np.nan, np.random.default_rng(1).normal(size=400))
    found = separation_of(values, labels)
    assert measured_separation(found) == pytest.approx(1.0)
    assert found.n_missing == 200
    assert np.isnan(found.auc.value)


def test_a_column_that_is_missing_throughout_says_nothing() -> None:
    found = separation_of(np.full(100, np.nan), np.arange(100) % 2)
    assert found.separation == Measured(0.0, 0.0)
    assert (found.n_missing, found.n_bins) == (100, 1)
    assert np.isnan([found.auc.value, found.auc.error]).all()
    assert found.signal_has == "neither"


def test_the_own_auc_of_an_input_keeps_its_direction() -> None:
    features, labels, weights = toy()
    values = -features[:, STRONG]
    found = separation_of(np.append(values, np.nan), np.append(labels, 1), np.append(weights, 1.0))
    assert found.auc == auc_with_error(values, labels, weights)
    assert found.auc.value < 0.5
    assert found.signal_has == "lower values"
    assert separation_of(-values, labels, weights).signal_has == "higher values"


def test_negative_bins_are_counted_and_leave_the_separation_within_zero_and_one() -> None:
    values, labels = np.repeat([0.0, 1.0], 60), np.tile([1, 0], 60)
    weights = np.where((values == 0.0) & (labels == 1), -0.5, 1.0)
    found = separation_of(values, labels, weights)
    assert found.negative_bins == 1
    assert measured_separation(found) == pytest.approx(0.5 * (0.5 + 0.25 / 1.5))


def test_columns_are_answered_in_their_order() -> None:
    features, labels, weights = toy()
    features = np.repeat(features, 3, axis=1).astype(np.float32)
    found = input_separations(features, labels, weights)
    assert [one.column for one in found] == list(range(9))
    assert found[4] == replace(separation_of(features[:, 4], labels, weights), column=4)


def test_fewer_than_two_bins_are_refused() -> None:
    with pytest.raises(DeclarationError, match="at least 2 bins; received n_bins = 1"):
        separation_of([1.0, 2.0], [0, 1], n_bins=1)


@pytest.mark.parametrize(
    ("features", "labels", "weights", "message"),
    [
        ([[1.0], [2.0], [3.0]], [1, 0], None, r"features \(3, 1\) of float64 and labels \(2,\)"),
        ([1.0, 2.0], [1, 0], None, r"\(n_events, n_features\), with one label per event; received features \(2,\)"),
        ([["a"], ["b"]], [1, 0], None, "features .* of <U1"),
        ([[1.0], [2.0]], [1, 1], None, "no background among 2 events"),
        ([[1.0], [2.0]], [1, 0], [1.0], r"weights \(1,\)"),
        ([[1.0], [2.0]], [1, 0], [1.0, np.nan], "1 of 2 weights are NaN"),
    ],
)
def test_bad_input_is_refused_by_name_and_number(features: Any, labels: Any, weights: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        correlations(features, labels, weights)
    with pytest.raises(DataError, match=message):
        input_separations(features, labels, weights)
    with pytest.raises(DataError, match=message):
        permutation_importance(linear, features, labels, weights, random=np.random.default_rng(1))


def test_a_class_without_a_positive_sum_has_no_separation() -> None:
    with pytest.raises(DataError, match="background weights add up to 0"):
        separation_of([1.0, 2.0, 3.0], [1, 0, 0], [1.0, 1.0, -1.0])


def test_one_event_of_a_class_has_a_separation_without_error_or_bias() -> None:
    found = separation_of([1.0, 2.0, 3.0, 4.0, 5.0], [1, 0, 0, 0, 0])
    assert np.isnan([found.separation.error, found.bias]).all()
