"""What the judgement of spectators promises: definitions by brute force, no alarm without a cause, nothing dropped."""

from dataclasses import asdict
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.distance import jensenshannon

from models.scored import Measured
from models.spectators import CutEffect, sculpting, spectator_correlation, spectator_profile
from models.working_points import efficiency_at
from pipeline.errors import DataError, DeclarationError

Array = NDArray[Any]

EDGES = [60.0, 80.0, 95.0, 120.0]


def toy(n_events: int = 800, seed: int = 1, negative: float = 0.0, slope: float = 0.0) -> tuple[Array, ...]:
    """Scores, masses in GeV, labels, weights of which a share is negative; the score rises with the mass by slope."""
    random = np.random.default_rng(seed)
    labels = (random.random(n_events) < 0.3).astype(np.int64)
    masses = random.normal(90.0, 10.0, size=n_events)
    scores = random.random(n_events) + 0.3 * labels + slope * (masses - 90.0) / 10.0
    weights = random.gamma(2.0, size=n_events) * np.where(random.random(n_events) < negative, -1.0, 1.0)
    return scores, masses, labels, weights


def one_cut(threshold: float = 0.5, *, weighted: bool = True, bins: Any = 10, **options: Any) -> CutEffect:
    scores, masses, labels, weights = toy(**options)
    return sculpting(scores, masses, labels, weights if weighted else None, thresholds=[threshold], bins=bins).cuts[0]


def test_profile_is_the_weighted_mean_in_each_bin_with_its_error() -> None:
    scores, masses, labels, weights = toy(negative=0.1)
    found = spectator_profile(scores, masses, labels, weights, bins=EDGES).signal
    for number, (low, high) in enumerate(pairwise(EDGES)):
        inside = (labels == 1) & (masses >= low) & (masses < high)
        w, s = weights[inside], scores[inside]
        mean, n = (w @ s) / w.sum(), w.sum() ** 2 / (w @ w)
        error = np.sqrt(np.sum((w * (s - mean)) ** 2) / w.sum() ** 2 * n / (n - 1.0))
        assert (found.values[number], found.errors[number]) == pytest.approx((mean, error))


def test_error_of_the_profile_without_weights_is_the_standard_error_of_the_mean() -> None:
    scores, masses, labels, _ = toy()
    found = spectator_profile(scores, masses, labels, bins=[-1e3, 1e3]).background
    background = scores[labels == 0]
    assert found.errors[0] == pytest.approx(background.std(ddof=1) / np.sqrt(background.size))


def test_a_bin_that_is_empty_or_negative_has_no_mean_and_one_event_no_error() -> None:
    found = spectator_profile(
        [0.5, 0.4, 0.3, 0.2, 0.1], [1, 2, 2, 1, 4], [1, 1, 1, 0, 0], [1, 1, -2, 1, 1], bins=[1, 2, 3, 4]
    )
    np.testing.assert_array_equal(found.signal.values, [0.5, np.nan, np.nan])
    np.testing.assert_array_equal(found.signal.errors, [np.nan] * 3)
    np.testing.assert_array_equal(found.background.values, [0.2, np.nan, 0.1])


def test_a_number_of_bins_shares_out_the_background_evenly_and_leaves_no_event_outside() -> None:
    scores, masses, labels, weights = toy()
    found = spectator_profile(scores, masses, labels, weights, bins=8)
    counts, _ = np.histogram(masses[labels == 0], found.edges)
    assert (found.edges[0], found.edges[-1], found.n_outside) == (masses.min(), masses.max(), 0)
    assert max(counts) - min(counts) <= 2


def test_missing_and_outside_events_are_counted_not_dropped() -> None:
    scores, masses, labels, weights = toy(negative=0.1)
    damaged = masses.copy()
    damaged[:7] = np.nan
    damaged[7:10] = [np.inf, 1e4, -1e4]
    profile = spectator_profile(scores, damaged, labels, weights, bins=EDGES)
    outside = np.isfinite(damaged) & ((damaged < 60.0) | (damaged > 120.0))
    assert [profile.n_missing, profile.n_outside] == [8, int(np.count_nonzero(outside))]
    found = sculpting(scores, damaged, labels, weights, thresholds=[0.5], bins=EDGES)
    background = labels == 0
    assert found.n_missing == np.count_nonzero(background[:8])
    assert found.n_outside == np.count_nonzero(background & outside)
    passing, missing = background & (scores >= 0.5), ~np.isfinite(damaged)
    assert found.cuts[0].n_missing_passing == np.count_nonzero(passing & missing)
    assert found.cuts[0].n_passing == np.count_nonzero(passing & ~missing & ~outside)


