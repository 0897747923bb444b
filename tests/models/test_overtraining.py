"""What the overtraining report promises: distances by brute force, verdicts that know chance and what matters."""

from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import ks_2samp

from models.overtraining import ScoreDistance, Verdict, auc_gap, learning_curve, overtraining
from models.scored import Measured, ScoredEvents, scored_events
from pipeline.errors import DataError, DeclarationError

Array = NDArray[Any]


def part(n_events: int, seed: int, *, separation: float = 1.5, negative: float | None = None) -> ScoredEvents:
    """Gaussian scores, every other event signal; weights of 1, or -1 for a share of the events."""
    generator = np.random.default_rng(seed)
    labels = np.arange(n_events) % 2
    scores = (generator.normal(size=n_events) + separation * labels).astype(np.float32)
    weights = None if negative is None else np.where(generator.random(n_events) < negative, -1.0, 1.0)
    return scored_events(scores, labels, weights)


def verdicts(n_events: int, n_seeds: int) -> list[Verdict]:
    """Verdicts on parts that do not differ."""
    return [overtraining(part(n_events, seed), part(n_events, 1_000 + seed)).verdict for seed in range(n_seeds)]


@st.composite
def parts_with_ties(draw: st.DrawFn) -> tuple[ScoredEvents, ScoredEvents]:
    """Two small parts of few distinct scores, some weights negative, their sums positive."""

    def one() -> ScoredEvents:
        n_events = draw(st.integers(2, 20))
        scores = draw(st.lists(st.integers(-3, 3), min_size=n_events, max_size=n_events))
        weights = np.array(draw(st.lists(st.integers(-4, 12), min_size=n_events, max_size=n_events))) / 4.0
        # Two sturdy events, one of each class, so that every sum of weights is positive.
        labels = [0, 1, *(np.arange(n_events) % 2)]
        return scored_events(np.array([0, 0, *scores], dtype=float), labels, [25, 25, *weights])

    return one(), one()


def efficiency(threshold: float, events: ScoredEvents, is_signal: bool) -> Measured:
    """The weighted share of a class at or above a threshold, with the error of a weighted fraction."""
    members = events.is_signal == is_signal
    weights, passes = events.weights_where(members), events.scores[members] >= threshold
    value = weights[passes].sum() / weights.sum()
    return Measured(value, np.sqrt((weights**2 * (passes - value) ** 2).sum()) / weights.sum())


@given(parts_with_ties())
def test_distance_is_the_largest_difference_of_efficiencies_by_brute_force(
    parts: tuple[ScoredEvents, ScoredEvents],
) -> None:
    train, test = parts
    found = overtraining(train, test)
    for is_signal, distance in ((True, found.signal), (False, found.background)):
        thresholds = np.unique(np.concatenate([events.scores for events in parts]))
        differences = [
            efficiency(threshold, train, is_signal).value - efficiency(threshold, test, is_signal).value
            for threshold in thresholds
        ]
        assert distance.value == pytest.approx(np.abs(differences).max(), abs=1e-12)


def test_difference_and_its_error_are_those_of_the_efficiencies_at_its_threshold() -> None:
    train, test = part(600, 1, separation=2.0, negative=0.1), part(400, 2, negative=0.1)
    found = overtraining(train, test).signal
    one, other = (efficiency(found.threshold, events, True) for events in (train, test))
    assert found.difference.value == pytest.approx(one.value - other.value)
    assert found.difference.error == pytest.approx(np.hypot(one.error, other.error))


def test_distance_without_weights_is_that_of_scipy() -> None:
    train, test = part(500, 1), part(300, 2, separation=1.3)
    expected = ks_2samp(train.scores[train.is_signal], test.scores[test.is_signal])
    found = overtraining(train, test).signal
    assert found.value == pytest.approx(expected.statistic)
    assert found.p_value == pytest.approx(expected.pvalue, rel=0.2)


