"""The matrix: numbers of rows and columns that have names, as colours, with the numbers in them where there is room."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from models.averages import Estimates
from models.report.numbers import plus_minus
from models.report.style import INK, name_in_picture, new_figure
from models.scored import Floats, Measured

MOST_BESIDE = 6
"""Rows up to which two matrices have room side by side."""
MOST_WRITTEN = 14
"""Rows up to which there is room for numbers."""
PAPER = "#f4f4f4"


def matrices_figure(
    names: Sequence[str], matrices: Sequence[tuple[str, Estimates]], labels: tuple[str, str], of_colours: str
) -> Figure:
    """Draw matrices of shares, from 0 to 1, each with its title; ``labels`` are those of rows and of columns."""
    is_small = len(names) <= MOST_BESIDE
    n_rows, n_columns = (1, len(matrices)) if is_small else (len(matrices), 1)
    size = 6.0 if is_small else min(0.72 * len(names), 10.0) + 1.0
    width = 6.0 * n_columns if is_small else size + 2.5
    with new_figure(width, (5.4 if is_small else size) * n_rows) as figure:
        for axes, (title, found) in zip(figure.subplots(n_rows, n_columns, squeeze=False).flat, matrices, strict=True):
            draw_matrix(axes, names, found)
            axes.set_title(title)
            axes.set(ylabel=labels[0], xlabel=labels[1])
        image = axes.get_images()[0]
        figure.colorbar(image, ax=figure.axes, label=of_colours, shrink=0.8, fraction=0.04, pad=0.02)
    return figure


def draw_matrix(axes: Axes, names: Sequence[str], found: Estimates, low: float = 0.0, factor: float = 100.0) -> None:
    """Draw one matrix; ``low`` is the value of the palest colour, 1 that of the darkest.

    Numbers are written times ``factor``.
    """
    axes.imshow(found.values, cmap="Blues", vmin=low, vmax=1.0, interpolation="nearest")
    axes.set_facecolor(PAPER)  # where there is no number
    shown = [name_in_picture(name) for name in names]
    size = float(np.clip(150.0 / len(names), 5.0, 12.0))
    axes.set_xticks(range(len(names)), shown, rotation=0 if _fit(shown) else 90, fontsize=size)
    axes.set_yticks(range(len(names)), shown, fontsize=size)
    axes.minorticks_off()
    axes.tick_params(length=0)
    if len(names) <= MOST_WRITTEN:
        _write(axes, found, low, factor)


def _fit(names: Sequence[str]) -> bool:
    return max(map(len, names)) * len(names) < 40


def _write(axes: Axes, found: Estimates, low: float, factor: float) -> None:
    size = 11.0 if len(found.values) <= 4 else 8.5
    for place, value in np.ndenumerate(found.values):
        if np.isfinite(value):
            colour = "white" if value - low > 0.6 * (1.0 - low) else INK
            text = _in_cell(factor * float(value), factor * float(found.errors[place]))
            axes.text(place[1], place[0], text, ha="center", va="center", fontsize=size, color=colour)


def _in_cell(value: float, error: float) -> str:
    if not np.isfinite(error):
        return f"{value:.3g}"
    return plus_minus(Measured(value, error)).replace(" ± ", "\n± ")


def strongest(values: Floats, at_most: int) -> list[tuple[int, int]]:
    """Return the places of the largest numbers, largest first; NaN has none."""
    order = np.argsort(-np.nan_to_num(values, nan=-np.inf), axis=None, kind="stable")
    places = [divmod(int(place), values.shape[1]) for place in order[: np.count_nonzero(np.isfinite(values))]]
    return places[:at_most]
