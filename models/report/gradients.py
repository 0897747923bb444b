"""Gradients: how long they are in each layer while a network learns, and whether they reach the input."""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from models.gradients import gradient_flow
from models.report.history import History
from models.report.picture import Picture, thinned
from models.report.sentences import gradient_sentence
from models.report.style import GREY, name_in_picture, new_figure, say_nothing_is_there
from models.scored import Floats

MOST_NAMES = 16
"""Layers up to which there is room for their names below an axis."""


def gradients_picture(histories: Sequence[History]) -> Picture | None:
    """Draw the norms of the gradients of each layer; of histories without any, nothing."""
    recorded = [[epoch["gradient_norms"] for epoch in history if epoch.get("gradient_norms")] for history in histories]
    found = [_norms(epochs) for epochs in recorded if epochs]
    if not found:
        return None
    names = next(tuple(epochs[0]) for epochs in recorded if epochs)
    columns = names, *(column.tolist() for column in _summary(found))
    rows = tuple(zip(*columns, strict=True))
    folds = f" Lines on the left are those of {len(found)} folds, numbers on the right and in the table of all of them."
    return Picture(
        "training",
        "gradients",
        f"{gradient_sentence([gradient_flow(norms) for norms in found])} Drawn is the norm of the gradient with "
        "respect to each layer's kernels, before any clipping, as root mean square over the steps of an epoch; dark is "
        f"near the input, light near the output.{folds if len(found) > 1 else ''}",
        gradients_figure(names, found),
        ("layer", "first epoch", "median of the epochs", "last epoch"),
        tuple(rows[place] for place in thinned(len(rows))),
    )


def gradients_figure(names: Sequence[str], found: Sequence[Floats]) -> Figure:
    """Draw norms against the epoch, a line for each layer, and against the layer, from input to output.

    ``found`` has an array of shape ``(n_epochs, n_layers)`` for each fold. What is 0, or not finite, has no place.
    """
    with new_figure(width=11.0) as figure:
        by_epoch, by_layer = figure.subplots(1, 2, sharey=True)
        _draw_epochs(by_epoch, found)
        _draw_layers(by_layer, names, found)
        drawn = _drawn(np.concatenate(found))
        if np.isnan(drawn).all():
            say_nothing_is_there(by_epoch, "all gradients are 0")
        else:
            smallest, largest = np.log10([np.nanmin(drawn), np.nanmax(drawn)])
            by_epoch.set(yscale="log", ylim=(10.0 ** np.floor(smallest), 10.0 ** np.ceil(largest + 0.01)))
    return figure


def _draw_epochs(axes: Axes, found: Sequence[Floats]) -> None:
    is_alone = len(found) == 1
    for norms in found:
        epochs = np.arange(1, len(norms) + 1)
        for column, colour in zip(_drawn(norms).T, _colours(norms.shape[1]), strict=True):
            axes.plot(
                epochs, column, color=colour, linewidth=1.4 if is_alone else 0.7,
                marker="o" if len(norms) == 1 else None, markersize=3.5,
            )  # fmt: skip
    axes.set(xlabel="epoch", ylabel="norm of the gradient", xlim=(0.5, max(map(len, found)) + 0.5))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.xaxis.minorticks_off()


def _draw_layers(axes: Axes, names: Sequence[str], found: Sequence[Floats]) -> None:
    places, (first, _, last) = np.arange(1, len(names) + 1), _summary(found)
    axes.scatter(places, _drawn(first), facecolors="none", edgecolors=GREY, s=36, label="first epoch")
    axes.scatter(places, _drawn(last), c=_colours(len(names)), s=36, label="last epoch")
    axes.set_xlim(0.4, len(names) + 0.6)
    axes.xaxis.minorticks_off()
    axes.legend()
    if len(names) > MOST_NAMES:
        axes.set_xlabel("layer, from the input to the output")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        return
    shown = [name_in_picture(name) for name in names]
    axes.set_xticks(places, shown, rotation=45, ha="right", rotation_mode="anchor", fontsize=10)


def _norms(epochs: Sequence[Mapping[str, float]]) -> Floats:
    """Return the norms of a fold, shape ``(n_epochs, n_layers)``."""
    return np.array([list(norms.values()) for norms in epochs], dtype=np.float64)


def _summary(found: Sequence[Floats]) -> tuple[Floats, Floats, Floats]:
    """Return each layer's norm in the first epoch, in the middle, and in the last one, of all folds together."""
    first, last = (np.sqrt(np.mean([norms[place] ** 2 for norms in found], axis=0)) for place in (0, -1))
    return first, np.median(np.concatenate(found), axis=0), last


def _drawn(norms: Floats) -> Floats:
    return np.where((norms > 0.0) & np.isfinite(norms), norms, np.nan)


def _colours(n_layers: int) -> Floats:
    """Return the colour of each layer, shape ``(n_layers, 4)``: from dark to light, but never as light as paper."""
    return np.asarray(matplotlib.colormaps["viridis"](np.linspace(0.0, 0.88, n_layers)))
