"""Figures: each draws one part of an evaluation, or a training history.

Draws records and computes nothing; the numbers come from ``evaluation`` and ``training``, the style from ``plots``.
What a record does not have, such as a significance where too little background is left, is left blank.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from models.histograms import KINDS, Kind
from models.plots import COLOURS, GREY, INK, new_figure, plus_minus
from models.probabilities import Reliability
from models.record import Evaluation, Probabilities
from models.significance import QuotedSignificance, SignificanceScan

ClassNames = Mapping[Kind, str]
PLAIN_NAMES: ClassNames = {"signal": "signal", "background": "background"}
History = Sequence[Mapping[str, Any]]

MEASURES = {"asimov": ("Asimov", COLOURS["signal"], "-"), "ams": ("AMS", COLOURS["background"], "--")}
"""The significances that are drawn: label, colour, style of the line."""


def roc_figure(evaluation: Evaluation) -> Figure:
    """Draw the ROC curve beside the background rejection, both with error band and working points."""
    with new_figure(width=11.0) as figure:
        curve, rejection = figure.subplots(1, 2)
        _draw_curve(curve, evaluation)
        _draw_rejection(rejection, evaluation)
    return figure


def score_figure(evaluation: Evaluation, class_names: ClassNames = PLAIN_NAMES) -> Figure:
    """Draw the scores of each class at unit area: training part filled, test part as points with errors.

    Twice: with a logarithmic axis, which shows the tails, and with a linear one, which shows the bulk.
    """
    with new_figure(width=11.0) as figure:
        logarithmic, linear = figure.subplots(1, 2)
        for kind in KINDS:
            _draw_scores(logarithmic, evaluation, kind, class_names[kind], in_log=True)
            _draw_scores(linear, evaluation, kind, class_names[kind], in_log=False)
        for axes in (logarithmic, linear):
            axes.set(xlabel="score", ylabel="events per unit of score, normalised", xlim=(0.0, 1.0))
        _make_logarithmic(logarithmic)
        figure.legend(*logarithmic.get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return figure


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
            _say_nothing_is_there(by_threshold, "too little background at every threshold")
            _say_nothing_is_there(by_efficiency, "")
    return figure


def reliability_figure(probabilities: Probabilities) -> Figure:
    """Draw the observed fraction of signal against the score, beside the numbers of events behind it."""
    found = probabilities.reliability
    with new_figure(width=11.0) as figure:
        diagram, counts = figure.subplots(1, 2)
        _draw_reliability(diagram, found)
        counts.stairs(found.n_events, found.edges, fill=True, color=COLOURS["signal"], alpha=0.25)
        counts.stairs(found.n_events, found.edges, color=COLOURS["signal"], linewidth=1.2)
        counts.set(xlabel="score", ylabel="test events per bin, unweighted", xlim=(0.0, 1.0), yscale="log")
        counts.set_ylim(0.5, 3.0 * max(int(found.n_events.max(initial=1)), 1))
    return figure


def history_figure(histories: Sequence[History]) -> Figure:
    """Draw loss and learning rate against the epoch, one line for each fold.

    Each mapping is one epoch, and may lack keys. The keys that are drawn: ``epoch``, ``loss``, ``validation_loss``,
    ``learning_rate``.
    """
    with new_figure(width=8.0) as figure:
        losses, rates = figure.subplots(2, 1, sharex=True, height_ratios=(3.0, 1.0))
        _draw_histories(losses, histories, "loss", label="training", color=COLOURS["signal"])
        _draw_histories(losses, histories, "validation_loss", label="validation", color=COLOURS["background"])
        _draw_histories(rates, histories, "learning_rate", color=INK)
        losses.set_ylabel("loss")
        rates.set(xlabel="epoch", ylabel="learning rate")
        rates.margins(x=0.02, y=0.15)
        rates.xaxis.set_major_locator(MaxNLocator(integer=True))
        rates.xaxis.set_minor_locator(MaxNLocator(integer=True, nbins=40))
        if losses.lines:
            losses.legend()
        else:
            _say_nothing_is_there(losses, "no epoch was run")
            _say_nothing_is_there(rates, "")
        if rates.lines:
            rates.set_yscale("log")
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


def _draw_scores(axes: Axes, evaluation: Evaluation, kind: Kind, name: str, *, in_log: bool) -> None:
    train, test = evaluation.histogram("train", kind), evaluation.histogram("test", kind)
    heights, _ = train.density()
    axes.stairs(heights, train.edges, fill=True, color=COLOURS[kind], alpha=0.25, label=f"{name}, train")
    axes.stairs(heights, train.edges, color=COLOURS[kind], linewidth=1.2)
    values, errors = test.density()
    shown = values > 0.0 if in_log else test.squares > 0.0  # a logarithmic axis has no place for the others
    axes.errorbar(
        0.5 * (test.edges[1:] + test.edges[:-1])[shown], values[shown],
        yerr=_within_log_axis(values[shown], errors[shown]) if in_log else errors[shown],
        fmt="o" if kind == "signal" else "s", color=COLOURS[kind], markersize=4.0, linewidth=1.3,
        label=f"{name}, test",
    )  # fmt: skip


def _within_log_axis(values: NDArray[np.float64], errors: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack((np.minimum(errors, 0.9 * values), errors))


def _make_logarithmic(axes: Axes) -> None:
    axes.set_yscale("log")
    bottom, top = axes.get_ylim()
    axes.set_ylim(float(np.clip(bottom, 1e-6 * top, 1e-2 * top)), 1.5 * top)


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


def _draw_reliability(axes: Axes, found: Reliability) -> None:
    axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1.2, label="scores are probabilities")
    has_error = np.isfinite(found.error)
    for shown, filled, label in ((has_error, "full", "test events"), (~has_error, "none", "one class alone")):
        drawn = shown & np.isfinite(found.signal_fraction)
        if drawn.any():
            axes.errorbar(
                found.mean_score[drawn], found.signal_fraction[drawn], yerr=found.error[drawn],
                fmt="o", color=COLOURS["signal"], markersize=6, linewidth=1.5, fillstyle=filled, label=label,
            )  # fmt: skip
    axes.set(xlabel="mean score in the bin", ylabel="fraction of signal", xlim=(-0.02, 1.02))
    bottom, top = axes.get_ylim()
    axes.set_ylim(min(bottom, -0.02), max(top, 1.02))
    axes.legend(loc="upper left")


def _draw_histories(axes: Axes, histories: Sequence[History], key: str, color: str, label: str | None = None) -> None:
    is_alone = len(histories) == 1
    for history in histories:
        drawn = [(row["epoch"], row[key]) for row in history if row.get(key) is not None]
        if drawn:
            epochs, values = zip(*drawn, strict=True)
            axes.plot(
                epochs, values, color=color, label=label,
                drawstyle="steps-mid" if key == "learning_rate" else "default",
                marker="o" if is_alone or len(drawn) == 1 else None, markersize=3.5, linewidth=1.6 if is_alone else 0.9,
            )  # fmt: skip
            label = None  # one line in the legend stands for all folds


def _say_nothing_is_there(axes: Axes, text: str) -> None:
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center")
    axes.tick_params(which="both", length=0, labelleft=False, labelbottom=False)
