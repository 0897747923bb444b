"""The scores of each class in the training and in the test part."""

from typing import Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from models.histograms import KINDS, Kind, PartName, ScoreHistogram
from models.record import Evaluation
from models.report.picture import PLAIN_NAMES, ClassNames, Picture, measurements, rows_of
from models.report.style import COLOURS, name_in_picture, new_figure


def scores_picture(evaluation: Evaluation, class_names: ClassNames) -> Picture:
    """Draw where the scores lie."""
    parts: tuple[PartName, ...] = ("train", "test")
    shown = [(part, kind) for kind in KINDS for part in parts]
    histograms = [evaluation.histogram(part, kind) for part, kind in shown]
    edges = histograms[0].edges
    return Picture(
        "scores",
        "scores",
        "Scores of each class, weighted and at unit area: training part filled, test part as points with errors; "
        "on a logarithmic and on a linear axis. Where points and filled areas disagree, the network has learnt its "
        "training events by heart, or the parts are not alike.",
        score_figure(evaluation, class_names),
        ("from", "to", *(f"{class_names[kind]}, {part}" for part, kind in shown)),
        rows_of(edges[:-1], edges[1:], *(measurements(*histogram.density()) for histogram in histograms)),
    )


def score_figure(evaluation: Evaluation, class_names: ClassNames = PLAIN_NAMES) -> Figure:
    """Draw the scores of each class at unit area: training part filled, test part as points with errors.

    Twice: with a logarithmic axis, which shows the tails, and with a linear one, which shows the bulk.
    """
    with new_figure(width=11.0) as figure:
        logarithmic, linear = figure.subplots(1, 2)
        for kind in KINDS:
            name = name_in_picture(class_names[kind])
            draw_scores(logarithmic, evaluation, kind, name, in_log=True)
            draw_scores(linear, evaluation, kind, name, in_log=False)
        for axes in (logarithmic, linear):
            axes.set(xlabel="score", ylabel="events per unit of score, normalised", xlim=(0.0, 1.0))
        make_logarithmic(logarithmic)
        figure.legend(*logarithmic.get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return figure


class Histogrammed(Protocol):
    """What has histograms of a score in the train and test part."""

    def histogram(self, part: PartName, kind: Kind) -> ScoreHistogram:
        """Return that of one class in one part."""


def draw_scores(axes: Axes, found: Histogrammed, kind: Kind, name: str, *, in_log: bool) -> None:
    """Draw one class: training part filled, test part as points with errors."""
    train, test = found.histogram("train", kind), found.histogram("test", kind)
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


def make_logarithmic(axes: Axes) -> None:
    """Make the axis of densities logarithmic, with room for six decades at most."""
    axes.set_yscale("log")
    bottom, top = axes.get_ylim()
    axes.set_ylim(float(np.clip(bottom, 1e-6 * top, 1e-2 * top)), 1.5 * top)
