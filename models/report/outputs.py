"""The outputs of a network that has several, each against all else: ROC curves, scores, reliability."""

from collections.abc import Callable, Sequence
from math import ceil

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from models.outputs import OutputFinding
from models.report.numbers import plus_minus
from models.report.picture import MOST_ROWS, Cell, Picture, Section, measurements, rows_of, thinned
from models.report.reliability import draw_reliability
from models.report.scores import draw_scores, make_logarithmic
from models.report.style import COLOURS, GREY, LINES, SEVERAL, name_in_picture, new_figure

Draw = Callable[[Axes, OutputFinding], None]

MOST_DRAWN = 12
"""Outputs that pictures have room for: of more, those of the lowest AUC."""
MOST_PANELS = 4
"""Panels side by side."""


def outputs_roc_picture(section: Section, outputs: Sequence[OutputFinding]) -> Picture:
    """Draw the ROC curve of each output."""
    shown = [outputs[place] for place in thinned(len(outputs), MOST_ROWS)]
    return Picture(
        section,
        "roc",
        "ROC curve of each output against all else on the test part, and the rejection of all else against the own "
        f"efficiency. AUCs with DeLong's error.{_left_out(outputs)}",
        outputs_roc_figure(outputs),
        ("output", "AUC", "validation part", "training part", "Brier score", "calibration error", "if calibrated"),
        tuple(_row(output) for output in shown),
    )


def outputs_roc_figure(outputs: Sequence[OutputFinding]) -> Figure:
    """Draw all curves in one frame, and the rejections in another."""
    with new_figure(width=12.0, height=5.6) as figure:
        curve, rejection = figure.subplots(1, 2)
        curve.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1.0)
        for place, output in enumerate(drawn_of(outputs)):
            look = {"color": SEVERAL[place % len(SEVERAL)], "linestyle": LINES[place // len(SEVERAL) % len(LINES)]}
            roc, exists = output.roc, output.roc.fpr > 0.0
            curve.plot(roc.fpr, roc.tpr, label=f"{name_in_picture(output.name)}: {plus_minus(output.auc)}", **look)
            rejection.plot(roc.tpr[exists], 1.0 / roc.fpr[exists], **look)
        curve.set(xlabel="efficiency for all else", ylabel="own efficiency", xlim=(0, 1), ylim=(0, 1.02))
        rejection.set(xlabel="own efficiency", ylabel="rejection of all else", xlim=(0, 1), yscale="log")
        rejection.set_ylim(0.8, None)
        figure.legend(*curve.get_legend_handles_labels(), title="AUC", loc="outside right center")
    return figure


def outputs_scores_picture(section: Section, outputs: Sequence[OutputFinding]) -> Picture:
    """Draw each output for its own events and for all others."""
    edges, shown = outputs[0].histograms[0].edges, drawn_of(outputs)
    own = [output.histogram("test", "signal").density() for output in shown]
    return Picture(
        section,
        "scores",
        "Each output for its own events (blue) and for all others (orange), weighted and at unit area: training part "
        "filled, test part as points with errors. The numbers are those of the own events of the test part."
        f"{_left_out(outputs)}",
        outputs_scores_figure(outputs),
        ("from", "to", *(output.name for output in shown)),
        rows_of(edges[:-1], edges[1:], *(measurements(*density) for density in own)),
    )


def outputs_scores_figure(outputs: Sequence[OutputFinding]) -> Figure:
    """Draw one panel for each output, on logarithmic axes."""

    def draw(axes: Axes, output: OutputFinding) -> None:
        draw_scores(axes, output, "background", "all others", in_log=True)
        draw_scores(axes, output, "signal", "own events", in_log=True)
        make_logarithmic(axes)

    return _panels(outputs, draw, "score", "events per unit of score")


def outputs_reliability_picture(section: Section, outputs: Sequence[OutputFinding]) -> Picture:
    """Draw how far each output is a probability."""
    shown, edges = drawn_of(outputs), outputs[0].reliability.edges
    fractions = [measurements(output.reliability.signal_fraction, output.reliability.error) for output in shown]
    return Picture(
        section,
        "reliability",
        "Reliability of each output on the test part: the share of its own events against the mean score, bin by bin, "
        f"which agree where scores are probabilities; hollow where all events of a bin are alike.{_left_out(outputs)}",
        outputs_reliability_figure(outputs),
        ("from", "to", *(output.name for output in shown)),
        rows_of(edges[:-1], edges[1:], *fractions),
    )


def outputs_reliability_figure(outputs: Sequence[OutputFinding]) -> Figure:
    """Draw one panel for each output."""

    def draw(axes: Axes, output: OutputFinding) -> None:
        axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1.2)
        draw_reliability(axes, output.reliability, COLOURS["signal"], "o", "scores")
        bottom, top = axes.get_ylim()
        axes.set_ylim(min(bottom, -0.02), max(top, 1.02))

    return _panels(outputs, draw, "mean score", "share of own events")


def drawn_of(outputs: Sequence[OutputFinding]) -> list[OutputFinding]:
    """Return the outputs for which there is room, in their order."""
    worst = sorted(range(len(outputs)), key=lambda place: outputs[place].auc.value)[:MOST_DRAWN]
    return [outputs[place] for place in sorted(worst)]


def _left_out(outputs: Sequence[OutputFinding]) -> str:
    if len(outputs) <= MOST_DRAWN:
        return ""
    return f" Of {len(outputs)} outputs, the {MOST_DRAWN} of the lowest AUC are drawn."


def _row(output: OutputFinding) -> tuple[Cell, ...]:
    error = output.calibration_error
    areas = output.auc, output.auc_validation, output.auc_train
    return output.name, *areas, output.brier_score, error.observed, error.if_calibrated


def _panels(outputs: Sequence[OutputFinding], draw: Draw, x_label: str, y_label: str) -> Figure:
    shown = drawn_of(outputs)
    n_columns = min(len(shown), 3 if len(shown) in (3, 5, 6, 9) else MOST_PANELS)
    n_rows = ceil(len(shown) / n_columns)
    with new_figure(width=11.5, height=0.8 + 3.0 * n_rows) as figure:
        panels = figure.subplots(n_rows, n_columns, sharex=True, squeeze=False).flatten()
        for axes, output in zip(panels, shown, strict=False):
            draw(axes, output)
            axes.set_title(name_in_picture(output.name))
            axes.set_xlim(0.0, 1.0)
        for axes in panels[len(shown) :]:
            axes.remove()
        figure.supxlabel(x_label)
        figure.supylabel(y_label)
        pairs = [zip(*axes.get_legend_handles_labels(), strict=True) for axes in panels[: len(shown)]]
        handles = {label: handle for panel in pairs for handle, label in panel}
        figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=4)
    return figure
