"""Style: the look that every figure has, and how figures become files.

Owns the style, the colours and the saving; what is drawn belongs to the topics. Every figure is a free-standing
matplotlib ``Figure`` with its own canvas, so that nothing here needs a screen or leaves state behind.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import matplotlib.style
import mplhep
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from models.histograms import Kind

# Two hues of the palette of Okabe and Ito, told apart under every common colour blindness.
COLOURS: Mapping[Kind, str] = {"signal": "#0072B2", "background": "#D55E00"}
SEVERAL = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
"""Colours of as many classes; further ones have the same with another line style."""
LINES = ("-", "--", ":")
INK = "#333333"
GREY = "#888888"
DOTS_PER_INCH = 150
LONGEST_NAME = 40

STYLE = [
    mplhep.style.ATLAS,
    {
        # The only family that comes with matplotlib itself: the same picture on every machine.
        "font.family": "DejaVu Sans",
        "mathtext.fontset": "dejavusans",
        "mathtext.default": "regular",
        "font.size": 13,
        "axes.titlesize": 14,
        "axes.labelsize": 14,
        "xtick.labelsize": 12,
        "ytick.labelsize": 12,
        "xtick.major.pad": 7,
        "ytick.major.pad": 6,
        "axes.labelpad": 6,
        "ytick.major.size": 6,
        "ytick.minor.size": 3,
        "lines.linewidth": 1.6,
        "legend.fontsize": 11.5,
        "legend.borderpad": 0.4,
        "axes.autolimit_mode": "data",
        "figure.constrained_layout.use": True,
        "figure.constrained_layout.wspace": 0.04,
    },
]


@contextmanager
def new_figure(width: float, height: float = 5.2) -> Iterator[Figure]:
    """Give an empty figure of a size in inches, and the style while it is drawn."""
    with matplotlib.style.context(STYLE):
        figure = Figure(figsize=(width, height))
        FigureCanvasAgg(figure)
        yield figure
        # Laid out once; otherwise each saving would do it twice again.
        layout = figure.get_layout_engine()
        assert layout is not None  # STYLE asks for one
        layout.execute(figure)
        figure.set_layout_engine("none")


def png_of(figure: Figure) -> bytes:
    """Return the figure as a PNG image."""
    return _saved(figure, format="png", dpi=DOTS_PER_INCH)


def pdf_of(figure: Figure) -> bytes:
    """Return the figure as a page of PDF."""
    # Without its date the same figure is the same file.
    return _saved(figure, format="pdf", metadata={"CreationDate": None})


def _saved(figure: Figure, **how: Any) -> bytes:
    buffer = BytesIO()
    figure.savefig(buffer, **how)
    return buffer.getvalue()


def name_in_picture(name: str) -> str:
    """Return a name as a picture can hold it: its middle left out where it is long, and a dollar no formula."""
    kept = LONGEST_NAME // 2
    short = name if len(name) <= LONGEST_NAME else f"{name[:kept]}…{name[1 - kept :]}"
    return short.replace("$", r"\$")


def say_nothing_is_there(axes: Axes, text: str) -> None:
    """Write a text where a curve would be."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center")
    axes.tick_params(which="both", length=0, labelleft=False, labelbottom=False)
