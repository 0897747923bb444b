"""What the bootstrap promises: exact replicas, the errors of the formulas, one answer from any number of threads."""

import sys
from dataclasses import astuple
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from models.bootstrap import (
    BAND,
    Bootstrapped,
    Counts,
    RocBand,
    background_efficiencies,
    bootstrap_replicas,
    bootstrap_roc,
)
from models.metrics import auc_difference, auc_with_error, weighted_auc, weighted_roc
from models.scored import scored_events
from pipeline.errors import DataError, DeclarationError

Array = NDArray[Any]

POINTS = np.array([0.003, 0.0301, 0.1717, 0.5003, 0.987])
"""Such that none is the background efficiency of a threshold."""


def seeded(seed: int = 5) -> np.random.Generator:
    return np.random.default_rng(seed)


def toy(n_events: int = 600, negative: float = 0.0, decimals: int = 1) -> tuple[Array, Array, Array]:
    """Scores (with ties, of one decimal), labels, and weights of which a share is negative."""
    generator = np.random.default_rng(1)
    labels = (generator.random(n_events) < 0.4).astype(np.int64)
    scores = np.round(generator.normal(size=n_events) + labels, decimals)
    weights = generator.gamma(2.0, size=n_events) * np.where(generator.random(n_events) < negative, -1.0, 1.0)
    return scores, labels, weights


def curve_at(points: Array, scores: Array, labels: Array, weights: Array) -> Array:
    roc = weighted_roc(scores, labels, weights)
    return np.interp(points, np.maximum.accumulate(roc.fpr), roc.tpr)


@pytest.mark.parametrize("negative", [0.0, 0.2])
@pytest.mark.parametrize("decimals", [1, 9])
def test_a_replica_is_the_sample_with_each_weight_times_its_count(negative: float, decimals: int) -> None:
    scores, labels, weights = toy(negative=negative, decimals=decimals)

    def by_definition(counts: Counts) -> Array:
        replica = scores, labels, counts * weights
        return np.append(weighted_auc(*replica), curve_at(POINTS, *replica))

    expected = bootstrap_replicas(by_definition, 600, random=seeded(), n_replicas=60)
    band = bootstrap_roc(scores, labels, weights, random=seeded(), n_replicas=60, at=POINTS)
    assert band.auc_replicas == pytest.approx(expected[:, 0], abs=1e-12)
    assert band.auc.error == pytest.approx(expected[:, 0].std(ddof=1), rel=1e-9)
    assert [*band.low, *band.high] == pytest.approx(np.quantile(expected[:, 1:], BAND, axis=0).ravel(), abs=1e-10)


@pytest.mark.parametrize("negative", [0.0, 0.2])
def test_the_value_and_the_curve_are_those_of_the_full_sample(negative: float) -> None:
    scores, labels, weights = toy(negative=negative)
    band = bootstrap_roc(scores, labels, weights, random=seeded(), n_replicas=2, at=POINTS)
    assert band.auc.value == weighted_auc(scores, labels, weights)
    assert band.signal_efficiency == pytest.approx(curve_at(POINTS, scores, labels, weights), abs=1e-10)


def test_the_band_is_between_the_quantiles_of_one_gaussian_standard_deviation() -> None:
    assert stats.norm.ppf(BAND) == pytest.approx([-1.0, 1.0])


def test_at_a_jump_of_the_curve_its_upper_end_counts() -> None:
    band = bootstrap_roc([5, 4, 3, 2, 1], [1, 0, 1, 0, 1], random=seeded(), n_replicas=2, at=[0.0, 0.25, 0.5, 1.0])
    assert band.signal_efficiency == pytest.approx([1 / 3, 1 / 3, 2 / 3, 1.0])


def test_counts_have_the_poisson_distribution_of_mean_one() -> None:
    """Also far out: counts of eight and more, one in 100,000, are fewer than one entry of a table of 16 bits."""

    def histogram(counts: Counts) -> Array:
        return np.bincount(np.minimum(counts, 9), minlength=10)

    found = bootstrap_replicas(histogram, 1_000_000, random=seeded(), n_replicas=50).sum(axis=0)
    expected = 5e7 * np.append(stats.poisson.pmf(np.arange(9), 1.0), stats.poisson.sf(8, 1.0))
    assert stats.chisquare(found, expected, sum_check=False).pvalue > 1e-3


