"""The residuals of a quantity: how they are distributed, and how they depend on the true and on the predicted value."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from models.averages import Estimates
from models.profiles import Plane, ResidualProfile
from models.report.numbers import measured, number
from models.report.picture import Cell, Picture, measurements, rows_of
from models.report.scores import make_logarithmic
from models.report.style import COLOURS, GREY, INK, name_in_picture, new_figure, say_nothing_is_there
from models.residuals import Histogram, QuantityFinding
from models.scored import Floats

Drawn = tuple[Floats, Floats]


def residuals_picture(name: str, found: QuantityFinding) -> Picture:
    """Draw the distribution of residuals."""
    shown = found.histogram
    beyond = f"{number(shown.n_below)} test events lie below what is shown, and {number(shown.n_above)} above."
    return Picture(
        "residuals",
        f"residuals_{name}",
        f"Residuals of {found.name}, predicted - true, weighted and at unit area: training part filled, test part as "
        "points with errors, on a linear and on a logarithmic axis. Beside them a Gaussian of the same median and "
        f"central width. {beyond}",
        residuals_figure(found),
        ("from", "to", "sum of weights, test", "sum of weights, training"),
        rows_of(
            shown.edges[:-1],
            shown.edges[1:],
            *(measurements(one.sums, np.sqrt(one.squares)) for one in (shown, found.histogram_train)),
        ),
    )


def residuals_figure(found: QuantityFinding) -> Figure:
    """Draw residuals on a linear and on a logarithmic axis."""
    with new_figure(width=11.0) as figure:
        linear, logarithmic = figure.subplots(1, 2)
        for axes in (linear, logarithmic):
            _draw_residuals(axes, found, in_log=axes is logarithmic)
            axes.set(xlabel=f"{name_in_picture(found.name)}, predicted - true", ylabel="events, normalised")
            axes.set_xlim(found.histogram.edges[0], found.histogram.edges[-1])
        figure.legend(*linear.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def plane_picture(name: str, found: QuantityFinding) -> Picture:
    """Draw predicted against true values."""
    return Picture(
        "residuals",
        f"predicted_{name}",
        f"Predicted against true values of {found.name} on the test part: sums of weights on a logarithmic scale, "
        "blank where they are not positive, and the line on which both are equal. "
        f"{number(found.plane.n_outside)} events lie beyond the edges.",
        plane_figure(found),
    )


def plane_figure(found: QuantityFinding) -> Figure:
    """Draw the plane with its diagonal."""
    plane, name = found.plane, name_in_picture(found.name)
    with new_figure(width=7.0, height=5.8) as figure:
        axes = figure.subplots()
        _draw_plane(figure, axes, plane)
        axes.set(xlabel=f"true {name}", ylabel=f"predicted {name}")
        axes.set_box_aspect(1)
    return figure


def profile_picture(name: str, found: QuantityFinding) -> Picture:
    """Draw residuals against the true and against the predicted value."""
    against = found.against_true
    return Picture(
        "residuals",
        f"profile_{name}",
        f"Residuals of {found.name} in bins of equal effective events, against the true value (left) and against the "
        "predicted one (right): points are means with errors, the band is the central 68 % around them by half its "
        "length. Against the true value residuals fall wherever the inputs do not tell everything (regression to the "
        "mean); against the predicted value they are flat, unless predictions can be corrected. The numbers are those "
        "against the true value.",
        profile_figure(found),
        ("from", "to", "mean true value", "mean residual", "half-width", "events", "effective events"),
        rows_of(
            against.edges[:-1],
            against.edges[1:],
            against.places,
            *(_numbers(one) for one in (against.mean, against.width)),
            against.events.tolist(),
            against.effective_events,
        ),
    )


def profile_figure(found: QuantityFinding) -> Figure:
    """Draw both profiles, with one axis for the residuals."""
    name = name_in_picture(found.name)
    with new_figure(width=11.0) as figure:
        both = figure.subplots(1, 2, sharey=True)
        for axes, kind, profile in zip(both, ("true", "predicted"), _profiles(found), strict=True):
            _draw_profile(axes, profile)
            axes.set(xlabel=f"{kind} {name}", xlim=found.plane.edges[[0, -1]])
        both[0].set_ylabel("predicted - true")
        figure.legend(*both[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def _profiles(found: QuantityFinding) -> tuple[ResidualProfile, ResidualProfile]:
    return found.against_true, found.against_predicted


def _numbers(found: Estimates) -> list[Cell]:
    return [*measurements(found.values, found.errors)]


def _draw_residuals(axes: Axes, found: QuantityFinding, *, in_log: bool) -> None:
    edges = found.histogram.edges
    heights, _ = _density(found.histogram_train)
    axes.stairs(heights, edges, fill=True, color=COLOURS["signal"], alpha=0.25, label="training part")
    axes.stairs(heights, edges, color=COLOURS["signal"], linewidth=1.2)
    values, errors = _density(found.histogram)
    shown = values > 0.0 if in_log else found.histogram.squares > 0.0
    lower = np.minimum(errors, 0.9 * values) if in_log else errors
    axes.errorbar(
        0.5 * (edges[1:] + edges[:-1])[shown], values[shown], yerr=np.stack((lower, errors))[:, shown],
        fmt="o", color=COLOURS["signal"], markersize=3.5, linewidth=1.2, label="test part",
    )  # fmt: skip
    if in_log:
        make_logarithmic(axes)  # first, since the tails of a Gaussian would need many decades
    _draw_gaussian(axes, found)
    axes.axvline(found.median.value, color=INK, linewidth=1.2, label=f"median {measured(found.median)}")


def _draw_gaussian(axes: Axes, found: QuantityFinding) -> None:
    if not found.width.value > 0.0:
        return
    places = np.linspace(found.histogram.edges[0], found.histogram.edges[-1], 300)
    distances = (places - found.median.value) / found.width.value
    heights = np.exp(-0.5 * distances**2) / (np.sqrt(2.0 * np.pi) * found.width.value)
    label = f"Gaussian of half-width {measured(found.width)}"
    axes.plot(places, heights, color=GREY, linestyle="--", linewidth=1.4, label=label)


def _density(found: Histogram) -> Drawn:
    """Return the histogram at an area of 1 with what lies beyond its edges, and its errors."""
    total = float(found.sums.sum()) + found.below + found.above
    scale = 1.0 / (total * np.diff(found.edges))
    return found.sums * scale, np.sqrt(found.squares) * scale


def _draw_plane(figure: Figure, axes: Axes, plane: Plane) -> None:
    edges, positive = plane.edges, plane.sums[plane.sums > 0.0]
    if not positive.size:
        say_nothing_is_there(axes, "no positive sums of weights")
        return
    top = float(positive.max())
    scale = LogNorm(max(float(positive.min()), 1e-5 * top), max(top, 1.001 * float(positive.min())))
    shown = np.ma.masked_less_equal(plane.sums, 0.0)
    image = axes.pcolormesh(edges, edges, shown.T, cmap="Blues", norm=scale, rasterized=True)
    axes.plot(edges[[0, -1]], edges[[0, -1]], color=INK, linestyle="--", linewidth=1.2)
    axes.set(xlim=edges[[0, -1]], ylim=edges[[0, -1]])
    figure.colorbar(image, ax=axes, label="sum of weights")


def _draw_profile(axes: Axes, found: ResidualProfile) -> None:
    means, widths = found.mean.values, found.width.values
    axes.axhline(0.0, color=GREY, linestyle="--", linewidth=1.2)
    axes.fill_between(
        found.places,
        means - widths,
        means + widths,
        color=COLOURS["signal"],
        alpha=0.2,
        linewidth=0,
        label="mean ± half-width",
    )
    across = found.places - found.edges[:-1], found.edges[1:] - found.places
    axes.errorbar(
        found.places, means, xerr=np.stack(across), yerr=found.mean.errors,
        fmt="o", color=COLOURS["signal"], markersize=4.5, linewidth=1.4, label="mean",
    )  # fmt: skip
