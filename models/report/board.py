"""The leader board as a picture: the number of each score with its error, and that of each seed."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from models.leader_board import Standing
from models.report.style import COLOURS, GREY, INK, name_in_picture, new_figure
from models.yardsticks import Yardstick


def board_figure(board: Sequence[Standing], yardstick: Yardstick) -> Figure:
    """Draw one line for each score, the best on top."""
    with new_figure(width=8.0, height=1.6 + 0.42 * max(len(board), 2)) as figure:
        axes = figure.subplots()
        _draw_seeds(axes, board)
        errors = [one.value.error for one in board]
        values, rows = [one.value.value for one in board], range(len(board))
        axes.errorbar(values, rows, xerr=errors, fmt="o", color=COLOURS["signal"], capsize=4, label="test events")
        axes.axvline(board[0].value.value, color=GREY, linestyle="--", linewidth=1.0)
        axes.set_xlabel(f"{yardstick.label} on the test events")
        axes.margins(x=0.05)
        axes.set_yticks(rows, [name_in_picture(one.name) for one in board])
        axes.set_ylim(len(board) - 0.4, -0.6)
        axes.yaxis.minorticks_off()
        axes.tick_params(axis="y", length=0)
        axes.ticklabel_format(axis="x", style="plain", useOffset=False)
    return figure


def _draw_seeds(axes: Axes, board: Sequence[Standing]) -> None:
    """Draw the seeds a little below the line of their mean."""
    points = [(seed.value, row + 0.22) for row, one in enumerate(board) for seed in one.seeds if one.spread is not None]
    if points:
        values, heights = zip(*points, strict=True)
        axes.plot(values, heights, "d", color=INK, markersize=4, alpha=0.7, label="single seeds")
