"""What is said of inputs: the strongest first, noise worth nothing, missing values counted."""

import numpy as np
import pytest

from models.inputs import N_REPEATS, InputFindings, judge_inputs
from models.metrics import auc_with_error
from pipeline.blocks import Block

NAMES = ("noise", "weak", "strong")


@pytest.fixture(scope="module")
def found() -> InputFindings:
    generator = np.random.default_rng(1)
    labels = np.arange(8_000) % 2
    features = generator.normal(size=(8_000, 3)) + labels[:, None] * [0.0, 0.5, 1.5]
    features[::10, 1] = -999.0
    values = np.where(features == -999.0, np.nan, features)

    def score(matrix: np.ndarray) -> np.ndarray:
        return np.where(matrix[:, 1] == -999.0, 0.25, matrix[:, 1]) * 0.5 + matrix[:, 2] * 1.5

    return judge_inputs(score, features, values, NAMES, labels, np.ones(8_000), np.random.default_rng(2))


def test_the_most_important_input_comes_first(found: InputFindings) -> None:
    assert [one.name for one in found.inputs] == ["strong", "weak", "noise"]
    assert found.inputs[0].importance.value > 10 * found.inputs[0].importance.error


def test_noise_is_worth_nothing_to_the_network_and_separates_nothing(found: InputFindings) -> None:
    noise = found.inputs[-1]
    assert abs(noise.importance.value) <= 3 * noise.importance.error
    assert abs(noise.separation.value) < 4 * noise.separation.error
    assert abs(noise.auc.value - 0.5) < 4 * noise.auc.error


def test_missing_values_are_counted_and_take_no_part_in_the_inputs_own_auc(found: InputFindings) -> None:
    weak = found.inputs[1]
    assert weak.n_missing == 800
    generator = np.random.default_rng(1)
    labels = np.arange(8_000) % 2
    values = generator.normal(size=(8_000, 3))[:, 1] + labels * 0.5
    known = np.arange(8_000) % 10 != 0
    assert weak.auc == auc_with_error(values[known], labels[known], np.ones(known.sum()))


def test_correlations_are_in_the_order_of_the_names(found: InputFindings) -> None:
    assert found.names == NAMES
    assert np.diag(found.correlations.signal) == pytest.approx([1, 1, 1])


def test_a_block_is_one_feature_shuffled_together_and_alone_it_has_no_separation() -> None:
    generator = np.random.default_rng(3)
    labels = np.arange(4_000) % 2
    jets = generator.normal(size=(4_000, 2, 2)) + labels[:, None, None]
    jets[..., 1] = [1.0, 0.0]
    jets[:, 1, 0] = np.nan
    jets[::5, 0, 0] = np.nan
    features = np.column_stack([generator.normal(size=4_000) + labels, jets.reshape(4_000, 4)])
    calls = []

    def score(matrix: np.ndarray) -> np.ndarray:
        calls.append(len(matrix))
        return matrix[:, 0] + np.nan_to_num(matrix[:, 1])

    block = Block(name="jets", kind="collection", start=1, shape=(2, 2))
    names = ("met", "jets.pt[0]", "jets.present[0]", "jets.pt[1]", "jets.present[1]")
    found = judge_inputs(score, features, features, names, labels, np.ones(4_000), np.random.default_rng(2), [block])
    assert len(calls) == 1 + 2 * N_REPEATS
    jets_found = next(one for one in found.inputs if one.name == "jets")
    assert jets_found.importance.value > 5 * jets_found.importance.error
    assert np.isnan([jets_found.separation.value, jets_found.auc.value]).all()
    assert (jets_found.n_missing, found.names, found.correlations.signal.shape) == (800, ("met",), (1, 1))
