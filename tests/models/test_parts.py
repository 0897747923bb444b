"""What the parts of the inputs promise: every input once, nothing of what is absent, presences without noise."""

from math import prod
from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from models.build import ModelSpec, build
from models.parts import elements_of, parts_of, with_noise
from pipeline.blocks import Block

JETS = Block(name="jets", kind="collection", start=2, shape=(3, 2))
CUTOUT = Block(name="cutout", kind="image", start=8, shape=(2, 2, 1))


def computed(function: Any, inputs: NDArray[Any], training: bool = False) -> list[NDArray[Any]]:
    symbols = keras.Input(inputs.shape[1:])
    outputs = keras.Model(symbols, function(symbols))(inputs.astype(np.float32), training=training)
    return [np.asarray(output) for output in keras.tree.flatten(outputs)]


@pytest.mark.parametrize("blocks", [(), (JETS,), (CUTOUT,), (CUTOUT, JETS)], ids=["none", "jets", "cutout", "both"])
@pytest.mark.parametrize("n_after", [0, 3])
def test_every_input_is_in_one_part_and_blocks_have_their_shape(blocks: tuple[Block, ...], n_after: int) -> None:
    inputs = np.arange(2 * (12 + n_after)).reshape(2, -1)
    found = computed(lambda symbols: [*(parts := parts_of(symbols, blocks)).blocks, *parts.flat], inputs)
    in_order = sorted(blocks, key=lambda block: block.start)
    assert [array.shape[1:] for array in found[: len(blocks)]] == [block.shape for block in in_order]
    for array, block in zip(found, in_order, strict=False):
        assert np.array_equal(array.reshape(2, -1), inputs[:, block.columns])
    assert sorted(np.concatenate([array.reshape(2, -1) for array in found], axis=1)[0]) == list(inputs[0])


def test_what_is_made_of_a_block_stands_beside_all_other_inputs() -> None:
    inputs = np.arange(30).reshape(2, 15)
    branch = keras.layers.GlobalMaxPooling1D()
    [found] = computed(lambda symbols: [parts_of(symbols, (JETS,)).joined(branch)], inputs)
    assert found[0].tolist() == [6, 7, 0, 1, *range(8, 15)]


def test_nothing_of_an_absent_element_gets_any_further() -> None:
    collection = np.array([[[5, 1], [np.nan, 0], [np.inf, 0]], [[-2, 0], [3, 1], [4, 1]]])
    values, present = computed(elements_of, collection)
    assert values[:, :, 0].tolist() == [[5, 0, 0], [0, 3, 4]]
    assert present.tolist() == [[True, False, False], [False, True, True]]


def test_noise_spares_presences_and_nothing_else_and_is_there_in_training_alone() -> None:
    inputs = np.ones((500, 12))
    for training in (True, False):
        [found] = computed(lambda symbols: [with_noise(symbols, 0.5, (JETS, CUTOUT))], inputs, training)
        spread = np.where([column in JETS.presence for column in range(12)], 0, 0.5 * training)
        assert (found - inputs).std(axis=0) == pytest.approx(spread, abs=0.08)
        assert ((found - inputs).std(axis=0) > 0).tolist() == (spread > 0).tolist()


@pytest.mark.parametrize(
    ("architecture", "options", "seen"),
    [("sets", {}, JETS), ("recurrent", {}, JETS), ("convolutional", {"filters": [4]}, CUTOUT)],
)
def test_a_block_that_an_architecture_does_not_see_is_inputs_as_any(
    architecture: str, options: dict[str, Any], seen: Block
) -> None:
    spec = ModelSpec(architecture=architecture, options={"widths": [5], **options})
    with_both = build(spec, 12, 2, 1, (JETS, CUTOUT))
    alone = build(spec, prod(seen.shape), 2, 1, (seen.model_copy(update={"start": 0}),))
    assert with_both.count_params() - alone.count_params() == 5 * (12 - prod(seen.shape))


def test_every_collection_has_a_branch_of_its_own() -> None:
    spec = ModelSpec(architecture="sets", options={"element_widths": [4], "widths": [3], "batch_norm": False})
    leptons = Block(name="leptons", kind="collection", start=8, shape=(2, 3))
    network = build(spec, 14, 2, 1, (JETS, leptons))
    # Elements of 1 and of 2 values; 2 flat inputs beside two times 4 sums; the last layer.
    assert network.count_params() == (1 + 1) * 4 + (2 + 1) * 4 + (2 + 2 * 4 + 1) * 3 + 3 + 1
