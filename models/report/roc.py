"""The ROC curve, beside the background rejection, with error band and working points."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from models.record import Evaluation
from models.report.numbers import plus_minus
from models.report.picture import Picture, rows_of, thinned
from models.report.style import COLOURS, GREY, INK, new_figure


def roc_picture(evaluation: Evaluation) -> Picture:
    """Draw how much background comes with how much signal."""
    band = evaluation.band
    shown = thinned(band.low.size)
    return Picture(
        "roc",
        "roc",
        "ROC curve and background rejection on the test part. The bands hold 68 % of the bootstrap replicas, "
        "test samples that are drawn again with Poisson counts. The points are the working points.",
        roc_figure(evaluation),
        ("background efficiency", "signal efficiency", "lower end of the band", "upper end of the band"),
        rows_of(*(a[shown] for a in (band.background_efficiency, band.signal_efficiency, band.low, band.high))),
    )


def roc_figure(evaluation: Evaluation) -> Figure:
    """Draw the ROC curve beside the background rejection, both with error band and working points."""
    with new_figure(width=11.0) as figure:
        curve, rejection = figure.subplots(1, 2)
        _draw_curve(curve, evaluation)
        _draw_rejection(rejection, evaluation)
    return figure


def _draw_curve(axes: Axes, evaluation: Evaluation) -> None:
    roc, band, points = evaluation.roc, evaluation.band, [point.quoted for point in evaluation.working_points]
    axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1.2, label="no separation")
    axes.plot(roc.fpr, roc.tpr, color=COLOURS["signal"], label=f"AUC = {plus_minus(evaluation.auc)}")
    axes.fill_between(
        band.background_efficiency, band.low, band.high,
        color=COLOURS["signal"], alpha=0.3, linewidth=0, label="68 % of bootstrap replicas",
    )  # fmt: skip
    axes.errorbar(
        [point.background_efficiency.value for point in points],
        [point.signal_efficiency.value for point in points],
        xerr=[point.background_efficiency.error for point in points],
        yerr=[point.signal_efficiency.error for point in points],
        fmt="o", color=INK, markersize=6, linewidth=1.5, label="working points",
    )  # fmt: skip
    axes.set(xlabel="background efficiency", ylabel="signal efficiency", xlim=(0, 1), ylim=(0, 1.02))
    axes.legend(loc="lower right")


def _draw_rejection(axes: Axes, evaluation: Evaluation) -> None:
    roc, band, points = evaluation.roc, evaluation.band, [point.quoted for point in evaluation.working_points]
    everywhere = np.linspace(0.01, 1.0, 100)
    axes.plot(everywhere, 1.0 / everywhere, color=GREY, linestyle="--", linewidth=1.2)
    exists = roc.fpr > 0.0  # above the highest background score the rejection has no bound
    axes.plot(roc.tpr[exists], 1.0 / roc.fpr[exists], color=COLOURS["signal"])
    bounded = band.background_efficiency > 0.0
    axes.fill_betweenx(
        1.0 / band.background_efficiency[bounded], band.low[bounded], band.high[bounded],
        color=COLOURS["signal"], alpha=0.3, linewidth=0,
    )  # fmt: skip
    shown = [point for point in points if point.background_efficiency.value > 0.0]
    axes.errorbar(
        [point.signal_efficiency.value for point in shown],
        [point.rejection.value for point in shown],
        xerr=[point.signal_efficiency.error for point in shown],
        yerr=[point.rejection.error for point in shown],
        fmt="o", color=INK, markersize=6, linewidth=1.5,
    )  # fmt: skip
    axes.set(xlabel="signal efficiency", ylabel="background rejection, 1 / efficiency")
    axes.set(xlim=(0, 1), yscale="log", ylim=(0.8, None))
