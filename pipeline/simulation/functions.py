"""A curve to be approximated, and a plane to be divided: what a network can be shown to do on one sheet of paper.

Owns the samples ``curve`` (regression in one dimension) and ``region`` (two classes in two), and the parts of their
experiment files that name the columns.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipeline.declare import Declaration
from pipeline.simulation.classes import numbered
from pipeline.simulation.experiment import Network, columns, sample, split
from pipeline.simulation.files import Files

Floats = NDArray[np.float64]

ONE_LAYER = Network("mlp", "regression", "{ widths = [64] }")
LEFT, RIGHT = -2.0, 1.5
HALF_SIDE = 2.0


class CurveOptions(Declaration):
    """What may be chosen: the noise of a measured point."""

    noise: float = Field(default=0.1, ge=0.0)


def curve(x: Floats) -> Floats:
    """Return x³ + x² - x - 1."""
    return x**3 + x**2 - x - 1.0


def curve_files(n_events: int, generator: np.random.Generator, options: CurveOptions) -> tuple[Files, Files]:
    """Draw ``n_events`` noisy points of the curve, and a fifth as many new ``x``, whose ``true_y`` is apart."""
    x, new = generator.uniform(LEFT, RIGHT, n_events), generator.uniform(LEFT, RIGHT, n_events // 5)
    points = {"x": x, "y": curve(x) + options.noise * generator.standard_normal(n_events)}
    unknown = {"x": new, "true_y": curve(new)}
    return {"curve.csv": numbered(points, 0)}, {"new_curve.csv": numbered(unknown, n_events)}


def curve_sections(options: CurveOptions) -> str:
    """Return the sections of the experiment file that know these columns."""
    comment = f"""\
# y = x³ + x² - x - 1 with a noise of {options.noise:g}. One hidden layer is enough to come as close as one likes,
# if it is wide enough; widths = [6] shows what six nodes can do.
"""
    features = '[features]\ninputs = ["x"]\n\n[targets]\ncurve = "y"\n'
    return "\n".join([comment + sample("curve.csv"), columns({}), features, split("event")])


BOUNDARIES: Mapping[str, tuple[str, Callable[[Floats, Floats], NDArray[np.bool_]]]] = MappingProxyType(
    {
        "line": ("x_1 > x_2", lambda x, y: x > y),
        "parabola": ("x_1² > x_2", lambda x, y: x**2 > y),
        "hyperbola": ("x_1 > 1 / x_2", lambda x, y: x > 1.0 / y),
    }
)
"""Where signal is in the plane: in words, and for arrays of both coordinates."""


class RegionOptions(Declaration):
    """What may be chosen: the border of the region."""

    boundary: Literal["line", "parabola", "hyperbola"] = "parabola"


def region_files(n_events: int, generator: np.random.Generator, options: RegionOptions) -> tuple[Files, Files]:
    """Draw ``n_events`` points of a square with whether they are in the region, and a fifth as many new ones."""
    _, is_inside = BOUNDARIES[options.boundary]
    x, y = generator.uniform(-HALF_SIDE, HALF_SIDE, (2, n_events + n_events // 5))
    label = is_inside(x, y).astype(np.int64)
    labelled, new = slice(n_events), slice(n_events, None)
    training = {"x_1": x[labelled], "x_2": y[labelled], "label": label[labelled]}
    unlabelled = {"x_1": x[new], "x_2": y[new], "true_label": label[new]}
    return {"region.csv": numbered(training, 0)}, {"new_region.csv": numbered(unlabelled, n_events)}


def region_sections(options: RegionOptions) -> str:
    """Return the sections of the experiment file that know these columns."""
    words, _ = BOUNDARIES[options.boundary]
    comment = (
        f"# Signal is where {words}, in a square from {-HALF_SIDE:g} to {HALF_SIDE:g}: it can be told without error.\n"
    )
    label = '{ column = "label", signal = 1, background = 0 }'
    features = '[features]\ninputs = ["x_1", "x_2"]\n'
    return "\n".join([comment + sample("region.csv", label), columns({}), features, split("event")])
