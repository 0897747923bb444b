"""The inputs: what each is worth to the network and alone, and how they hang together."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from models.histograms import KINDS
from models.importance import Correlations
from models.inputs import InputFinding, InputFindings
from models.report.picture import MOST_ROWS, PLAIN_NAMES, ClassNames, Picture
from models.report.style import COLOURS, INK, name_in_picture, new_figure
from models.scored import Floats, Measured

MOST_BARS = 40
MOST_WRITTEN = 12
"""Features up to which a matrix has room for its numbers."""


def importance_picture(found: InputFindings) -> Picture:
    """Draw what each input is worth, the most important first."""
    return Picture(
        "inputs",
        "importance",
        "What each feature is worth: the AUC that the network loses when the feature is shuffled among the test "
        "events, and beside it how far the classes differ in the feature alone, with the numbers of the table above.",
        importance_figure(found.inputs[:MOST_BARS]),
    )


def correlations_picture(found: InputFindings, class_names: ClassNames = PLAIN_NAMES) -> Picture:
    """Draw the correlations within each class; the table has the strongest."""
    pairs = _strongest(found.correlations)
    return Picture(
        "inputs",
        "correlations",
        "Linear correlation of the features within each class. Blank where a feature does not vary. The numbers are "
        f"those of the strongest pairs, at most {MOST_ROWS}.",
        correlations_figure(found.names, found.correlations, class_names),
        ("feature", "and", class_names["signal"], class_names["background"]),
        tuple(
            (
                found.names[i],
                found.names[j],
                float(found.correlations.signal[i, j]),
                float(found.correlations.background[i, j]),
            )
            for i, j in pairs
        ),
    )


def importance_figure(inputs: Sequence[InputFinding]) -> Figure:
    """Draw importance and separation as bars with errors, one line for each input."""
    with new_figure(width=11.0, height=1.5 + 0.26 * max(len(inputs), 4)) as figure:
        importance, separation = figure.subplots(1, 2, sharey=True)
        _draw_bars(importance, [one.importance for one in inputs], COLOURS["signal"])
        _draw_bars(separation, [one.separation for one in inputs], COLOURS["background"])
        importance.set_xlabel("fall of the AUC if shuffled")
        separation.set_xlabel("separation of the classes, alone")
        importance.set_yticks(range(len(inputs)), [name_in_picture(one.name) for one in inputs])
        importance.set_ylim(len(inputs) - 0.4, -0.6)
        for axes in (importance, separation):
            axes.yaxis.minorticks_off()
            axes.tick_params(axis="y", length=0)
            axes.ticklabel_format(axis="x", style="plain")
    return figure


def correlations_figure(names: Sequence[str], found: Correlations, class_names: ClassNames = PLAIN_NAMES) -> Figure:
    """Draw the two matrices side by side, with names and numbers in them where there is room."""
    is_small = len(names) <= MOST_WRITTEN
    size_of_text = 10.0 if is_small else max(3.0, min(9.0, 250.0 / len(names)))
    shown = [name_in_picture(name) for name in names]
    below = shown if is_small else [str(number) for number in range(1, len(names) + 1)]
    beside = shown if is_small else [f"{name}  {number}" for name, number in zip(shown, below, strict=True)]
    with new_figure(width=12.0, height=5.8) as figure:
        both = figure.subplots(1, 2, sharey=True)
        for axes, kind in zip(both, KINDS, strict=True):
            matrix = found.signal if kind == "signal" else found.background
            image = axes.imshow(matrix, cmap="RdBu_r", vmin=-1.0, vmax=1.0, interpolation="nearest")
            axes.set_title(name_in_picture(class_names[kind]))
            axes.set_xticks(range(len(names)), below, rotation=90, fontsize=size_of_text)
            axes.set_yticks(range(len(names)), beside, fontsize=size_of_text)
            axes.minorticks_off()
            axes.tick_params(length=0)
            if is_small:
                _write_numbers(axes, matrix)
        figure.colorbar(image, ax=both, label="linear correlation", shrink=0.7, fraction=0.03)
    return figure


def _draw_bars(axes: Axes, values: Sequence[Measured], colour: str) -> None:
    places, lengths = range(len(values)), [one.value for one in values]
    axes.barh(places, lengths, height=0.6, color=colour, alpha=0.35)
    axes.errorbar(
        lengths, places, xerr=[one.error for one in values], fmt="none", ecolor=INK, elinewidth=1.4, capsize=2
    )
    axes.axvline(0.0, color=INK, linewidth=0.8)


def _write_numbers(axes: Axes, matrix: Floats) -> None:
    for (row, column), value in np.ndenumerate(matrix):
        if np.isfinite(value):
            colour = "white" if abs(value) > 0.6 else INK
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=8, color=colour)


def _strongest(found: Correlations) -> list[tuple[int, int]]:
    """Return the pairs of different features, those of the largest correlation in either class first."""
    sizes = np.fmax(np.abs(found.signal), np.abs(found.background))
    rows, columns = np.triu_indices_from(sizes, k=1)
    known = np.isfinite(sizes[rows, columns])
    rows, columns = rows[known], columns[known]
    order = np.argsort(-sizes[rows, columns], kind="stable")[:MOST_ROWS]
    return list(zip(rows[order].tolist(), columns[order].tolist(), strict=True))
