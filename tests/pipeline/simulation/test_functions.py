"""The curve is the lecture's, and the regions have the areas that integrals give."""

from typing import Literal

import numpy as np
import pytest

from pipeline.simulation.functions import LEFT, RIGHT, CurveOptions, RegionOptions, curve, curve_files, region_files

SIX_NODES = ((-1, -5, -7.7), (-1, -1.2, -1.3), (-1, 1.2, 1), (1, 1.2, -0.2), (1, 2, -1.1), (1, 5, -5))
"""Sign, slope and offset of the six rectified nodes by which a lecture approximates its curve."""


def test_six_rectified_nodes_follow_the_curve() -> None:
    x = np.linspace(LEFT, RIGHT, 500)
    network = sum(sign * np.maximum(slope * x + offset, 0) for sign, slope, offset in SIX_NODES)
    assert np.abs(network - curve(x)).max() < 0.75
    assert np.sqrt(np.mean((network - curve(x)) ** 2)) < 0.35


def test_the_curve_touches_zero_at_minus_one_and_crosses_it_at_one() -> None:
    """x³ + x² - x - 1 = (x + 1)² (x - 1)."""
    x = np.linspace(LEFT, RIGHT, 50)
    assert curve(x) == pytest.approx((x + 1) ** 2 * (x - 1))


def test_points_scatter_about_the_curve_as_asked_and_new_ones_tell_the_truth() -> None:
    training, new = curve_files(20_000, np.random.default_rng(1), CurveOptions(noise=0.3))
    points, unknown = training["curve.csv"], new["new_curve.csv"]
    assert np.std(points["y"] - curve(np.asarray(points["x"]))) == pytest.approx(0.3, rel=0.03)
    assert np.array_equal(np.asarray(unknown["true_y"]), curve(np.asarray(unknown["x"])))
    assert "y" not in unknown


@pytest.mark.parametrize(
    ("boundary", "share"), [("line", 1 / 2), ("parabola", 1 - np.sqrt(2) / 6), ("hyperbola", 1 / 2)]
)
def test_the_region_has_its_share_of_the_square(
    boundary: Literal["line", "parabola", "hyperbola"], share: float
) -> None:
    """Of a square from -2 to 2: below a parabola, 16 - 8√2 / 3 of 16; what 1 / x takes above it gives back below."""
    training, _ = region_files(40_000, np.random.default_rng(2), RegionOptions(boundary=boundary))
    assert np.mean(training["region.csv"]["label"]) == pytest.approx(share, abs=0.01)


@pytest.mark.parametrize(("boundary", "inside"), [("line", (1, 0)), ("parabola", (-1.5, 1)), ("hyperbola", (1, -1))])
def test_a_point_is_in_the_region_that_its_border_is_named_for(
    boundary: Literal["line", "parabola", "hyperbola"], inside: tuple[float, float]
) -> None:
    events = region_files(2000, np.random.default_rng(3), RegionOptions(boundary=boundary))[0]["region.csv"]
    distance = np.hypot(np.asarray(events["x_1"]) - inside[0], np.asarray(events["x_2"]) - inside[1])
    assert np.asarray(events["label"])[distance.argsort()[:5]].tolist() == [1] * 5
