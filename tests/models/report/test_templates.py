"""What the picture of the templates promises: the sums of the record, backgrounds stacked and signals over them."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch

from models.report.templates import templates_figure, templates_picture
from models.scored import Floats, Measured
from models.templates import Templates

SUMS = np.array([[1.0, 3.0, 6.0], [50.0, 20.0, 4.0], [10.0, 0.0, 2.0], [0.5, 0.5, 0.5]])
FOUND = Templates(
    edges=np.array([0.0, 0.2, 0.5, 1.0]),
    names=("higgs", "top", "diboson", "graviton"),
    kinds=("signal", "background", "background", "signal"),
    sums=SUMS,
    squares=0.04 * SUMS,
    counts=np.full((4, 3), 100),
    n_merged=0,
)


@pytest.fixture(scope="module")
def figure() -> Figure:
    return templates_figure(FOUND)


def patches(figure: Figure) -> dict[str, StepPatch]:
    return {str(patch.get_label()): patch for patch in figure.axes[0].patches if isinstance(patch, StepPatch)}


def heights(patch: StepPatch) -> tuple[Floats, Floats]:
    values, _, baseline = patch.get_data()
    return np.asarray(values), np.asarray(baseline)


def test_backgrounds_stand_on_top_of_each_other(figure: Figure) -> None:
    shown = patches(figure)
    for name, top, bottom in (("top", SUMS[1], 0.0 * SUMS[1]), ("diboson", SUMS[1] + SUMS[2], SUMS[1])):
        assert shown[name].get_fill()
        assert [side.tolist() for side in heights(shown[name])] == [top.tolist(), bottom.tolist()]


def test_signals_are_lines_of_their_own_height_in_front_of_the_backgrounds(figure: Figure) -> None:
    shown = patches(figure)
    assert list(shown) == ["top", "diboson", "statistical error", "higgs", "graviton"]
    for name, row in (("higgs", 0), ("graviton", 3)):
        assert not shown[name].get_fill()
        assert np.array_equal(heights(shown[name])[0], SUMS[row])
    assert shown["higgs"].get_linestyle() != shown["graviton"].get_linestyle()


def test_the_error_is_that_of_the_sum_of_backgrounds_alone(figure: Figure) -> None:
    total = SUMS[1] + SUMS[2]
    above, below = heights(patches(figure)["statistical error"])
    np.testing.assert_allclose(above - total, 0.2 * np.sqrt(total))
    np.testing.assert_allclose(total - below, 0.2 * np.sqrt(total))


def test_every_height_lies_within_the_axis(figure: Figure) -> None:
    [axes] = figure.axes
    bottom, top = axes.get_ylim()
    assert axes.get_yscale() == "log"
    assert 0.0 < bottom < SUMS[SUMS > 0.0].min()
    assert top > SUMS.sum(axis=0).max()


def test_the_table_has_one_row_a_bin_and_every_sample_with_its_error() -> None:
    picture = templates_picture(FOUND)
    assert picture.columns == ("from", "to", "higgs", "top", "diboson", "graviton")
    assert [row[:2] for row in picture.rows] == [(0.0, 0.2), (0.2, 0.5), (0.5, 1.0)]
    for row, values in zip(picture.rows, SUMS.T, strict=True):
        assert list(row[2:]) == [Measured(value, np.sqrt(0.04 * value)) for value in values]


@pytest.mark.parametrize("absent", range(4))
def test_a_sample_that_is_in_no_bin_is_named_all_the_same(absent: int) -> None:
    sums = np.where(np.arange(4)[:, np.newaxis] == absent, 0.0, SUMS)
    drawn = templates_figure(replace(FOUND, sums=sums, squares=0.04 * sums))
    assert set(FOUND.names) <= set(legend(drawn.axes[0]))


def test_many_samples_with_long_names_leave_room_for_the_histograms() -> None:
    names = tuple(f"{'single_top_in_the_t_channel_' * 3}{i}" for i in range(12))
    kinds, sums = ("background",) * 11 + ("signal",), np.ones((12, 3))
    drawn = templates_figure(replace(FOUND, names=names, kinds=kinds, sums=sums, squares=sums))
    assert drawn.axes[0].get_position().width > 0.5
    assert len({*legend(drawn.axes[0])}) == 13


def test_the_name_of_a_sample_is_never_taken_as_a_formula() -> None:
    drawn = templates_figure(replace(FOUND, names=(r"$H_$", "a$b$c", "d", r"$\frac{$")))
    assert legend(drawn.axes[0])[:2] == [r"a\$b\$c", "d"]


def legend(axes: Axes) -> list[str]:
    return list(map(str, axes.get_legend_handles_labels()[1]))
