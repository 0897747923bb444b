"""What the agreement of folds promises: the textbook's χ², its distribution in toys, NaN without meaning."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import chi2

from models.agreement import agreement_of_folds
from models.metrics import auc_with_error

Array = NDArray[Any]


def toy(seed: int, n_events: int = 2_000, n_folds: int = 4) -> tuple[Array, Array, Array, Array]:
    random = np.random.default_rng(seed)
    labels, folds = np.arange(n_events) % 2, np.arange(n_events) // 2 % n_folds
    return random.normal(size=n_events) + labels, labels, random.gamma(2.0, size=n_events), folds


def test_every_fold_has_the_auc_of_its_own_events_and_chi_square_is_about_their_mean() -> None:
    scores, labels, weights, folds = toy(1)
    found = agreement_of_folds(scores, labels, weights, folds)
    own = [auc_with_error(*(column[folds == fold] for column in (scores, labels, weights))) for fold in range(4)]
    assert list(found.aucs) == own
    mean = np.average([auc.value for auc in own], weights=[auc.error**-2 for auc in own])
    expected = sum(((auc.value - mean) / auc.error) ** 2 for auc in own)
    assert found.chi_square == pytest.approx(expected)
    assert found.p_value == pytest.approx(chi2.sf(expected, 3))


def test_folds_that_differ_by_chance_alone_disagree_in_five_of_a_hundred_toys() -> None:
    alarms = [agreement_of_folds(*toy(seed, 800)).p_value < 0.05 for seed in range(300)]
    assert 0.02 < np.mean(alarms) < 0.09


def test_one_bad_network_is_seen() -> None:
    scores, labels, weights, folds = toy(3)
    scores[folds == 2] *= np.where(labels[folds == 2] == 1, -1.0, 1.0)
    assert agreement_of_folds(scores, labels, weights, folds).p_value < 1e-6


@pytest.mark.parametrize("is_weighted", [True, False])
def test_folds_without_an_error_are_not_called_unlike(is_weighted: bool) -> None:
    _, labels, weights, folds = toy(5)
    apart = labels + np.linspace(0.0, 0.5, labels.size)
    found = agreement_of_folds(apart, labels, weights if is_weighted else None, folds)
    assert {auc.error for auc in found.aucs} == {0.0}
    assert np.isnan(found.p_value)


def test_a_fold_that_lacks_a_class_has_no_auc_and_a_single_one_agrees_with_nothing() -> None:
    scores, labels, weights, folds = toy(4)
    lacking = agreement_of_folds(scores, labels, weights, np.where((folds == 1) & (labels == 1), 0, folds))
    assert [np.isnan(auc.value) for auc in lacking.aucs] == [False, True, False, False]
    assert np.isnan([lacking.chi_square, lacking.p_value]).all()
    assert np.isnan(agreement_of_folds(scores, labels, None, np.zeros(2_000, dtype=int)).p_value)
