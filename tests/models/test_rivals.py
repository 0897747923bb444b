"""Baselines beside a network of several outputs: one for each, which see what that output shall find."""

import numpy as np
import pytest

from models.rivals import RIVALS, fit_rival
from models.yardsticks import YARDSTICKS, Truth
from pipeline.errors import DataError
from pipeline.table import EventTable, pack

N = 3_000


def points(seed: int) -> tuple[np.ndarray, Truth]:
    """A plane in three sectors; above or below each axis; two numbers of different size."""
    x, y = np.random.default_rng(seed).normal(size=(2, N))
    label = np.select([x > np.abs(y), y > 0], [0, 1], 2)
    return np.column_stack([x, y]).astype(np.float32), Truth(label, np.column_stack([x + y, y - x]), np.ones(N))


def table(seed: int, judged_as: str) -> EventTable:
    inputs, truth = points(seed)
    targets = {"class": truth.label, "flags": truth.target > 0, "quantities": truth.target}[judged_as]
    return pack(inputs, targets, truth.weight)


@pytest.mark.parametrize(
    ("judged_as", "name", "n_outputs"),
    [("class", name, 3) for name in ("trees", "logistic", "nearest")]
    + [("flags", name, 2) for name in ("forest", "fisher")]
    + [("quantities", name, 2) for name in ("trees", "linear")],
)
def test_every_output_has_a_baseline_of_its_own(judged_as, name, n_outputs):
    train, validation = table(1, judged_as), table(2, judged_as)
    inputs, truth = points(3)
    said = fit_rival(name, judged_as, train, validation, 1, "abc"[:n_outputs])(inputs)
    assert said.shape == (N, n_outputs)
    if judged_as == "flags":
        truth = Truth(truth.label, (truth.target > 0).astype(float), truth.weight)
    found = YARDSTICKS[judged_as].measure(said, truth).value
    # A plane cannot bound a sector.
    assert found < 0.15 if judged_as == "quantities" else found > (0.85 if name == "logistic" else 0.97)


def test_a_single_score_is_one_number_for_each_event():
    inputs, truth = points(1)
    both = pack(inputs, truth.label == 0, truth.weight)
    assert fit_rival("fisher", "signal", both, both, 1, ["score"])(inputs).shape == (N,)


def test_a_class_that_cannot_be_learnt_is_named():
    inputs, truth = points(1)
    part = pack(inputs, np.where(truth.label == 1, 0, truth.label), truth.weight)
    with pytest.raises(DataError, match=r"score_north .*: baseline 'trees': the signal weights of the training part"):
        fit_rival("trees", "class", part, part, 1, ["score_east", "score_north", "score_west"])


def test_every_kind_of_network_has_boosted_trees_for_a_rival():
    assert all("trees" in names for _, names in RIVALS.values())
