"""What the pictures of residuals promise: they draw the record, and anything that can be a record can be drawn."""

import numpy as np
import pytest

from models.regression import PredictedQuantities, RegressionEvaluation, judge_quantities
from models.report.numbers import measured
from models.report.picture import MOST_ROWS
from models.report.pictures import pictures_of_quantities
from models.report.residuals import plane_figure, profile_figure, residuals_figure, residuals_picture


def judged(scatter: np.ndarray, true: np.ndarray | None = None, negative: float = 0.1) -> RegressionEvaluation:
    generator = np.random.default_rng(1)
    true = generator.normal(50.0, 10.0, scatter.size) if true is None else true
    weights = np.where(generator.random(scatter.size) < negative, -1.0, 1.0)
    part = PredictedQuantities((true + scatter)[:, np.newaxis], true[:, np.newaxis], weights)
    return judge_quantities({"train": part, "validation": part, "test": part}, ["energy/GeV"])


@pytest.fixture(scope="module")
def record() -> RegressionEvaluation:
    return judged(np.random.default_rng(2).standard_t(2, 3_000))


def test_residuals_are_drawn_at_the_area_that_the_picture_shows(record: RegressionEvaluation) -> None:
    [found] = record.quantities
    linear, logarithmic = residuals_figure(found).axes
    assert (linear.get_yscale(), logarithmic.get_yscale()) == ("linear", "log")
    total = found.histogram.sums.sum() + found.histogram.below + found.histogram.above
    heights = np.asarray(linear.lines[0].get_ydata())
    expected = found.histogram.sums / (total * np.diff(found.histogram.edges))
    assert heights == pytest.approx(expected[found.histogram.squares > 0.0])


def test_what_lies_beyond_the_picture_is_told(record: RegressionEvaluation) -> None:
    shown = record.quantities[0].histogram
    assert shown.n_below > 0
    caption = residuals_picture("energy", record.quantities[0]).caption
    assert f"{shown.n_below} test events lie below what is shown, and {shown.n_above} above." in caption


def test_the_gaussian_has_the_median_and_the_width_of_the_legend(record: RegressionEvaluation) -> None:
    [found] = record.quantities
    figure = residuals_figure(found)
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert f"Gaussian of half-width {measured(found.width)}" in legend
    [gaussian] = [line for line in figure.axes[0].lines if "Gaussian" in str(line.get_label())]
    peak = np.asarray(gaussian.get_xdata())[np.argmax(np.asarray(gaussian.get_ydata()))]
    assert peak == pytest.approx(found.median.value, abs=0.05 * found.width.value)


def test_profiles_are_drawn_against_the_true_and_the_predicted_value(record: RegressionEvaluation) -> None:
    [found] = record.quantities
    for axes, profile in zip(profile_figure(found).axes, (found.against_true, found.against_predicted), strict=True):
        assert np.array_equal(axes.lines[1].get_xdata(), profile.places)
        assert np.array_equal(axes.lines[1].get_ydata(), profile.mean.values)


def test_the_plane_has_the_true_value_along_its_lower_edge(record: RegressionEvaluation) -> None:
    [found] = record.quantities
    axes = plane_figure(found).axes[0]
    assert axes.get_xlabel().startswith("true")
    drawn = np.ma.filled(axes.collections[0].get_array(), 0.0).reshape(found.plane.sums.shape)
    assert np.array_equal(drawn, np.maximum(found.plane.sums, 0.0).T)


DEGENERATE = {
    "all the same": judged(np.full(300, 2.0), np.full(300, 7.0)),
    "two events": judged(np.array([1.0, -1.0]), np.array([1.0, 2.0]), negative=0.0),
    "weights that nearly cancel": judged(np.random.default_rng(3).normal(size=400), negative=0.45),
}


@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_content_is_drawn_as_well(name: str) -> None:
    pictures = pictures_of_quantities(DEGENERATE[name], [])
    names = [f"{kind}_energy_GeV" for kind in ("residuals", "predicted", "profile")]
    assert [picture.name for picture in pictures] == [*names, "history"]
    for picture in pictures:
        assert len(picture.rows) <= MOST_ROWS
        assert {len(row) for row in picture.rows} <= {len(picture.columns)}
