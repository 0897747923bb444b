"""The confusion of several classes: what events of each are taken for, and how well each pair is told apart."""

import numpy as np
from matplotlib.figure import Figure

from models.averages import Estimates
from models.multiclass import MulticlassEvaluation
from models.report.matrix import draw_matrix, matrices_figure, strongest
from models.report.picture import MOST_ROWS, Picture
from models.report.style import new_figure
from models.scored import Measured


def confusion_picture(evaluation: MulticlassEvaluation) -> Picture:
    """Draw efficiencies and purities, with their errors."""
    found, names = evaluation.confusion, evaluation.classes
    cells = list(np.ndindex(found.events.shape))
    off_diagonal = np.where(np.eye(len(names), dtype=bool), np.nan, found.efficiencies.values)
    is_whole = len(cells) <= MOST_ROWS
    return Picture(
        "confusion",
        "confusion",
        "What the test events of each class are taken for, in per cent, with statistical errors. Efficiencies: each "
        "row is a true class and adds up to 100. Purities: each column is a chosen class and adds up to 100, at the "
        "proportions that the weights describe."
        + ("" if is_whole else f" The numbers are those of the {MOST_ROWS} largest confusions."),
        confusion_figure(evaluation),
        ("true class", "taken for", "events", "sum of weights", "efficiency", "purity"),
        tuple(
            (
                names[row],
                names[column],
                int(found.events[row, column]),
                float(found.sums[row, column]),
                at(found.efficiencies, row, column),
                at(found.purities, row, column),
            )
            for row, column in (cells if is_whole else strongest(off_diagonal, MOST_ROWS))
        ),
    )


def confusion_figure(evaluation: MulticlassEvaluation) -> Figure:
    """Draw the matrices of efficiencies and of purities."""
    found = evaluation.confusion
    both = (("efficiencies, %", found.efficiencies), ("purities, %", found.purities))
    return matrices_figure(evaluation.classes, both, ("true class", "taken for"), "share")


def pairs_picture(evaluation: MulticlassEvaluation) -> Picture:
    """Draw how well each pair of classes is told apart."""
    names, found = evaluation.classes, evaluation.pairs
    hardest = strongest(np.where(np.tri(len(names), k=0, dtype=bool), np.nan, -found.values), MOST_ROWS)
    return Picture(
        "confusion",
        "pairs",
        "AUC of each pair of classes on the test events of the two alone, by the ratio of their probabilities: 0.5 "
        "where the two are not told apart, 1 where they are without a mistake. The numbers begin with the hardest pair"
        + ("." if len(names) * (len(names) - 1) <= 2 * MOST_ROWS else f", and are those of {MOST_ROWS}."),
        pairs_figure(evaluation),
        ("class", "against", "AUC"),
        tuple((names[row], names[column], at(found, row, column)) for row, column in hardest),
    )


def pairs_figure(evaluation: MulticlassEvaluation) -> Figure:
    """Draw the matrix of areas, from 0.5 up."""
    size = 4.4 if len(evaluation.classes) <= 4 else min(0.72 * len(evaluation.classes) + 1.0, 10.0)
    with new_figure(size + 2.5, size) as figure:
        axes = figure.subplots()
        draw_matrix(axes, evaluation.classes, evaluation.pairs, low=0.5, factor=1.0)
        figure.colorbar(axes.get_images()[0], ax=axes, label="AUC of the pair", shrink=0.8)
    return figure


def at(found: Estimates, row: int, column: int) -> Measured:
    """Return one number of a matrix with its error."""
    return Measured(float(found.values[row, column]), float(found.errors[row, column]))