def test_missing_events_change_no_other_number() -> None:
    events = toy()
    extra = 0.9, np.nan, 0, 3.0
    more = [np.append(array, one) for array, one in zip(events, extra, strict=True)]
    before, after = (sculpting(*some, thresholds=[0.5], bins=EDGES) for some in (events, more))
    assert asdict(before.cuts[0].divergence) == asdict(after.cuts[0].divergence)
    np.testing.assert_array_equal(before.cuts[0].efficiency.values, after.cuts[0].efficiency.values)


def test_densities_before_and_after_have_unit_area() -> None:
    scores, masses, labels, weights = toy()
    found = sculpting(scores, masses, labels, weights, thresholds=[0.5], bins=EDGES)
    background = labels == 0
    for density, chosen in ((found.before, background), (found.cuts[0].after, background & (scores >= 0.5))):
        expected, _ = np.histogram(masses[chosen], EDGES, weights=weights[chosen], density=True)
        assert density.values == pytest.approx(expected)
        assert np.sum(density.values * np.diff(found.edges)) == pytest.approx(1.0)


def test_errors_of_densities_have_the_spread_of_toys() -> None:
    toys = [one_cut(seed=seed, bins=EDGES).after for seed in range(200)]
    spread = np.std([toy.values for toy in toys], axis=0)
    assert np.mean([toy.errors for toy in toys], axis=0) == pytest.approx(spread, rel=0.2)


@pytest.mark.parametrize("slope", [0.0, 0.3])
def test_divergence_is_that_of_scipy(slope: float) -> None:
    scores, masses, labels, weights = toy(slope=slope)
    background = labels == 0
    before, after = (
        np.histogram(masses[chosen], EDGES, weights=weights[chosen])[0]
        for chosen in (background, background & (scores >= 0.5))
    )
    found = one_cut(slope=slope, bins=EDGES).divergence
    assert found.value == pytest.approx(jensenshannon(before, after, base=2) ** 2, rel=1e-9)


@pytest.mark.parametrize("options", [{"weighted": False}, {"negative": 0.1}, {"threshold": 0.8}])
def test_a_score_that_is_independent_of_the_mass_diverges_as_statistics_alone_expect(options: dict[str, Any]) -> None:
    toys = [one_cut(seed=seed, n_events=3_000, **options) for seed in range(150)]
    found = np.array([toy.divergence.value for toy in toys])
    expected = np.mean([toy.expected.value for toy in toys])
    assert found.mean() == pytest.approx(expected, abs=3.5 * found.std() / np.sqrt(150))
    assert np.mean([toy.expected.error for toy in toys]) == pytest.approx(found.std(), rel=0.3)


def test_expectation_without_weights_is_the_free_bins_over_the_events() -> None:
    """Four bins of 25, of which 20 pass: 3 (1/20 - 1/100) / (8 ln 2)."""
    masses = np.append(np.arange(100.0), 50.0)
    scores = np.append(np.arange(100) % 5 == 0, 1.0)
    found = sculpting(scores, masses, np.arange(101) == 100, thresholds=[0.5], bins=[0, 25, 50, 75, 100]).cuts[0]
    assert found.n_passing == 20
    assert found.expected.value == pytest.approx(3.0 * 0.04 / (8.0 * np.log(2.0)))
    assert found.divergence.value == pytest.approx(0.0, abs=1e-12)


def test_a_score_that_is_the_mass_sculpts() -> None:
    """Before: four equal bins. After: the upper two. JSD = 1/2 log2(4/3) + 1/2 (1/2 log2(2/3) + 1/2 · 1)."""
    masses = np.append(np.arange(400.0), 1.0)
    found = sculpting(masses, masses, np.arange(401) == 400, thresholds=[200.0], bins=[0, 100, 200, 300, 400]).cuts[0]
    exact = 0.5 * np.log2(4.0 / 3.0) + 0.25 * np.log2(2.0 / 3.0) + 0.25
    assert found.divergence.value == pytest.approx(exact)
    assert found.divergence.value > found.expected.value + 50.0 * found.expected.error
    assert found.after.values.tolist() == [0.0, 0.0, 0.005, 0.005]


@pytest.mark.parametrize(("slope", "threshold"), [(0.1, 0.5), (0.3, 0.5), (0.3, 0.0)])
def test_error_of_the_divergence_has_the_spread_of_toys(slope: float, threshold: float) -> None:
    toys = [one_cut(threshold, seed=seed, n_events=3_000, slope=slope).divergence for seed in range(200)]
    spread = np.std([toy.value for toy in toys])
    assert np.mean([toy.error for toy in toys]) == pytest.approx(spread, rel=0.25)


