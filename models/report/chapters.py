"""Chapters: what the page of each kind of evaluation is made of, in its order.

Owns the tables. A chapter is one piece of layout in ``pieces``; those at the beginning and at the end are the same for
every network, and what was found out about it comes between them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from models.multiclass import MulticlassEvaluation
from models.multilabel import MultilabelEvaluation
from models.record import Evaluation
from models.regression import RegressionEvaluation
from models.report.history import History
from models.report.picture import Picture
from models.report.pictures import pictures_of, pictures_of_classes, pictures_of_flags, pictures_of_quantities


@dataclass(frozen=True)
class Chapter:
    """A chapter of the page: its anchor, its name in the list of contents, its layout, and whether there is one.

    ``is_there`` is asked with all that the page shows.
    """

    key: str
    title: str
    piece: str
    is_there: Callable[[Any], bool] = lambda content: True


@dataclass(frozen=True)
class Findings:
    """What is shown of one kind of evaluation: its pictures, the layout of its verdict, and its chapters."""

    pictures: Callable[[Any, Sequence[History]], tuple[Picture, ...]]
    verdict: str
    chapters: tuple[Chapter, ...]


BEGINNING = (
    Chapter("asked", "what was asked", "pieces/asked.html"),
    Chapter("events", "events", "pieces/events.html"),
)

ENDING = (
    Chapter("training", "training", "pieces/training.html"),
    Chapter("network", "network", "pieces/network.html", lambda content: bool(content.layers)),
    Chapter("provenance", "provenance", "pieces/provenance.html"),
)

BOARD = Chapter("board", "leader board", "pieces/board.html")
FEATURES = Chapter("features", "features", "pieces/features.html")

SIGNAL = Findings(
    pictures_of,
    "pieces/signal/verdict.html",
    (
        BOARD,
        Chapter("folds", "folds", "pieces/signal/folds.html", lambda content: content.evaluation.folds is not None),
        Chapter("roc", "ROC", "pieces/signal/roc.html"),
        Chapter("scores", "scores", "pieces/signal/scores.html"),
        Chapter("significance", "significance", "pieces/signal/significance.html"),
        Chapter(
            "points",
            "working points",
            "pieces/signal/points.html",
            lambda content: bool(content.evaluation.working_points or content.evaluation.named_points),
        ),
        Chapter("probabilities", "probabilities", "pieces/signal/probabilities.html"),
        Chapter("features", "features", "pieces/signal/features.html"),
        Chapter(
            "spectators",
            "spectators",
            "pieces/signal/spectators.html",
            lambda content: bool(content.evaluation.spectators),
        ),
        Chapter(
            "templates",
            "templates",
            "pieces/signal/templates.html",
            lambda content: content.evaluation.templates is not None,
        ),
    ),
)

CLASSES = Findings(
    pictures_of_classes,
    "pieces/classes/verdict.html",
    (
        BOARD,
        Chapter("confusion", "confusion", "pieces/classes/confusion.html"),
        Chapter("classes", "class by class", "pieces/classes/classes.html"),
        FEATURES,
    ),
)

FLAGS = Findings(
    pictures_of_flags,
    "pieces/flags/verdict.html",
    (BOARD, Chapter("labels", "label by label", "pieces/flags/labels.html"), FEATURES),
)

QUANTITIES = Findings(
    pictures_of_quantities,
    "pieces/quantities/verdict.html",
    (BOARD, Chapter("residuals", "residuals", "pieces/quantities/residuals.html"), FEATURES),
)

FINDINGS: Mapping[type, Findings] = {
    Evaluation: SIGNAL,
    MulticlassEvaluation: CLASSES,
    MultilabelEvaluation: FLAGS,
    RegressionEvaluation: QUANTITIES,
}


def chapters_of(content: Any) -> list[Chapter]:
    """Return the chapters that the page of ``content`` has, in their order."""
    every = (*BEGINNING, *FINDINGS[type(content.evaluation)].chapters, *ENDING)
    return [chapter for chapter in every if chapter.is_there(content)]