def test_counts_of_different_events_and_replicas_are_independent() -> None:
    counts = bootstrap_replicas(np.copy, 100_000, random=seeded(), n_replicas=2)
    pairs = {"replicas": (counts[0], counts[1]), "neighbours": (counts[0, 1:], counts[0, :-1])}
    correlations = {name: float(np.mean((one - 1.0) * (other - 1.0))) for name, (one, other) in pairs.items()}
    assert correlations == pytest.approx({"replicas": 0.0, "neighbours": 0.0}, abs=5 / np.sqrt(100_000))


@pytest.mark.parametrize("n_threads", [1, 2, 5])
def test_replicas_do_not_depend_on_the_number_of_threads(n_threads: int) -> None:
    weights = np.arange(1_000.0)
    sums = bootstrap_replicas(lambda counts: counts @ weights, 1_000, random=seeded(), n_replicas=40)
    threaded = bootstrap_replicas(
        lambda counts: counts @ weights, 1_000, random=seeded(), n_replicas=40, n_threads=n_threads
    )
    assert threaded.tolist() == sums.tolist()


def test_threads_do_not_disturb_each_other() -> None:
    scores, labels, weights = toy(40_000, decimals=9)

    def auc(counts: Counts) -> float:
        return weighted_auc(scores, labels, counts * weights)

    expected = bootstrap_replicas(auc, 40_000, random=seeded(), n_replicas=60, n_threads=1)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        band = bootstrap_roc(scores, labels, weights, random=seeded(), n_replicas=60, at=POINTS)
    finally:
        sys.setswitchinterval(interval)
    assert band.auc_replicas == pytest.approx(expected, abs=1e-11)


@pytest.mark.parametrize("negative", [None, 0.0, 0.1])
def test_errors_agree_with_those_of_the_formulas(negative: float | None) -> None:
    scores, labels, weights = toy(4_000, negative=negative or 0.0, decimals=2)
    events = (labels, None if negative is None else weights)
    auc = bootstrap_roc(scores, *events, random=seeded()).auc
    assert (auc.value, auc.error) == pytest.approx(astuple(auc_with_error(scores, *events)), rel=0.06)


def test_the_error_of_a_paired_difference_agrees_with_that_of_the_formula() -> None:
    scores, labels, weights = toy(2_000, negative=0.1, decimals=2)
    noisier = scores + np.random.default_rng(2).normal(scale=0.5, size=scores.size)

    def difference(counts: Counts) -> float:
        return weighted_auc(scores, labels, counts * weights) - weighted_auc(noisier, labels, counts * weights)

    replicas = bootstrap_replicas(difference, 2_000, random=seeded(), n_replicas=400)
    expected = auc_difference(scores, noisier, labels, weights)
    assert (replicas.mean(), replicas.std(ddof=1)) == pytest.approx(astuple(expected), rel=0.08)


@pytest.mark.parametrize("negative", [0.0, 0.1])
def test_the_band_contains_the_curve_and_narrows_with_more_events(negative: float) -> None:
    few, many = (
        bootstrap_roc(*toy(n, negative, 9), random=seeded(), n_replicas=200, at=POINTS[2:4]) for n in (1_000, 16_000)
    )
    for band in (few, many):
        assert np.all((band.low < band.signal_efficiency) & (band.signal_efficiency < band.high))
    assert (few.high - few.low) / (many.high - many.low) == pytest.approx([4.0] * 2, rel=0.3)


def test_the_points_begin_where_one_effective_background_event_is_left() -> None:
    events = scored_events(np.arange(1_500), np.arange(1_500) % 3 == 0, np.full(1_500, 0.2))
    points = background_efficiencies(events)
    assert (points[0], points[-1]) == pytest.approx((1 / 1_000, 1.0))
    assert np.count_nonzero(points < 0.01) > 30
    assert np.all(np.diff(points) > 0.0)
    assert np.diff(points).max() <= 0.01 + 1e-9