def test_efficiency_in_one_bin_is_the_background_efficiency_of_a_working_point() -> None:
    scores, masses, labels, weights = toy(negative=0.1)
    found = sculpting(scores, masses, labels, weights, thresholds=[0.7], bins=[-1e4, 1e4]).cuts[0].efficiency
    expected = efficiency_at(0.7, scores, labels, weights).background_efficiency
    assert (found.values[0], found.errors[0]) == pytest.approx((expected.value, expected.error))


def test_efficiency_in_bins_by_hand() -> None:
    """Bins: one of two passes; all pass; none passes; empty; weights that add up to 0."""
    found = sculpting(
        [1, 0, 1, 1, 0, 1, 0, 1],
        [0.5, 0.5, 1.5, 1.5, 2.5, 4.5, 4.5, 0.5],
        [0, 0, 0, 0, 0, 0, 0, 1],
        [1, 1, 1, 1, 1, 1, -1, 1],
        thresholds=[0.5],
        bins=[0, 1, 2, 3, 4, 5],
    ).cuts[0]
    np.testing.assert_array_equal(found.efficiency.values, [0.5, 1.0, 0.0, np.nan, np.nan])
    np.testing.assert_array_equal(found.efficiency.errors, [np.sqrt(0.125), np.nan, np.nan, np.nan, np.nan])


def test_a_cut_that_keeps_everything_changes_nothing() -> None:
    found = one_cut(-np.inf)
    assert found.divergence == found.expected == Measured(0.0, 0.0)


def test_after_a_cut_that_keeps_nothing_there_is_no_distribution() -> None:
    found = one_cut(np.inf, bins=EDGES)
    assert found.n_passing == 0
    assert np.isnan([*asdict(found.divergence).values(), *asdict(found.expected).values()]).all()
    assert np.isnan(found.after.values).all()
    np.testing.assert_array_equal(found.efficiency.values, [0.0, 0.0, 0.0])


def test_a_threshold_is_not_rounded_to_the_precision_of_the_scores() -> None:
    scores = np.array([0.1, 0.7, 0.9], dtype=np.float32)  # 0.7 is 0.69999999 in single precision
    found = sculpting(scores, [1.0, 2.0, 3.0], [0, 0, 1], thresholds=[0.7, float(scores[1])], bins=[0, 5])
    assert [cut.n_passing for cut in found.cuts] == [0, 1]


def test_correlation_without_weights_is_that_of_numpy() -> None:
    scores, masses, labels, _ = toy(slope=0.2)
    found = spectator_correlation(scores, masses, labels)
    for kind, measured in ((1, found.signal), (0, found.background)):
        expected = np.corrcoef(scores[labels == kind], masses[labels == kind])[0, 1]
        assert measured.value == pytest.approx(expected, rel=1e-10)


def test_correlation_with_weights_is_that_of_the_weighted_covariance() -> None:
    scores, masses, labels, weights = toy(slope=0.2)
    background = labels == 0
    covariance = np.cov(scores[background], masses[background], aweights=weights[background])
    found = spectator_correlation(scores, masses + 1e6, labels, weights).background
    assert found.value == pytest.approx(covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1]), rel=1e-8)


@pytest.mark.parametrize("slope", [0.0, 0.3])
def test_error_of_the_correlation_has_the_spread_of_toys(slope: float) -> None:
    toys = [spectator_correlation(*toy(seed=seed, negative=0.05, slope=slope)).background for seed in range(200)]
    spread = np.std([toy.value for toy in toys])
    assert np.mean([toy.error for toy in toys]) == pytest.approx(spread, rel=0.2)


def test_a_constant_score_has_no_correlation() -> None:
    _, masses, labels, weights = toy()
    found = spectator_correlation(np.full(800, 0.1), masses, labels, weights)
    assert np.isnan([*asdict(found.signal).values(), *asdict(found.background).values()]).all()


def test_missing_masses_are_counted_and_left_out_of_the_correlation() -> None:
    scores, masses, labels, weights = toy(slope=0.2)
    masses[:9] = np.nan
    found = spectator_correlation(scores, masses, labels, weights)
    assert found.n_missing == 9
    assert found.signal == spectator_correlation(scores[9:], masses[9:], labels[9:], weights[9:]).signal


def test_two_events_have_a_correlation_without_an_error() -> None:
    found = spectator_correlation([0.1, 0.2, 0.3, 0.1], [1.0, 2.0, 1.0, 2.0], [1, 1, 0, 0])
    assert (found.signal.value, found.background.value) == pytest.approx((1.0, -1.0))
    assert np.isnan([found.signal.error, found.background.error]).all()


