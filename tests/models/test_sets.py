"""What the poolings of sets promise: their formulas, over the elements that are there."""

import numpy as np
import pytest

from models.sets import POOLINGS

HIDDEN = np.random.default_rng(1).normal(size=(3, 4, 2)).astype(np.float32)
PRESENT = np.array([[1, 0, 1, 1], [0, 1, 0, 0], [0, 0, 0, 0]], dtype=bool)


@pytest.mark.parametrize(
    ("pooling", "of_elements"),
    # Attention begins with equal weights.
    [("sum", np.sum), ("mean", np.mean), ("max", np.max), ("attention", np.mean)],
)
def test_a_pooling_is_of_the_elements_that_are_there_and_0_of_none(pooling: str, of_elements: np.ufunc) -> None:
    found = np.asarray(POOLINGS[pooling](HIDDEN, PRESENT[:, :, None]))
    for event in (0, 1):
        expected = of_elements(HIDDEN[event][PRESENT[event]], axis=0)
        assert found[event] == pytest.approx(expected, abs=1e-6)
    assert found[2].tolist() == [0, 0]
