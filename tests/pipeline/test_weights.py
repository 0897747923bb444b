"""Two weights: one for physics, one for training."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.chunk import Chunk, chunk_of
from pipeline.errors import ColumnTypeError, DataError
from pipeline.weights import WeightSpec, physics_scale, physics_weights, training_factors


@pytest.fixture
def events() -> Chunk:
    return chunk_of({"w": [2.0, -1.0, 0.5], "pileup": [1, 1, 2], "name": ["a", "b", "c"]}, source="muons.root")


@pytest.mark.parametrize(
    ("negative", "expected"),
    [("keep", [2.0, -1.0, 1.0]), ("drop", [2.0, -1.0, 1.0]), ("absolute", [2.0, 1.0, 1.0])],
)
def test_a_weight_is_an_expression_put_through_the_policy(events: Chunk, negative: Any, expected: list[float]) -> None:
    assert physics_weights(events, "w * pileup", WeightSpec(negative=negative)).tolist() == expected


def test_the_default_weight_is_one(events: Chunk) -> None:
    assert physics_weights(events, "1", WeightSpec()).tolist() == [1.0, 1.0, 1.0]


def test_negative_weights_can_be_refused(events: Chunk) -> None:
    with pytest.raises(DataError, match=r"weight 'w' is negative in 1 events, and .* 'keep', 'drop' and 'absolute'"):
        physics_weights(events, "w", WeightSpec(negative="refuse"))


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_a_weight_that_is_not_finite_names_the_first_event(broken: float) -> None:
    chunk = Chunk({"w": np.array([1.0, broken, broken])}, 3, first_event=100, source="muons.root")
    with pytest.raises(DataError, match=r"muons\.root: weight 'w' is not finite in 2 events \(first: event 101\)"):
        physics_weights(chunk, "w", WeightSpec())


def test_a_text_is_no_weight(events: Chunk) -> None:
    with pytest.raises(ColumnTypeError, match="text"):
        physics_weights(events, "name", WeightSpec())


@given(hnp.arrays(np.float64, 3, elements=st.floats(1e-3, 1e6)), st.integers(1, 10**9))
def test_balanced_classes_have_the_same_sum_and_the_mean_weight_is_one(yields: Any, n_events: int) -> None:
    sums = training_factors(yields, n_events, WeightSpec(balance="classes")) * yields
    assert sums == pytest.approx(n_events / 3)


@given(hnp.arrays(np.float64, 3, elements=st.floats(1e-3, 1e6)), st.integers(1, 10**9))
def test_without_balance_the_ratios_of_physics_stay_and_the_mean_weight_is_one(yields: Any, n_events: int) -> None:
    factors = training_factors(yields, n_events, WeightSpec(balance="none"))
    assert len(set(factors)) == 1
    assert (factors * yields).sum() == pytest.approx(n_events)


def test_a_part_stands_for_the_whole_sample() -> None:
    scale = physics_scale(np.array([20.0, 0.0]), 0.25, np.array([100.0, 3.0]))
    assert scale.tolist() == [5.0, 4.0]


def test_weights_that_cancel_in_a_part_do_not_blow_its_scale_up() -> None:
    weights = np.array([1.0, -0.999, 1.0, 1.0])  # the first two are the part: their sum is 0.001 of 2.001
    size = np.abs(weights[:2]).sum()
    scale = physics_scale(np.array(size), 0.5, np.array(np.abs(weights).sum()))
    assert 1 <= float(scale) < 2.01
