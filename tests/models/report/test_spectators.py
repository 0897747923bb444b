"""What the pictures of spectators promise: the record's means and densities, and a table with the real bins."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.patches import StepPatch

from models.record import SpectatorFinding
from models.report.picture import Picture
from models.report.spectators import spectator_picture
from models.scored import Floats, Measured
from models.spectators import CutEffect, PerBin, Sculpting, SpectatorCorrelation, SpectatorProfile

EDGES = (0.0, 1.0, 3.0, 5.0)
SMALL = Measured(0.01, 0.005)


def per_bin(*values: float) -> PerBin:
    return PerBin(np.array(values), np.full(len(values), 0.05))


def cut(threshold: float, after: PerBin) -> CutEffect:
    return CutEffect(threshold, after, per_bin(*np.full(after.values.size, 0.5)), SMALL, SMALL, 100, 0)


def finding(cuts: Sequence[CutEffect], edges: Sequence[float] = EDGES, name: str = "mass") -> SpectatorFinding:
    bins, n_bins = np.array(edges), len(edges) - 1
    profile = SpectatorProfile(bins, per_bin(*np.linspace(0.6, 0.8, n_bins)), per_bin(*np.full(n_bins, 0.2)), 0, 0)
    sculpted = Sculpting(bins, per_bin(*np.full(n_bins, 0.25)), tuple(cuts), 0, 0)
    return SpectatorFinding(name, SpectatorCorrelation(SMALL, SMALL, 0), profile, sculpted)


def drawn_of(found: SpectatorFinding) -> Picture:
    picture = spectator_picture("spectator", found, {"background": "pions", "signal": "muons"})
    assert picture is not None
    return picture


@pytest.fixture(scope="module")
def picture() -> Picture:
    nothing = np.full(3, np.nan)
    return drawn_of(finding([cut(0.3, per_bin(0.3, 0.9, 0.2)), cut(0.9, PerBin(nothing, nothing))]))


def steps(axes: Axes) -> dict[str, tuple[Floats, Floats]]:
    """Return heights and edges of what is drawn as a histogram, by its name in the legend."""
    return {
        str(patch.get_label()): (patch.get_data().values, patch.get_data().edges)
        for patch in axes.patches
        if isinstance(patch, StepPatch)
    }


def test_the_mean_score_of_each_class_stands_in_the_middle_of_its_bin(picture: Picture) -> None:
    points = dict(zip(*reversed(picture.figure.axes[0].get_legend_handles_labels()), strict=True))
    assert list(points) == ["muons", "pions"]
    for name, means in {"muons": [0.6, 0.7, 0.8], "pions": [0.2, 0.2, 0.2]}.items():
        line, _, [across, along] = points[name].lines  # type: ignore[attr-defined]
        np.testing.assert_allclose(line.get_xydata(), np.column_stack(([0.5, 2.0, 4.0], means)))
        assert [segment[:, 0].tolist() for segment in across.get_segments()] == [[0, 1], [1, 3], [3, 5]]
        np.testing.assert_allclose(np.ptp([segment[:, 1] for segment in along.get_segments()], axis=1), 0.1)


def test_the_background_is_drawn_before_and_after_each_cut_that_leaves_something(picture: Picture) -> None:
    shown = steps(picture.figure.axes[1])
    assert list(shown) == ["before", "score ≥ 0.3"]
    assert shown["before"][0].tolist() == [0.25, 0.25, 0.25]
    assert shown["score ≥ 0.3"][0].tolist() == [0.3, 0.9, 0.2]


def test_above_the_highest_density_and_its_error_there_is_room_for_the_legend(picture: Picture) -> None:
    assert picture.figure.axes[1].get_ylim() == (0.0, pytest.approx(1.3 * 0.95))


def test_the_table_has_every_cut_with_its_errors_also_one_that_leaves_nothing(picture: Picture) -> None:
    assert picture.columns == (
        "from", "to", "mean score, muons", "mean score, pions", "density, pions", "density, score ≥ 0.3",
        "density, score ≥ 0.9", "efficiency, score ≥ 0.3", "efficiency, score ≥ 0.9",
    )  # fmt: skip
    row = picture.rows[1]
    assert row[:2] == (1.0, 3.0)
    assert row[5] == Measured(0.9, 0.05)
    assert isinstance(row[6], Measured)
    assert np.isnan(row[6].value)


def test_the_axes_have_the_names_of_spectator_and_background(picture: Picture) -> None:
    profile, background = picture.figure.axes
    assert (profile.get_xlabel(), background.get_xlabel()) == ("mass", "mass")
    assert background.get_ylabel() == "pions, normalised"


def test_two_cuts_that_are_written_alike_both_have_their_columns() -> None:
    close = [cut(0.999991, per_bin(0.1, 0.2, 0.3)), cut(0.999992, per_bin(0.4, 0.5, 0.6))]
    rows = drawn_of(finding(close)).rows
    densities = [[cell.value for cell in row[5:7] if isinstance(cell, Measured)] for row in rows]
    assert densities == [[0.1, 0.4], [0.2, 0.5], [0.3, 0.6]]


@pytest.mark.parametrize(
    ("edges", "shown"),
    [
        ((-1e4, 0.0, 1.0, 2.0, 4.0, 900.0), [-2.0, 0.0, 1.0, 2.0, 4.0, 6.0]),
        ((-0.5, 0.0, 1.0, 2.0, 4.0, 900.0), [-0.5, 0.0, 1.0, 2.0, 4.0, 6.0]),
        ((-1e4, *range(9), 900.0), [-2.0, *range(9), 10.0]),
        ((0.0, 1.0, 2.0, 3.0), [0.0, 1.0, 2.0, 3.0]),
        ((-1e4, 0.0, 900.0), [-1e4, 0.0, 900.0]),
    ],
)
def test_a_long_tail_alone_is_cut_short_in_the_picture_and_whole_in_the_table(
    edges: tuple[float, ...], shown: list[float]
) -> None:
    picture = drawn_of(finding([], edges))
    profile, background = picture.figure.axes
    assert steps(background)["before"][1].tolist() == shown
    assert profile.get_xlim() == background.get_xlim() == (shown[0], shown[-1])
    assert [row[:2] for row in picture.rows] == list(pairwise(edges))


def test_a_spectator_with_a_problem_has_no_picture() -> None:
    assert spectator_picture("field", SpectatorFinding("field", problem="it has only one value")) is None
    assert spectator_picture("field", replace(finding([]), sculpting=None)) is None


def test_a_long_expression_leaves_room_and_is_never_taken_as_a_formula() -> None:
    picture = drawn_of(finding([], name="Sum$(x_)" + " + Sum$(y_)" * 20))
    [profile, _] = picture.figure.axes
    assert profile.get_position().width > 0.35
    assert profile.get_xlabel().startswith(r"Sum\$(x_) + Sum\$")
    assert picture.caption.startswith("Sum$(x_) + Sum$(y_) + Sum$(y_) + ")


def test_spectators_whose_names_differ_in_signs_or_are_long_have_files_of_their_own(drawn: Sequence[Picture]) -> None:
    names = [picture.name for picture in drawn if picture.section == "spectators"]
    assert names[:2] == ["spectator_mass_pt", "spectator_mass_pt_2"]
    assert names[2].startswith("spectator_sqrt_track_0_momentum_2_track_1")
    assert all(len(f"{name}.pdf".encode()) < 100 for name in names)


def test_of_all_spectators_only_the_one_with_a_problem_has_no_picture(drawn: Sequence[Picture]) -> None:
    captions = [picture.caption for picture in drawn if picture.section == "spectators"]
    assert [caption.split(": ")[0][:7] for caption in captions] == ["mass*pt", "mass/pt", "sqrt(tr"]