def test_what_chance_gives_is_kolmogorovs_distribution() -> None:
    """250 and 250 events: N = 125; mean sqrt(pi/2) ln 2 = 0.8687, 99 % quantile 1.6276, each over sqrt(125)."""
    found = overtraining(part(500, 1), part(500, 2)).signal
    assert found.effective_events == pytest.approx(125.0, rel=0.01)
    assert found.expected == pytest.approx(0.8687 / np.sqrt(125.0), rel=0.01)
    assert found.chance == pytest.approx(1.6276 / np.sqrt(125.0), rel=0.01)
    assert found.at_least == max(0.0, found.value - found.chance)


def test_chance_is_that_of_the_largest_variance_by_brute_force() -> None:
    """Both parts' efficiencies are taken for one, e, weighted by their effective numbers of events."""
    parts = part(600, 1, separation=2.5, negative=0.1), part(200, 2, negative=0.2)
    variances = []
    for threshold in np.concatenate([events.scores for events in parts]):
        found = [(e.weights_where(e.is_signal), e.scores[e.is_signal] >= threshold) for e in parts]
        precision = [w.sum() ** 2 / (w @ w) for w, _ in found]
        mean = np.average([w[passes].sum() / w.sum() for w, passes in found], weights=precision)
        variances.append(sum((w**2 * (passes - mean) ** 2).sum() / w.sum() ** 2 for w, passes in found))
    assert overtraining(*parts).signal.effective_events == pytest.approx(0.25 / max(variances))


def test_small_parts_that_do_not_differ_are_rarely_told_apart() -> None:
    """Chance allows 1 % for each class and 5 % for the AUC."""
    assert verdicts(1_000, 200).count("none seen") >= 175


def test_parts_of_a_million_events_that_do_not_differ_are_not_told_apart_and_never_harmful() -> None:
    found = verdicts(1_000_000, 4)
    assert found.count("none seen") >= 3
    assert "harmful" not in found


def test_a_tiny_difference_in_a_million_events_is_seen_but_harmless() -> None:
    """A shift by 0.02 moves a Gaussian's efficiencies by at most 0.02 / sqrt(2 pi) = 0.008."""
    found = overtraining(part(1_000_000, 1, separation=1.52), part(1_000_000, 2))
    assert (found.signal.verdict, found.background.verdict) == ("seen but harmless", "none seen")
    assert found.verdict == "seen but harmless"
    assert found.signal.difference.value == pytest.approx(0.02 / np.sqrt(2.0 * np.pi), abs=0.004)


@pytest.mark.parametrize("negative", [None, 0.1])
def test_a_large_difference_is_harmful_also_with_negative_weights(negative: float | None) -> None:
    found = overtraining(part(20_000, 1, separation=2.0, negative=negative), part(20_000, 2, negative=negative))
    assert found.verdict == found.signal.verdict == found.auc.verdict == "harmful"
    assert found.signal.difference.value > 0.1
    assert found.auc.gap.value > 0.0


def test_what_matters_is_up_to_the_tolerance() -> None:
    train, test = part(20_000, 1, separation=2.0), part(20_000, 2)
    assert overtraining(train, test, efficiency_tolerance=0.5, auc_tolerance=0.5).verdict == "seen but harmless"


def test_few_events_cannot_see_the_tolerance_and_say_so() -> None:
    assert not overtraining(part(100, 1), part(100, 2)).signal.can_see_the_tolerance
    assert overtraining(part(50_000, 1), part(50_000, 2)).signal.can_see_the_tolerance


@pytest.mark.parametrize("case", ["independent", "negative", "dependent"])
def test_p_values_are_honest_whatever_the_weights(case: str) -> None:
    """The usual N of effective numbers would give 16 % below 0.05 where large weights lie at low scores."""

    def weighted(seed: int) -> ScoredEvents:
        events, random = part(2_000, seed), np.random.default_rng(seed)
        heavy = np.where((events.scores < 0.2) & (random.random(2_000) < 0.1), 30.0, 1.0)
        sign = np.where(random.random(2_000) < 0.2, -1.0, 1.0)
        weights = {"independent": random.gamma(2.0, size=2_000), "negative": sign, "dependent": heavy}[case]
        return replace(events, weights=weights)

    p_values = [overtraining(weighted(seed), weighted(5_000 + seed)).signal.p_value for seed in range(250)]
    assert 0.005 < np.mean(np.array(p_values) < 0.05) < 0.09


