"""A picture: a figure with its caption, and with the numbers that it draws.

Owns what every picture has. Each topic draws its own, in the module of its name; ``pictures`` says which there are.
A table is thinned to what can be read.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.figure import Figure

from models.histograms import Kind
from models.report.style import pdf_of, png_of
from models.scored import Floats, Measured

Cell = Measured | float | int | str | None
ClassNames = Mapping[Kind, str]
Section = Literal[
    "roc", "scores", "significance", "probabilities", "inputs", "spectators", "templates", "training", "network",
    "confusion", "classes", "labels", "residuals",
]  # fmt: skip
"""The section of the page in which a picture stands."""

PLAIN_NAMES: ClassNames = {"signal": "signal", "background": "background"}
MOST_ROWS = 50


@dataclass(frozen=True, eq=False)
class Picture:
    """A figure, its section, the name of its file, what it shows in words, and its numbers row by row."""

    section: Section
    name: str
    caption: str
    figure: Figure
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[Cell, ...], ...] = ()

    @cached_property
    def png(self) -> bytes:
        """The figure as a PNG image."""
        return png_of(self.figure)


def save_pictures(folder: Path, pictures: Iterable[Picture]) -> list[Path]:
    """Write each figure as ``NAME.png`` and ``NAME.pdf`` into ``folder`` and return the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for picture in pictures:
        image, page = folder / f"{picture.name}.png", folder / f"{picture.name}.pdf"
        image.write_bytes(picture.png)
        page.write_bytes(pdf_of(picture.figure))
        written += [image, page]
    return written


def measurements(values: Floats, errors: Floats) -> list[Measured]:
    """Return numbers with their errors, one by one."""
    return [Measured(float(value), float(error)) for value, error in zip(values, errors, strict=True)]


def rows_of(*columns: Iterable[Cell]) -> tuple[tuple[Cell, ...], ...]:
    """Return the rows of a table whose columns these are."""
    return tuple(zip(*columns, strict=True))


def thinned(n_rows: int, at_most: int = MOST_ROWS) -> list[int]:
    """Return the numbers of evenly spread rows, first and last among them."""
    return sorted({round(place) for place in np.linspace(0, n_rows - 1, min(n_rows, at_most)).tolist()})
