"""Templates: the histograms of the score that a fit would take."""

import numpy as np
from matplotlib.figure import Figure

from models.report.picture import Picture, measurements, rows_of
from models.report.style import COLOURS, INK, name_in_picture, new_figure
from models.scored import Floats
from models.templates import Templates

BACKGROUNDS = ("#E69F00", "#56B4E9", "#F0E442", "#CC79A7", "#999999", "#009E73")
STYLES = ("-", "--", ":", "-.")


def templates_picture(found: Templates) -> Picture:
    """Draw the yields of all samples in the bins of the fit."""
    return Picture(
        "templates",
        "templates",
        "Expected yields in the bins of the fit, from the test part: backgrounds on top of each other with the "
        "statistical error of their sum, and the signals as lines. Bins were chosen on the validation part.",
        templates_figure(found),
        ("from", "to", *found.names),
        rows_of(
            found.edges[:-1],
            found.edges[1:],
            *(measurements(*one) for one in zip(found.sums, np.sqrt(found.squares), strict=True)),
        ),
    )


def templates_figure(found: Templates) -> Figure:
    """Draw stacked backgrounds and signals over them, on a logarithmic axis."""
    is_signal = np.array([kind == "signal" for kind in found.kinds])
    names = [name_in_picture(name) for name in found.names]
    with new_figure(width=8.0) as figure:
        axes = figure.subplots()
        top = np.zeros(found.edges.size - 1)
        for number, sample in enumerate(np.flatnonzero(~is_signal)):
            colour, below = BACKGROUNDS[number % len(BACKGROUNDS)], top
            top = top + found.sums[sample]
            axes.stairs(top, found.edges, baseline=below, fill=True, color=colour, alpha=0.7, label=names[sample])
        error = np.sqrt(found.squares[~is_signal].sum(axis=0))
        axes.stairs(
            top + error, found.edges, baseline=np.maximum(top - error, 0.0),
            fill=True, facecolor="none", edgecolor=INK, hatch="////", linewidth=0.0, label="statistical error",
        )  # fmt: skip
        for number, sample in enumerate(np.flatnonzero(is_signal)):
            style = STYLES[number % len(STYLES)]
            sums = found.sums[sample]
            axes.stairs(
                sums, found.edges, baseline=None, color=COLOURS["signal"], linestyle=style, linewidth=2.2,
                label=names[sample],
            )  # fmt: skip
        axes.set(xlabel="score", ylabel="expected events per bin", xlim=(0.0, 1.0), yscale="log")
        axes.set_ylim(*_limits(found.sums))
        axes.legend(ncols=2)
    return figure


def _limits(sums: Floats) -> tuple[float, float]:
    largest, positive = float(sums.sum(axis=0).max()), sums[sums > 0.0]
    return max(0.3 * float(positive.min()), 1e-6 * largest), 30.0 * largest
