"""The network: what is connected with what, from the input at the top to the logits."""

from collections import Counter
from collections.abc import Sequence
from textwrap import wrap

from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle
from matplotlib.path import Path as Line

from models.anatomy import Call
from models.outline import Box, Outline, Repeat, outline_of
from models.report.layout import COLUMN_SPACE, Layout, Place, Point, laid_out, rows_of
from models.report.numbers import TIMES, number
from models.report.picture import Picture
from models.report.style import COLOURS, GREY, INK, name_in_picture, new_figure

WIDEST_BOX, NARROWEST_BOX, WIDEST_ROW, NARROWEST_FIGURE = 3.4, 2.2, 11.0, 8.0
LINE_HEIGHT, PADDING, MARGIN = 0.21, 0.1, 0.25
"""In inches."""

LETTERS_AN_INCH = 11


def network_picture(calls: Sequence[Call]) -> Picture:
    """Draw the layers of a network and their connections."""
    outline = outline_of(calls)
    repeats = " What is in a dashed frame follows itself as often as is written beside it." * bool(outline.repeats)
    parts = "" if outline.is_whole else " Only layers with kernels are drawn, and connections that no other replaces."
    return Picture(
        "network",
        "network",
        "The network, from the input to the logits: what is done in each box, the shape of what comes out for one "
        "event, and the number of parameters. Blue boxes have kernels, orange ones bring several inputs together."
        f"{repeats}{parts}",
        network_figure(outline),
    )


def network_figure(outline: Outline) -> Figure:
    """Draw boxes in rows, each below all that it reads."""
    boxes, inputs = outline.boxes, [box.inputs for box in outline.boxes]
    share = WIDEST_ROW / max(Counter(rows_of(inputs)).values()) - COLUMN_SPACE
    width = min(WIDEST_BOX, max(NARROWEST_BOX, share))
    texts = [_text(box, width) for box in boxes]
    layout = laid_out(width, [len(text) * LINE_HEIGHT + 2 * PADDING for text in texts], inputs)
    frames = [_frame(repeat, layout) for repeat in outline.repeats]
    corners = [corner for line in layout.lines.values() for corner in line]
    left = min(
        [place.left for place in layout.places] + [x for x, _ in corners] + [frame.left - 0.6 for frame in frames]
    )
    right = max([place.right for place in layout.places] + [x for x, _ in corners] + [frame.right for frame in frames])
    bottom = min(place.bottom for place in layout.places) - 0.1
    spare = max(NARROWEST_FIGURE - (right - left), 0.0) / 2 + MARGIN
    with new_figure(width=right - left + 2 * spare, height=2 * MARGIN - bottom) as figure:
        axes = figure.subplots()
        axes.set(xlim=(left - spare, right + spare), ylim=(bottom - MARGIN, MARGIN), aspect="equal")
        axes.set_axis_off()
        for frame, repeat in zip(frames, outline.repeats, strict=True):
            _draw_frame(axes, frame, repeat.times)
        for line in layout.lines.values():
            _draw_arrow(axes, line)
        for box, place, text in zip(boxes, layout.places, texts, strict=True):
            _draw_box(axes, place, text, _colour(box, boxes))
    return figure


def _text(box: Box, width: float) -> tuple[str, ...]:
    """Return the lines in a box, the last of which are its numbers."""
    words = ", ".join(name_in_picture(part) for part in box.words)
    beside = f"{box.copies} side by side: " if box.copies > 1 else ""
    shape = f" {TIMES} ".join(map(number, box.shape))
    parameters = f" · {number(box.parameters)} parameters{' each' if beside else ''}" if box.parameters else ""
    return (*wrap(beside + words, int(width * LETTERS_AN_INCH)), shape + parameters)


def _colour(box: Box, boxes: Sequence[Box]) -> str:
    if box.has_kernel:
        return COLOURS["signal"]
    return COLOURS["background"] if sum(boxes[source].copies for source in box.inputs) > 1 else GREY


def _draw_box(axes: Axes, place: Place, text: Sequence[str], colour: str) -> None:
    pale = [1 - 0.12 * (1 - part) for part in to_rgb(colour)]
    axes.add_patch(
        FancyBboxPatch(
            (place.left, place.bottom), place.width, place.height, boxstyle="round,pad=0,rounding_size=0.08",
            facecolor=pale, edgecolor=colour, linewidth=1.3,
        )
    )  # fmt: skip
    for row, line in enumerate(text):
        y = place.y + LINE_HEIGHT * ((len(text) - 1) / 2 - row)
        size = 10 if row == len(text) - 1 else 11.5
        axes.text(place.x, y, line, ha="center", va="center", fontsize=size, color=INK)


def _draw_arrow(axes: Axes, corners: Sequence[Point]) -> None:
    axes.add_patch(
        FancyArrowPatch(
            path=Line(corners), arrowstyle="-|>", mutation_scale=11, color=INK, linewidth=1.2, shrinkA=0, shrinkB=0
        )
    )


def _frame(repeat: Repeat, layout: Layout) -> Place:
    """Return the frame around blocks that repeat, and around the lines that end in them."""
    inside = layout.places[repeat.start : repeat.stop]
    ends = [
        x for (_, target), line in layout.lines.items() if repeat.start <= target < repeat.stop for x, _ in line[2:]
    ]
    left, right = min([place.left for place in inside] + ends) - 0.12, max([p.right for p in inside] + ends) + 0.12
    bottom, top = min(place.bottom for place in inside) - 0.1, max(place.top for place in inside) + 0.1
    return Place((left + right) / 2, (bottom + top) / 2, right - left, top - bottom)


def _draw_frame(axes: Axes, frame: Place, times: int) -> None:
    axes.add_patch(
        Rectangle(
            (frame.left, frame.bottom), frame.width, frame.height, fill=False, edgecolor=GREY, linestyle="--",
            linewidth=1.1,
        )
    )  # fmt: skip
    axes.text(frame.left - 0.1, frame.y, f"{times} {TIMES}", ha="right", va="center", fontsize=12, color=INK)
