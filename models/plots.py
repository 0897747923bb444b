"""Pictures of an evaluation and of a training history.

Draws records and computes nothing; the numbers come from ``evaluation`` and ``training``. Every figure
is a free-standing matplotlib ``Figure`` with its own canvas, so that nothing here needs a screen or
leaves state behind.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib.style
import mplhep
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from models.evaluation import Evaluation
from models.histograms import KINDS, Kind
from models.scored import Measured

ClassNames = Mapping[Kind, str]
PLAIN_NAMES: ClassNames = {"signal": "signal", "background": "background"}

# Two hues of the palette of Okabe and Ito, told apart under every common colour blindness.
COLOURS: Mapping[Kind, str] = {"signal": "#0072B2", "background": "#D55E00"}
INK = "#333333"
DOTS_PER_INCH = 150

STYLE = [
    mplhep.style.ATLAS,
    {
        # The only family that comes with matplotlib itself: the same picture on every machine.
        "font.family": "DejaVu Sans",
        "mathtext.fontset": "dejavusans",
        "mathtext.default": "regular",
        "font.size": 13,
        "axes.titlesize": 14,
        "axes.labelsize": 14,
        "xtick.labelsize": 12,
        "ytick.labelsize": 12,
        "xtick.major.pad": 7,
        "ytick.major.pad": 6,
        "axes.labelpad": 6,
        "ytick.major.size": 6,
        "ytick.minor.size": 3,
        "lines.linewidth": 1.6,
        "legend.fontsize": 11.5,
        "legend.borderpad": 0.4,
        "axes.autolimit_mode": "data",
        "figure.constrained_layout.use": True,
    },
]


def roc_figure(evaluation: Evaluation) -> Figure:
    """Draw the ROC curve beside the background rejection, with the working points on both."""
    with _figure(width=11.0) as figure:
        curve, rejection = figure.subplots(1, 2)
        _draw_curve(curve, evaluation)
        _draw_rejection(rejection, evaluation)
    return figure


def score_figure(evaluation: Evaluation, class_names: ClassNames = PLAIN_NAMES) -> Figure:
    """Draw the scores of each class at unit area: training part filled, test part as points with errors."""
    with _figure(width=8.0) as figure:
        axes = figure.subplots()
        for kind in KINDS:
            _draw_scores(axes, evaluation, kind, class_names[kind])
        axes.set(xlabel="score", ylabel="events per unit of score, normalised", xlim=(0.0, 1.0), yscale="log")
        bottom, top = axes.get_ylim()
        bottom = float(np.clip(bottom, 1e-6 * top, 1e-2 * top))
        axes.set_ylim(bottom, top * (top / bottom) ** 0.3)  # room for the legend
        axes.legend(loc="upper center", ncols=2)
    return figure


def history_figure(history: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw loss and learning rate against the epoch; each mapping is one epoch, and may lack keys.

    The keys that are drawn: ``epoch``, ``loss``, ``validation_loss``, ``learning_rate``.
    """
    with _figure(width=8.0) as figure:
        losses, rates = figure.subplots(2, 1, sharex=True, height_ratios=(3.0, 1.0))
        _draw_history(losses, history, "loss", label="training", color=COLOURS["signal"])
        _draw_history(losses, history, "validation_loss", label="validation", color=COLOURS["background"])
        _draw_history(rates, history, "learning_rate", color=INK)
        losses.set_ylabel("loss")
        rates.set(xlabel="epoch", ylabel="learning rate")
        rates.margins(x=0.02, y=0.15)
        rates.xaxis.set_major_locator(MaxNLocator(integer=True))
        rates.xaxis.set_minor_locator(MaxNLocator(integer=True, nbins=40))
        if losses.lines:
            losses.legend()
        else:
            losses.text(0.5, 0.5, "no epoch was run", transform=losses.transAxes, ha="center", va="center")
        if rates.lines:
            rates.set_yscale("log")
    return figure


