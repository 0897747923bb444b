"""What is learnt from the training part, and the transform that follows."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.blocks import InputSpec, Variable
from pipeline.errors import DataError
from pipeline.feature_statistics import BLOCK, SAMPLE_SIZE, FeatureStatistics
from pipeline.missing import MissingSpec
from pipeline.normalise import InputTransform, NormaliseSpec, fit_transform

VALUES = st.floats(-1e6, 1e6) | st.sampled_from([np.nan, np.inf, -999.0])
MATRICES = hnp.arrays(np.float64, st.tuples(st.integers(0, 60), st.just(2)), elements=VALUES)
SENTINELS = ((-999.0,), ())


def learnt(features: Any, sentinels: Any = SENTINELS, *, chunk: int = 10**9) -> FeatureStatistics:
    statistics = FeatureStatistics(sentinels)
    identities = np.arange(len(features), dtype=np.uint64)
    for start in range(0, len(features), chunk):
        statistics.update(features[start : start + chunk], identities[start : start + chunk])
    return statistics


def fitted(features: Any, method: Any = "standard", clip: float = 100.0, **missing: Any) -> InputTransform:
    matrix = np.asarray(features, dtype=np.float64).reshape(len(features), -1)
    names, spec = tuple(f"x{i}" for i in range(matrix.shape[1])), MissingSpec.model_validate(missing)
    statistics = learnt(matrix, [spec.of(name).values for name in names])
    return fit_transform(statistics, InputSpec(inputs=names), NormaliseSpec(method=method, clip=clip), spec)


def assert_same(a: FeatureStatistics, b: FeatureStatistics) -> None:
    assert (a.n_events, a.count.tolist()) == (b.n_events, b.count.tolist())
    assert a.mean == pytest.approx(b.mean, rel=1e-9, abs=1e-6)
    assert a.squares == pytest.approx(b.squares, rel=1e-9, abs=1e-3)
    assert (a.lowest.tolist(), a.highest.tolist()) == (b.lowest.tolist(), b.highest.tolist())
    levels = np.array([0.1, 0.5])
    assert np.array_equal(a.quantiles(levels), b.quantiles(levels))


@given(MATRICES, st.integers(0, 60))
def test_merging_two_statistics_equals_learning_from_all(features: Any, cut: int) -> None:
    merged, rest = learnt(features[:cut]), learnt(features[cut:])
    merged.merge(rest)
    whole = learnt(features)
    if (whole.count > 0).all():
        assert_same(merged, whole)


@given(MATRICES, st.integers(1, 20))
def test_statistics_do_not_depend_on_the_chunk_size(features: Any, chunk: int) -> None:
    whole = learnt(features)
    if (whole.count > 0).all():
        assert_same(learnt(features, chunk=chunk), whole)


@given(hnp.arrays(np.float64, st.tuples(st.integers(2, 60), st.just(2)), elements=VALUES))
def test_moments_are_those_of_the_values_that_are_not_missing(features: Any) -> None:
    known = np.where(np.isfinite(features), features, np.nan)
    known[:, 0] = np.where(known[:, 0] == -999, np.nan, known[:, 0])
    statistics = learnt(features, chunk=7)
    for i, column in enumerate(known.T):
        values = column[~np.isnan(column)]
        assert statistics.n_missing[i] == len(column) - len(values)
        if len(values):
            assert statistics.mean[i] == pytest.approx(values.mean(), rel=1e-9, abs=1e-6)
            assert statistics.spread[i] == pytest.approx(values.std(), rel=1e-6, abs=1e-6)


@settings(max_examples=5)
@given(st.integers(0, 2**32 - 1), st.integers(20_000, 150_000))
def test_a_sample_of_many_events_does_not_depend_on_order_or_chunks(seed: int, chunk: int) -> None:
    rng = np.random.default_rng(seed)
    features, identities = rng.normal(size=(250_000, 1)), rng.integers(0, 50, 250_000).astype(np.uint64)
    order, samples = rng.permutation(250_000), []
    for rows, size in ((np.arange(250_000), 250_000), (order, chunk)):
        statistics = FeatureStatistics([()])
        for start in range(0, 250_000, size):
            statistics.update(features[rows[start : start + size]], identities[rows[start : start + size]])
        samples.append(np.sort(statistics.sample.features, axis=0))
    assert len(samples[0]) == SAMPLE_SIZE
    assert np.array_equal(*samples)


def test_a_sample_is_of_all_events_even_where_they_share_few_identities() -> None:
    run = np.repeat(np.arange(4), 60_000)
    statistics = FeatureStatistics([()])
    statistics.update((run + np.linspace(0, 0.5, len(run)))[:, None], run.astype(np.uint64))
    in_sample = np.bincount(statistics.sample.features[:, 0].astype(int))
    assert in_sample == pytest.approx(SAMPLE_SIZE / 4, rel=0.03)


def test_a_large_offset_does_not_cancel() -> None:
    statistics = learnt(np.random.default_rng(1).normal(1e9, 1.0, (100_000, 1)), [()], chunk=999)
    assert statistics.spread[0] == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize(
    ("method", "low", "middle", "high"),
    [("standard", -2.0, 0.0, 2.0), ("robust", -2.0, 0.0, 2.0), ("minmax", 0.0, 0.5, 1.0), ("none", 0.0, 4.0, 8.0)],
)
def test_each_method_puts_the_values_where_it_promises(method: Any, low: float, middle: float, high: float) -> None:
    gaussian = 4 + 2 * np.random.default_rng(5).normal(size=200_000)
    values = np.clip(gaussian, 0, 8)
    transformed = fitted(values, method).apply(np.array([[0.0], [4.0], [8.0]]))[:, 0]
    assert transformed == pytest.approx([low, middle, high], abs=0.1)


def test_the_quantile_method_makes_any_distribution_uniform() -> None:
    values = np.random.default_rng(3).exponential(size=50_000)[:, None]
    transformed = np.sort(fitted(values, "quantile").apply(values)[:, 0])
    assert transformed == pytest.approx(np.linspace(-np.sqrt(3), np.sqrt(3), 50_000), abs=0.05)
    assert np.all(np.diff(transformed) >= 0)


@pytest.mark.parametrize("method", ["standard", "robust", "minmax", "quantile", "none"])
@pytest.mark.parametrize("value", [0.1, 0.0, -1e30])
def test_a_constant_feature_is_harmless(method: Any, value: float) -> None:
    transform = fitted(np.full(10_001, value), method)
    transformed = transform.apply(np.array([[value], [value * (1 + 1e-9)], [np.nan]]))
    assert np.isfinite(transformed).all()
    if method in ("standard", "robust", "minmax"):
        assert abs(transformed[0, 0]) < 1e-6


def test_robust_falls_back_to_the_spread_where_half_of_the_values_are_equal() -> None:
    values = np.concatenate([np.zeros(80), np.full(20, 10.0)])
    assert fitted(values, "robust").scale[0] == pytest.approx(1 / values.std())


@pytest.mark.parametrize(("policy", "fill"), [("median", 2.0), ("mean", 4.0), (-5.0, -5.0)])
def test_the_policy_says_what_takes_the_place_of_a_missing_value(policy: Any, fill: float) -> None:
    transform = fitted([1.0, 2.0, 9.0, np.nan, -999.0], "none", policy=policy, values=[-999.0])
    assert transform.apply(np.array([[np.nan], [-999.0], [np.inf], [3.0]]))[:, 0].tolist() == [fill, fill, fill, 3.0]


def test_flags_are_appended_for_features_that_miss_values_in_training() -> None:
    transform = fitted([[1.0, 1.0], [2.0, np.nan], [3.0, 3.0]], flag=True)
    assert transform.input_names == ("x0", "x1", "x1 is missing")
    assert transform.apply(np.array([[np.nan, np.nan], [1.0, 1.0]]))[:, 2].tolist() == [1.0, 0.0]


def test_an_override_holds_for_its_feature_alone() -> None:
    overrides = {"x1": {"policy": 7.0, "values": [-1.0], "flag": True}}
    transform = fitted([[1.0, -1.0], [-1.0, 4.0]], "none", overrides=overrides)
    assert transform.apply(np.array([[-1.0, -1.0]])).tolist() == [[-1.0, 7.0, 1.0]]


def test_values_far_away_are_clipped() -> None:
    transform = fitted([0.0, 2.0], "standard", clip=10.0)
    assert transform.apply(np.array([[1e30], [-1e30]]))[:, 0].tolist() == [10.0, -10.0]


def test_a_feature_without_any_value_is_refused() -> None:
    with pytest.raises(DataError, match="feature 'x0' has no value in any of the 2 training events"):
        fitted([np.nan, np.nan])


def test_the_transform_knows_which_features_may_not_be_missing() -> None:
    assert fitted([1.0, 2.0], policy="refuse").refused == {0: "x0"}


def test_a_feature_too_rare_for_the_sample_gets_its_mean() -> None:
    values = np.full(1_000_000, np.nan)
    values[:2] = [2.0, 4.0]
    transform = fitted(values, "robust")
    assert np.isfinite([*transform.fill, *transform.offset, *transform.scale]).all()


def test_the_transform_survives_json_bit_for_bit() -> None:
    features = np.random.default_rng(2).normal(size=(1000, 3)) / 3
    transform = fitted(features, "quantile", values=[-99.99], flag=True)
    again = InputTransform.model_validate_json(transform.model_dump_json())
    assert np.array_equal(again.apply(features), transform.apply(features))


def test_no_events_transform_into_no_events() -> None:
    assert fitted([1.0, 2.0]).apply(np.empty((0, 1))).shape == (0, 1)


def test_one_event_is_transformed_as_it_is_among_many() -> None:
    features = np.random.default_rng(2).normal(size=(BLOCK + 5, 2))
    transform = fitted(features, "quantile")
    assert np.array_equal(transform.apply(features)[-1:], transform.apply(features[-1:]))


JETS = InputSpec.model_validate({"inputs": ["met"], "collections": {"jets": {"inputs": ["pt", "eta"], "length": 3}}})


def draw_jets(n_events: int = 500) -> Any:
    """Up to three jets an event, falling in pt; a tenth of the eta are missing."""
    rng = np.random.default_rng(4)
    jets = np.sort(rng.exponential(30.0, (n_events, 3, 3)), axis=1)[:, ::-1]
    jets[..., 1] = np.where(rng.random((n_events, 3)) < 0.1, np.nan, rng.normal(size=(n_events, 3)))
    jets[..., 2] = np.arange(3) < rng.integers(0, 4, n_events)[:, None]
    jets[jets[..., 2] == 0, :2] = np.nan
    return np.column_stack([rng.normal(size=n_events), jets.reshape(n_events, 9)])


def learnt_jets(features: Any, missing: MissingSpec, chunk: int = 10**9) -> FeatureStatistics:
    statistics = FeatureStatistics([policy.values for policy in missing.of_columns(JETS)], JETS.variables)
    for start in range(0, len(features), chunk):
        statistics.update(features[start : start + chunk], np.arange(len(features), dtype=np.uint64)[start:][:chunk])
    return statistics


def fitted_jets(method: Any, **missing: Any) -> tuple[Any, InputTransform]:
    features, spec = draw_jets(), MissingSpec.model_validate(missing)
    return features, fit_transform(learnt_jets(features, spec), JETS, NormaliseSpec(method=method), spec)


@pytest.mark.parametrize("chunk", [1, 7, 10**9])
def test_elements_share_what_is_learnt_and_padding_has_no_say(chunk: int) -> None:
    features = draw_jets()
    found = learnt_jets(features, MissingSpec(), chunk)
    there = features[:, 1:].reshape(-1, 3)[features[:, 3::3].ravel() == 1]
    assert found.n_values.tolist() == [500, len(there), len(there)]
    assert found.n_missing.tolist() == [0, 0, np.isnan(there[:, 1]).sum()]
    assert found.mean[1:] == pytest.approx(np.nanmean(there[:, :2], axis=0))
    assert found.spread[1:] == pytest.approx(np.nanstd(there[:, :2], axis=0))
    assert found.lowest[1:].tolist() == np.nanmin(there[:, :2], axis=0).tolist()
    assert found.quantiles(np.array([0.3]))[0, 1:] == pytest.approx(np.nanquantile(there[:, :2], 0.3, axis=0))


@pytest.mark.parametrize("method", ["standard", "robust", "minmax", "quantile", "none"])
def test_presence_is_handed_on_as_it_is_whatever_the_method(method: Any) -> None:
    features, transform = fitted_jets(method, values=[0.0, 1.0], flag=True)
    found = transform.apply(features)
    assert transform.blocks == JETS.blocks
    np.testing.assert_array_equal(found[:, 3:10:3], features[:, 3::3])
    assert np.isfinite(found).all()


def test_elements_that_are_equal_are_equal_inputs_wherever_they_stand() -> None:
    _, transform = fitted_jets("quantile")
    found = transform.apply(np.array([[0.0, *[25.0, 0.5, 1.0] * 3]]))
    assert found[0, 1:4].tolist() == found[0, 4:7].tolist() == found[0, 7:].tolist()


def test_an_element_has_no_flag_since_that_would_tell_of_those_that_are_not_there() -> None:
    _, transform = fitted_jets("standard", flag=True)
    assert not [name for name in transform.input_names if name.endswith("is missing") and name.startswith("jets")]


def test_large_events_are_sampled_less() -> None:
    statistics = FeatureStatistics([()] * 3200, [Variable("image", "image", range(3200))])
    statistics.update(np.ones((6000, 3200)), np.arange(6000, dtype=np.uint64))
    assert len(statistics.sample.features) == SAMPLE_SIZE * 128 // 3200