@given(parts_with_ties())
def test_monotone_maps_of_the_score_change_nothing(parts: tuple[ScoredEvents, ScoredEvents]) -> None:
    before = overtraining(*parts)
    after = overtraining(*(replace(events, scores=np.exp(events.scores / 2.0)) for events in parts))
    for one, other in ((before.signal, after.signal), (before.background, after.background)):
        assert other.value == pytest.approx(one.value, abs=1e-12)
        assert other.effective_events == pytest.approx(one.effective_events)
        assert other.p_value == pytest.approx(one.p_value)
    assert after.auc.gap.value == pytest.approx(before.auc.gap.value, abs=1e-12)


def test_the_threshold_moves_with_the_map() -> None:
    parts = part(200, 1), part(200, 2)
    mapped = overtraining(*(replace(events, scores=np.exp(events.scores)) for events in parts))
    assert mapped.signal.threshold == pytest.approx(np.exp(overtraining(*parts).signal.threshold), rel=1e-6)


def test_swapping_the_parts_turns_the_signs_alone() -> None:
    train, test = part(900, 1, negative=0.1), part(500, 2, separation=1.2, negative=0.1)
    one, other = overtraining(train, test), overtraining(test, train)
    assert other.signal.difference.value == pytest.approx(-one.signal.difference.value)
    assert other.auc.gap.value == pytest.approx(-one.auc.gap.value)
    assert other.signal.p_value == pytest.approx(one.signal.p_value)
    assert other.verdict == one.verdict


def test_a_part_does_not_differ_from_itself() -> None:
    events = part(1_000, 1, negative=0.2)
    found = overtraining(events, events)
    assert (found.signal.value, found.signal.p_value, found.verdict) == (0.0, 1.0, "none seen")


def test_constant_scores_do_not_differ_not_even_by_rounding() -> None:
    found = overtraining(*(replace(part(n, 1), scores=np.full(n, 0.5)) for n in (200_000, 2_000_000)))
    assert (found.signal.value, found.signal.p_value, found.verdict) == (0.0, 1.0, "none seen")


@pytest.mark.parametrize(
    ("train", "test", "expected"),
    [
        (Measured(0.90, 0.003), Measured(0.895, 0.004), "none seen"),
        (Measured(0.90, 0.0003), Measured(0.895, 0.0004), "seen but harmless"),
        (Measured(0.90, 0.003), Measured(0.87, 0.004), "harmful"),
        (Measured(0.87, 0.003), Measured(0.90, 0.004), "harmful"),
        (Measured(0.90, 0.03), Measured(0.87, 0.04), "none seen"),
        (Measured(0.90, np.nan), Measured(0.50, 0.01), "none seen"),
    ],
)
def test_auc_gap_counts_where_it_is_beyond_two_errors_and_the_tolerance(
    train: Measured, test: Measured, expected: Verdict
) -> None:
    found = auc_gap(train, test)
    assert found.verdict == expected
    assert found.gap.value == pytest.approx(train.value - test.value)
    assert found.gap.error == pytest.approx(np.hypot(train.error, test.error), nan_ok=True)


def test_a_result_is_numbers_and_words() -> None:
    found = asdict(overtraining(part(100, 1), part(100, 2)))
    assert set(found) == {"signal", "background", "auc", "verdict"}
    distance = found["signal"]
    assert isinstance(ScoreDistance(**distance), ScoreDistance)
    assert {type(value) for value in distance.values()} == {dict, float, str}


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ([1.0, 1.0, 1.0, -1.0], [1.0, 1.0, 1.0, 1.0], "the train part's signal weights add up to 0; an efficiency"),
        ([1.0, 1.0, 1.0, 1.0], [-2.0, 1.0, 0.0, 1.0], "the test part's background weights add up to -2; an"),
        ([-1.0, -1.0, 0.0, 0.0], [0.0] * 4, "train part's signal .* train part's back.* test part's sig.* test part's"),
    ],
)
def test_a_class_without_a_positive_sum_of_weights_is_refused_by_name(
    train: list[float], test: list[float], message: str
) -> None:
    parts = [scored_events([0.1, 0.9, 0.2, 0.8], [0, 1, 0, 1], weights) for weights in (train, test)]
    with pytest.raises(DataError, match=message):
        overtraining(*parts)


