"""What the outline promises: every call has its box, what repeats is one block, and deep networks stay small."""

from typing import Any

import keras
import pytest
from keras import layers, ops

from models.anatomy import calls_of
from models.build import ModelSpec, build
from models.outline import MOST_BOXES, Outline, Repeat, outline_of


def outline(architecture: str, **options: Any) -> Outline:
    return outline_of(calls_of(build(ModelSpec(architecture=architecture, options=options), 5, 2, seed=1)))


def words(found: Outline) -> list[str]:
    return [", ".join(box.words) for box in found.boxes]


def test_what_follows_a_layer_stands_in_its_box_and_like_layers_are_drawn_once() -> None:
    found = outline("deep-dense", widths=[8] * 4)
    block = "dense, batch norm, relu, dropout 0.1"
    assert words(found) == ["inputs", block, block, "logits: dense"]
    assert found.repeats == (Repeat(2, 3, times=3),)
    assert [box.parameters for box in found.boxes] == [0, 5 * 8 + 4 * 8, 8 * 8 + 4 * 8, 9]
    assert [box.shape for box in found.boxes] == [(5,), (8,), (8,), (1,)]


@pytest.mark.parametrize("blocks", [4, 20])
def test_blocks_of_a_residual_network_are_drawn_once_with_the_connection_around_them(blocks: int) -> None:
    found = outline("residual", width=4, blocks=blocks, activation="gelu")
    assert words(found)[2:5] == ["dense, batch norm, gelu, dropout 0.1", "dense", "add"]
    assert [box.inputs for box in found.boxes] == [(), (0,), (1,), (2,), (1, 3), (4,)]
    assert (found.repeats, found.is_whole) == ((Repeat(2, 5, times=blocks),), True)


def test_two_blocks_are_drawn_as_two() -> None:
    found = outline("residual", width=4, blocks=2)
    assert found.repeats == ()
    assert [box.inputs for box in found.boxes][4:8] == [(1, 3), (4,), (5,), (4, 6)]


@pytest.mark.parametrize(("pieces", "copies"), [(2, [1, 1, 1, 1, 1]), (8, [1, 8, 1, 1])])
def test_many_layers_side_by_side_are_one_box_that_counts_them(pieces: int, copies: list[int]) -> None:
    found = outline("mlp", widths=[4], activation="maxout", pieces=pieces)
    assert [box.copies for box in found.boxes] == copies
    assert sum(box.copies * box.parameters for box in found.boxes) == pieces * 24 + 5


def recurrent(n_steps: int) -> Any:
    """A network of ``2 + 4 n`` calls or more, in which two layers are used in every step."""
    inputs = keras.Input((n_steps, 3), name="inputs")
    kernel, recurrent = layers.Dense(4, name="kernel"), layers.Dense(4, name="recurrent")
    state = ops.tanh(kernel(inputs[:, 0]))
    for step in range(1, n_steps):
        gate = ops.sigmoid(kernel(inputs[:, step]) + recurrent(state))
        state = gate * state + (1 - gate) * ops.tanh(state * gate + gate)
    return keras.Model(inputs, layers.Dense(1, name="logits")(state))


def test_of_a_network_with_too_many_boxes_the_layers_with_kernels_are_left() -> None:
    calls = calls_of(recurrent(12))
    assert len(calls) > 100
    found = outline_of(calls)
    assert words(found) == [
        "inputs",
        "kernel: dense, 12 times",
        "recurrent: dense, 11 times, reads itself",
        "logits: dense",
    ]
    assert [box.inputs for box in found.boxes] == [(), (0,), (1,), (2,)]
    assert not found.is_whole


def test_a_layer_that_is_used_again_has_its_parameters_once() -> None:
    calls = calls_of(recurrent(3))
    assert sum(call.parameters for call in calls) == recurrent(3).count_params()
    assert [call.words for call in calls if call.layer == "kernel"] == [
        "kernel: dense",
        "kernel: dense, again",
        "kernel: dense, again",
    ]


def test_in_the_middle_of_too_many_different_layers_one_box_counts_them() -> None:
    found = outline("mlp", widths=list(range(3, 48)))
    assert len(found.boxes) == MOST_BOXES + 1
    assert words(found)[MOST_BOXES // 2] == "27 more"
    assert (
        sum(box.parameters for box in found.boxes)
        == build(ModelSpec(architecture="mlp", options={"widths": list(range(3, 48))}), 5, 2, seed=1).count_params()
    )
    assert [box.inputs for box in found.boxes[1:]] == [(place,) for place in range(MOST_BOXES)]


def test_branches_come_together_in_a_box_of_their_own() -> None:
    inputs = keras.Input((6, 4), name="inputs")
    elements = layers.Dense(5, "relu", name="phi")(inputs)
    image = layers.MaxPooling1D()(layers.Conv1D(3, 2, activation="tanh")(inputs))
    merged = layers.Concatenate()([layers.GlobalAveragePooling1D()(elements), layers.Flatten()(image)])
    found = outline_of(calls_of(keras.Model(inputs, layers.Dense(1, name="logits")(merged))))
    assert sorted(words(found)[1:3]) == [
        "convolution 2, tanh, max pooling, flatten",
        "phi: dense, relu, global average pooling",
    ]
    assert words(found)[3:] == ["concatenate", "logits: dense"]
    assert [box.inputs for box in found.boxes] == [(), (0,), (0,), (1, 2), (3,)]
