"""The learning rate of every step: closed forms, and what a declaration may say."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError

from models.schedules import ScheduleSpec, learning_rates, problem

RATE = 1e-3


def curve(spec: ScheduleSpec, n_epochs: int, steps_per_epoch: int, rate: float = RATE) -> NDArray[np.float32]:
    epochs = range(1, n_epochs + 1)
    return np.concatenate([learning_rates(spec, rate, epoch, n_epochs, steps_per_epoch) for epoch in epochs])


specs = st.builds(
    lambda warm_up, cosine: ScheduleSpec(warm_up_epochs=warm_up, **cosine),
    st.floats(0, 8),
    st.fixed_dictionaries({"decay": st.just("cosine"), "final": st.floats(0, 1)}) | st.just({}),
)
epochs = st.integers(1, 6)
steps = st.integers(1, 40)


def test_a_cosine_starts_at_the_full_rate_is_half_way_in_the_middle_and_ends_at_its_final_share() -> None:
    """11 steps: t = 0, 1/2 and 1 at steps 0, 5 and 10; the rate is final + (1 - final) (1 + cos(pi t)) / 2."""
    rates = curve(ScheduleSpec(decay="cosine", final=0.2), 1, 11)
    assert rates[[0, 5, 10]].tolist() == pytest.approx([RATE, 0.6 * RATE, 0.2 * RATE], rel=1e-6)


def test_a_third_of_a_cosine_leaves_three_quarters_of_the_rate() -> None:
    """cos(pi / 3) = 1/2, so (1 + 1/2) / 2 = 3/4; two thirds leave 1/4."""
    rates = curve(ScheduleSpec(decay="cosine"), 2, 5)
    assert rates[[3, 6, 9]].tolist() == pytest.approx([0.75 * RATE, 0.25 * RATE, 0], rel=1e-6)


def test_a_warm_up_is_a_straight_line_whose_last_step_has_the_full_rate() -> None:
    rates = curve(ScheduleSpec(warm_up_epochs=2), 3, 4)
    assert rates.tolist() == pytest.approx([RATE * n / 8 for n in (1, 2, 3, 4, 5, 6, 7, 8, 8, 8, 8, 8)], rel=1e-6)


def test_a_warm_up_may_be_a_fraction_of_an_epoch() -> None:
    rates = learning_rates(ScheduleSpec(warm_up_epochs=0.5), RATE, 1, 3, 4)
    assert rates.tolist() == pytest.approx([RATE / 2, RATE, RATE, RATE], rel=1e-6)


def test_a_cosine_begins_where_the_warm_up_ends() -> None:
    """10 steps of warm-up; the cosine has its start, middle and end at steps 10, 35 and 60."""
    rates = curve(ScheduleSpec(warm_up_epochs=10 / 61, decay="cosine", final=0.1), 1, 61)
    assert rates[[9, 10, 35, 60]].tolist() == pytest.approx([RATE, RATE, 0.55 * RATE, 0.1 * RATE], rel=1e-6)


def test_no_step_after_the_warm_up_jumps() -> None:
    """The steepest slope of a cosine over n steps is pi / (2 n), that of a warm-up over n steps 1 / n."""
    rates = curve(ScheduleSpec(warm_up_epochs=1, decay="cosine"), 5, 100)
    assert np.abs(np.diff(rates)).max() <= 1.001 * RATE / 100


@given(epochs, steps)
def test_nothing_declared_is_a_constant_rate(n_epochs: int, n_steps: int) -> None:
    assert set(curve(ScheduleSpec(), n_epochs, n_steps)) == {np.float32(RATE)}


@given(specs, epochs, steps)
def test_the_epochs_in_a_row_are_the_whole_curve(spec: ScheduleSpec, n_epochs: int, n_steps: int) -> None:
    n_warm_up = round(spec.warm_up_epochs * n_steps)
    in_one = spec.model_copy(update={"warm_up_epochs": n_warm_up / (n_epochs * n_steps)})
    assert np.array_equal(curve(spec, n_epochs, n_steps), curve(in_one, 1, n_epochs * n_steps))


@given(specs, epochs, steps)
def test_every_rate_lies_between_nothing_and_the_full_rate(spec: ScheduleSpec, n_epochs: int, n_steps: int) -> None:
    rates = curve(spec, n_epochs, n_steps)
    assert rates.shape == (n_epochs * n_steps,)
    assert rates.dtype == np.float32
    assert ((rates >= 0) & (rates <= np.float32(RATE))).all()
    assert (rates[: round(spec.warm_up_epochs * n_steps)] > 0).all()


@given(specs, epochs, steps)
def test_a_halved_rate_halves_every_step(spec: ScheduleSpec, n_epochs: int, n_steps: int) -> None:
    halved = curve(spec, n_epochs, n_steps, RATE / 2)
    assert np.array_equal(halved, curve(spec, n_epochs, n_steps) / 2)


def test_the_only_step_of_a_cosine_has_the_full_rate() -> None:
    assert curve(ScheduleSpec(decay="cosine"), 1, 1).tolist() == pytest.approx([RATE])


def test_a_warm_up_longer_than_the_training_rises_to_its_end() -> None:
    spec = ScheduleSpec(warm_up_epochs=4, decay="cosine")
    assert curve(spec, 2, 2).tolist() == pytest.approx([RATE * n / 8 for n in (1, 2, 3, 4)])


@pytest.mark.parametrize(
    ("declared", "told"),
    [
        ({}, ""),
        ({"warm_up_epochs": 3}, ""),
        ({"warm_up_epochs": 2.9, "decay": "cosine"}, ""),
        ({"warm_up_epochs": 3.5}, "received warm_up_epochs = 3.5 with epochs = 3: the full rate would never"),
        ({"warm_up_epochs": 4, "decay": "cosine"}, "the full rate would never be reached; allowed: at most 3"),
        ({"warm_up_epochs": 3, "decay": "cosine"}, "no step is left for the cosine; allowed: less than 3"),
    ],
)
def test_a_schedule_that_does_not_fit_the_training_is_told(declared: dict[str, Any], told: str) -> None:
    found = problem(ScheduleSpec(**declared), 3)
    assert told in found
    assert bool(told) == bool(found)


@pytest.mark.parametrize(
    ("declared", "told"),
    [
        ({"warm_up_epochs": -1}, "greater than or equal to 0"),
        ({"warm_up_epochs": float("inf")}, "finite number"),
        ({"decay": "cosine", "final": 1.1}, "less than or equal to 1"),
        ({"decay": "linear"}, "'none' or 'cosine'"),
        ({"final": 0.1}, r"received final = 0.1 without a decay that ends there; allowed: decay = 'cosine'"),
    ],
)
def test_a_schedule_that_makes_no_sense_is_refused(declared: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        ScheduleSpec(**declared)
