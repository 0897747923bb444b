"""Plots: the look that every figure has, and how figures become files.

Owns the style, the colours and the saving; what is drawn belongs to ``figures``. Every figure is a free-standing
matplotlib ``Figure`` with its own canvas, so that nothing here needs a screen or leaves state behind.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import matplotlib.style
import mplhep
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from models.histograms import Kind
from models.scored import Measured

# Two hues of the palette of Okabe and Ito, told apart under every common colour blindness.
COLOURS: Mapping[Kind, str] = {"signal": "#0072B2", "background": "#D55E00"}
INK = "#333333"
GREY = "#888888"
DOTS_PER_INCH = 150
ROUNDING = 1e-12
"""An error below this share of its number is one of floating-point sums, and none of the data."""

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
def new_figure(width: float) -> Iterator[Figure]:
    """Give an empty figure, ``width`` inches wide, and the style while it is drawn."""
    with matplotlib.style.context(STYLE):
        figure = Figure(figsize=(width, 5.2))
        FigureCanvasAgg(figure)
        yield figure


def save_figures(folder: Path, figures: Mapping[str, Figure]) -> list[Path]:
    """Write each figure as ``NAME.png`` and ``NAME.pdf`` into ``folder`` and return the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, figure in figures.items():
        picture, page = folder / f"{name}.png", folder / f"{name}.pdf"
        picture.write_bytes(png_of(figure))
        # Without its date the same figure is the same file.
        figure.savefig(page, metadata={"CreationDate": None})
        written += [picture, page]
    return written


def png_of(figure: Figure) -> bytes:
    """Return the figure as a PNG image."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH)
    return buffer.getvalue()


def plus_minus(number: Measured) -> str:
    """Write a number with its error, to two digits of the error (or four decimals without one)."""
    if not np.isfinite(number.error) or number.error <= ROUNDING * abs(number.value):
        return _fixed(number.value, 4)
    decimals = max(0, 1 - int(np.floor(np.log10(number.error))))
    return f"{_fixed(number.value, decimals)} ± {number.error:.{decimals}f}"


def _fixed(value: float, decimals: int) -> str:
    return f"{round(value, decimals) + 0.0:.{decimals}f}"  # adding 0 makes -0 plain
