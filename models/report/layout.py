"""Layout: where the boxes of a network stand on paper, and which way its connections take around them.

Each box stands in the row below the lowest that it reads. A connection that is longer than to the next row has a place
in every row that it passes, as a narrow box would. In each row, all move towards what they are connected with, boxes
before connections, as far as there is room.

References:
    Sugiyama, Tagawa, Toda, "Methods for visual understanding of hierarchical system structures", IEEE Trans. Systems,
    Man, and Cybernetics 11 (1981) 109.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.optimize import isotonic_regression

ROW_SPACE, COLUMN_SPACE, LINE_WIDTH = 0.3, 0.25, 0.05
"""In inches, as everything here."""

SWEEPS = 8
LINE_WEIGHT = 1e-4
"""How much a connection counts where it and a box want the same place."""

Point = tuple[float, float]
Ends = tuple[int, int]
Item = int | tuple[int, int, int]
"""A box, or the place of the connection (source, target) in a row."""


@dataclass(frozen=True)
class Place:
    """Where a box is: its middle and its size."""

    x: float
    y: float
    width: float
    height: float

    @property
    def top(self) -> float:
        """The upper edge."""
        return self.y + self.height / 2

    @property
    def bottom(self) -> float:
        """The lower edge."""
        return self.y - self.height / 2

    @property
    def left(self) -> float:
        """The left edge."""
        return self.x - self.width / 2

    @property
    def right(self) -> float:
        """The right edge."""
        return self.x + self.width / 2


@dataclass(frozen=True)
class Layout:
    """Where boxes are, and the corners of the line from a box to one that reads it."""

    places: tuple[Place, ...]
    lines: Mapping[Ends, tuple[Point, ...]]


def rows_of(inputs: Sequence[tuple[int, ...]]) -> list[int]:
    """Return the row of each box, from 0 at the top; ``inputs`` are the boxes that each one reads, all before it."""
    rows: list[int] = []
    for sources in inputs:
        rows.append(1 + max((rows[source] for source in sources), default=-1))
    return rows


def laid_out(width: float, heights: Sequence[float], inputs: Sequence[tuple[int, ...]]) -> Layout:
    """Return the layout of boxes of one width; the row at the top has its upper edge at 0."""
    rows = rows_of(inputs)
    chains: dict[Ends, tuple[Item, ...]] = {
        (source, target): (source, *((source, target, row) for row in range(rows[source] + 1, rows[target])), target)
        for target, sources in enumerate(inputs)
        for source in sources
    }
    x = _columns([*range(len(rows))], rows, chains, width)
    bands = _bands(rows, heights)
    middles = [(top + bottom) / 2 for top, bottom in bands]
    places = tuple(Place(x[box], middles[row], width, heights[box]) for box, row in enumerate(rows))
    lines = {}
    for ends, chain in chains.items():
        corners = [(x[item], y) for item in chain if isinstance(item, tuple) for y in bands[item[2]]]
        lines[ends] = _line(places, rows, corners, *ends)
    return Layout(places, lines)


def _bands(rows: Sequence[int], heights: Sequence[float]) -> list[tuple[float, float]]:
    """Return upper and lower edge of each row, as high as its highest box."""
    tallest = [0.0] * (max(rows) + 1)
    for row, height in zip(rows, heights, strict=True):
        tallest[row] = max(tallest[row], height)
    tops = [0.0, *(-np.cumsum([height + ROW_SPACE for height in tallest])).tolist()]
    return [(top, top - height) for top, height in zip(tops, tallest, strict=False)]


def _columns(
    boxes: Sequence[int], rows: Sequence[int], chains: Mapping[Ends, tuple[Item, ...]], width: float
) -> dict[Item, float]:
    """Return how far to the right of the middle each box is, and each connection in each row."""
    table: dict[int, list[Item]] = defaultdict(list)
    above: dict[Item, list[Item]] = defaultdict(list)
    below: dict[Item, list[Item]] = defaultdict(list)
    for box in boxes:
        table[rows[box]].append(box)
    for chain in chains.values():
        for one, other in pairwise(chain):
            below[one].append(other)
            above[other].append(one)
        for item in chain:
            if isinstance(item, tuple):
                table[item[2]].append(item)
    x: dict[Item, float] = dict.fromkeys([item for row in table.values() for item in row], 0.0)
    for sweep in range(SWEEPS):
        for row in sorted(table, reverse=sweep % 2 == 1):
            near = [above, below] if sweep >= SWEEPS - 2 else [(above, below)[sweep % 2]]
            x |= _settled({i: _wanted(i, [other for side in near for other in side[i]], x) for i in table[row]}, width)
    return x


def _wanted(item: Item, others: Sequence[Item], x: Mapping[Item, float]) -> float:
    """Return the middle of what a box or a connection is joined to; boxes follow boxes, and lines stay straight."""
    alike = [other for other in others if isinstance(other, int) == isinstance(item, int)]
    found = [x[other] for other in alike or others]
    return sum(found) / len(found) if found else x[item]


def _settled(wanted: Mapping[Item, float], width: float) -> dict[Item, float]:
    """Return places in one row as near as can be to those that are wanted, without any two overlapping."""
    items = sorted(wanted, key=lambda item: wanted[item])
    is_box = np.array([isinstance(item, int) for item in items])
    halves = np.where(is_box, width, LINE_WIDTH) / 2
    offsets = np.cumsum(halves + COLUMN_SPACE + np.concatenate([[0.0], halves[:-1]]))
    free = np.array([wanted[item] for item in items]) - offsets
    settled = isotonic_regression(free, weights=np.where(is_box, 1.0, LINE_WEIGHT)).x + offsets
    return dict(zip(items, settled.tolist(), strict=True))


def _line(
    places: Sequence[Place], rows: Sequence[int], corners: Sequence[Point], source: int, target: int
) -> tuple[Point, ...]:
    """Return a connection from end to end; ``corners`` are those that it has in the rows between."""
    above, below = places[source], places[target]
    if not corners:
        return (above.x, above.bottom), (below.x, below.top)
    # A line comes in above the middle of a side and goes out below it: two lines are never taken for one.
    start = _side(places, rows, source, corners[0][0], above.y - above.height / 5) or [(above.x, above.bottom)]
    end = _side(places, rows, target, corners[-1][0], below.y + below.height / 5) or [(below.x, below.top)]
    return (*start, *corners, *reversed(end))


def _side(places: Sequence[Place], rows: Sequence[int], box: int, x: float, y: float) -> list[Point]:
    """Return the way at the height ``y`` from a box to a line beside it; there is none where something is between."""
    own = places[box]
    edge = own.right if x > own.x else own.left
    if abs(x - own.x) < own.width / 2 + COLUMN_SPACE / 2:
        return []
    others = [place for place, row in zip(places, rows, strict=True) if row == rows[box] and place is not own]
    is_free = not any(min(x, edge) < place.right and place.left < max(x, edge) for place in others)
    return [(edge, y), (x, y)] if is_free else []
