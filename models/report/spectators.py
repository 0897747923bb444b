"""Spectators: how the score depends on a variable that the network does not see, and what cuts do to it."""

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from models.histograms import KINDS
from models.record import SpectatorFinding
from models.report.picture import PLAIN_NAMES, Cell, ClassNames, Picture, measurements, rows_of
from models.report.style import COLOURS, GREY, name_in_picture, new_figure
from models.scored import Floats
from models.spectators import PerBin, Sculpting, SpectatorProfile

STYLES = ("-", "--", ":", "-.")
SHADES = ("#0072B2", "#009E73", "#CC79A7", "#E69F00")


@dataclass(frozen=True, eq=False)
class _Shown:
    """The two answers about one spectator, which have the same bins, of which the outer ones may be cut short."""

    name: str
    profile: SpectatorProfile
    sculpting: Sculpting
    edges: Floats


def spectator_picture(name: str, found: SpectatorFinding, class_names: ClassNames = PLAIN_NAMES) -> Picture | None:
    """Draw the mean score, and the background before and after each cut; ``None`` where neither was found out."""
    if found.profile is None or found.sculpting is None:
        return None
    shown = _Shown(found.name, found.profile, found.sculpting, _bounded(found.profile.edges))
    columns, cells = _table(shown, class_names)
    return Picture(
        "spectators",
        name,
        f"{found.name}: the mean score of each class in bins of it, flat where the score does not depend on it; and "
        "the background's distribution before and after the cuts of the working points, at unit area, alike where "
        "cuts do not sculpt it. Bins hold equal numbers of background; the outer ones may go on beyond the picture.",
        _figure(shown, class_names),
        columns,
        rows_of(*cells),
    )


def _figure(shown: _Shown, class_names: ClassNames = PLAIN_NAMES) -> Figure:
    """Draw the profile beside the sculpting."""
    names = {kind: name_in_picture(class_names[kind]) for kind in KINDS}
    variable = name_in_picture(shown.name)
    with new_figure(width=11.0) as figure:
        profile, background = figure.subplots(1, 2)
        for kind in KINDS:
            found = shown.profile.signal if kind == "signal" else shown.profile.background
            _draw_means(profile, shown.edges, found, COLOURS[kind], names[kind])
        profile.set(xlabel=variable, ylabel="mean score")
        profile.margins(y=0.25)
        profile.legend(loc="upper center", ncols=2)
        _draw_sculpting(background, shown)
        background.margins(y=0.3)
        background.set(xlabel=variable, ylabel=f"{names['background']}, normalised", ylim=(0.0, None))
        background.legend()
        for axes in (profile, background):
            axes.set_xlim(shown.edges[0], shown.edges[-1])
    return figure


def _draw_means(axes: Axes, edges: Floats, found: PerBin, colour: str, name: str) -> None:
    axes.errorbar(
        0.5 * (edges[1:] + edges[:-1]), found.values, xerr=0.5 * np.diff(edges), yerr=found.errors,
        fmt="o", color=colour, markersize=4, linewidth=1.3, label=name,
    )  # fmt: skip


def _draw_sculpting(axes: Axes, shown: _Shown) -> None:
    before = shown.sculpting.before
    axes.stairs(before.values, shown.edges, fill=True, color=GREY, alpha=0.3, label="before")
    for number, cut in enumerate(shown.sculpting.cuts):
        colour, style = SHADES[number % len(SHADES)], STYLES[number % len(STYLES)]
        if np.isfinite(cut.after.values).any():
            axes.stairs(
                cut.after.values, shown.edges, baseline=None, color=colour, linestyle=style, linewidth=1.6,
                label=f"score ≥ {cut.threshold:.4g}",
            )  # fmt: skip
            axes.errorbar(
                0.5 * (shown.edges[1:] + shown.edges[:-1]), cut.after.values, yerr=cut.after.errors,
                fmt="none", ecolor=colour, elinewidth=1.0,
            )  # fmt: skip


def _table(shown: _Shown, class_names: ClassNames) -> tuple[tuple[str, ...], list[list[Cell]]]:
    edges, found = shown.profile.edges, shown.sculpting
    named = [  # and no mapping: two thresholds may be so close that they are written alike
        (f"mean score, {class_names['signal']}", shown.profile.signal),
        (f"mean score, {class_names['background']}", shown.profile.background),
        (f"density, {class_names['background']}", found.before),
        *((f"density, score ≥ {cut.threshold:.4g}", cut.after) for cut in found.cuts),
        *((f"efficiency, score ≥ {cut.threshold:.4g}", cut.efficiency) for cut in found.cuts),
    ]
    columns: list[list[Cell]] = [edges[:-1].tolist(), edges[1:].tolist()]
    columns += [[*measurements(one.values, one.errors)] for _, one in named]
    return ("from", "to", *(name for name, _ in named)), columns


def _bounded(edges: Floats) -> Floats:
    """Return edges with outer bins no wider than the widest inner one or a quarter of all, as tails hide the rest."""
    if edges.size < 4:
        return edges
    shown, margin = edges.copy(), max(0.25 * (edges[-2] - edges[1]), float(np.diff(edges[1:-1]).max()))
    shown[0], shown[-1] = max(edges[0], edges[1] - margin), min(edges[-1], edges[-2] + margin)
    return shown
