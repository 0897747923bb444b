"""The training history: loss and learning rate after each epoch."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from models.report.picture import MOST_ROWS, Cell, Picture, thinned
from models.report.style import COLOURS, INK, new_figure, say_nothing_is_there

History = Sequence[Mapping[str, Any]]


def history_picture(histories: Sequence[History]) -> Picture:
    """Draw how training went; ``histories`` has one for each fold."""
    lines = f", one line for each of {len(histories)} folds" if len(histories) > 1 else ""
    return Picture(
        "training",
        "history",
        f"Loss and learning rate after each epoch{lines}.",
        history_figure(histories),
        ("fold", "epoch", "training loss", "validation loss", "learning rate"),
        tuple(_epochs(histories)),
    )


def history_figure(histories: Sequence[History]) -> Figure:
    """Draw loss and learning rate against the epoch, one line for each fold.

    Each mapping is one epoch, and may lack keys. The keys that are drawn: ``epoch``, ``loss``, ``validation_loss``,
    ``learning_rate``.
    """
    with new_figure(width=8.0) as figure:
        losses, rates = figure.subplots(2, 1, sharex=True, height_ratios=(3.0, 1.0))
        _draw_histories(losses, histories, "loss", label="training", color=COLOURS["signal"])
        _draw_histories(losses, histories, "validation_loss", label="validation", color=COLOURS["background"])
        _draw_histories(rates, histories, "learning_rate", color=INK)
        losses.set_ylabel("loss")
        rates.set(xlabel="epoch", ylabel="learning rate")
        rates.margins(x=0.02, y=0.15)
        rates.xaxis.set_major_locator(MaxNLocator(integer=True))
        rates.xaxis.set_minor_locator(MaxNLocator(integer=True, nbins=40))
        if losses.lines:
            losses.legend()
        else:
            say_nothing_is_there(losses, "no epoch was run")
            say_nothing_is_there(rates, "")
        if rates.lines:
            rates.set_yscale("log")
    return figure


def _epochs(histories: Sequence[History]) -> Iterator[tuple[Cell, ...]]:
    share = max(MOST_ROWS // max(len(histories), 1), 2)
    for fold, history in enumerate(histories):
        for row in thinned(len(history), share):
            epoch = history[row]
            yield fold, *(epoch.get(key) for key in ("epoch", "loss", "validation_loss", "learning_rate"))


def _draw_histories(axes: Axes, histories: Sequence[History], key: str, color: str, label: str | None = None) -> None:
    is_alone = len(histories) == 1
    for history in histories:
        drawn = [(row["epoch"], row[key]) for row in history if row.get(key) is not None]
        if drawn:
            epochs, values = zip(*drawn, strict=True)
            axes.plot(
                epochs, values, color=color, label=label,
                drawstyle="steps-mid" if key == "learning_rate" else "default",
                marker="o" if is_alone or len(drawn) == 1 else None, markersize=3.5, linewidth=1.6 if is_alone else 0.9,
            )  # fmt: skip
            label = None  # one line in the legend stands for all folds
