"""What the reliability diagram promises: the points of the record, and those after a calibration where there is one."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch

from models.probabilities import CalibrationError, Reliability
from models.record import Probabilities
from models.report.reliability import reliability_picture
from models.report.style import COLOURS
from models.scored import Measured

NAN = float("nan")
SMALL = Measured(0.1, 0.01)


def probabilities(fractions: list[float], errors: list[float], n_events: list[int]) -> Probabilities:
    events = np.array(n_events)
    found = Reliability(
        np.array([0.0, 0.25, 0.75, 1.0]), np.array([0.1, 0.5, 0.9]), np.array(fractions), np.array(errors), events,
        0.5 * events, 2.0 * events,
    )  # fmt: skip
    return Probabilities(0.5, SMALL, SMALL, found, CalibrationError(SMALL, SMALL))


SCORES = probabilities([0.3, 0.6, 1.0], [0.02, 0.03, NAN], [100, 50, 7])
CALIBRATED = probabilities([0.1, 0.5, NAN], [0.01, 0.04, NAN], [40, 400, 2])


def points(figure: Figure) -> dict[str, list[float]]:
    """Return the heights of the points, by their name in the legend."""
    handles, labels = figure.axes[0].get_legend_handles_labels()
    return {
        label: handle.lines[0].get_ydata().tolist()  # type: ignore[attr-defined]
        for label, handle in zip(labels, handles, strict=True)
        if hasattr(handle, "lines")
    }


def test_without_calibration_there_are_the_scores_alone() -> None:
    picture = reliability_picture(SCORES)
    assert points(picture.figure) == {"scores": [0.3, 0.6], "scores, one class alone": [1.0]}
    assert picture.columns == ("from", "to", "mean score", "fraction of signal", "events", "effective events")
    assert picture.rows[1] == (0.25, 0.75, 0.5, Measured(0.6, 0.03), 50, 25.0)


def test_with_a_calibration_both_are_drawn_and_both_are_in_the_table() -> None:
    picture = reliability_picture(SCORES, CALIBRATED)
    shown = points(picture.figure)
    assert (shown["scores"], shown["calibrated"]) == ([0.3, 0.6], [0.1, 0.5])
    assert picture.columns[6:] == (
        "mean, calibrated", "fraction of signal, calibrated", "events, calibrated", "effective events, calibrated",
    )  # fmt: skip
    assert picture.rows[1][6:] == (0.5, Measured(0.5, 0.04), 400, 200.0)


def test_scores_and_probabilities_differ_in_colour_and_marker() -> None:
    handles, labels = reliability_picture(SCORES, CALIBRATED).figure.axes[0].get_legend_handles_labels()
    lines = {label: handle.lines[0] for label, handle in zip(labels, handles, strict=True) if hasattr(handle, "lines")}
    assert lines["scores"].get_color() == COLOURS["signal"]
    assert lines["calibrated"].get_color() == COLOURS["background"]
    assert lines["scores"].get_marker() != lines["calibrated"].get_marker()
    assert [lines[name].get_fillstyle() for name in ("scores", "scores, one class alone")] == ["full", "none"]


@pytest.mark.parametrize(("calibrated", "n_drawn", "largest"), [(None, 1, 100), (CALIBRATED, 2, 400)])
def test_the_numbers_of_events_are_drawn_of_each_and_fit_the_axis(
    calibrated: Probabilities | None, n_drawn: int, largest: int
) -> None:
    counts = reliability_picture(SCORES, calibrated).figure.axes[1]
    drawn = [patch.get_data().values.max() for patch in counts.patches if isinstance(patch, StepPatch)]
    assert len(drawn) == 2 * n_drawn
    assert max(drawn) == largest < counts.get_ylim()[1]


def test_a_fraction_that_negative_weights_take_above_one_is_not_cut_off() -> None:
    diagram = reliability_picture(probabilities([0.3, 1.6, 1.0], [0.1, 0.1, 0.1], [9, 9, 9])).figure.axes[0]
    assert diagram.get_ylim()[1] >= 1.7
