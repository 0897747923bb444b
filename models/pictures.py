"""Pictures: every figure of an evaluation, with its caption and with the numbers that it draws.

Owns which pictures there are and what stands beside them. A table is thinned to what can be read.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from models.figures import (
    PLAIN_NAMES,
    ClassNames,
    History,
    history_figure,
    reliability_figure,
    roc_figure,
    score_figure,
    significance_figure,
)
from models.histograms import KINDS, PartName
from models.record import Evaluation, Probabilities
from models.scored import Floats, Measured

Cell = Measured | float | int | str | None

MOST_ROWS = 50


@dataclass(frozen=True, eq=False)
class Picture:
    """A figure, the name of its file, what it shows in words, and its numbers row by row."""

    name: str
    caption: str
    figure: Figure
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[Cell, ...], ...] = ()


def pictures_of(
    evaluation: Evaluation, histories: Sequence[History], class_names: ClassNames = PLAIN_NAMES
) -> tuple[Picture, ...]:
    """Draw everything; ``histories`` has one for each fold. Without probabilities there is no picture of them."""
    pictures = [_roc(evaluation), _scores(evaluation, class_names), _significance(evaluation)]
    if evaluation.probabilities is not None:
        pictures.append(_reliability(evaluation.probabilities))
    return (*pictures, _history(histories))


def _roc(evaluation: Evaluation) -> Picture:
    band = evaluation.band
    arrays = band.background_efficiency, band.signal_efficiency, band.low, band.high
    return Picture(
        "roc",
        "ROC curve and background rejection on the test part. The bands hold 68 % of the bootstrap replicas, "
        "test samples that are drawn again with Poisson counts. The points are the working points.",
        roc_figure(evaluation),
        ("background efficiency", "signal efficiency", "lower end of the band", "upper end of the band"),
        tuple(tuple(float(array[row]) for array in arrays) for row in _thinned(band.low.size)),
    )


def _scores(evaluation: Evaluation, class_names: ClassNames) -> Picture:
    parts: tuple[PartName, ...] = ("train", "test")
    shown = [(part, kind) for kind in KINDS for part in parts]
    histograms = [evaluation.histogram(part, kind) for part, kind in shown]
    columns = [_measured(*histogram.density()) for histogram in histograms]
    edges = histograms[0].edges
    return Picture(
        "scores",
        "Scores of each class, weighted and at unit area: training part filled, test part as points with errors; "
        "on a logarithmic and on a linear axis. Where points and filled areas disagree, the network has learnt its "
        "training events by heart, or the parts are not alike.",
        score_figure(evaluation, class_names),
        ("from", "to", *(f"{class_names[kind]}, {part}" for part, kind in shown)),
        tuple(
            (float(edges[row]), float(edges[row + 1]), *(column[row] for column in columns))
            for row in range(edges.size - 1)
        ),
    )


def _significance(evaluation: Evaluation) -> Picture:
    scan = evaluation.significance.scan
    signal = _measured(scan.signal, scan.signal_error)
    background = _measured(scan.background, scan.background_error)
    asimov, ams = scan.significances["asimov"], scan.significances["ams"]
    return Picture(
        "significance",
        "Significance of the events at or above each threshold, on the test part, against the threshold and against "
        "the signal efficiency there; the dotted line is the threshold that is best on the validation part. Blank "
        f"where too little background passes for a significance: fewer than {scan.min_background_events} events, or a "
        "yield below its own error.",
        significance_figure(evaluation),
        ("threshold", "signal yield", "background yield", "background events", "Asimov", "AMS"),
        tuple(
            (
                float(scan.thresholds[row]), signal[row], background[row], int(scan.n_background[row]),
                float(asimov[row]), float(ams[row]),
            )
            for row in _thinned(scan.thresholds.size)
        ),
    )  # fmt: skip


def _reliability(probabilities: Probabilities) -> Picture:
    found = probabilities.reliability
    fractions = _measured(found.signal_fraction, found.error)
    return Picture(
        "reliability",
        "Reliability on the test part: the fraction of signal against the mean score, bin by bin, which agree where "
        "scores are probabilities; beside it the number of events in each bin.",
        reliability_figure(probabilities),
        ("from", "to", "mean score", "fraction of signal", "events", "effective events"),
        tuple(
            (
                float(found.edges[row]), float(found.edges[row + 1]), float(found.mean_score[row]), fractions[row],
                int(found.n_events[row]), float(found.effective_events[row]),
            )
            for row in range(found.n_events.size)
        ),
    )  # fmt: skip


def _history(histories: Sequence[History]) -> Picture:
    lines = f", one line for each of {len(histories)} folds" if len(histories) > 1 else ""
    return Picture(
        "history",
        f"Loss and learning rate after each epoch{lines}.",
        history_figure(histories),
        ("fold", "epoch", "training loss", "validation loss", "learning rate"),
        tuple(_epochs(histories)),
    )


def _epochs(histories: Sequence[History]) -> Iterator[tuple[Cell, ...]]:
    share = max(MOST_ROWS // max(len(histories), 1), 2)
    for fold, history in enumerate(histories):
        for row in _thinned(len(history), share):
            epoch = history[row]
            yield fold, *(epoch.get(key) for key in ("epoch", "loss", "validation_loss", "learning_rate"))


def _measured(values: Floats, errors: Floats) -> list[Measured]:
    return [Measured(float(value), float(error)) for value, error in zip(values, errors, strict=True)]


def _thinned(n_rows: int, at_most: int = MOST_ROWS) -> list[int]:
    """Return the numbers of evenly spread rows, first and last among them."""
    return sorted({round(place) for place in np.linspace(0, n_rows - 1, min(n_rows, at_most)).tolist()})
