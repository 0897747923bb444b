"""Labels that may come together: what the threshold keeps of each, and how they go together."""

from matplotlib.figure import Figure

from models.multilabel import MultilabelEvaluation
from models.report.confusion import at
from models.report.matrix import matrices_figure, strongest
from models.report.picture import MOST_ROWS, Picture


def company_picture(evaluation: MultilabelEvaluation) -> Picture:
    """Draw which labels come together, as they are and as they are said to be."""
    names, company = evaluation.names, evaluation.company
    apart = company.true.values.copy()
    apart[range(len(names)), range(len(names))] = float("nan")
    return Picture(
        "labels",
        "labels_together",
        "Which labels come together on the test part: of the events with the label of the row, the share that has that "
        "of the column, in per cent. Beside it the same of the labels that events are said to have, at a probability "
        f"of one half or more. The numbers are those of the pairs that come together most, at most {MOST_ROWS}.",
        company_figure(evaluation),
        ("of events with", "have also", "true", "as said"),
        tuple(
            (names[row], names[column], at(company.true, row, column), at(company.chosen, row, column))
            for row, column in strongest(apart, MOST_ROWS)
        ),
    )


def company_figure(evaluation: MultilabelEvaluation) -> Figure:
    """Draw both matrices."""
    company = evaluation.company
    both = (("true labels, %", company.true), ("chosen labels, %", company.chosen))
    return matrices_figure(evaluation.names, both, ("of events with", "have also"), "share")
