"""The significance above each threshold."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from models.record import Evaluation
from models.report.numbers import plus_minus
from models.report.picture import Picture, measurements, rows_of, thinned
from models.report.style import COLOURS, INK, new_figure, say_nothing_is_there
from models.significance import QuotedSignificance, SignificanceScan

MEASURES = {"asimov": ("Asimov", COLOURS["signal"], "-"), "ams": ("AMS", COLOURS["background"], "--")}
"""The significances that are drawn: label, colour, style of the line."""


def significance_picture(evaluation: Evaluation) -> Picture:
    """Draw what a threshold is worth."""
    scan = evaluation.significance.scan
    shown = thinned(scan.thresholds.size)
    return Picture(
        "significance",
        "significance",
        "Significance of the events at or above each threshold, on the test part, against the threshold and against "
        "the signal efficiency there; the dotted line is the threshold that is best on the validation part. Blank "
        f"where too little background passes for a significance: fewer than {scan.min_background_events} events, or a "
        "yield below its own error.",
        significance_figure(evaluation),
        ("threshold", "signal yield", "background yield", "background events", "Asimov", "AMS"),
        rows_of(
            scan.thresholds[shown],
            measurements(scan.signal[shown], scan.signal_error[shown]),
            measurements(scan.background[shown], scan.background_error[shown]),
            scan.n_background[shown],
            *(scan.significances[measure][shown] for measure in MEASURES),
        ),
    )


def significance_figure(evaluation: Evaluation) -> Figure:
    """Draw the significances above each threshold of the test part, and those at the chosen one.

    Twice: against the threshold and, since thresholds may crowd at one end, against the signal efficiency.
    """
    scan, quoted = evaluation.significance.scan, evaluation.significance.quoted
    total = float(scan.signal[-1])
    with new_figure(width=11.0) as figure:
        by_threshold, by_efficiency = figure.subplots(1, 2, sharey=True)
        _draw_significances(by_threshold, scan.thresholds, scan)
        _draw_significances(by_efficiency, scan.signal / total, scan)
        if quoted is not None:
            _draw_chosen(by_threshold, quoted.threshold, quoted)
            _draw_chosen(by_efficiency, quoted.signal.value / total, quoted)
        by_threshold.set(xlabel="threshold of the score", xlim=_span(scan.thresholds))
        by_threshold.set_ylabel("significance, standard deviations")
        by_efficiency.set(xlabel="signal efficiency", xlim=_span(scan.signal / total))
        handles, labels = by_threshold.get_legend_handles_labels()
        if handles:
            by_threshold.set_ylim(0.0, None)
            figure.legend(handles, labels, loc="outside upper center", ncols=4)
        else:
            say_nothing_is_there(by_threshold, "too little background at every threshold")
            say_nothing_is_there(by_efficiency, "")
    return figure


def _draw_significances(axes: Axes, places: NDArray[np.float64], scan: SignificanceScan) -> None:
    for measure, (label, color, style) in MEASURES.items():
        values = scan.significances[measure]
        if np.isfinite(values).any():
            axes.plot(places, values, color=color, linestyle=style, label=label)


def _draw_chosen(axes: Axes, place: float, quoted: QuotedSignificance) -> None:
    axes.axvline(place, color=INK, linewidth=1.0, linestyle=":")
    for measure, (_, color, _) in MEASURES.items():
        chosen = quoted.significances[measure]
        if np.isfinite(chosen.value):
            axes.errorbar(
                [place], [chosen.value], yerr=[chosen.error], fmt="o", color=color, markersize=6, clip_on=False,
                label=f"{plus_minus(chosen)} at the chosen threshold",
            )  # fmt: skip


def _span(places: NDArray[np.float64]) -> tuple[float, float]:
    """Return the ends of an axis: 0 and 1, and what lies outside."""
    return min(0.0, float(places.min())), max(1.0, float(places.max()))
