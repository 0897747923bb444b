"""What the leader board promises: the ranking, p-values that know how often was looked, and the folds."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.comparison import compare, compare_at, compare_folds, compare_seeds
from models.leader_board import holm, leader_board, ranking
from models.metrics import auc_with_error, weighted_auc
from models.yardsticks import YARDSTICKS, Truth
from pipeline.errors import DataError, DeclarationError

Array = NDArray[Any]


def toy(n_events: int, seed: int, *, handicap: float = 0.0, negative: float = 0.0) -> tuple[Array, Array, Array, Array]:
    """Two like scores of equal worth (b may have more noise), labels, and weights of which a share is negative."""
    random = np.random.default_rng(seed)
    labels = np.arange(n_events) % 2
    shared = random.normal(size=n_events) + 1.5 * labels
    a, b = (shared + random.normal(scale=scale, size=n_events) for scale in (0.6, 0.6 + handicap))
    weights = random.gamma(2.0, size=n_events) * np.where(random.random(n_events) < negative, -1.0, 1.0)
    return a, b, labels, weights


def test_holm_by_hand() -> None:
    """Sorted 0.01, 0.02, 0.03, 0.3 times 4, 3, 2, 1: 0.04, 0.06, 0.06 (it may not fall), 0.3."""
    assert holm([0.03, 0.01, 0.3, 0.02]) == pytest.approx([0.06, 0.04, 0.3, 0.06])
    assert holm([0.03, 0.01, 0.3], n_tests=5) == pytest.approx([0.12, 0.05, 0.9])
    assert holm([0.5, 0.9, 0.8]) == pytest.approx([1.0, 1.0, 1.0])


def test_holm_leaves_what_was_not_tested_out_of_the_count() -> None:
    assert holm([0.02, np.nan, 0.01]) == pytest.approx([0.02, np.nan, 0.02], nan_ok=True)
    assert holm([]).size == 0


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=20))
def test_holm_keeps_the_order_and_lies_between_no_correction_and_bonferroni(p_values: list[float]) -> None:
    plain, adjusted = np.array(p_values), holm(p_values)
    assert (adjusted >= plain).all()
    assert (adjusted <= np.minimum(plain * plain.size, 1.0)).all()
    assert (np.diff(adjusted[np.argsort(plain)]) >= 0.0).all()


def test_holm_refuses_what_are_no_p_values() -> None:
    with pytest.raises(DataError, match=r"numbers between 0 and 1; received \[0.5, 1.5\]"):
        holm([0.5, 1.5])
    with pytest.raises(DeclarationError, match="2 p-values cannot come from 1 tests"):
        holm([0.5, 0.5], n_tests=1)


def test_leader_board_ranks_and_compares_with_the_best() -> None:
    a, b, labels, weights = toy(2_000, 1, handicap=1.5)
    board = leader_board({"poor": b, "good": a, "copy": 2.0 * a}, labels, weights)
    assert [line.name for line in board] == ["good", "copy", "poor"]
    assert board[2].value == auc_with_error(b, labels, weights)
    assert board[2].lead == compare(a, b, labels, weights).difference
    assert [line.adjusted_p_value for line in board[:2]] == [1.0, 1.0]
    assert board[2].adjusted_p_value == pytest.approx(3.0 * board[2].lead.p_value)
    assert leader_board({}, labels) == ()


def test_the_best_of_equals_seldom_leads_significantly() -> None:
    """Counted as tests against a leader known beforehand, one board in nine would raise a false alarm."""

    def smallest(seed: int) -> float:
        random = np.random.default_rng(seed)
        labels = np.arange(200) % 2
        shared = random.normal(size=200) + 1.5 * labels
        scores = {str(i): shared + random.normal(scale=0.6, size=200) for i in range(6)}
        return min(line.adjusted_p_value for line in leader_board(scores, labels))

    assert np.mean([smallest(seed) < 0.05 for seed in range(200)]) < 0.08


def test_every_line_has_its_background_at_the_signal_efficiencies() -> None:
    a, b, labels, weights = toy(2_000, 1, handicap=1.5, negative=0.1)
    good, poor = leader_board({"poor": b, "good": a}, labels, weights, signal_efficiencies=(0.3, 0.7))
    compared = [compare_at(one, a, b, labels, weights) for one in (0.3, 0.7)]
    assert good.backgrounds == tuple(one.a for one in compared)
    assert poor.backgrounds == tuple(one.b for one in compared)
    with pytest.raises(DeclarationError, match=r"signal efficiency 1.5 is not between 0 and 1"):
        leader_board({"good": a}, labels, weights, signal_efficiencies=(1.5,))


def test_with_folds_the_lead_is_tested_from_fold_to_fold_as_well() -> None:
    a, b, labels, weights = toy(3_000, 2, handicap=1.5)
    folds = np.arange(3_000) // 1_000
    good, poor, bad = leader_board({"poor": b, "bad": -a, "good": a}, labels, weights, folds=folds)
    members = [folds == fold for fold in range(3)]
    in_folds = [[weighted_auc(score[m], labels[m], weights[m]) for m in members] for score in (a, b)]
    assert poor.lead_of_method == compare_folds(*in_folds, n_train=2_000, n_test=1_000)
    assert good.adjusted_p_value_of_method == 1.0
    assert bad.lead_of_method is not None
    # The smallest of two p-values counts three times, once for each pair.
    assert bad.adjusted_p_value_of_method == pytest.approx(3.0 * bad.lead_of_method.p_value)


def test_where_a_fold_lacks_a_class_or_is_alone_nothing_is_said_of_the_method() -> None:
    a, b, labels, weights = toy(400, 3)
    lacking = np.where(labels == 1, 0, np.arange(400) % 3)
    board = leader_board({"a": a, "b": b}, labels, weights, folds=lacking)
    assert [line.lead_of_method for line in board] == [None, None]
    single = leader_board({"a": a, "b": b}, labels, weights, folds=np.zeros(400, dtype=np.int64))
    assert [line.adjusted_p_value_of_method for line in single] == [None, None]


def test_the_lowest_rms_leads_and_leads_are_positive() -> None:
    random, n = np.random.default_rng(5), 1_200
    truth = Truth(np.zeros(n, dtype=int), random.normal(size=(n, 1)), random.gamma(2.0, size=n))
    good, poor = (truth.target + noise * random.normal(size=(n, 1)) for noise in (0.3, 0.5))
    seeded, folds = np.stack([poor, poor + 0.1 * np.sin(9 * poor)]), np.arange(n) // 300
    board = ranking({"poor": seeded, "good": good}, truth, YARDSTICKS["quantities"], folds=folds)
    assert [line.name for line in board] == ["good", "poor"]
    assert [round(line.value.value, 1) for line in board] == [0.3, 0.5]
    line = board[1]
    assert (len(line.seeds), board[0].seeds) == (2, ())
    for lead in (line.lead, line.lead_over_seeds, line.lead_of_method):
        assert lead is not None
        assert lead.value == pytest.approx(line.value.value - board[0].value.value, rel=0.05)
    assert line.adjusted_p_value_of_method == line.lead_of_method.p_value < 0.05


def test_a_number_that_does_not_exist_comes_last() -> None:
    """Weights that cancel leave no RMS: the mean square is negative."""
    truth = Truth(np.zeros(4, dtype=int), np.zeros((4, 1)), np.array([1.0, 1.0, 1.0, -2.0]))
    scores = {"none": np.array([[0.1], [0.1], [0.1], [0.9]]), "some": np.array([[1.0], [1.0], [1.0], [0.1]])}
    assert np.isnan(YARDSTICKS["quantities"].measure(scores["none"], truth).value)
    seeded = {"none": np.stack([scores["none"]] * 2), "some": np.stack([scores["some"]] * 2)}
    for one in (scores, seeded):
        board = ranking(one, truth, YARDSTICKS["quantities"])
        assert [line.name for line in board] == ["some", "none"]
        assert np.isnan([board[1].lead.value, board[1].lead.p_value, board[1].adjusted_p_value]).all()


def test_a_lead_is_as_sure_in_every_unit() -> None:
    random, folds = np.random.default_rng(6), np.arange(500) // 125
    true, noise = random.normal(size=(500, 1)), random.normal(size=(2, 500, 1))
    found = []
    for unit in (1.0, 1e-12):
        truth = Truth(np.zeros(500, dtype=int), unit * true, np.ones(500))
        scores = {str(spread): unit * (true + spread * noise) for spread in (0.3, 0.5)}
        line = ranking(scores, truth, YARDSTICKS["quantities"], folds=folds)[1]
        assert line.lead_of_method is not None
        assert line.lead_over_seeds is not None
        found.append([line.lead.z, line.lead_of_method.z, line.lead_over_seeds.z])
    assert found[1] == pytest.approx(found[0])
    assert min(found[0]) > 2


def seeds(n_seeds: int, spread: float) -> list[np.ndarray]:
    """Scores of one method, moved a little from seed to seed."""
    a, *_ = toy(2_000, 1)
    return [a + np.random.default_rng(seed).normal(scale=spread, size=a.size) for seed in range(n_seeds)]


def test_with_seeds_the_lead_is_the_mean_with_the_errors_of_seeds_and_of_test_events() -> None:
    _, b, labels, weights = toy(2_000, 1, handicap=1.5)
    good, poor = leader_board({"poor": [b, b + 0.1 * np.sin(b), b**3], "good": seeds(3, 0.2)}, labels, weights)
    pairs = [compare(x, y, labels, weights) for x, y in zip(seeds(3, 0.2), [b, b + 0.1 * np.sin(b), b**3], strict=True)]
    values = [[pair.a.value for pair in pairs], [pair.b.value for pair in pairs]]
    found = compare_seeds(*values, test_error=float(np.mean([pair.difference.error for pair in pairs])))
    assert (poor.lead, poor.lead_over_seeds) == (found.new_test_events, found.same_test_events)
    assert good.seeds == tuple(pair.a for pair in pairs)
    assert good.value.value == pytest.approx(np.mean(values[0]))
    assert good.spread == pytest.approx(np.std(values[0], ddof=1))


def test_scores_without_seeds_are_compared_with_those_of_every_seed() -> None:
    _, b, labels, weights = toy(2_000, 1, handicap=1.5)
    good, poor = leader_board({"fixed": b, "trained": seeds(3, 0.2)}, labels, weights, signal_efficiencies=[0.5])
    assert (good.name, good.seeds[0]) == ("trained", auc_with_error(seeds(1, 0.2)[0], labels, weights))
    assert (poor.seeds, poor.spread) == ((), None)
    assert poor.lead.value == pytest.approx(good.value.value - poor.value.value)
    assert poor.background_leads[0].value == pytest.approx(good.backgrounds[0].value - poor.backgrounds[0].value)


def test_one_seed_says_no_more_than_scores_without_seeds() -> None:
    a, b, labels, weights = toy(2_000, 1, handicap=1.5)
    plain = leader_board({"a": a, "b": b}, labels, weights, signal_efficiencies=[0.5])
    single = leader_board({"a": [a], "b": [b]}, labels, weights, signal_efficiencies=[0.5])
    assert [replace(line, seeds=()) for line in single] == list(plain)
    assert [line.spread for line in single] == [None, None]


def test_the_backgrounds_are_compared_in_pairs_as_well() -> None:
    a, b, labels, weights = toy(2_000, 1, handicap=1.5)
    good, poor = leader_board({"poor": b, "good": a}, labels, weights, signal_efficiencies=(0.7,))
    assert poor.background_leads == (compare_at(0.7, a, b, labels, weights).difference,)
    assert (good.background_leads[0].value, good.background_leads[0].p_value) == (0.0, 1.0)
