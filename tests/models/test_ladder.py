"""What the ladder promises: one order and one set of sums, however many events there are and however they are cut."""

import numpy as np
import pytest
from numpy.typing import NDArray

from models.ladder import BLOCK, FEWEST_SHARED, area, falling, ladder_of
from models.scored import ScoredEvents, scored_events

Scores = NDArray[np.floating]

N_EVENTS = 3 * BLOCK + 17


def toy_scores(kind: str) -> Scores:
    normal = np.random.default_rng(1).normal(size=N_EVENTS).astype(np.float32)
    return {
        "both signs": normal,
        "many ties": np.round(normal, 1),
        "all equal": np.zeros_like(normal),
        "in a narrow range": np.float32(0.5) + np.float32(1e-5) * normal,
        "mostly in one place": np.where(np.abs(normal) < 3.0, np.float32(0.25), normal),
        "of all magnitudes": np.sign(normal) * np.float32(10.0) ** (12 * normal).clip(-44, 38),
        "in double precision": normal * (1.0 + 1e-12 * np.arange(N_EVENTS)),
    }[kind]


KINDS = [
    "both signs",
    "many ties",
    "all equal",
    "in a narrow range",
    "mostly in one place",
    "of all magnitudes",
    "in double precision",
]


def toy_events(scores: Scores, is_weighted: bool) -> ScoredEvents:
    generator = np.random.default_rng(2)
    weights = generator.gamma(2.0, size=N_EVENTS) * np.where(generator.random(N_EVENTS) < 0.2, -1.0, 1.0)
    return scored_events(scores, generator.random(N_EVENTS) < 0.4, weights if is_weighted else None)


@pytest.mark.parametrize("kind", KINDS)
def test_more_events_than_a_block_are_put_in_falling_order(kind: str) -> None:
    scores = toy_scores(kind)
    order, last = falling(scores)
    assert np.array_equal(np.sort(order), np.arange(N_EVENTS))
    assert np.array_equal(scores[order], np.sort(scores)[::-1])
    assert np.array_equal(scores[order[last]], np.unique(scores)[::-1])


def test_equal_scores_of_single_precision_keep_the_order_they_came_in() -> None:
    scores = toy_scores("many ties")
    assert np.array_equal(falling(scores)[0], np.argsort(-scores, kind="stable"))


@pytest.mark.parametrize("n_events", [1, 2, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK])
def test_every_number_of_events_is_ordered(n_events: int) -> None:
    scores = np.arange(n_events, dtype=np.float32)[::-1] - np.float32(5.0)
    order, last = falling(scores)
    assert np.array_equal(order, np.arange(n_events))
    assert np.array_equal(last, np.arange(n_events))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("is_weighted", [True, False])
def test_sums_are_those_of_the_events_at_or_above_each_score(kind: str, is_weighted: bool) -> None:
    events = toy_events(toy_scores(kind), is_weighted)
    made = ladder_of(events)
    distinct, step = np.unique(-events.scores, return_inverse=True)
    weights = np.ones(N_EVENTS) if events.weights is None else events.weights
    for sums, members in ((made.signal, events.is_signal), (made.background, ~events.is_signal)):
        expected = np.cumsum(np.bincount(step, weights * members, minlength=distinct.size))
        assert np.allclose(sums, expected, rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_area_is_the_trapezoid_area_over_all_blocks(kind: str) -> None:
    made = ladder_of(toy_events(toy_scores(kind), is_weighted=True))
    signal, background = (np.append(0.0, sums) / sums[-1] for sums in (made.signal, made.background))
    assert area(made) == pytest.approx(np.trapezoid(signal, background), rel=1e-12)


def test_shared_between_cores_the_sums_are_the_same() -> None:
    generator, n_events = np.random.default_rng(4), (FEWEST_SHARED + 1) * BLOCK + 5
    scores = np.round(generator.normal(size=n_events), 3).astype(np.float32)
    is_signal, weights = generator.random(n_events) < 0.4, generator.normal(1.0, 1.0, n_events)
    made = ladder_of(scored_events(scores, is_signal, weights))
    distinct, step = np.unique(-scores, return_inverse=True)
    for sums, members in ((made.signal, is_signal), (made.background, ~is_signal)):
        expected = np.cumsum(np.bincount(step, weights * members, minlength=distinct.size))
        assert np.allclose(sums, expected, rtol=1e-11)


def test_sums_never_fall_where_no_weight_is_negative() -> None:
    generator = np.random.default_rng(3)
    weights = 10.0 ** generator.uniform(-30.0, 3.0, size=N_EVENTS)
    made = ladder_of(scored_events(toy_scores("both signs"), np.arange(N_EVENTS) % 2, weights))
    assert np.all(np.diff(made.signal) >= 0.0)
    assert np.all(np.diff(made.background) >= 0.0)