def test_equal_generators_give_equal_bands_and_the_next_draw_another() -> None:
    generator = seeded()
    bands = [bootstrap_roc(*toy(), random=one, n_replicas=20) for one in (generator, seeded(), generator)]
    assert listed(bands[0]) == listed(bands[1])
    assert bands[0].auc.error != bands[2].auc.error


def listed(band: RocBand) -> list[list[float]]:
    return [band.auc_replicas.tolist(), band.low.tolist(), band.high.tolist()]


@pytest.mark.parametrize("weight", [0.3, 1e-30, 1e30])
def test_equal_weights_change_nothing(weight: float) -> None:
    scores, labels, _ = toy()
    plain, weighted = (
        bootstrap_roc(scores, labels, weights, random=seeded(), n_replicas=50)
        for weights in (None, np.full(600, weight))
    )
    assert astuple(weighted.auc) == pytest.approx(astuple(plain.auc), rel=1e-9)
    assert weighted.signal_efficiency == pytest.approx(plain.signal_efficiency, abs=1e-8)
    assert [*weighted.low, *weighted.high] == pytest.approx([*plain.low, *plain.high], abs=1e-8)


def test_replicas_without_a_class_are_left_out_and_counted() -> None:
    labels = np.arange(40) < 6
    is_empty = bootstrap_replicas(lambda counts: not counts[labels].any(), 40, random=seeded())
    band = bootstrap_roc(np.sin(np.arange(40)), labels, random=seeded())
    assert 0 < band.auc.n_left_out == is_empty.sum() <= 10
    assert band.auc_replicas.shape == (1_000 - band.auc.n_left_out,)
    assert np.all(np.isfinite([band.auc.error, *band.low, *band.high]))


@pytest.mark.parametrize(
    ("weights", "expected"),
    [(None, np.exp(-1.0)), ([1.0, 2.0, 2.0, -1.0, -1.0, -1.0], 0.48)],
    ids=["one signal event", "weights that nearly cancel"],
)
def test_nothing_is_estimated_where_many_replicas_are_left_out(weights: list[float] | None, expected: float) -> None:
    scores, labels = [6, 5, 4, 3, 2, 1], [1, 0, 0, 0, 0, 0]
    band = bootstrap_roc(scores, labels, weights, random=seeded())
    assert np.all(np.isnan([band.auc.error, *band.low, *band.high]))
    assert band.auc.value == 1.0
    assert band.auc.n_left_out / 1_000 == pytest.approx(expected, abs=0.2)


def test_weights_that_cancel_but_for_rounding_are_no_positive_sum() -> None:
    """0.1 + 0.2 - 0.3 is 6e-17 in double precision; an efficiency over that would be 1e16."""
    band = bootstrap_roc([5, 4, 3, 2, 1], [0, 0, 1, 0, 0], [0.1, 0.2, 1.0, -0.3, 0.3], random=seeded())
    assert np.abs(band.auc_replicas).max() < 1e3


def test_perfect_separation_has_no_spread() -> None:
    band = bootstrap_roc(np.arange(100), np.arange(100) >= 50, random=seeded(), n_replicas=20)
    assert band.auc == Bootstrapped(1.0, 0.0, n_left_out=0)
    assert set(np.concatenate([band.low, band.high])) == {1.0}


@pytest.mark.parametrize("n_replicas", [1, 0, -5])
def test_one_replica_has_no_spread(n_replicas: int) -> None:
    with pytest.raises(DeclarationError, match=rf"{n_replicas} replicas have no spread; at least 2 are needed"):
        bootstrap_roc(*toy(), random=seeded(), n_replicas=n_replicas)


@pytest.mark.parametrize("at", [[0.1, 1.2], [-0.1], [np.nan], [], 0.5, [[0.1]]])
def test_points_that_are_no_efficiencies_are_refused(at: Any) -> None:
    with pytest.raises(DeclarationError, match="background efficiencies are a list of numbers from 0 to 1; received"):
        bootstrap_roc(*toy(), random=seeded(), at=at)


def test_bad_events_are_refused_as_by_the_metrics() -> None:
    with pytest.raises(DataError, match="no signal among 2 events"):
        bootstrap_roc([1, 2], [0, 0], random=seeded())
    with pytest.raises(DataError, match="signal weights add up to -1"):
        bootstrap_roc([1, 2], [1, 0], [-1.0, 1.0], random=seeded())