def save_figures(folder: Path, figures: Mapping[str, Figure]) -> list[Path]:
    """Write each figure as ``NAME.png`` and ``NAME.pdf`` into ``folder`` and return the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, figure in figures.items():
        picture, page = folder / f"{name}.png", folder / f"{name}.pdf"
        picture.write_bytes(png_of(figure))
        # Without its date the same figure is the same file.
        figure.savefig(page, metadata={"CreationDate": None})
        written += [picture, page]
    return written


def png_of(figure: Figure) -> bytes:
    """Return the figure as a PNG image."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH)
    return buffer.getvalue()


@contextmanager
def _figure(width: float) -> Iterator[Figure]:
    with matplotlib.style.context(STYLE):
        figure = Figure(figsize=(width, 5.2))
        FigureCanvasAgg(figure)
        yield figure


def _draw_curve(axes: Axes, evaluation: Evaluation) -> None:
    roc, points = evaluation.roc, [point.quoted for point in evaluation.working_points]
    axes.plot([0, 1], [0, 1], color="#888888", linestyle="--", linewidth=1.2, label="no separation")
    axes.plot(roc.fpr, roc.tpr, color=COLOURS["signal"], label=f"AUC = {plus_minus(evaluation.auc)}")
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
    roc, points = evaluation.roc, [point.quoted for point in evaluation.working_points]
    exists = roc.fpr > 0.0  # above the highest background score the rejection has no bound
    axes.plot(roc.tpr[exists], 1.0 / roc.fpr[exists], color=COLOURS["signal"])
    bounded = [point for point in points if point.background_efficiency.value > 0.0]
    axes.errorbar(
        [point.signal_efficiency.value for point in bounded],
        [point.rejection.value for point in bounded],
        xerr=[point.signal_efficiency.error for point in bounded],
        yerr=[point.rejection.error for point in bounded],
        fmt="o", color=INK, markersize=6, linewidth=1.5,
    )  # fmt: skip
    axes.set(xlabel="signal efficiency", ylabel="background rejection, 1 / efficiency")
    axes.set(xlim=(0, 1), yscale="log", ylim=(0.8, None))


def _draw_scores(axes: Axes, evaluation: Evaluation, kind: Kind, name: str) -> None:
    train, test = evaluation.histogram("train", kind), evaluation.histogram("test", kind)
    heights, _ = train.density()
    axes.stairs(heights, train.edges, fill=True, color=COLOURS[kind], alpha=0.25, label=f"{name}, train")
    axes.stairs(heights, train.edges, color=COLOURS[kind], linewidth=1.2)
    values, errors = test.density()
    shown = values > 0.0  # a logarithmic axis has no place for the others
    axes.errorbar(
        0.5 * (test.edges[1:] + test.edges[:-1])[shown], values[shown],
        yerr=_within_log_axis(values[shown], errors[shown]),
        fmt="o" if kind == "signal" else "s", color=COLOURS[kind], markersize=4.5, linewidth=1.3,
        label=f"{name}, test",
    )  # fmt: skip


def _within_log_axis(values: NDArray[np.float64], errors: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack((np.minimum(errors, 0.9 * values), errors))


def _draw_history(
    axes: Axes, history: Sequence[Mapping[str, float]], key: str, color: str, label: str | None = None
) -> None:
    drawn = [(row["epoch"], row[key]) for row in history if row.get(key) is not None]
    if drawn:
        epochs, values = zip(*drawn, strict=True)
        style = "steps-mid" if key == "learning_rate" else "default"
        axes.plot(epochs, values, color=color, label=label, drawstyle=style, marker="o", markersize=3.5)


def plus_minus(number: Measured) -> str:
    """Write a number with its error, to two digits of the error (or four decimals without one)."""
    if not np.isfinite(number.error) or number.error <= 0.0:
        return f"{number.value:.4f}"
    decimals = max(0, 1 - int(np.floor(np.log10(number.error))))
    return f"{number.value:.{decimals}f} ± {number.error:.{decimals}f}"
