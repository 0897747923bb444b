"""What the picture of the gradients promises: a line for each layer, dark at the input, and a sentence."""

import re

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from models.report.gradients import MOST_NAMES, gradients_picture
from models.report.history import History
from models.report.picture import MOST_ROWS


def history(n_epochs: int, n_layers: int, slope: float = 1.0) -> History:
    """Norms that grow by ``slope`` from layer to layer, and fall with the epoch."""
    return [
        {"epoch": epoch, "gradient_norms": {f"dense_{i}": slope**i / epoch for i in range(n_layers)}}
        for epoch in range(1, n_epochs + 1)
    ]


def test_every_layer_has_a_line_darker_than_that_of_the_next_one() -> None:
    picture = gradients_picture([history(3, 4, 2.0)])
    assert picture
    by_epoch, by_layer = picture.figure.axes
    drawn = [np.asarray(line.get_ydata()).tolist() for line in by_epoch.lines]
    assert drawn == [pytest.approx([2.0**i, 2.0**i / 2, 2.0**i / 3]) for i in range(4)]
    lightness = [sum(to_rgb(line.get_color())) for line in by_epoch.lines]
    assert lightness == sorted(lightness)
    assert [text.get_text() for text in by_layer.get_xticklabels()] == [f"dense_{i}" for i in range(4)]
    assert by_epoch.get_yscale() == by_layer.get_yscale() == "log"


def test_the_numbers_are_those_of_the_first_the_middle_and_the_last_epoch() -> None:
    picture = gradients_picture([history(3, 2, 6.0)])
    assert picture
    assert picture.columns == ("layer", "first epoch", "median of the epochs", "last epoch")
    assert picture.rows == (("dense_0", 1.0, 0.5, pytest.approx(1 / 3)), ("dense_1", 6.0, 3.0, pytest.approx(2.0)))


def test_folds_of_different_lengths_have_lines_of_their_own_and_share_the_numbers() -> None:
    one, other = history(3, 2), history(1, 2)
    picture = gradients_picture([one, other])
    assert picture
    assert len(picture.figure.axes[0].lines) == 4
    assert picture.rows[0][1:] == (1.0, 0.75, pytest.approx(np.sqrt((1 + 1 / 9) / 2)))
    assert "Lines on the left are those of 2 folds" in picture.caption


def test_many_layers_are_numbered_and_their_table_is_thinned() -> None:
    picture = gradients_picture([history(2, 80)])
    assert picture
    assert len(picture.figure.axes[0].lines) == 80 > MOST_NAMES
    assert picture.figure.axes[1].get_xlabel() == "layer, from the input to the output"
    assert len(picture.rows) == MOST_ROWS
    assert [picture.rows[place][0] for place in (0, -1)] == ["dense_0", "dense_79"]


@pytest.mark.parametrize(
    ("histories", "sentence"),
    [
        ([history(2, 12, 10.0)], "Gradients vanish on their way to the input: in the first 4 of 12 layers they are"),
        ([history(2, 5, 0.1)], "Gradients explode .*: in the first layer they are 10,000 times as long"),
        ([history(2, 5, 1.0)], "Gradients neither vanish nor explode .* 1 times as long as in the last of 5, "),
        ([history(2, 5), history(2, 5, 10.0)], "vanish .* in the first layer of the fold that stands out most"),
        ([history(2, 1)], "There is one layer"),
        ([history(2, 3), history(2, 3, np.nan)], "cannot be told"),
    ],
)
def test_the_caption_says_whether_gradients_reach_the_input(histories: list[History], sentence: str) -> None:
    picture = gradients_picture(histories)
    assert picture
    assert re.search(sentence, picture.caption)


def test_gradients_of_0_are_left_out_of_the_picture_and_stay_in_the_table() -> None:
    nothing = [{"epoch": 1, "gradient_norms": {"dense": 0.0, "logits": 0.0}}]
    picture = gradients_picture([nothing])
    assert picture
    assert "all gradients are 0" in [text.get_text() for text in picture.figure.axes[0].texts]
    assert picture.rows == (("dense", 0.0, 0.0, 0.0), ("logits", 0.0, 0.0, 0.0))


@pytest.mark.parametrize("histories", [[], [[]], [[{"epoch": 1, "loss": 0.5}]]])
def test_a_history_without_gradients_has_no_picture(histories: list[History]) -> None:
    assert gradients_picture(histories) is None