def test_a_part_without_a_class_is_refused_before_it_gets_here() -> None:
    with pytest.raises(DataError, match="no signal among 2 events"):
        overtraining(scored_events([0.1, 0.2], [0, 0]), part(100, 1))


@pytest.mark.parametrize("tolerance", [-0.1, float("nan"), float("inf")])
def test_a_tolerance_that_is_none_is_refused(tolerance: float) -> None:
    with pytest.raises(DeclarationError, match=r"tolerance .* is not a number from 0 upward"):
        overtraining(part(100, 1), part(100, 2), efficiency_tolerance=tolerance)
    with pytest.raises(DeclarationError, match=r"tolerance .* is not a number from 0 upward"):
        auc_gap(Measured(0.9, 0.1), Measured(0.8, 0.1), tolerance=tolerance)


def history(validation: list[float] | Array, gap: float = 0.05) -> list[dict[str, float]]:
    """Epochs from 1, the training loss being lower by ``gap`` times the epoch."""
    return [
        {"epoch": epoch, "loss": loss - gap * epoch, "validation_loss": loss}
        for epoch, loss in enumerate(validation, start=1)
    ]


def test_learning_curve_by_hand() -> None:
    """Best at epoch 2; after it 0.5, 0.6, 0.8: slope 0.15, scatter squared 0.005/3, error sqrt(0.005/3/2)."""
    found = learning_curve(history([1.0, 0.4, 0.5, 0.6, 0.8]))
    assert (found.best_epoch, found.epochs_after_best) == (2, 3)
    assert [found.gap, found.fall] == pytest.approx([2 * 0.05, 0.6])
    assert found.slope_after_best.value == pytest.approx(0.15)
    assert found.slope_after_best.error == pytest.approx(np.sqrt(0.005 / 3.0 / 2.0))
    assert found.slope_at_end.value == pytest.approx(-0.02)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        (lambda epoch: 1.0 - 0.02 * epoch, "falling"),
        (lambda epoch: np.exp(-epoch / 20.0), "falling"),
        (lambda epoch: np.exp(-epoch / 3.0), "level"),
        (lambda epoch: np.where(epoch == 0.0, 1.0, 0.5), "level"),
        (lambda epoch: np.exp(-epoch / 3.0) + 0.01 * epoch, "rising"),
        (lambda epoch: 0.5 + 0.01 * epoch, "rising"),
    ],
)
@pytest.mark.parametrize("noise", [0.0, 1e-4])
def test_ending_of_a_learning_curve(shape: Any, expected: str, noise: float) -> None:
    epochs = np.arange(30.0)
    losses = shape(epochs) + np.random.default_rng(1).normal(scale=noise, size=epochs.size)
    assert learning_curve(history(losses)).ending == expected


def test_noise_about_a_plateau_is_seldom_taken_for_a_trend() -> None:
    random = np.random.default_rng(2)
    curves = [np.exp(-np.arange(40) / 3.0) + random.normal(scale=0.02, size=40) for _ in range(200)]
    assert sum(learning_curve(history(curve)).ending == "level" for curve in curves) > 160


@pytest.mark.parametrize(("losses", "best"), [([0.7], 1), ([0.7, 0.6], 2), ([0.6, 0.7], 1)])
def test_too_few_epochs_show_no_trend(losses: list[float], best: int) -> None:
    found = learning_curve(history(losses))
    assert (found.best_epoch, found.ending) == (best, "level")
    assert np.isnan(found.slope_at_end.error)


@pytest.mark.parametrize(
    ("epochs", "message"),
    [
        ([], "a learning curve needs at least one epoch"),
        ([{"epoch": 3, "loss": 0.1}], r"no finite loss and validation_loss in 1 of 1 epochs \(the first is 3\)"),
        (history([0.5, np.nan, 0.4]), r"in 1 of 3 epochs \(the first is 2\)"),
    ],
)
def test_a_history_without_losses_is_refused(epochs: list[dict[str, float]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        learning_curve(epochs)
