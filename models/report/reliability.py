"""Reliability: the observed fraction of signal against the score, and against the calibrated probability."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from models.probabilities import Reliability
from models.record import Probabilities
from models.report.picture import Cell, Picture, measurements, rows_of
from models.report.style import COLOURS, GREY, new_figure

COLUMNS = ("mean score", "fraction of signal", "events", "effective events")


def reliability_picture(scores: Probabilities, calibrated: Probabilities | None = None) -> Picture:
    """Draw how far scores are probabilities, and calibrated ones where there are some."""
    edges = scores.reliability.edges
    columns: tuple[str, ...] = COLUMNS
    cells = _cells(scores.reliability)
    if calibrated is not None:
        columns += tuple(f"{name}, calibrated" for name in ("mean", *COLUMNS[1:]))
        cells += _cells(calibrated.reliability)
    return Picture(
        "probabilities",
        "reliability",
        "Reliability on the test part: the fraction of signal against the mean score, bin by bin, which agree where "
        "scores are probabilities; beside it the number of events in each bin.",
        reliability_figure(scores, calibrated),
        ("from", "to", *columns),
        rows_of(edges[:-1], edges[1:], *cells),
    )


def reliability_figure(scores: Probabilities, calibrated: Probabilities | None = None) -> Figure:
    """Draw the observed fraction of signal against the score, beside the numbers of events behind it."""
    drawn = [(scores.reliability, COLOURS["signal"], "o", "scores")]
    if calibrated is not None:
        drawn.append((calibrated.reliability, COLOURS["background"], "s", "calibrated"))
    with new_figure(width=11.0) as figure:
        diagram, counts = figure.subplots(1, 2)
        diagram.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1.2, label="probabilities of signal")
        for found, colour, marker, label in drawn:
            draw_reliability(diagram, found, colour, marker, label)
            counts.stairs(found.n_events, found.edges, fill=True, color=colour, alpha=0.2)
            counts.stairs(found.n_events, found.edges, color=colour, linewidth=1.2)
        _frame(diagram)
        counts.set(xlabel="score", ylabel="test events per bin, unweighted", xlim=(0.0, 1.0), yscale="log")
        counts.set_ylim(0.5, 3.0 * max(int(found.n_events.max(initial=1)) for found, *_ in drawn))
    return figure


def _cells(found: Reliability) -> tuple[list[Cell], ...]:
    fractions: list[Cell] = [*measurements(found.signal_fraction, found.error)]
    return found.mean_score.tolist(), fractions, found.n_events.tolist(), found.effective_events.tolist()


def draw_reliability(axes: Axes, found: Reliability, colour: str, marker: str, label: str) -> None:
    """Draw the bins that can be measured; hollow where a bin has events of one class alone."""
    has_error = np.isfinite(found.error)
    for shown, filled, name in ((has_error, "full", label), (~has_error, "none", f"{label}, one class alone")):
        drawn = shown & np.isfinite(found.signal_fraction)
        if drawn.any():
            axes.errorbar(
                found.mean_score[drawn], found.signal_fraction[drawn], yerr=found.error[drawn],
                fmt=marker, color=colour, markersize=6, linewidth=1.5, fillstyle=filled, label=name,
            )  # fmt: skip


def _frame(axes: Axes) -> None:
    axes.set(xlabel="mean score in the bin", ylabel="fraction of signal", xlim=(-0.02, 1.02))
    bottom, top = axes.get_ylim()
    axes.set_ylim(min(bottom, -0.02), max(top, 1.02))
    axes.legend(loc="upper left")