@pytest.mark.parametrize(
    ("values", "labels", "weights", "message"),
    [
        ([1.0, 2.0], [1, 0, 0], None, r"one spectator per event .* values \(2,\) and scores \(3,\)"),
        ([1.0, 2.0, 3.0], [1, 0], None, r"same length; received scores \(3,\), labels \(2,\)"),
        ([1.0, 2.0, 3.0], [0, 0, 0], None, "no signal among 3 events"),
        ([1.0, 2.0, 3.0], [1, 1, 1], None, "no background among 3 events"),
        ([1.0, 2.0, 3.0], [1, 0, 0], [1.0, np.inf, 1.0], "1 of 3 weights are NaN or infinite"),
    ],
)
def test_bad_input_is_refused_by_name_and_number(values: Any, labels: Any, weights: Any, message: str) -> None:
    scores = [0.1, 0.2, 0.3]
    with pytest.raises(DataError, match=message):
        spectator_profile(scores, values, labels, weights)
    with pytest.raises(DataError, match=message):
        sculpting(scores, values, labels, weights, thresholds=[0.5])
    with pytest.raises(DataError, match=message):
        spectator_correlation(scores, values, labels, weights)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([np.nan] * 3, "two different values; among 0 events it has none"),
        ([91.2] * 3, "among 3 events it has only 91.2"),
    ],
)
def test_a_spectator_that_cannot_be_binned_is_refused(values: list[float], message: str) -> None:
    with pytest.raises(DataError, match=message):
        spectator_profile([0.1, 0.2, 0.3], values, [1, 0, 0])


def test_all_events_missing_from_given_bins_leave_a_profile_without_means_but_nothing_to_sculpt() -> None:
    events = [0.1, 0.2, 0.3], [np.nan] * 3, [1, 0, 0]
    profile = spectator_profile(*events, bins=EDGES)
    assert profile.n_missing == 3
    assert np.isnan(profile.background.values).all()
    with pytest.raises(DataError, match="of the background, the weights of 0 events in the bins add up to 0"):
        sculpting(*events, thresholds=[0.5], bins=EDGES)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bins": 0}, "at least one bin is needed; received bins = 0"),
        ({"bins": [1.0]}, r"finite numbers that rise; received \[1.0\]"),
        ({"bins": [1.0, 1.0, 2.0]}, "that rise"),
        ({"bins": [1.0, np.nan]}, "finite"),
        ({"threshold": np.nan}, r"thresholds must be numbers; received \[nan\]"),
    ],
)
def test_requests_that_cannot_be_met_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        one_cut(**options)


@pytest.mark.parametrize("unit", [1e300, 1e-300, 1.0])
def test_the_correlation_does_not_depend_on_the_unit_of_the_spectator(unit: float) -> None:
    scores, masses, labels, weights = toy(slope=0.5)
    found, expected = (spectator_correlation(scores, of, labels, weights) for of in (masses * unit, masses))
    assert asdict(found.signal) == pytest.approx(asdict(expected.signal))
    assert asdict(found.background) == pytest.approx(asdict(expected.background))


@pytest.mark.parametrize("highest", [1, 2])
def test_a_spectator_of_few_values_has_a_bin_for_each(highest: int) -> None:
    counts = np.tile(np.arange(highest + 1), 200)
    labels = np.repeat([0, 1], counts.size // 2)
    found = spectator_profile(counts / 10.0, counts, labels)
    assert found.edges.tolist() == list(range(highest + 2))
    assert found.background.values == pytest.approx(np.arange(highest + 1) / 10.0)


def test_a_score_that_follows_a_flag_sculpts_it() -> None:
    flag = np.tile([0.0, 1.0], 400)
    [cut] = sculpting(flag, flag, np.repeat([0, 1], 400), thresholds=[0.5]).cuts
    assert cut.divergence.value - cut.expected.value > 0.2


def test_where_fluctuations_alone_could_make_any_divergence_there_is_no_expectation() -> None:
    """Ten bins and two events of the background that pass, one of them in a bin whose weights nearly cancel."""
    masses, weights = np.repeat(np.arange(10.0), 20), np.ones(200)
    weights[:20] = np.where(np.arange(20) % 2, -9.9, 10.0)
    scores, labels = (np.arange(200) % 100 == 0) * 0.5 + 0.2, np.arange(200) % 20 == 19
    weights[19] = 1.0
    [cut] = sculpting(scores, masses, labels, weights, thresholds=[0.5], bins=np.arange(11.0)).cuts
    assert np.isnan([cut.expected.value, cut.expected.error, cut.divergence.error]).all()


def test_spectators_that_are_text_are_refused() -> None:
    with pytest.raises(DataError, match="spectators are needed as real numbers; received <U2"):
        spectator_correlation([0.1, 0.9], ["mu", "pi"], [0, 1])
