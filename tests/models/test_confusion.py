"""What the confusion matrix promises: counts by hand, rows and columns that add up, pairs that know no third class."""

import numpy as np
import pytest

from models.confusion import confusion, pair_aucs
from models.metrics import weighted_auc

TRUE = np.array([0, 0, 0, 1, 1, 2])
CHOSEN = np.array([0, 0, 1, 1, 0, 0])
WEIGHTS = np.array([1.0, 2.0, 1.0, 3.0, -1.0, 2.0])


def test_a_confusion_matrix_by_hand() -> None:
    """Class 0 has 3 of its 4 right, class 1 has 3 of 3 - 1 = 2 (signed), class 2 none of 2."""
    found = confusion(TRUE, CHOSEN, WEIGHTS, 3)
    assert found.events.tolist() == [[2, 1, 0], [1, 1, 0], [1, 0, 0]]
    assert found.sums.tolist() == [[3.0, 1.0, 0.0], [-1.0, 3.0, 0.0], [2.0, 0.0, 0.0]]
    assert found.efficiencies.values == pytest.approx(np.array([[0.75, 0.25, 0.0], [-0.5, 1.5, 0.0], [1.0, 0.0, 0.0]]))
    assert found.purities.values[:, 0] == pytest.approx([0.75, -0.25, 0.5])


def test_an_efficiency_has_the_error_of_a_weighted_share() -> None:
    """Var = [(1 - f)² (1 + 4) + f² 1] / 4² with f = 3/4; none where no event of a class is in the cell, or all are."""
    found = confusion(TRUE, CHOSEN, WEIGHTS, 3)
    assert found.efficiencies.errors[0, 0] == pytest.approx(np.sqrt(0.0625 * 5.0 + 0.5625) / 4.0)
    assert np.isnan(found.efficiencies.errors[2]).all()


def test_a_class_that_is_never_chosen_has_no_purity() -> None:
    found = confusion(TRUE, CHOSEN, WEIGHTS, 3)
    assert np.isnan(found.purities.values[:, 2]).all()
    assert found.efficiencies.values.sum(axis=1) == pytest.approx(1.0)
    assert found.purities.values[:, :2].sum(axis=0) == pytest.approx(1.0)


def test_a_pair_is_judged_on_its_own_events_by_the_ratio_of_probabilities() -> None:
    generator = np.random.default_rng(1)
    scores = generator.dirichlet([1.0, 1.0, 1.0], 300)
    labels, weights = generator.integers(0, 3, 300), generator.uniform(0.5, 2.0, 300)
    found = pair_aucs(scores, labels, weights)
    kept = labels != 1
    share = scores[kept, 0] / (scores[kept, 0] + scores[kept, 2])
    assert found.values[0, 2] == pytest.approx(weighted_auc(share, labels[kept] == 0, weights[kept]))
    assert np.array_equal(found.values, found.values.T, equal_nan=True)
    assert np.isnan(found.values.diagonal()).all()


def test_probabilities_too_small_for_their_type_are_equal_and_not_infinite() -> None:
    scores = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], dtype=np.float32)
    found = pair_aucs(scores, np.array([0, 0, 1, 2]), np.ones(4))
    assert found.values[0, 1] == 1.0
    assert found.values[0, 2] == 0.75
