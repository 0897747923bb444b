"""What the picture of the network promises: everything in its box, no box on another, no line through one."""

from itertools import combinations, pairwise
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from models.anatomy import calls_of
from models.build import ModelSpec, build
from models.report.layout import Layout, Place, laid_out
from models.report.network import network_picture

RESIDUAL = [(), (0,), (1,), (2,), (1, 3), (4,), (5,), (4, 6), (7,)]
BRANCHES = [(), (0,), (0,), (0,), (0,), (2,), (3,), (1, 4, 5, 6), (0, 7), (0, 8)]
SIDEWAYS = [(), (0,), (1,), (0, 2), (1, 3), (2, 4)]


def laid(inputs: list[tuple[int, ...]]) -> Layout:
    return laid_out(3.0, [0.5 + 0.2 * (place % 2) for place in range(len(inputs))], inputs)


def is_inside(place: Place, x: float, y: float) -> bool:
    return place.left + 0.01 < x < place.right - 0.01 and place.bottom + 0.01 < y < place.top - 0.01


@pytest.mark.parametrize("inputs", [RESIDUAL, BRANCHES, SIDEWAYS])
def test_boxes_do_not_overlap_and_stand_below_what_they_read(inputs: list[tuple[int, ...]]) -> None:
    places = laid(inputs).places
    for one, other in combinations(places, 2):
        assert abs(one.x - other.x) > 3.0 or one.bottom > other.top or other.bottom > one.top
    assert all(places[source].bottom > places[target].top for target, box in enumerate(inputs) for source in box)


@pytest.mark.parametrize("inputs", [RESIDUAL, BRANCHES, SIDEWAYS])
def test_lines_run_from_box_to_box_and_through_none(inputs: list[tuple[int, ...]]) -> None:
    layout = laid(inputs)
    assert set(layout.lines) == {(source, target) for target, box in enumerate(inputs) for source in box}
    for line in layout.lines.values():
        for (x, y), (next_x, next_y) in pairwise(line):
            points = zip(np.linspace(x, next_x, 50), np.linspace(y, next_y, 50), strict=True)
            assert not any(is_inside(place, *point) for point in points for place in layout.places)


def test_a_stack_stands_straight_with_the_skip_connections_beside_it() -> None:
    layout = laid(RESIDUAL)
    assert [place.x for place in layout.places] == pytest.approx([0.0] * 9, abs=0.01)
    assert all(abs(x) > 1.49 for x, _ in layout.lines[1, 4])
    assert len(layout.lines[2, 3]) == 2


def drawn(network: Any) -> tuple[list[str], list[FancyBboxPatch], list[FancyArrowPatch]]:
    [axes] = network_picture(calls_of(network)).figure.axes
    patches = axes.patches
    return (
        [text.get_text() for text in axes.texts],
        [patch for patch in patches if isinstance(patch, FancyBboxPatch)],
        [patch for patch in patches if isinstance(patch, FancyArrowPatch)],
    )


def test_boxes_say_what_is_done_the_shape_and_the_parameters_and_blocks_how_often() -> None:
    spec = ModelSpec(architecture="residual", options={"width": 64, "blocks": 20})
    texts, boxes, arrows = drawn(build(spec, 28, 2, seed=1))
    assert (len(boxes), len(arrows)) == (6, 6)
    assert texts[0] == "20 \N{MULTIPLICATION SIGN}"
    assert {"64 · 4,352 parameters", "add", "1 · 65 parameters"} <= set(texts)
    assert "dense, batch norm, relu, dropout 0.1" in " ".join(texts).replace("\n", " ")


def test_tensors_of_several_axes_and_branches_are_drawn() -> None:
    inputs = keras.Input((6, 4), name="inputs")
    ends = [layers.Flatten()(layers.Dense(n)(inputs)) for n in (2, 3)]
    texts, boxes, arrows = drawn(keras.Model(inputs, layers.Dense(1)(layers.Concatenate()(ends))))
    assert (len(boxes), len(arrows)) == (5, 5)
    assert {"6 \N{MULTIPLICATION SIGN} 4", "12 · 10 parameters", "concatenate", "30"} <= set(texts)


def test_the_caption_explains_frames_where_there_are_some() -> None:
    captions = [
        network_picture(calls_of(build(ModelSpec(options={"widths": [8] * n}), 3, 2, seed=1))).caption for n in (1, 4)
    ]
    assert ["dashed frame" in caption for caption in captions] == [False, True]


@pytest.mark.parametrize("width", ["a" * 90, "costs $5$ or $"])
def test_names_of_layers_do_no_harm(width: str) -> None:
    inputs = keras.Input((3,))
    network = keras.Model(inputs, layers.Dense(1, name=width)(inputs))
    assert network_picture(calls_of(network)).png.startswith(b"\x89PNG")
